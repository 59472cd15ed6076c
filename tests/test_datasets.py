"""Kedro's doors to the artefacts: what goes in comes out, and the old stays if that fails."""

import errno
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from kedro.config import OmegaConfigLoader
from kedro.io import DataCatalog, DatasetError

from finetune.patches import header
from maskwise import datasets
from maskwise.artefacts.encoder import write_tensors
from maskwise.artefacts.store import writing_store
from maskwise.encoders.context_cnn import ContextCnnConfig
from maskwise.errors import UserError


def files(*names: str) -> Iterator[tuple[str, bytes]]:
    for name in names:
        yield name, name.encode()


def test_generated_files_arrive_in_their_folders(tmp_path: Path) -> None:
    folder = datasets.RawFolder(str(tmp_path / "raw"))
    folder.save(files("benign/1.png", "100 % für.csv"))
    assert (folder.load() / "benign/1.png").read_bytes() == b"benign/1.png"
    assert (folder.load() / "100 % für.csv").exists()


def test_a_second_generation_leaves_no_file_of_the_first(tmp_path: Path) -> None:
    folder = datasets.RawFolder(str(tmp_path / "raw"))
    folder.save(files("old.png"))
    folder.save(files("new.png"))
    assert [path.name for path in folder.load().iterdir()] == ["new.png"]


def test_a_generation_that_fails_half_way_leaves_the_old_folder(tmp_path: Path) -> None:
    def full_disk() -> Iterator[tuple[str, bytes]]:
        yield "new.png", b""
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = datasets.RawFolder(str(tmp_path / "raw"))
    folder.save(files("old.png"))
    with pytest.raises(DatasetError, match="the disk is full"):
        folder.save(full_disk())
    assert [path.name for path in tmp_path.rglob("*")] == ["raw", "old.png"]


def test_an_empty_raw_folder_counts_as_absent(tmp_path: Path) -> None:
    assert not datasets.RawFolder(str(tmp_path)).exists()


def test_an_absent_raw_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        datasets.RawFolder(str(tmp_path / "nowhere")).load()
    assert isinstance(caught.value, UserError)
    assert "nowhere" in str(caught.value)


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_a_table_comes_back_as_it_was(tmp_path: Path, name: str) -> None:
    table = pd.DataFrame({"recipe": ["dqn", "scratch"], "p": [0.25, 1.0]})
    dataset = datasets.TableDataset(str(tmp_path / name))
    dataset.save(table)
    pd.testing.assert_frame_equal(dataset.load(), table)


def test_a_table_without_its_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"the columns .*truth.* are missing"):
        datasets.PredictionsDataset(str(tmp_path / "p.csv")).save(pd.DataFrame({"a": [1]}))


DAMAGED = [
    (datasets.ManifestDataset, "manifest.parquet"),
    (datasets.RejectsDataset, "rejects.csv"),
    (datasets.SummaryDataset, "data_summary.json"),
    (datasets.StoreSummaryDataset, "store_summary.json"),
    (datasets.SplitsDataset, "splits.parquet"),
    (datasets.EncoderDataset, "encoder.safetensors"),
    (datasets.PolicyDataset, "policy.safetensors"),
    (datasets.HistoryDataset, "history.csv"),
    (datasets.GalleryDataset, "gallery.npz"),
    (datasets.PredictionsDataset, "predictions.parquet"),
    (datasets.SubsetsDataset, "subsets.parquet"),
    (datasets.ScoresDataset, "scores.json"),
    (datasets.PairedDataset, "paired.csv"),
]


@pytest.mark.parametrize("content", [b"", b"{}", b"hello,x\n1,2\n", b"PK\x03\x04", b"PAR1"])
@pytest.mark.parametrize(("kind", "name"), DAMAGED)
def test_a_damaged_artefact_is_named(
    tmp_path: Path, kind: type[datasets.ArtefactDataset], name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError) as caught:
        kind(str(tmp_path / name)).load()
    assert isinstance(caught.value, UserError)
    assert str(caught.value).startswith(str(tmp_path / name))


def test_a_damaged_artefact_says_which_stage_makes_it(tmp_path: Path) -> None:
    (tmp_path / "g.npz").write_bytes(b"PK")
    layer = {"kedro-viz": {"layer": "pretrain"}}
    with pytest.raises(
        DatasetError, match=r"g\.npz: cannot be read \(.*\); run pretrain again"
    ):
        datasets.GalleryDataset(str(tmp_path / "g.npz"), layer).load()


def test_a_history_that_was_cut_off_within_a_line_is_refused(tmp_path: Path) -> None:
    dataset = datasets.HistoryDataset(str(tmp_path / "history.csv"))
    dataset.save(pd.DataFrame({"epoch": [0, 1, 2], "loss": [0.75, 0.5, 0.25]}))
    whole = (tmp_path / "history.csv").read_bytes()
    (tmp_path / "history.csv").write_bytes(whole[:-3])
    with pytest.raises(DatasetError, match=r"history\.csv: ends within a line"):
        dataset.load()


@pytest.mark.parametrize("file", ["images.npy", "masks.npy", "index.parquet", "store.json"])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_store_with_a_damaged_file_is_named(tmp_path: Path, file: str, share: float) -> None:
    with writing_store(tmp_path / "store", (4, 1, 16, 16), "uint8", masks=True) as writer:
        index = pd.DataFrame({"image_id": list("abcd"), "group": list("abcd")})
        writer.finish(index.assign(has_mask=True, scale=1 / 255, offset=0.0), header(16))
    whole = (tmp_path / "store" / file).read_bytes()
    (tmp_path / "store" / file).write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DatasetError) as caught:
        datasets.StoreDataset(str(tmp_path / "store")).load()
    assert isinstance(caught.value, UserError)


def test_figures_that_there_are_not_become_null_in_json(tmp_path: Path) -> None:
    dataset = datasets.JsonDataset(str(tmp_path / "scores.json"))
    dataset.save({"b": [float("nan"), 1.5], "a": {"c": float("inf")}})
    assert dataset.load() == {"a": {"c": None}, "b": [None, 1.5]}


def test_text_and_pictures_come_back_as_they_were(tmp_path: Path) -> None:
    text, picture = tmp_path / "report.html", tmp_path / "figure.png"
    datasets.TextDataset(str(text)).save("<p>größer</p>")
    datasets.FigureDataset(str(picture)).save(b"\x89PNG")
    assert datasets.TextDataset(str(text)).load() == "<p>größer</p>"
    assert datasets.FigureDataset(str(picture)).load() == b"\x89PNG"


def test_kedro_viz_sees_the_first_rows_of_a_table(tmp_path: Path) -> None:
    dataset = datasets.TableDataset(str(tmp_path / "t.parquet"))
    dataset.save(pd.DataFrame({"masks": [["a.png"], []], "x": [np.nan, 2.0]}))
    preview: Any = dataset.preview(nrows=1)
    assert preview == {"index": [0], "columns": ["masks", "x"], "data": [[["a.png"], None]]}


def test_kedro_viz_sees_a_figure(tmp_path: Path) -> None:
    dataset = datasets.FigureDataset(str(tmp_path / "f.png"))
    dataset.save(b"PNG")
    assert dataset.preview() == "UE5H"


def test_the_same_encoder_is_the_same_bytes_whenever_it_is_written(tmp_path: Path) -> None:
    encoder = ContextCnnConfig(widths=(8,), convolutions=(1,)).build(1)
    written = set()
    for number in range(8):
        path = tmp_path / f"{number}.safetensors"
        write_tensors(encoder.state_dict(), {"encoder": {}, "model": {}, "other": {}}, path)
        written.add(path.read_bytes())
    assert len(written) == 1


def test_every_entry_of_the_catalog_is_a_class_of_the_project() -> None:
    conf = str(Path(__file__).parents[1] / "conf")
    catalog = OmegaConfigLoader(conf, base_env="base", default_run_env="base")["catalog"]
    for name, entry in catalog.items():
        assert DataCatalog.from_config({name: entry}) is not None
        module, _, kind = entry["type"].rpartition(".")
        assert module.startswith("maskwise.")
        assert hasattr(import_module(module), kind)
