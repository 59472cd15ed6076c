"""Each source reads its published layout, and says what in it is not as it should be."""

import json
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from maskwise.config import choose
from maskwise.errors import UserError
from maskwise.ingest.contracts import GeneratedSource, Listing
from maskwise.ingest.sources import SOURCES
from maskwise.ingest.sources.medmnist_sets import SETS
from sources import busi, image_folder, medmnist, table
from sources.drawing import disc, save, save_mask, scan
from sources.volume import write as write_volume


def read(raw: Path, name: str, **options: Any) -> Listing:
    """List ``raw`` as the source ``name`` with the options of its YAML block."""
    return choose(SOURCES, {"name": name, **options}, "test.ingest").listing(raw)


def reasons(listing: Listing) -> dict[str, str]:
    """Return path -> reason."""
    return {reject.path: reject.reason for reject in listing.rejects}


def labels(listing: Listing, column: str = "label_diagnosis") -> Mapping[str, Any]:
    """Return path -> label, None where there is none."""
    values = listing.images[column].astype(object).where(listing.images[column].notna(), None)
    return dict(zip(listing.images["path"], values, strict=True))


def write_table(raw: Path, text: str, images: int = 4) -> Path:
    """Write ``labels.csv`` beside ``0.png`` and on."""
    for number in range(images):
        save(scan(number), raw / f"{number}.png")
    (raw / "labels.csv").write_text(text, encoding="utf-8")
    return raw


def test_a_message_about_very_many_rows_or_tables_stays_short(tmp_path: Path) -> None:
    rows = "".join(f"1.png,{'ab'[row % 2]}\n" for row in range(300))
    raw = write_table(tmp_path, f"path,finding\n0.png,a\n{rows}")
    listing = read(raw, "table", labels={"diagnosis": "finding"})
    details = [r.detail for r in listing.rejects if r.reason == "contradictory_rows"]
    last = "row 301: rows 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 290 more differ in label_diagnosis"
    assert (len(details), details[-1]) == (300, last)
    for number in range(300):
        (raw / f"{number:03}.csv").touch()
    with pytest.raises(UserError, match=r"\(tables there: .* and 291 more\)") as told:
        read(raw, "table", table="gone.csv")
    assert len(str(told.value)) < 500


def test_the_phantom_alone_writes_its_own_files() -> None:
    able = [name for name, config in SOURCES.items() if issubclass(config, GeneratedSource)]
    assert able == ["phantom"]


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("distance", [-1, 17])
def test_a_distance_that_makes_no_sense_is_refused(name: str, distance: int) -> None:
    with pytest.raises(UserError, match=r"duplicate_distance.*between 0 and 16"):
        choose(SOURCES, {"name": name, "duplicate_distance": distance}, "x.ingest")


# BUSI


def test_busi_images_get_their_class_and_all_their_masks(tmp_path: Path) -> None:
    listing = read(busi.write(tmp_path), "busi")
    counts = listing.images["label_diagnosis"].value_counts().to_dict()
    assert counts == busi.COUNTS
    masks = dict(zip(listing.images["path"], listing.images["masks"], strict=True))
    base = "Dataset_BUSI_with_GT/benign/benign (4)"
    assert masks[f"{base}.png"] == [f"{base}_mask.png", f"{base}_mask_1.png"]
    assert not listing.rejects


def test_busi_may_be_pointed_at_the_inner_folder(tmp_path: Path) -> None:
    busi.write(tmp_path)
    listing = read(tmp_path / "Dataset_BUSI_with_GT", "busi")
    assert len(listing.images) == sum(busi.COUNTS.values())


def test_a_parent_folder_called_mask_hides_no_image(tmp_path: Path) -> None:
    raw = busi.write(tmp_path / "my_mask" / "raw_mask_1")
    assert len(read(raw, "busi").images) == 18
    assert len(read(raw.parent, "busi").images) == 18


def test_busi_names_masks_without_image_and_images_without_mask(tmp_path: Path) -> None:
    base = busi.write(tmp_path) / "Dataset_BUSI_with_GT"
    (base / "benign" / "benign (1).png").unlink()
    (base / "benign" / "benign (2)_mask.png").unlink()
    assert reasons(read(tmp_path, "busi")) == {
        "Dataset_BUSI_with_GT/benign/benign (1)_mask.png": "mask_without_image",
        "Dataset_BUSI_with_GT/benign/benign (2).png": "missing_mask",
    }


def test_busi_offers_the_close_match_for_a_misspelt_class_folder(tmp_path: Path) -> None:
    base = busi.write(tmp_path) / "Dataset_BUSI_with_GT"
    (base / "normal").rename(base / "nromal")
    details = {reject.detail for reject in read(tmp_path, "busi").rejects}
    assert details == {"lies in the folder 'nromal'; did you mean 'normal'?"}


# image_folder


def test_a_folder_a_class_whatever_format_and_name(tmp_path: Path) -> None:
    listing = read(image_folder.write(tmp_path), "image_folder")
    counts = listing.images["label_diagnosis"].value_counts().to_dict()
    assert counts == {"Gesund": 8, "krank 100%": 8}
    assert "Gesund/Größe 3 (100%).png" in set(listing.images["path"])


def test_an_image_outside_the_class_folders_is_named(tmp_path: Path) -> None:
    save(scan(0), image_folder.write(tmp_path) / "stray.png")
    assert reasons(read(tmp_path, "image_folder")) == {"stray.png": "missing_label"}


def test_flat_takes_images_at_any_depth_without_labels(tmp_path: Path) -> None:
    listing = read(image_folder.write(tmp_path), "image_folder", layout="flat")
    assert len(listing.images) == 16
    assert "label_diagnosis" not in listing.images


def test_volumes_find_their_masks_as_other_images_do(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "a_mask.nii.gz", "b.nii"):
        write_volume(tmp_path / name, np.zeros((2, 2, 2), np.uint8))
    images = read(tmp_path, "image_folder", layout="flat", mask_suffix="_mask").images
    assert dict(zip(images["path"], images["masks"], strict=True)) == {
        "a.nii.gz": ["a_mask.nii.gz"],
        "b.nii": [],
    }


def test_split_folders_give_the_official_split(tmp_path: Path) -> None:
    for number, folder in enumerate(["Train/a", "val/b", "testing/a", "extra/a", "train"]):
        save(scan(number), tmp_path / folder / "x.png")
    listing = read(tmp_path, "image_folder", layout="splits")
    assert labels(listing, "split") == {
        "Train/a/x.png": "train",
        "val/b/x.png": "validation",
        "testing/a/x.png": "test",
    }
    assert reasons(listing) == {
        "extra/a/x.png": "unknown_split",
        "train/x.png": "missing_label",
    }


def test_a_suffix_pairs_masks_with_images(tmp_path: Path) -> None:
    save(scan(0), tmp_path / "a" / "x.png")
    save_mask(disc(48, 64), tmp_path / "a" / "x_seg.png")
    images = read(tmp_path, "image_folder", mask_suffix="_seg").images
    assert list(images["masks"]) == [["a/x_seg.png"]]


def test_a_pattern_reads_the_patient_off_the_path(tmp_path: Path) -> None:
    for name in ("p1_a", "p1_b", "p22_a", "none"):
        save(scan(len(name)), tmp_path / "a" / f"{name}.png")
    images = read(tmp_path, "image_folder", patient="(p[0-9]+)_").images
    assert labels(Listing(images, ()), "patient") == {
        "a/none.png": None,
        "a/p1_a.png": "p1",
        "a/p1_b.png": "p1",
        "a/p22_a.png": "p22",
    }


def test_a_pattern_that_fits_no_path_is_refused_and_one_that_fits_some_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("p1_a", "p1_b", "none"):
        save(scan(len(name)), tmp_path / "a" / f"{name}.png")
    read(tmp_path, "image_folder", patient="(p[0-9]+)_")
    assert "fits 2 of 3 paths; not, for one, 'a/none.png'" in caplog.text
    with pytest.raises(UserError, match=r"ingest.patient: the pattern '\(q\)' fits 0 of 3"):
        read(tmp_path, "image_folder", patient="(q)")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"patient": "p[0-9]+"}, "needs a group"),
        ({"patient": "(p"}, "not a regular expression"),
        ({"mask_suffix": ""}, "every file would be a mask"),
        ({"layout": "clases"}, "layout"),
        ({"pateint": "(p)"}, "did you mean 'patient'"),
    ],
)
def test_image_folder_refuses_options_that_cannot_be_meant(
    options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        choose(SOURCES, {"name": "image_folder", **options}, "mine.ingest")


def test_a_readme_is_listed_among_the_other_files(tmp_path: Path) -> None:
    (image_folder.write(tmp_path) / "README.txt").write_text("read me", encoding="utf-8")
    assert reasons(read(tmp_path, "image_folder")) == {"README.txt": "other_file"}


# medmnist


def test_medmnist_keeps_the_official_split_and_names_its_classes(tmp_path: Path) -> None:
    listing = read(medmnist.write(tmp_path), "medmnist", classes=["sick", "well"])
    images = listing.images
    assert images["split"].value_counts(sort=False).to_dict() == {
        "train": 12,
        "validation": 4,
        "test": 6,
    }
    assert list(images["label_diagnosis"][:3]) == ["sick", "well", "sick"]
    assert list(images["frame"]) == list(range(22))


def test_medmnist_without_names_takes_the_published_ones_or_keeps_the_numbers(
    tmp_path: Path,
) -> None:
    published = read(medmnist.write(tmp_path / "a", channels=3), "medmnist")
    assert list(published.images["label_diagnosis"][:2]) == ["malignant", "normal or benign"]
    assert published.modality == "ultrasound"
    mine = read(medmnist.write(tmp_path / "b", "mine.npz"), "medmnist")
    assert set(mine.images["label_diagnosis"]) == {"0", "1"}
    assert mine.modality is None
    assert read(tmp_path / "a", "medmnist", modality="mr").modality is None


@pytest.mark.parametrize("side", [28, 64, 128, 224])
@pytest.mark.parametrize("name", SETS)
def test_every_two_dimensional_medmnist_is_read_in_every_size(
    tmp_path: Path, name: str, side: int
) -> None:
    classes = SETS[name].classes
    labels = np.arange(len(classes), dtype=np.uint8)[:, None]
    if name == "chestmnist":
        labels = np.eye(len(classes), dtype=np.uint8)
    images = np.zeros((len(classes), side, side), np.uint8)
    file = f"{name}.npz" if side == 28 else f"{name}_{side}.npz"
    np.savez(tmp_path / file, train_images=images, train_labels=labels)
    listing = read(tmp_path, "medmnist").images
    if name == "chestmnist":
        found = listing[[f"label_{finding}" for finding in classes]] == "present"
        assert np.array_equal(found, np.eye(14, dtype=bool))
    else:
        assert tuple(listing["label_diagnosis"]) == classes


def test_medmnist_of_another_size_than_its_name_says_is_refused(tmp_path: Path) -> None:
    medmnist.write(tmp_path, "breastmnist_64.npz")
    with pytest.raises(UserError, match=r"frames of 28 x 28 pixels, where its name says 64"):
        read(tmp_path, "medmnist")


@pytest.mark.parametrize("file", ["organmnist3d.npz", "synapsemnist3d_64.npz"])
def test_sets_of_volumes_are_refused_by_name(tmp_path: Path, file: str) -> None:
    np.savez(tmp_path / file, train_images=np.zeros((2, 3, 3), np.uint8))
    with pytest.raises(UserError, match=r"mnist3d holds volumes; only the two-dimensional"):
        read(tmp_path, "medmnist")


def test_medmnist_with_several_columns_that_are_no_findings_is_refused(tmp_path: Path) -> None:
    images = np.zeros((2, 28, 28), np.uint8)
    grades = np.array([[0, 1], [3, 1]])
    np.savez(tmp_path / "mine.npz", train_images=images, train_labels=grades)
    with pytest.raises(UserError, match=r"train_labels has several columns, .* but holds 3;"):
        read(tmp_path, "medmnist")


def test_medmnist_with_several_findings_gets_a_label_a_finding(tmp_path: Path) -> None:
    images = np.zeros((3, 28, 28), np.uint8)
    found = np.array([[1, 0], [0, 0], [1, 1]], np.uint8)
    np.savez(tmp_path / "chest.npz", train_images=images, train_labels=found)
    listing = read(tmp_path, "medmnist", classes=["effusion", "mass"])
    assert list(listing.images["label_effusion"]) == ["present", "absent", "present"]
    assert list(listing.images["label_mass"]) == ["absent", "absent", "present"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"classes": ["only"]}, "has the label 1, but `classes` names only 0 to 0"),
        ({"file": "other.npz"}, "other.npz: is not in"),
        ({"classes": ["a", "a"]}, "different names"),
    ],
)
def test_medmnist_says_which_option_does_not_fit(
    tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        read(medmnist.write(tmp_path), "medmnist", **options)


def test_two_archives_ask_for_a_choice(tmp_path: Path) -> None:
    medmnist.write(tmp_path)
    medmnist.write(tmp_path, "pneumoniamnist.npz")
    with pytest.raises(UserError, match=r"2 \.npz files .* option `file`"):
        read(tmp_path, "medmnist")
    assert len(read(tmp_path, "medmnist", file="pneumoniamnist.npz").images) == 22


def test_three_dimensional_medmnist_is_refused_by_its_shape(tmp_path: Path) -> None:
    np.savez(tmp_path / "organ3d.npz", train_images=np.zeros((2, 28, 28, 28), np.uint8))
    with pytest.raises(UserError, match=r"frames of \(28, 28, 28\)"):
        read(tmp_path, "medmnist")


# table


def test_a_table_with_blanks_after_commas_and_unpadded_ids_is_read(tmp_path: Path) -> None:
    listing = read(
        table.write(tmp_path),
        "table",
        path="head_ct/{id:0>3}.png",
        labels={"diagnosis": "hemorrhage"},
        classes={"diagnosis": {0: "none", 1: "haemorrhage"}},
    )
    found = labels(listing)
    assert found["head_ct/000.png"] == "haemorrhage"
    assert found["head_ct/011.png"] == "none"
    assert not listing.rejects


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_out(tmp_path: Path, delimiter: str) -> None:
    text = "path,d\n0.png,a\n1.png,b\n".replace(",", delimiter)
    listing = read(
        write_table(tmp_path, "\ufeff" + text, 2), "table", labels={"diagnosis": "d"}
    )
    assert labels(listing) == {"0.png": "a", "1.png": "b"}


def test_a_parquet_table_says_the_same(tmp_path: Path) -> None:
    write_table(tmp_path, "", 2)
    rows = {"path": ["0.png", "1.png"], "d": [1.0, None], "m": [["1.png"], None]}
    pd.DataFrame(rows).to_parquet(tmp_path / "t.parquet")
    images = read(
        tmp_path, "table", table="t.parquet", labels={"diagnosis": "d"}, masks="m"
    ).images
    assert labels(Listing(images, ())) == {"0.png": "1", "1.png": None}
    assert list(images["masks"]) == [["1.png"], []]


def test_patient_split_masks_and_further_columns_are_kept(tmp_path: Path) -> None:
    text = (
        "path,d,who,part,seg,age,code,width\n"
        "0.png,a,007,val,2.png;3.png,61,001,9\n1.png,b,,,,,,8\n"
    )
    images = read(
        write_table(tmp_path, text),
        "table",
        labels={"diagnosis": "d"},
        patient="who",
        split="part",
        masks="seg",
    ).images
    first, second = images.to_dict("records")
    assert (first["patient"], first["split"]) == ("007", "validation")
    assert first["masks"] == ["2.png", "3.png"]
    assert (first["age"], first["code"], first["table_width"]) == (61, "001", 9)
    assert pd.isna(second["patient"])
    assert pd.isna(second["split"])
    assert second["masks"] == []


def test_spacing_is_taken_as_millimetres_and_must_be_positive(tmp_path: Path) -> None:
    write_table(tmp_path, "path,spacing_y,label_x\n0.png,0.2,a\n1.png,,b\n", 2)
    images = read(tmp_path, "table").images
    assert images["spacing_y"][0] == 0.2
    assert pd.isna(images["spacing_y"][1])
    assert list(images["table_label_x"]) == ["a", "b"]
    write_table(tmp_path, "path,spacing_y\n0.png,0.2\n1.png,-1\n", 2)
    with pytest.raises(UserError, match="spacing_y is '-1' in row 2"):
        read(tmp_path, "table")


def test_a_blank_label_means_unlabelled(tmp_path: Path) -> None:
    text = "path,d\n0.png,a\n1.png,\n"
    listing = read(write_table(tmp_path, text, 2), "table", labels={"diagnosis": "d"})
    assert labels(listing) == {"0.png": "a", "1.png": None}


@pytest.mark.parametrize(
    "word", ["NaN", "nan", "None", "N/A", "n/a", "NA", "NULL", "#N/A", "?"]
)
def test_a_word_for_no_label_means_unlabelled_and_is_counted(tmp_path: Path, word: str) -> None:
    text = f"path,d\n0.png,a\n1.png,{word}\n2.png,{word}\n3.png,\n"
    listing = read(write_table(tmp_path, text), "table", labels={"diagnosis": "d"})
    unlabelled = dict.fromkeys(("1.png", "2.png", "3.png"))
    assert labels(listing) == {"0.png": "a", **unlabelled}
    assert listing.no_label == {"diagnosis": {word: 2, "": 1}}
    assert (
        f"3 rows counted as unlabelled, for saying {word!r} (2), blank (1)"
        in (listing.warnings[0])
    )


def test_blank_labels_alone_are_counted_and_need_no_warning(tmp_path: Path) -> None:
    text = "path,d\n0.png,a\n1.png,\n"
    listing = read(write_table(tmp_path, text, 2), "table", labels={"diagnosis": "d"})
    assert listing.no_label == {"diagnosis": {"": 1}}
    assert not listing.warnings


@pytest.mark.parametrize(
    "options",
    [{"missing": []}, {"missing": ["unknown"]}, {"classes": {"diagnosis": {"None": "None"}}}],
)
def test_a_class_called_none_is_kept_by_an_option(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    text = "path,d\n0.png,None\n1.png,None\n"
    source = {"labels": {"diagnosis": "d"}, **options}
    listing = read(write_table(tmp_path, text, 2), "table", **source)
    assert labels(listing) == {"0.png": "None", "1.png": "None"}
    assert not listing.warnings


def test_the_words_for_no_label_may_be_numbers(tmp_path: Path) -> None:
    text = "path,d\n0.png,1\n1.png,-9\n"
    source = {"labels": {"diagnosis": "d"}, "missing": [-9]}
    assert labels(read(write_table(tmp_path, text, 2), "table", **source)) == {
        "0.png": "1",
        "1.png": None,
    }


def test_a_word_for_nothing_stays_a_patient_and_is_warned_of(tmp_path: Path) -> None:
    text = "path,who\n0.png,NA\n1.png,NA\n2.png,p1\n3.png,\n"
    listing = read(write_table(tmp_path, text), "table", patient="who")
    assert labels(listing, "patient") == {
        "0.png": "NA",
        "1.png": "NA",
        "2.png": "p1",
        "3.png": None,
    }
    assert listing.warnings[0].startswith("patient: 2 rows name 'NA', and so count as one")


@pytest.mark.parametrize(
    ("cells", "joined"),
    [
        (["Benign", "benign", "benign", "malignant"], ["benign"] * 3 + ["malignant"]),
        (["0", "0.0", "00", "1"], ["0", "0", "0", "1"]),
        (["no  tumour", "no\u00a0tumour", "no tumour", "x"], ["no  tumour"] * 3 + ["x"]),
        (
            ["Größe", unicodedata.normalize("NFD", "Größe"), "x", "y"],
            ["Größe", "Größe", "x", "y"],
        ),
        (["1 1", "11", "x", "y"], ["1 1", "11", "x", "y"]),
        (["-1", "\u22121", "1", "x"], ["-1", "-1", "1", "x"]),
    ],
)
def test_classes_that_differ_in_spelling_only_are_joined_where_asked(
    tmp_path: Path, cells: list[str], joined: list[str]
) -> None:
    rows = "".join(f"{number}.png,{cell}\n" for number, cell in enumerate(cells))
    raw = write_table(tmp_path, f"path,d\n{rows}")
    kept = read(raw, "table", labels={"diagnosis": "d"})
    assert list(kept.images["label_diagnosis"]) == cells
    found = read(raw, "table", labels={"diagnosis": "d"}, alike="join")
    assert list(found.images["label_diagnosis"]) == joined
    assert len(found.warnings) == (cells != joined)


def test_a_joined_class_takes_the_name_that_the_options_list(tmp_path: Path) -> None:
    text = "path,d\n0.png,Benign\n1.png,Benign\n2.png,malignant\n"
    source = {
        "labels": {"diagnosis": "d"},
        "classes": {"diagnosis": {"benign": "b", "malignant": "m"}},
    }
    raw = write_table(tmp_path, text, 3)
    listing = read(raw, "table", alike="join", **source)
    assert labels(listing) == {"0.png": "b", "1.png": "b", "2.png": "m"}
    assert set(reasons(read(raw, "table", **source)).values()) == {"unknown_label"}


def test_class_folders_that_differ_in_case_are_joined_where_asked(tmp_path: Path) -> None:
    for number, folder in enumerate(["Benign", "benign", "benign", "malignant"]):
        save(scan(number), tmp_path / folder / f"{number}.png")
    kept = read(tmp_path, "image_folder").images["label_diagnosis"]
    assert set(kept) == {"Benign", "benign", "malignant"}
    listing = read(tmp_path, "image_folder", alike="join")
    assert list(listing.images["label_diagnosis"]) == ["benign"] * 3 + ["malignant"]
    assert listing.warnings == (
        "diagnosis: 'Benign' (1) and 'benign' (2) are joined as 'benign'.",
    )


def test_files_that_the_table_does_not_name_are_rejected_or_kept(tmp_path: Path) -> None:
    write_table(tmp_path, "path,d\n0.png,a\n1.png,b\n", 3)
    options = {"labels": {"diagnosis": "d"}}
    assert reasons(read(tmp_path, "table", **options)) == {"2.png": "missing_label"}
    kept = read(tmp_path, "table", unlisted="keep", **options)
    assert pd.isna(labels(kept)["2.png"])
    assert not kept.rejects


def test_rows_that_repeat_or_contradict_are_told_apart(tmp_path: Path) -> None:
    text = "path,d\n0.png,a\n0.png,a\n1.png,a\n1.png,b\n2.png,b\n3.png,a\n"
    listing = read(write_table(tmp_path, text), "table", labels={"diagnosis": "d"})
    assert list(listing.images["path"]) == ["0.png", "2.png", "3.png"]
    assert [(r.path, r.reason, r.detail) for r in listing.rejects] == [
        ("0.png", "repeated_row", "row 2: same as row 1"),
        ("1.png", "contradictory_rows", "row 3: rows 3, 4 differ in label_diagnosis"),
        ("1.png", "contradictory_rows", "row 4: rows 3, 4 differ in label_diagnosis"),
    ]


@pytest.mark.parametrize(
    ("cell", "reason"),
    [("", "missing_file"), ("../x.png", "link"), ("/etc/x.png", "link"), ("a/../../x", "link")],
)
def test_a_path_that_is_blank_or_leads_out_is_named_with_its_row(
    tmp_path: Path, cell: str, reason: str
) -> None:
    text = f"path,d\n0.png,a\n{cell},b\n"
    listing = read(write_table(tmp_path, text, 1), "table", labels={"diagnosis": "d"})
    assert [r.reason for r in listing.rejects] == [reason]
    assert listing.rejects[0].detail.startswith("row 2: ")


def test_absolute_paths_and_backslashes_inside_raw_are_understood(
    tmp_path: Path,
) -> None:
    save(scan(2), tmp_path / "sub" / "2.png")
    text = f"path\n{tmp_path.resolve()}/0.png\nsub\\2.png\n./1.png\n"
    listing = read(write_table(tmp_path, text, 2), "table")
    assert sorted(listing.images["path"]) == ["0.png", "1.png", "sub/2.png"]
    assert not listing.rejects


def test_umlauts_meet_whatever_their_unicode_form(tmp_path: Path) -> None:
    on_disk = unicodedata.normalize("NFD", "Größe.png")
    save(scan(0), tmp_path / on_disk)
    write_table(tmp_path, f"path\n{unicodedata.normalize('NFC', 'Größe.png')}\n", 0)
    listing = read(tmp_path, "table")
    assert list(listing.images["path"]) == [on_disk]
    assert not listing.rejects


def test_an_unknown_label_or_split_is_rejected_with_what_there_is(tmp_path: Path) -> None:
    text = "path,d,s\n0.png,begnin,train\n1.png,malignant,trian\n2.png,benign,test\n"
    listing = read(
        write_table(tmp_path, text, 3),
        "table",
        labels={"diagnosis": "d"},
        classes={"diagnosis": {"benign": "benign", "malignant": "malignant"}},
        split="s",
    )
    assert sorted(r.detail for r in listing.rejects) == [
        "row 1: diagnosis: 'begnin'; did you mean 'benign'?",
        "row 2: 'trian'; say train, val or test",
    ]


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("path,d\n0.png,a\n", {"labels": {"diagnosis": "diagnosis"}}, "no column 'diagnosis'"),
        ("path,severty\n0.png,a\n", {"labels": {"d": "severity"}}, "did you mean 'severty'"),
        ("path,d\n", {}, "has a header, but no rows"),
        ("", {}, "is empty"),
        ("path,d,d\n0.png,a,b\n", {}, "the column 'd' appears twice"),
        ("id\n0\n", {"path": "{ids}.png"}, "did you mean 'id'"),
        ("id\n0\n", {"path": "{id:d}.png"}, "cannot be filled"),
        ("path\n0.png\n", {"table": "lables.csv"}, r"tables there: labels\.csv"),
        ("path\n0.png\n", {"classes": {"d": {"a": "b"}}}, "is not a label"),
    ],
)
def test_a_table_that_does_not_fit_says_where_and_what_there_is(
    tmp_path: Path, text: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        read(write_table(tmp_path, text, 1), "table", **options)


def test_a_table_that_is_not_utf8_says_so(tmp_path: Path) -> None:
    write_table(tmp_path, "", 1)
    (tmp_path / "labels.csv").write_bytes("path\nGröße.png\n".encode("cp1252"))
    with pytest.raises(UserError, match="is not UTF-8"):
        read(tmp_path, "table")


def test_nothing_in_a_table_is_run(tmp_path: Path) -> None:
    write_table(tmp_path, "id\n__import__('os').abort()\n", 1)
    images = read(tmp_path, "table", path="{id}.png").images
    assert json.dumps(list(images["path"])) == "[\"__import__('os').abort().png\"]"


@pytest.mark.parametrize("template", ["{id:>99999999999}.png", "{id:{hemorrhage}}.png", "{id"])
def test_a_template_that_would_take_all_memory_or_has_no_end_is_refused(
    tmp_path: Path, template: str
) -> None:
    with pytest.raises(UserError, match=r"the template .* cannot be filled"):
        read(table.write(tmp_path), "table", path=template)


def test_a_table_without_read_permission_is_named(unprivileged: Path) -> None:
    (table.write(unprivileged) / "labels.csv").chmod(0)
    with pytest.raises(UserError, match=r"labels\.csv: cannot be read .*check the permissions"):
        read(unprivileged, "table")
