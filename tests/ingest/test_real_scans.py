"""Known defects of published sets, found in the real files."""

from pathlib import Path
from typing import Any

import pytest

from maskwise.config import choose
from maskwise.ingest.duplicates import near_duplicates, parse_hashes
from maskwise.ingest.sources import SOURCES
from maskwise.ingest.stage import IngestConfig, Ingested, ingest


def run(raw: Path, name: str, **options: Any) -> Ingested:
    """Ingest a published set."""
    source = choose(SOURCES, {"name": name, **options}, "real.ingest")
    return ingest(raw, source, IngestConfig(), "real")


@pytest.fixture(scope="module")
def busi(shared_data: Path) -> Ingested:
    return run(shared_data / "busi", "busi")


def test_busi_is_read_whole(busi: Ingested) -> None:
    counts = busi.manifest["label_diagnosis"].value_counts().to_dict()
    assert counts == {"benign": 437, "malignant": 210, "normal": 133}
    assert busi.rejects.empty


def test_busi_has_124_sets_of_duplicates(busi: Ingested) -> None:
    found = busi.summary["duplicates"]
    assert (found["sets"], found["images"]) == (124, 277)
    assert found["sets_by_size"] == {"2": 100, "3": 19, "4": 5}
    assert busi.manifest["group"].nunique() == 627


@pytest.mark.parametrize(
    ("distance", "pairs", "images"),
    [(0, 44, 82), (2, 137, 217), (4, 186, 277), (6, 210, 316), (10, 226, 335)],
)
def test_busi_has_so_many_pairs_within_a_distance(
    busi: Ingested, distance: int, pairs: int, images: int
) -> None:
    near = near_duplicates(parse_hashes(list(busi.manifest["phash"])), distance)
    sizes = {number: list(near.component).count(number) for number in set(near.component)}
    assert near.pairs == pairs
    assert sum(size for size in sizes.values() if size > 1) == images


def test_busi_pictures_with_two_labels_are_named(busi: Ingested) -> None:
    known = [
        ("benign (131)", "malignant (51)"),
        ("benign (42)", "malignant (51)"),
        ("benign (164)", "malignant (52)"),
        ("benign (85)", "malignant (52)"),
        ("benign (333)", "malignant (77)"),
        ("benign (399)", "malignant (93)"),
        ("benign (406)", "malignant (94)"),
        ("benign (433)", "malignant (145)"),
        ("benign (269)", "normal (1)"),
        ("benign (437)", "normal (34)"),
    ]
    found = {
        (Path(first).stem, Path(second).stem)
        for entry in busi.summary["contradictions"]["labels"]
        for first in entry["images"]["benign"]
        for value in ("malignant", "normal")
        for second in entry["images"].get(value, [])
    }
    assert found == set(known)


def test_busi_masks_that_contradict_are_named(busi: Ingested) -> None:
    masks = busi.summary["contradictions"]["masks"]
    overlap = {tuple(Path(p).stem for p in e["images"]): e["iou"] for e in masks["pairs"]}
    assert masks["median_iou"] == pytest.approx(0.84, abs=0.01)
    assert overlap["benign (236)", "benign (247)"] == 0
    assert overlap["benign (199)", "benign (248)"] == pytest.approx(0.07, abs=0.01)
    assert overlap["malignant (116)", "malignant (18)"] == pytest.approx(0.12, abs=0.01)
    # 15 pairs with lesions below one half, and two where one of the masks is empty.
    assert masks["contradictory"] == 17


def test_busi_rgba_masks_and_several_masks_are_united(busi: Ingested) -> None:
    manifest = busi.manifest.assign(
        stem=busi.manifest["path"].map(lambda path: Path(path).stem)
    )
    rows = manifest.set_index("stem")
    assert len(rows.at["benign (195)", "masks"]) == 3
    assert (manifest["masks"].map(len) > 1).sum() == 17
    assert 0 < rows.at["benign (4)", "lesion_share"] < 0.5
    lesions = manifest[manifest["label_diagnosis"] != "normal"]
    assert (lesions["lesion_share"] > 0).all()
    assert (manifest[manifest["label_diagnosis"] == "normal"]["lesion_share"] == 0).all()


def test_breastmnist_keeps_its_split_and_is_reported_to_leak(shared_data: Path) -> None:
    classes = ["malignant", "normal or benign"]
    result = run(shared_data / "medmnist", "medmnist", classes=classes)
    counts = result.summary["labels"]["diagnosis"]
    assert counts["malignant"]["by_split"] == {"train": 147, "validation": 21, "test": 42}
    assert result.manifest["split"].value_counts().to_dict() == {
        "train": 546,
        "test": 156,
        "validation": 78,
    }
    assert result.summary["official_split_leaks"]["groups"] > 0


def test_head_ct_is_read_through_the_table(shared_data: Path) -> None:
    result = run(
        shared_data / "head_ct",
        "table",
        path="head_ct/{id:0>3}.png",
        labels={"diagnosis": "hemorrhage"},
        classes={"diagnosis": {0: "none", 1: "haemorrhage"}},
        duplicate_distance=2,
    )
    assert result.manifest["label_diagnosis"].value_counts().to_dict() == {
        "haemorrhage": 100,
        "none": 100,
    }
    alpha = result.manifest[result.manifest["mode"] == "RGBA"]
    assert (len(alpha), set(alpha["label_diagnosis"])) == (12, {"none"})
    groups = result.manifest.set_index("path")["group"]
    assert groups["head_ct/188.png"] == groups["head_ct/189.png"]
    assert groups["head_ct/092.png"] != groups["head_ct/102.png"]  # a false alarm at 4 bits
    assert result.summary["file_facts_audit"]["diagnosis"]["auroc"] > 0.5


def test_a_table_of_patches_groups_by_patient(shared_data: Path) -> None:
    result = run(
        shared_data / "mini_mias_patches",
        "table",
        table="patches.csv",
        labels={"diagnosis": "severity"},
        patient="patient",
    )
    assert len(result.manifest) == 326
    assert result.manifest["group"].nunique() == result.manifest["patient"].nunique() == 161


def test_a_flat_folder_without_labels_is_read(shared_data: Path) -> None:
    result = run(shared_data / "luna_slices", "image_folder", layout="flat")
    assert len(result.manifest) == 160
    assert result.summary["labels"] == {}
