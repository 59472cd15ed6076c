"""What lies in a folder is recognised, or one sentence says why it is not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from maskwise.config import choose
from maskwise.errors import UserError
from maskwise.fingerprint.contracts import Asked, Layout
from maskwise.fingerprint.names import classes_in_names, mask_suffix, patients_in
from maskwise.fingerprint.published import PUBLISHED as KNOWN_LAYOUTS
from maskwise.fingerprint.recognise import recognise
from maskwise.ingest.sources import SOURCES
from sources import (
    busi,
    cbis_ddsm,
    covid_ct,
    decathlon,
    dicom_folder,
    head_ct,
    image_folder,
    inbreast,
    lgg,
    medmnist,
    mini_mias,
)
from sources.drawing import disc, save, save_mask, scan

PUBLISHED: dict[str, tuple[Callable[[Path], object], int, int]] = {
    "busi": (busi.write, 18, 0),
    "cbis_ddsm": (cbis_ddsm.write, 20 - 4, 16 - 4),  # four have no mask that could be read
    "covid_ct": (covid_ct.write, 16, 10),
    "decathlon": (decathlon.write, 3, 3),
    "head_ct": (head_ct.write, 12, 0),
    "inbreast": (inbreast.write, 5, 3),
    "lgg": (lgg.write, 11 + 5 + 4, 3),
    "lidc_idri": (dicom_folder.write, 2 * 12, 0),  # headers name patients, and are read later
    "medmnist": (medmnist.write, 12 + 4 + 6, 0),
    "mini_mias": (mini_mias.write, 12, 6),
}
"""Source -> what writes it in miniature, how many images it has, how many patients are told."""


def options(layout: Layout) -> dict[str, Any]:
    """Return the options of the block ``ingest``, by name."""
    return {option.key: option.value for option in layout.options}


def questions(layout: Layout) -> dict[str, str]:
    """Return what a person is asked to check in the file, by option."""
    return {option.key: option.doubt for option in layout.options}


def refusal(origin: Path, **asked: Any) -> str:
    """Return the one sentence that says why nothing is recognised."""
    with pytest.raises(UserError) as told:
        recognise(origin, Asked(**asked))
    said = str(told.value)
    assert "\n" not in said
    return said


def write_images(folder: Path, *names: str) -> Path:
    """Write a small picture under each name."""
    for seed, name in enumerate(names):
        save(scan(seed, 16, 16), folder / name)
    return folder


def write_table(raw: Path, text: str, *names: str) -> Path:
    """Write images and a table ``scans.csv`` beside them."""
    write_images(raw, *names)
    (raw / "scans.csv").write_text(text, encoding="utf-8")
    return raw


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_layout_is_read_by_its_own_source(name: str, tmp_path: Path) -> None:
    write, images, patients = PUBLISHED[name]
    write(tmp_path)
    layout = recognise(tmp_path, Asked())
    found = layout.listing.images
    assert (layout.source, len(found), found["patient"].nunique()) == (name, images, patients)
    if layout.label is not None and layout.listing.mask_label is None:
        assert found[f"label_{layout.label}"].nunique() > 1
    # The options that are written into the file are those that it was read with.
    written = choose(SOURCES, {"name": name, **options(layout)}, name)
    assert written.listing(layout.raw).images["path"].tolist() == found["path"].tolist()


def test_every_source_that_reads_files_is_recognised_above_or_by_what_lies_there() -> None:
    by_what_lies_there = {"image_folder", "table", "dicom_folder"}
    assert set(KNOWN_LAYOUTS) | {"medmnist"} == set(PUBLISHED)
    assert set(SOURCES) == by_what_lies_there | set(PUBLISHED) | {"phantom"}


def test_a_folder_per_class_is_found_below_folders_that_hold_nothing_else(
    tmp_path: Path,
) -> None:
    image_folder.write(tmp_path / "data" / "set")
    layout = recognise(tmp_path, Asked())
    assert (layout.source, options(layout)["layout"]) == ("image_folder", "classes")
    assert (layout.raw, layout.label) == (tmp_path / "data" / "set", "diagnosis")
    assert set(layout.listing.images["label_diagnosis"]) == {"Gesund", "krank 100%"}


def test_whether_folders_are_classes_is_left_for_a_person_to_say(tmp_path: Path) -> None:
    image_folder.write(tmp_path)
    doubts = {each.key: each.doubt for each in recognise(tmp_path, Asked()).options}
    assert "classes, and not patients" in doubts["layout"]
    assert "no path names a patient" in doubts["patient"]


def test_folders_numbered_like_patients_are_no_classes(tmp_path: Path) -> None:
    write_images(tmp_path, *(f"case_{case:03d}/{i}.png" for case in range(5) for i in range(4)))
    layout = recognise(tmp_path, Asked())
    assert options(layout)["layout"] == "flat"
    assert layout.listing.images["patient"].nunique() == 5


def test_folders_of_patients_below_the_classes_name_the_patients(tmp_path: Path) -> None:
    names = [
        f"{c}/{who}/{i}.png" for c in ("a", "b") for who in ("x", "y", "z") for i in (1, 2)
    ]
    layout = recognise(write_images(tmp_path, *names), Asked())
    assert options(layout)["layout"] == "classes"
    assert set(layout.listing.images["patient"]) == {"x", "y", "z"}


def test_train_and_test_above_the_classes_are_an_official_split(tmp_path: Path) -> None:
    parts, classes = ("train", "val", "test"), ("a", "b")
    names = [f"{part}/{name}/{i}.png" for part in parts for name in classes for i in range(3)]
    layout = recognise(write_images(tmp_path, *names), Asked())
    assert options(layout)["layout"] == "splits"
    assert set(layout.listing.images["split"]) == {"train", "validation", "test"}


def test_masks_beside_images_are_told_from_images(tmp_path: Path) -> None:
    for number in range(4):
        for name in ("ill", "well"):
            path = save(scan(number), tmp_path / name / f"{number}.png")
            save_mask(disc(48, 64), path.with_name(f"{number}_seg.png"))
    layout = recognise(tmp_path, Asked())
    assert options(layout)["mask_suffix"] == "_seg"
    assert len(layout.listing.images) == 8


@pytest.mark.parametrize(
    ("cell", "path"),
    [("images/{}.png", "file"), ("{}", "images/{file}.png"), ("{}.png", "images/{file}")],
)
def test_a_table_says_which_of_its_columns_name_files_patients_and_classes(
    cell: str, path: str, tmp_path: Path
) -> None:
    rows = "".join(f"{cell.format(f'im{i}')},p{i // 2},{'ab'[i % 2]},{i}\n" for i in range(6))
    text = f"file,patient_id,finding,age\n{rows}"
    write_table(tmp_path, text, *(f"images/im{i}.png" for i in range(6)))
    for origin in (tmp_path, tmp_path / "scans.csv"):
        layout = recognise(origin, Asked())
        assert layout.source == "table"
        named = options(layout)
        assert (named["path"], named["patient"]) == (path, "patient_id")
        assert named["labels"] == {"diagnosis": "finding"}
        assert len(layout.listing.images) == 6


def test_numbers_without_leading_zeros_lead_to_files_that_have_them(tmp_path: Path) -> None:
    rows = "".join(f"{i},{'ab'[i % 2]}\n" for i in range(12))
    write_table(tmp_path, f"id,label\n{rows}", *(f"pics/{i:03d}.png" for i in range(12)))
    layout = recognise(tmp_path, Asked())
    assert options(layout)["path"] == "pics/{id:0>3}.png"
    assert len(layout.listing.images) == 12


def test_a_person_says_which_column_is_learnt(tmp_path: Path) -> None:
    rows = "".join(f"{i}.png,{'ab'[i % 2]},{'cd'[i % 2]}\n" for i in range(6))
    write_table(tmp_path, f"path,grade,stage\n{rows}", *(f"{i}.png" for i in range(6)))
    (first,) = (each for each in recognise(tmp_path, Asked()).options if each.key == "labels")
    assert first.value == {"diagnosis": "grade"}
    assert "stage" in first.doubt
    chosen = options(recognise(tmp_path, Asked(label="stage")))
    assert chosen["labels"] == {"diagnosis": "stage"}
    assert "did you mean 'stage'?" in refusal(tmp_path / "scans.csv", label="stages")


def test_masks_that_are_called_like_the_scans_are_not_taken_for_them(tmp_path: Path) -> None:
    rows = "".join(f"{i:03d}.png,{'ab'[i % 2]}\n" for i in range(6))
    names = [f"{folder}/{i:03d}.png" for folder in ("images", "masks") for i in range(6)]
    write_table(tmp_path, f"image,diagnosis\n{rows}", *names)
    layout = recognise(tmp_path, Asked())
    assert options(layout)["path"] == "images/{image}"
    assert questions(layout)["path"] == ""


def test_names_that_lie_in_several_folders_are_left_for_a_person_to_check(
    tmp_path: Path,
) -> None:
    rows = "".join(f"{i:03d}.png,{'ab'[i % 2]}\n" for i in range(6))
    names = [f"{folder}/{i:03d}.png" for folder in ("left", "right") for i in range(6)]
    write_table(tmp_path, f"image,diagnosis\n{rows}", *names)
    layout = recognise(tmp_path, Asked(layout="table"))
    assert options(layout)["path"] == "left/{image}"
    assert "6 rows would fit files of other folders as well" in questions(layout)["path"]


def test_a_grade_of_the_who_is_a_class_and_no_patient(tmp_path: Path) -> None:
    rows = "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(6))
    write_table(tmp_path, f"path,who\n{rows}", *(f"{i}.png" for i in range(6)))
    named = options(recognise(tmp_path, Asked()))
    assert named["patient"] is None
    assert named["labels"] == {"diagnosis": "who"}


def test_a_column_of_cases_is_no_patient_where_another_names_patients(tmp_path: Path) -> None:
    rows = "".join(f"{i}.png,{i},p{i // 2},{'ab'[i % 2]}\n" for i in range(6))
    text = f"path,case,PatientID,finding\n{rows}"
    layout = recognise(write_table(tmp_path, text, *(f"{i}.png" for i in range(6))), Asked())
    assert options(layout)["patient"] == "PatientID"
    assert questions(layout)["patient"].startswith("case could be it too")


@pytest.mark.parametrize(
    "column",
    [
        "Patient ID", "subject_id", "PatientID", "StudyUID", "imageid", "Name", "surname",
        "last_name", "MRN", "PatientBirthDate", "dob",
    ],
)  # fmt: skip
def test_a_column_that_tells_who_is_never_learnt(column: str, tmp_path: Path) -> None:
    rows = "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(6))
    write_table(tmp_path, f"path,{column}\n{rows}", *(f"{i}.png" for i in range(6)))
    assert "labels" not in options(recognise(tmp_path, Asked()))


@pytest.mark.parametrize("column", ["covid", "COVID", "thyroid", "Fluid", "class_name"])
def test_a_disease_that_ends_like_an_id_is_learnt(column: str, tmp_path: Path) -> None:
    rows = "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(6))
    write_table(tmp_path, f"path,{column}\n{rows}", *(f"{i}.png" for i in range(6)))
    assert options(recognise(tmp_path, Asked()))["labels"] == {"diagnosis": column}


def test_the_values_of_a_column_are_counted_and_not_named_in_the_file(tmp_path: Path) -> None:
    rows = "".join(f"{i}.png,{['Mueller', 'Meier'][i % 2]}\n" for i in range(6))
    write_table(tmp_path, f"path,ward\n{rows}", *(f"{i}.png" for i in range(6)))
    (said,) = (each for each in recognise(tmp_path, Asked()).options if each.key == "labels")
    assert said.reason == "Our name: column; 2 classes, the rarest with 3 rows."
    assert not {"Mueller", "Meier"} & set(said.doubt.split())


def test_a_text_is_a_table_where_a_person_names_it(tmp_path: Path) -> None:
    rows = "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(6))
    write_images(tmp_path, *(f"{i}.png" for i in range(6)))
    (tmp_path / "list.txt").write_text(f"path,label\n{rows}", encoding="utf-8")
    assert recognise(tmp_path / "list.txt", Asked()).source == "table"
    assert recognise(tmp_path, Asked(layout="image_folder")).source == "image_folder"
    assert recognise(tmp_path, Asked()).source == "image_folder"


def test_a_tree_of_dicom_files_says_its_modality_itself(tmp_path: Path) -> None:
    dicom_folder.write_stack(tmp_path / "s", [0.0, 2.0, 4.0], "1.2.3")
    layout = recognise(tmp_path, Asked())
    assert (layout.source, layout.listing.modality) == ("dicom_folder", "ct")


def test_a_folder_with_nothing_is_said_to_hold_nothing(tmp_path: Path) -> None:
    assert "the folder is empty" in refusal(tmp_path)
    (tmp_path / "sub").mkdir()
    assert "holds no file" in refusal(tmp_path)
    (tmp_path / "notes.txt").write_text("none")
    assert "holds 1 file (1 x .txt), but no image" in refusal(tmp_path)


def test_a_misspelt_path_is_told_with_the_name_that_was_meant(tmp_path: Path) -> None:
    (tmp_path / "breast").mkdir()
    said = refusal(tmp_path / "brest" / "images")
    assert "there is no such folder" in said
    assert "did you mean 'breast'?" in said


def test_two_published_layouts_at_once_are_refused_by_name(tmp_path: Path) -> None:
    busi.write(tmp_path)
    head_ct.write(tmp_path)
    said = refusal(tmp_path)
    assert "two layouts at once" in said
    assert "BUSI" in said
    assert "Head CT" in said


def test_a_published_layout_beside_other_images_is_refused(tmp_path: Path) -> None:
    busi.write(tmp_path)
    write_images(tmp_path / "others", *(f"{i}.png" for i in range(9)))
    assert "9 images of none of these, as 'others/0.png'" in refusal(tmp_path)


def test_images_beside_class_folders_are_two_layouts(tmp_path: Path) -> None:
    write_images(tmp_path, *(f"{i}.png" for i in range(3)), "a/1.png", "a/2.png", "b/1.png")
    said = refusal(tmp_path)
    assert "two layouts at once: 3 images in the folder itself and 3 in subfolders" in said


def test_a_table_beside_class_folders_is_chosen_by_a_person(tmp_path: Path) -> None:
    names = [f"{name}/{i}.png" for name in ("a", "b") for i in range(3)]
    rows = "".join(f"{name},{'xy'[i % 2]}\n" for i, name in enumerate(names))
    write_table(tmp_path, f"path,label\n{rows}", *names)
    assert "--as table or --as image_folder" in refusal(tmp_path)
    by_table = recognise(tmp_path, Asked(layout="table"))
    assert set(by_table.listing.images["label_diagnosis"]) == {"x", "y"}
    by_folder = recognise(tmp_path, Asked(layout="image_folder"))
    assert set(by_folder.listing.images["label_diagnosis"]) == {"a", "b"}


def test_dicom_files_beside_pictures_are_two_layouts(tmp_path: Path) -> None:
    dicom_folder.write_stack(tmp_path / "s", [0.0, 2.0, 4.0], "1.2.3")
    write_images(tmp_path, "a/1.png", "b/1.png")
    assert "two layouts at once: 3 DICOM files and 2 other images" in refusal(tmp_path)


def test_labels_in_file_names_only_are_named_and_not_taken(tmp_path: Path) -> None:
    names = [f"{name}_{i}.png" for name in ("benign", "malignant") for i in range(4)]
    said = refusal(write_images(tmp_path, *names))
    assert "labels stand in file names only, it seems (benign 4, malignant 4)" in said
    without = recognise(tmp_path, Asked(layout="image_folder"))
    assert (options(without)["layout"], without.label) == ("flat", None)


def test_masks_in_a_folder_of_their_own_are_not_taken_for_a_class(tmp_path: Path) -> None:
    names = [f"{folder}/{i}.png" for folder in ("images", "masks") for i in range(4)]
    said = refusal(write_images(tmp_path, *names))
    assert "the masks lie in a folder of their own (masks, beside images)" in said


def test_a_layout_that_is_not_there_is_not_forced(tmp_path: Path) -> None:
    write_images(tmp_path, "a.png")
    assert "there is no DICOM file in it" in refusal(tmp_path, layout="dicom_folder")
    assert "did you mean 'table'?" in refusal(tmp_path, layout="tabel")


def test_file_names_that_all_begin_alike_hold_no_labels() -> None:
    assert classes_in_names([f"scan_{i}.png" for i in range(9)]) == {}
    assert classes_in_names([f"{'abcdefghi'[i]}x{i}.png" for i in range(9)]) == {}
    assert classes_in_names(
        [f"cat.{i}.jpg" for i in range(4)] + ["dog.1.jpg", "dog.2.jpg"]
    ) == {
        "cat": 4,
        "dog": 2,
    }


@pytest.mark.parametrize(
    "path",
    ["TCGA_CS_{:04d}_1/a.png", "LIDC-IDRI-{:04d}/a.png", "sub-{:02d}/a.png", "x/P{:03d}_1.png"],
)
def test_patients_are_found_as_published_sets_write_them(path: str) -> None:
    paths = [path.format(who) for who in range(1, 5) for _ in range(2)]
    found = patients_in(paths)
    assert found is not None
    assert (found.found, found.missed) == (4, 0)


def test_a_pattern_that_finds_one_patient_only_finds_none() -> None:
    assert patients_in(["sub-01/a.png", "sub-01/b.png"]) is None


def test_a_suffix_that_pairs_nothing_is_none_of_masks() -> None:
    assert mask_suffix(["a_mask.png", "b_mask.png", "c.png"]) is None
    assert mask_suffix(["a.png", "a_mask.png", "a_mask_1.png", "b.png"]) == ("_mask", 1)


@pytest.mark.parametrize(
    ("folder", "source", "images", "patients"),
    [
        ("busi", "busi", 780, 0),
        ("covid_ct", "covid_ct", 746, 0),
        ("head_ct", "head_ct", 200, 0),
        ("lgg", "lgg", 971, 28),
        ("luna_1000", "image_folder", 1000, 500),
        ("medmnist", "medmnist", 780, 0),
        ("mini_mias", "mini_mias", 322, 161),
        ("mini_mias_patches", "table", 326, 161),
        ("dicom-nifti-samples/Task04_Hippocampus", "decathlon", 16, 16),
        ("dicom-nifti-samples/dicom_series", "dicom_folder", 62, 0),
    ],
)
def test_real_folders_are_recognised(
    folder: str, source: str, images: int, patients: int, shared_data: Path
) -> None:
    layout = recognise(shared_data / folder, Asked())
    found = layout.listing.images
    assert (layout.source, len(found)) == (source, images)
    assert found["patient"].nunique() == patients


def test_a_folder_of_many_real_sets_is_refused(shared_data: Path) -> None:
    assert "layouts at once" in refusal(shared_data)


def test_a_bucket_is_no_folder_to_look_into() -> None:
    assert "looks at files of this machine" in refusal(Path("s3://scans/all"))
