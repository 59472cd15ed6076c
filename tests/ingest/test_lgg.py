"""The source `lgg`: sequences, patients by folder, tumour by slice, grade by table."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from maskwise.config import choose
from maskwise.errors import UserError
from maskwise.ingest.contracts import Listing
from maskwise.ingest.sources import SOURCES
from maskwise.ingest.stage import IngestConfig, Ingested, ingest
from maskwise.scans.pictures import read_image
from sources import lgg
from sources.drawing import disc, save_mask, scan

FOLDER = "kaggle_3m/TCGA_CS_4941_19960909"


def read(raw: Path, **options: Any) -> Listing:
    """List ``raw`` with the options of the YAML block."""
    return choose(SOURCES, {"name": "lgg", **options}, "t.ingest").listing(raw)


def run(raw: Path, **options: Any) -> Ingested:
    """Ingest ``raw``."""
    source = choose(SOURCES, {"name": "lgg", **options}, "t.ingest")
    return ingest(raw, source, IngestConfig(max_reject_share=1.0, workers=1), "t")


def reasons(listing: Listing) -> dict[str, str]:
    """Return the reason for each file that is not taken, but readmes."""
    return {r.path: r.reason for r in listing.rejects if r.reason != "other_file"}


@pytest.fixture(scope="module")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lgg.write(tmp_path_factory.mktemp("lgg"))


@pytest.fixture(scope="module")
def ingested(miniature: Path) -> Ingested:
    return run(miniature)


@pytest.fixture(scope="module")
def real(shared_data: Path) -> Ingested:
    return run(shared_data / "lgg")


# The published layout


def test_slices_stand_by_their_number_and_not_by_their_name(ingested: Ingested) -> None:
    rows = ingested.manifest[ingested.manifest["patient"] == "TCGA_CS_4941"]
    assert list(rows["slice"]) == list(range(1, 12))
    assert [Path(path).stem.split("_")[-1] for path in rows["path"]] == [
        str(number) for number in range(1, 12)
    ]
    assert list(rows["relative_slice"]) == pytest.approx(np.arange(11) / 10)


def test_the_patient_is_the_first_three_parts_of_the_folder(ingested: Ingested) -> None:
    manifest = ingested.manifest
    assert set(manifest["patient"]) == {"TCGA_CS_4941", "TCGA_DU_5849", "TCGA_HT_A61B"}
    assert manifest.groupby("patient")["group"].nunique().eq(1).all()
    assert manifest["volume"].nunique() == 3
    assert set(manifest["institution"]) == {"CS", "DU", "HT"}


def test_the_diagnosis_is_whether_the_slices_mask_shows_tumour(ingested: Ingested) -> None:
    manifest = ingested.manifest
    shows = manifest["label_diagnosis"] == "tumour"
    assert (shows == (manifest["lesion_share"] > 0)).all()
    assert set(manifest["label_diagnosis"]) == {"tumour", "no tumour"}
    assert not shows[manifest["relative_slice"].isin([0, 1])].any()


def test_the_grade_comes_from_the_table_and_a_blank_one_is_none(ingested: Ingested) -> None:
    grade = ingested.manifest.groupby("patient")["label_grade"].first()
    assert grade["TCGA_CS_4941"] == "III"
    assert grade["TCGA_DU_5849"] == "II"
    assert pd.isna(grade["TCGA_HT_A61B"])


def test_a_patient_of_the_table_without_a_folder_stops_nothing(ingested: Ingested) -> None:
    assert "TCGA_CS_9999" not in set(ingested.manifest["patient"])
    assert set(ingested.rejects["reason"]) == {"other_file"}


def test_any_column_of_the_table_can_be_a_label(miniature: Path) -> None:
    images = read(miniature, labels={"sex": "gender"}).images
    by_patient = images.groupby("patient")["label_sex"].first()
    assert by_patient["TCGA_CS_4941"] == "2"
    assert pd.isna(by_patient["TCGA_DU_5849"])
    assert "label_grade" not in images


def test_a_table_with_semicolons_is_understood(tmp_path: Path) -> None:
    table = lgg.write(tmp_path) / "kaggle_3m" / "data.csv"
    table.write_text(lgg.TABLE.replace(",", ";").rstrip("\n"), encoding="utf-8")
    assert set(read(tmp_path).images["label_grade"].dropna()) == {"II", "III"}


def test_a_word_for_no_grade_is_no_grade_and_is_counted(tmp_path: Path) -> None:
    table = lgg.write(tmp_path) / "kaggle_3m" / "data.csv"
    table.write_text(table.read_text().replace("4941,1,2", "4941,1,NA"))
    listing = read(tmp_path)
    assert listing.images["label_grade"].dropna().unique().tolist() == ["II"]
    assert listing.no_label == {"grade": {"NA": 1, "": 1}}
    assert listing.warnings[0].startswith("grade: 2 rows counted as unlabelled")


def test_sequences_that_are_copies_of_flair_are_recorded(ingested: Ingested) -> None:
    replaced = ingested.manifest.groupby("patient")[["pre_replaced", "post_replaced"]].first()
    assert replaced.loc["TCGA_HT_A61B"].tolist() == [True, True]
    assert not replaced.drop("TCGA_HT_A61B").any(axis=None)


def test_one_replaced_sequence_is_told_from_two_and_black_slices_decide_nothing(
    tmp_path: Path,
) -> None:
    folder = lgg.write(tmp_path) / FOLDER
    for number in range(1, 12):
        flair, post = scan(100 + number), scan(200 + number)
        channels = [np.zeros_like(flair)] * 3 if number == 6 else [flair, flair, post]
        Image.fromarray(np.dstack(channels)).save(folder / f"{folder.name}_{number}.tif")
    images = read(tmp_path).images
    rows = images[images["patient"] == "TCGA_CS_4941"]
    assert (rows["pre_replaced"].all(), rows["post_replaced"].any()) == (True, False)


def test_all_channels_are_the_three_sequences(miniature: Path) -> None:
    row = read(miniature).images.iloc[0]
    image = read_image(miniature, row["path"], row["frame"])
    assert image.shape == (48, 64, 3)


def test_flair_alone_is_the_second_channel_and_nothing_is_mixed_in(miniature: Path) -> None:
    row = read(miniature, channels="flair").images.iloc[0]
    image = read_image(miniature, row["path"], row["frame"])
    assert image.shape == (48, 64, 1)
    with Image.open(miniature / row["path"]) as whole:
        assert np.array_equal(image[..., 0], np.asarray(whole)[..., 1])


def test_with_flair_alone_everything_is_measured_on_it(miniature: Path) -> None:
    row = run(miniature, channels="flair").manifest.iloc[0]
    assert row["channels"] == 1
    assert row["intensity_mean"] == pytest.approx(scan(1).mean())
    assert row["label_diagnosis"] == "no tumour"  # the mask has no channels to choose from


# What is not as it should be


def test_the_same_set_further_down_is_taken_once(tmp_path: Path) -> None:
    lgg.write(tmp_path)
    lgg.write(tmp_path, "lgg-mri-segmentation/kaggle_3m")
    listing = read(tmp_path)
    assert len(listing.images) == 20
    assert set(reasons(listing).values()) == {"second_copy"}
    assert all(path.startswith("lgg-mri") for path in reasons(listing))


def test_a_copy_of_part_of_the_set_loses_nobody(tmp_path: Path) -> None:
    lgg.write(tmp_path, "a/kaggle_3m")
    moved = tmp_path / "b" / "TCGA_DU_5849_19950405"
    moved.parent.mkdir()
    (tmp_path / "a/kaggle_3m" / moved.name).rename(moved)
    assert read(tmp_path).images["patient"].nunique() == 3


def test_images_with_other_names_are_named_and_masks_and_images_that_miss_each_other(
    tmp_path: Path,
) -> None:
    folder = lgg.write(tmp_path) / FOLDER
    Image.fromarray(scan(0)).save(folder / "overview.tif")
    (folder / f"{folder.name}_1.tif").unlink()
    (folder / f"{folder.name}_2_mask.tif").unlink()
    assert reasons(read(tmp_path)) == {
        f"{FOLDER}/overview.tif": "unknown_place",
        f"{FOLDER}/{folder.name}_1_mask.tif": "mask_without_image",
        f"{FOLDER}/{folder.name}_2.tif": "missing_mask",
    }


def test_a_mask_of_another_size_costs_its_slice_only(tmp_path: Path) -> None:
    folder = lgg.write(tmp_path) / FOLDER
    save_mask(disc(24, 32), folder / f"{folder.name}_3_mask.tif", "L")
    result = run(tmp_path)
    row = result.rejects[result.rejects["reason"] != "other_file"].iloc[0]
    assert (row["path"], row["reason"]) == (f"{FOLDER}/{folder.name}_3.tif", "mask_size")
    assert len(result.manifest) == 19


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (None, r"data\.csv: is not in .*labels: \{\}"),
        ("Patient,grade\nTCGA_CS_4941,1\n", "has no column 'neoplasm_histologic_grade'"),
        (lgg.TABLE + "TCGA_CS_4941,1,1,2\n", "the patient 'TCGA_CS_4941' appears twice"),
    ],
)
def test_a_table_that_does_not_hold_the_labels_stops_with_the_remedy(
    tmp_path: Path, table: str | None, message: str
) -> None:
    path = lgg.write(tmp_path) / "kaggle_3m" / "data.csv"
    if table is None:
        path.unlink()
    else:
        path.write_text(table, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read(tmp_path)
    if table is None:
        assert len(read(tmp_path, labels={}).images) == 20


def test_a_label_of_the_masks_name_is_refused() -> None:
    with pytest.raises(UserError, match=r"labels\.diagnosis: is reserved"):
        choose(SOURCES, {"name": "lgg", "labels": {"diagnosis": "gender"}}, "t.ingest")


def test_what_the_slice_number_alone_predicts_stands_beside_the_file_facts(
    ingested: Ingested,
) -> None:
    found = ingested.summary["slice_number_audit"]["diagnosis"]
    assert found["low"] <= found["auroc"] <= found["high"]
    assert set(found["importances"]) == {"relative_slice"}
    assert set(ingested.summary["file_facts_audit"]) == {"diagnosis", "grade"}


# The real files


def test_28_patients_are_read_whole(real: Ingested) -> None:
    assert real.manifest["label_diagnosis"].value_counts().to_dict() == {
        "no tumour": 608,
        "tumour": 363,
    }
    assert real.manifest["group"].nunique() == real.manifest["patient"].nunique() == 28
    assert set(real.rejects["reason"]) == {"other_file"}


def test_grades_are_8_and_19_patients_and_one_has_none(real: Ingested) -> None:
    grade = real.manifest.groupby("patient")["label_grade"].first()
    assert grade.value_counts().to_dict() == {"III": 19, "II": 8}
    assert list(grade[grade.isna()].index) == ["TCGA_HT_A61B"]


def test_institutions_and_the_one_patient_without_other_sequences_are_found(
    real: Ingested,
) -> None:
    patients = real.manifest.groupby("patient").first()
    assert patients["institution"].value_counts().to_dict() == {
        "DU": 12,
        "HT": 9,
        "CS": 4,
        "FG": 3,
    }
    assert list(patients.index[patients["pre_replaced"]]) == ["TCGA_HT_A61B"]
    assert list(patients.index[patients["post_replaced"]]) == ["TCGA_HT_A61B"]


def test_the_slice_number_is_a_strong_cue_and_is_warned_of(real: Ingested) -> None:
    found = real.summary["slice_number_audit"]["diagnosis"]
    assert found["low"] > 0.75
    assert any("place of a slice" in sentence for sentence in real.summary["warnings"])
