"""Pictures on both sides of the split that are nearly copies."""

from dataclasses import replace

import numpy as np
import pandas as pd

from maskwise.report.facts import read_facts
from maskwise.report.inputs import ReportInputs
from maskwise.report.names import without_names
from maskwise.report.sections import data
from maskwise.report.similar_images import similar_images
from report.synthetic import study


def images(hashes: list[int]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": [f"i{n}" for n in range(len(hashes))],
            "path": [f"{n}.png" for n in range(len(hashes))],
            "phash": [f"{value:016x}" for value in hashes],
            "blank": False,
            "split": None,
        }
    )


def parted(names: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"image_id": [f"i{n}" for n in range(len(names))], "split": names})


def test_a_test_image_a_little_beyond_the_distance_is_named_with_its_nearest() -> None:
    manifest = images([0b0, 0b111111, 0b11111111, 2**20 - 1, 0b1, 0b11111])
    splits = parted(["test", "train", "train", "train", "validation", "test"])

    found = similar_images(manifest, splits, 4)

    # 0.png: 6, 8 and 20 bits from the training images; 5.png: 1 (a copy), 3 and 15.
    assert found is not None
    assert found.bound == 8
    assert found.pairs.to_dict("records") == [{"test": "0.png", "train": "1.png", "bits": 6}]


def test_blank_pictures_are_alike_for_no_reason() -> None:
    manifest = images([0b0, 0b111111]).assign(blank=[True, False])

    found = similar_images(manifest, parted(["test", "train"]), 4)

    assert found is not None
    assert found.pairs.empty


def test_the_nearest_is_that_of_a_loop_over_all_pairs() -> None:
    generator = np.random.default_rng(0)
    near = 3 * 2 ** generator.integers(0, 40, (60, 3))
    manifest = images([int(np.bitwise_or.reduce(row)) for row in near])
    splits = parted(["test", "train", "train"] * 20)

    found = similar_images(manifest, splits, 3)

    hashes = [int(text, 16) for text in manifest["phash"]]
    slow = {}
    for one in range(0, 60, 3):
        apart = [
            bits
            for other in range(60)
            if other % 3 and (bits := (hashes[one] ^ hashes[other]).bit_count()) > 3
        ]
        if min(apart) <= 6:
            slow[f"{one}.png"] = min(apart)
    assert found is not None
    assert slow
    assert dict(zip(found.pairs["test"], found.pairs["bits"], strict=True)) == slow


def test_where_only_equal_pixels_are_copies_nothing_lies_beside_them() -> None:
    assert similar_images(images([0, 1]), parted(["test", "train"]), 0) is None


def beside_the_split() -> ReportInputs:
    """Return a study one of whose test images is nearly a training image."""
    inputs = study()
    first = int(inputs.manifest["phash"].iloc[0], 16)
    manifest = inputs.manifest.copy()
    manifest.loc[239, "phash"] = f"{first ^ 0b1111111:016x}"
    return replace(inputs, manifest=manifest)


def test_the_leak_audit_tells_what_the_threshold_leaves() -> None:
    text = str(data.build(read_facts(beside_the_split())))

    assert "up to 8 bits away: 1 of 80." in text
    assert "images/scan 239.png: images/scan 0.png (7 bits)" in text
    assert "No test image has a training image up to 8 bits" in str(
        data.build(read_facts(study()))
    )


def test_where_names_are_hidden_similar_images_are_called_by_their_ids() -> None:
    inputs = beside_the_split()
    test, train = (inputs.manifest["image_id"].iloc[row] for row in (239, 0))

    text = str(data.build(read_facts(without_names(inputs))))

    assert f"{test}: {train} (7 bits)" in text
    assert "images/scan" not in text
