"""Head CT: its header with a blank, its ids without zeros, one folder or two."""

from pathlib import Path
from typing import Any

import pytest

from maskwise.config import choose
from maskwise.errors import UserError
from maskwise.ingest.contracts import Listing
from maskwise.ingest.sources import SOURCES
from maskwise.ingest.stage import IngestConfig, ingest
from sources import head_ct
from sources.drawing import save, scan


def read(raw: Path, **options: Any) -> Listing:
    return choose(SOURCES, {"name": "head_ct", **options}, "t.ingest").listing(raw)


@pytest.mark.parametrize("folder", ["head_ct/head_ct", "head_ct", "head_ct {new}/head_ct"])
def test_images_meet_their_labels_in_one_folder_or_two(tmp_path: Path, folder: str) -> None:
    images = read(head_ct.write(tmp_path, folder)).images
    labels = dict(zip(images["path"], images["label_diagnosis"], strict=True))
    assert len(labels) == head_ct.IMAGES
    assert labels[f"{folder}/005.png"] == "haemorrhage"
    assert labels[f"{folder}/006.png"] == "none"


def test_the_source_may_be_pointed_at_the_folder_above(tmp_path: Path) -> None:
    head_ct.write(tmp_path / "archive")
    images = read(tmp_path).images
    assert len(images) == head_ct.IMAGES


def test_an_image_that_the_table_leaves_out_is_named(tmp_path: Path) -> None:
    save(scan(77), head_ct.write(tmp_path) / "head_ct/head_ct/200.png")
    (reject,) = read(tmp_path).rejects
    assert (reject.path, reject.reason) == ("head_ct/head_ct/200.png", "missing_label")


def test_a_folder_without_images_or_table_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (head_ct.write(tmp_path) / "labels.csv").unlink()
    with pytest.raises(UserError, match=r"labels\.csv: not in .*; point the source at"):
        read(tmp_path)


def test_head_ct_has_100_images_of_each_class_and_one_pair_of_twins(shared_data: Path) -> None:
    source = choose(SOURCES, {"name": "head_ct"}, "real.ingest")
    found = ingest(shared_data / "head_ct", source, IngestConfig(), "real")
    counts = found.manifest["label_diagnosis"].value_counts().to_dict()
    assert counts == {"haemorrhage": 100, "none": 100}
    group = found.manifest.set_index("path")["group"]
    assert group["head_ct/188.png"] == group["head_ct/189.png"]
    assert group["head_ct/092.png"] != group["head_ct/102.png"]  # a false alarm at 4 bits
    modes = found.manifest.groupby("label_diagnosis")["mode"].value_counts()
    assert modes["none"].to_dict() == {"RGB": 88, "RGBA": 12}
