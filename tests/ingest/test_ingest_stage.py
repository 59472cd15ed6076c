"""The stage as a whole: what it keeps, what it refuses, and what it says about the data."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from maskwise.artefacts.manifest import read_manifest, write_manifest
from maskwise.artefacts.rejects import read_rejects, write_rejects
from maskwise.config import choose, parse
from maskwise.errors import UserError
from maskwise.ingest.sources import SOURCES
from maskwise.ingest.sources.phantom import PhantomConfig
from maskwise.ingest.stage import IngestConfig, Ingested, ingest
from maskwise.scans.reasons import REASONS
from project import PROJECT
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
    phantom,
    table,
)
from sources.drawing import disc, save, save_mask, scan

LENIENT = IngestConfig(max_reject_share=1.0, workers=1)

MINIATURES: dict[str, tuple[Callable[[Path], Path], dict[str, Any], int]] = {
    "phantom": (lambda raw: phantom.write(raw, PhantomConfig(images=12)), {"images": 12}, 12),
    "busi": (busi.write, {}, 18),
    "medmnist": (medmnist.write, {}, 22),
    "image_folder": (image_folder.write, {}, 16),
    "table": (
        table.write,
        {"path": "head_ct/{id:0>3}.png", "labels": {"diagnosis": "hemorrhage"}},
        12,
    ),
    "lgg": (lgg.write, {}, 20),
    "decathlon": (decathlon.write, {}, 32),
    "covid_ct": (covid_ct.write, {}, 16),
    "head_ct": (head_ct.write, {}, 12),
    "dicom_folder": (dicom_folder.write, {"modality": "ct"}, 24),
    "lidc_idri": (dicom_folder.write, {}, 24),
    "cbis_ddsm": (cbis_ddsm.write, {"split": "corrected"}, cbis_ddsm.TAKEN),
    "inbreast": (inbreast.write, {}, 5),
    "mini_mias": (mini_mias.write, {"images": "patches"}, 12),
}
"""Source -> how to write it, options, number of images."""


def run(
    raw: Path, name: str = "image_folder", config: IngestConfig = LENIENT, **options: Any
) -> Ingested:
    """Ingest ``raw`` as the source ``name``."""
    return ingest(raw, choose(SOURCES, {"name": name, **options}, "t.ingest"), config, "t")


def reasons(result: Ingested) -> dict[str, str]:
    """Return path -> reason."""
    return dict(zip(result.rejects["path"], result.rejects["reason"], strict=True))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of six images; the last of ``b`` stands again as ``a/copy.png``."""
    for number in range(6):
        save(scan(number), tmp_path / "a" / f"{number}.png")
        save(scan(50 + number), tmp_path / "b" / f"{number}.png")
    save(scan(55), tmp_path / "a" / "copy.png")
    return tmp_path


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_gives_a_manifest_that_survives_the_disk(
    tmp_path: Path, name: str
) -> None:
    write, options, count = MINIATURES[name]
    result = run(write(tmp_path / "raw"), name, **options)
    assert len(result.manifest) == count
    write_manifest(result.manifest, tmp_path / "manifest.parquet")
    pd.testing.assert_frame_equal(
        read_manifest(tmp_path / "manifest.parquet"), result.manifest, check_dtype=False
    )


@pytest.mark.parametrize("name", SOURCES)
def test_the_same_files_elsewhere_give_the_same_answer_and_name_no_place(
    tmp_path: Path, name: str
) -> None:
    write, options, _ = MINIATURES[name]
    here = run(write(tmp_path / "here"), name, **options)
    there = run(write(tmp_path / "there ü%"), name, **options)
    text = json.dumps(here.summary, allow_nan=False)
    assert text == json.dumps(there.summary)
    assert here.manifest.to_csv() == there.manifest.to_csv()
    assert here.figure == there.figure
    assert str(tmp_path) not in text + here.manifest.to_csv() + here.rejects.to_csv()


def test_two_workers_say_what_one_says(folder: Path) -> None:
    (folder / "a" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    for number in range(60):
        save(scan(100 + number), folder / "b" / f"more {number}.png")
    alone = run(folder)
    together = run(folder, config=IngestConfig(max_reject_share=1.0, workers=2))
    pd.testing.assert_frame_equal(alone.manifest, together.manifest)
    pd.testing.assert_frame_equal(alone.rejects, together.rejects)


def test_what_cannot_be_read_is_named_with_its_reason_and_the_rest_goes_on(
    folder: Path,
) -> None:
    (folder / "a" / "empty.png").touch()
    (folder / "a" / "text.png").write_text("no image", encoding="utf-8")
    whole = (folder / "a" / "0.png").read_bytes()
    (folder / "a" / "cut.png").write_bytes(whole[: len(whole) // 2])
    os.mkfifo(folder / "a" / "pipe.png")
    (folder / "a" / "out.png").symlink_to("/etc/hostname")
    save(scan(0, 100, 101), folder / "a" / "large.png")
    (folder / "notes.txt").write_text("notes", encoding="utf-8")
    config = IngestConfig(max_reject_share=1.0, max_pixels=10_000, workers=1)
    result = run(folder, config=config)
    assert reasons(result) == {
        "a/cut.png": "damaged",
        "a/empty.png": "empty",
        "a/large.png": "too_large",
        "a/out.png": "link",
        "a/pipe.png": "not_a_file",
        "a/text.png": "not_an_image",
        "notes.txt": "other_file",
    }
    assert len(result.manifest) == 13
    assert result.summary["rejects"]["counted"] == 6


def test_rejects_survive_the_disk_whatever_the_name(tmp_path: Path, folder: Path) -> None:
    (folder / "a" / 'x, "y" %ä\n.png').touch()
    result = run(folder)
    write_rejects(result.rejects, tmp_path / "rejects.csv")
    pd.testing.assert_frame_equal(read_rejects(tmp_path / "rejects.csv"), result.rejects)


def test_too_many_rejects_stop_the_run_with_the_commonest_reason(folder: Path) -> None:
    for number in range(3):
        (folder / "a" / f"empty {number}.png").touch()
    (folder / "a" / "text.png").write_text("no image", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        run(folder, config=IngestConfig(max_reject_share=0.2, workers=1))
    message = str(caught.value)
    assert "4 of 17 images (24%) were rejected, more than max_reject_share = 20%" in message
    assert message.index("3 x empty, as 'a/empty 0.png'") < message.index("1 x not_an_image")


def test_exactly_the_allowed_share_goes_on(folder: Path) -> None:
    for number in range(13):
        (folder / "a" / f"empty {number}.png").touch()
    config = IngestConfig(max_reject_share=0.5, workers=1)
    assert run(folder, config=config).summary["rejects"]["share"] == 0.5


def test_readmes_and_tables_do_not_count_as_lost_images(folder: Path) -> None:
    for number in range(10):
        (folder / f"readme {number}.txt").write_text("text", encoding="utf-8")
    config = IngestConfig(max_reject_share=0.0, workers=1)
    assert len(run(folder, config=config).manifest) == 13


def test_a_folder_of_which_nothing_can_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").touch()
    with pytest.raises(UserError, match=r"no image could be taken.*\n.*1 x empty"):
        run(tmp_path)


def test_an_absent_folder_says_how_to_name_another(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no such folder; .*raw_root=FOLDER"):
        run(tmp_path / "absent")


def test_one_class_only_stops_the_run(tmp_path: Path) -> None:
    for number in range(3):
        save(scan(number), tmp_path / "images" / f"{number}.png")
    with pytest.raises(UserError, match="one 'label_diagnosis', 'images'"):
        run(tmp_path)
    assert len(run(tmp_path, layout="flat").manifest) == 3


def test_a_row_without_its_file_is_named(tmp_path: Path) -> None:
    table.write(tmp_path)
    (tmp_path / "head_ct" / "003.png").unlink()
    _, options, _ = MINIATURES["table"]
    assert reasons(run(tmp_path, "table", **options)) == {"head_ct/003.png": "missing_file"}


@pytest.mark.parametrize(
    ("damage", "reason", "said"),
    [
        (lambda path: path.unlink(), "missing_mask", "0_mask.png': there is no such file"),
        (lambda path: path.write_bytes(b""), "damaged_mask", "0 bytes"),
        (
            lambda path: save_mask(disc(24, 32), path),
            "mask_size",
            "0_mask.png' is 32 x 24 pixels, the image 64 x 48",
        ),
    ],
)
def test_an_image_whose_mask_is_absent_damaged_or_of_another_size_is_named(
    tmp_path: Path, damage: Callable[[Path], Any], reason: str, said: str
) -> None:
    rows = ["path,mask,d"]
    for number in range(4):
        save(scan(number), tmp_path / f"{number}.png")
        save_mask(disc(48, 64), tmp_path / f"{number}_mask.png")
        rows.append(f"{number}.png,{number}_mask.png,{number % 2}")
    (tmp_path / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
    damage(tmp_path / "0_mask.png")
    result = run(tmp_path, "table", masks="mask", labels={"diagnosis": "d"})
    row = result.rejects.iloc[0]
    assert (row["path"], row["reason"]) == ("0.png", reason)
    assert said in row["detail"]
    assert len(result.manifest) == 3


def test_a_wrong_suffix_is_taken_by_content_and_noted(folder: Path) -> None:
    (folder / "a" / "0.png").rename(folder / "a" / "0.bmp")
    (folder / "a" / "1.png").rename(folder / "a" / "1")
    result = run(folder)
    assert len(result.manifest) == 13
    assert result.summary["wrong_suffix"]["examples"] == ["a/0.bmp is PNG", "a/1 is PNG"]


def test_facts_of_a_file_are_measured_once_and_stored(tmp_path: Path) -> None:
    picture = scan(3)
    save(picture, tmp_path / "x.png", "RGBA")
    row = run(tmp_path, layout="flat", modality="CT").manifest.iloc[0]
    assert (row["width"], row["height"], row["channels"], row["bits"]) == (64, 48, 3, 8)
    assert (row["mode"], row["format"], row["modality"]) == ("RGBA", "PNG", "CT")
    assert row["bytes"] == (tmp_path / "x.png").stat().st_size
    assert row["intensity_mean"] == pytest.approx(picture.mean(), abs=0.5)
    assert row["intensity_std"] == pytest.approx(picture.std(), abs=0.5)
    assert (row["intensity_min"], row["intensity_max"]) == (picture.min(), picture.max())


def test_sixteen_bit_intensities_are_in_stored_units(tmp_path: Path) -> None:
    deep = scan(3).astype(np.uint16) * 100
    Image.fromarray(deep).save(tmp_path / "x.png")
    row = run(tmp_path, layout="flat").manifest.iloc[0]
    assert row["bits"] == 16
    assert row["intensity_mean"] == pytest.approx(deep.mean())
    assert row["intensity_max"] == deep.max()


def test_a_float_image_that_holds_nan_is_damaged(tmp_path: Path) -> None:
    values = scan(3).astype(np.float32)
    Image.fromarray(values).save(tmp_path / "good.tif")
    values[3, 3] = np.nan
    Image.fromarray(values).save(tmp_path / "nan.tif")
    assert reasons(run(tmp_path, layout="flat")) == {"nan.tif": "damaged"}


def test_every_page_of_a_tiff_becomes_a_row_of_one_group(tmp_path: Path) -> None:
    pages = [Image.fromarray(scan(seed)) for seed in range(3)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    save(scan(9), tmp_path / "other.png")
    manifest = run(tmp_path, layout="flat").manifest
    pages_of = manifest[manifest["path"] == "stack.tif"]
    assert list(pages_of["frame"]) == [0, 1, 2]
    assert pages_of["image_id"].nunique() == 3
    assert pages_of["group"].nunique() == 1
    assert manifest["group"].nunique() == 2


def test_identical_pictures_are_one_group_and_their_labels_contradict(folder: Path) -> None:
    result = run(folder, duplicate_distance=0)
    groups = result.manifest.set_index("path")["group"]
    assert groups["a/copy.png"] == groups["b/5.png"]
    assert groups.nunique() == 12
    assert result.summary["contradictions"]["labels"] == [
        {"label": "diagnosis", "images": {"a": ["a/copy.png"], "b": ["b/5.png"]}}
    ]
    assert result.summary["duplicates"]["pairs_with_other_labels"] == {"diagnosis": 1}


def test_the_distance_decides_whether_an_edited_copy_is_a_duplicate(folder: Path) -> None:
    darker = (scan(0) * 0.8).astype(np.uint8)
    Image.fromarray(darker).resize((80, 60)).save(folder / "b" / "darker.jpg")
    found = {
        distance: run(folder, duplicate_distance=distance).summary["duplicates"]["sets"]
        for distance in (0, 8)
    }
    assert found == {0: 1, 8: 2}


def test_a_patient_ties_images_and_duplicates_tie_patients(tmp_path: Path) -> None:
    for name, seed in (("p1_a", 1), ("p1_b", 2), ("p2_a", 2), ("p2_b", 3), ("p3_a", 4)):
        save(scan(seed), tmp_path / f"{name}.png")
    result = run(tmp_path, layout="flat", patient="(p[0-9])_")
    groups = result.manifest.set_index("path")["group"]
    assert groups["p1_a.png"] == groups["p2_b.png"]
    assert groups["p3_a.png"] != groups["p1_a.png"]
    assert result.summary["duplicates"]["sets_across_patients"] == 1
    assert any("different names" in sentence for sentence in result.summary["warnings"])


def test_blank_pictures_are_alike_without_being_duplicates(tmp_path: Path) -> None:
    for number in range(4):
        save(np.full((48, 64), 7, np.uint8), tmp_path / f"blank {number}.png")
        save(scan(number), tmp_path / f"{number}.png")
    result = run(tmp_path, layout="flat")
    assert result.manifest["group"].nunique() == 8
    assert result.summary["blank_images"]["images"] == 4


def test_masks_of_one_picture_that_lie_apart_are_named_with_their_overlap(
    tmp_path: Path,
) -> None:
    result = run(busi.write(tmp_path), "busi")
    found = result.summary["contradictions"]["masks"]
    base = "Dataset_BUSI_with_GT"
    pair = [f"{base}/benign/benign (7).png", f"{base}/malignant/malignant (6).png"]
    assert found["pairs"] == [{"images": pair, "iou": 0.0}]


@pytest.mark.parametrize(("agreement", "contradictory"), [(0.4, 0), (0.7, 1)])
def test_masks_are_compared_at_one_size_against_the_chosen_agreement(
    tmp_path: Path, agreement: float, contradictory: int
) -> None:
    picture = scan(1, 64, 64)
    left = np.zeros((64, 64), bool)
    left[:, :32] = True
    save(picture, tmp_path / "x.png")
    save_mask(left, tmp_path / "x_mask.png")
    larger = Image.fromarray(picture).resize((128, 128), Image.Resampling.BICUBIC)
    larger.save(tmp_path / "y.png")
    half = np.zeros((128, 128), bool)
    half[:64, :64] = True  # half of the other mask, at twice the size: IoU 1/2
    save_mask(half, tmp_path / "y_mask.png")
    config = IngestConfig(mask_agreement=agreement, workers=1)
    result = run(tmp_path, config=config, layout="flat", mask_suffix="_mask")
    masks = result.summary["contradictions"]["masks"]
    assert masks["median_iou"] == 0.5
    assert masks["contradictory"] == contradictory


def test_an_official_split_that_leaks_is_kept_and_reported_by_name(tmp_path: Path) -> None:
    result = run(medmnist.write(tmp_path), "medmnist")
    leaks = result.summary["official_split_leaks"]
    assert leaks["groups"] == 1
    assert leaks["named"][0]["images"] == {
        "test": ["breastmnist.npz#16"],
        "train": ["breastmnist.npz#0"],
    }
    assert result.manifest["split"].value_counts()["train"] == 12
    assert any("official split leaks" in sentence for sentence in result.summary["warnings"])


def test_counts_are_given_a_class_and_split(tmp_path: Path) -> None:
    counts = run(medmnist.write(tmp_path), "medmnist").summary["labels"]["diagnosis"]
    malignant, others = counts["malignant"], counts["normal or benign"]
    assert malignant["by_split"] == {"train": 6, "validation": 2, "test": 3}
    assert malignant["images"] + others["images"] == 22


def test_an_image_keeps_its_identity_when_others_come_and_go(folder: Path) -> None:
    before = run(folder).manifest.set_index("path")["image_id"]
    (folder / "a" / "0.png").unlink()
    save(scan(99), folder / "a" / "00.png")
    after = run(folder).manifest.set_index("path")["image_id"]
    shared = before.index.intersection(after.index)
    assert (before[shared] == after[shared]).all()
    assert after["a/00.png"] not in set(before)


def test_a_folder_that_may_only_be_read_is_read_and_left_as_it_is(tmp_path: Path) -> None:
    expected = run(busi.write(tmp_path / "writable"), "busi").manifest
    raw = busi.write(tmp_path / "raw")
    everything = sorted(raw.rglob("*"))
    for path in (raw, *everything):
        path.chmod(0o500 if path.is_dir() else 0o400)
    before = [path.stat() for path in everything]
    try:
        pd.testing.assert_frame_equal(run(raw, "busi").manifest, expected)
        assert sorted(raw.rglob("*")) == everything  # root may write all the same
        after = [path.stat() for path in everything]
        assert [seen.st_mtime_ns for seen in after] == [seen.st_mtime_ns for seen in before]
    finally:
        for path in (raw, *everything):
            path.chmod(0o700)


def test_reasons_are_a_closed_list_and_the_page_explains_each() -> None:
    page = (PROJECT / "docs/sources.md").read_text(encoding="utf-8")
    assert [reason for reason in REASONS if f"`{reason}`" not in page] == []


def test_a_misspelt_option_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(UserError, match=r"ingest\.max_pixel: .*did you mean 'max_pixels'"):
        parse(IngestConfig, {"max_pixel": 9}, "ingest")


def test_the_figure_is_a_png_also_without_labels(tmp_path: Path) -> None:
    for number in range(3):
        save(scan(number), tmp_path / f"{number}.png")
    assert run(tmp_path, layout="flat").figure.startswith(b"\x89PNG")


def test_the_figure_takes_class_names_as_they_are(tmp_path: Path) -> None:
    for name in ("_x$y^{", "50 % $", "a"):
        save(scan(len(name)), tmp_path / name / "1.png")
    assert run(tmp_path).figure.startswith(b"\x89PNG")


def test_classes_that_differ_in_spelling_only_are_warned_of_with_their_counts(
    folder: Path,
) -> None:
    (folder / "b").rename(folder / "A")
    summary = run(folder).summary
    assert summary["alike_labels"] == {"diagnosis": [{"A": 6, "a": 7}]}
    assert any(
        "diagnosis: 'A' (6) and 'a' (7) differ only in spelling" in sentence
        for sentence in summary["warnings"]
    )


def test_how_many_rows_say_that_they_have_no_label_is_counted_by_word(tmp_path: Path) -> None:
    for number in range(4):
        save(scan(number), tmp_path / f"{number}.png")
    text = "path,d\n0.png,a\n1.png,b\n2.png,NaN\n3.png,\n"
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    result = run(tmp_path, "table", labels={"diagnosis": "d"})
    assert result.summary["no_label"] == {"diagnosis": {"NaN": 1, "": 1}}
    assert result.manifest["label_diagnosis"].isna().tolist() == [False, False, True, True]


def test_two_names_that_differ_in_their_unicode_form_only_cost_one_file(
    tmp_path: Path,
) -> None:
    for number, name in enumerate(("u\u0308.png", "\u00fc.png", "b.png")):
        save(scan(number), tmp_path / name)
    result = run(tmp_path, layout="flat")
    assert len(result.manifest) == 2
    (row,) = result.rejects.to_dict("records")
    assert row["reason"] == "bad_name"
    assert "another Unicode form" in row["detail"]
