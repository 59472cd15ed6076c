"""What holds for every kind of trained model over scans that nobody labelled."""

from pathlib import Path

import pandas as pd
import pytest
from kedro.io import DataCatalog, DatasetError
from kedro.runner import SequentialRunner

from maskwise import load_model
from maskwise.artefacts.encoder import read_tensors, write_tensors
from maskwise.artefacts.prepared import PreparedSources
from maskwise.datasets import FilesDataset, JsonDataset, TableDataset, TextDataset
from maskwise.errors import UserError
from maskwise.pipeline_registry import register_pipelines
from maskwise.prediction.stage import MODEL_KINDS, PredictConfig, predict
from prediction.drawn import draw, refusal, shown
from prediction.models import SAVED

every_kind = pytest.mark.parametrize("kind", MODEL_KINDS)


def write(kind: str, folder: Path) -> Path:
    return SAVED[kind](folder / f"{kind}.safetensors")


@every_kind
def test_a_table_says_of_every_scan_what_was_found_or_why_nothing_was(
    kind: str, scans: Path, tmp_path: Path
) -> None:
    draw(scans / "doppler.png", (16, 16, 3))
    table = predict(write(kind, tmp_path), scans, PredictConfig()).table
    assert list(table.columns[:3]) == ["path", "frame", "prediction"]
    assert table.columns[-1] == "refused"
    assert "has 3 channels, the model takes 1" in refusal(table, "doppler.png")
    figures = table.select_dtypes("number").drop(columns="frame")
    assert figures[table["path"] == "doppler.png"].isna().all(axis=None)
    others = table["path"] != "doppler.png"
    assert figures[others].apply(lambda column: column.between(0, 1)).all(axis=None)
    assert (table["prediction"][others] != "").all()


@every_kind
def test_every_class_of_a_model_can_order_its_page(
    kind: str, scans: Path, tmp_path: Path
) -> None:
    path = write(kind, tmp_path)
    prefix = {"model": "p", "multilabel": "p", "segmenter": "area"}[kind]
    for name in load_model(path).metadata.classes:
        result = predict(path, scans, PredictConfig(sort_by=name), names=True)
        order = result.table.sort_values(f"{prefix}_{name}", ascending=False, kind="stable")
        assert shown(result.page) == [int(path.split("scan ")[1][0]) for path in order["path"]]


@every_kind
def test_when_every_scan_is_refused_the_run_stops(kind: str, tmp_path: Path) -> None:
    draw(tmp_path / "scans" / "doppler.png", (16, 16, 3))
    with pytest.raises(UserError, match=r"the one scan was refused \(1 time: the scan has 3"):
        predict(write(kind, tmp_path), tmp_path / "scans", PredictConfig())


@every_kind
def test_a_model_that_answers_with_no_number_is_named(
    kind: str, scans: Path, tmp_path: Path
) -> None:
    path = write(kind, tmp_path)
    tensors, blocks = read_tensors(path)
    last = {"segmenter": "decoder.head.0.weight"}.get(kind, "head.weight")
    tensors[last].fill_(3e38)  # finite, but the logits are not
    write_tensors(tensors, blocks, path)
    with pytest.raises(UserError, match=rf"{kind}.safetensors: gives no finite prob.* for 6 "):
        predict(path, scans, PredictConfig())


@every_kind
def test_a_page_asks_nothing_of_the_network_and_says_what_it_is_not(
    kind: str, scans: Path, tmp_path: Path
) -> None:
    draw(scans / "<b>scan 7.png")
    page = predict(write(kind, tmp_path), scans, PredictConfig(), names=True).page
    assert "not a medical device" in page
    assert "http" not in page
    assert "<script" not in page
    assert "<b>" not in page
    assert "{%" not in page


def run(model: Path, scans: Path, outlines: Path, table: Path) -> None:
    """Run the pipeline as `kedro run` does, with outputs elsewhere."""
    catalog = DataCatalog(
        {
            "predict.outlines": FilesDataset(str(outlines)),
            "predict.predictions": TableDataset(str(table)),
            "predict.aggregated": TableDataset(str(table.with_name("aggregated.csv"))),
            "predict.header": JsonDataset(str(table.with_suffix(".json"))),
            "predict.page": TextDataset(str(table.with_suffix(".html"))),
        }
    )
    catalog["params:predict"] = {"model": str(model), "scans": str(scans)}
    catalog["params:report"] = {}
    catalog["prepared"] = PreparedSources("", "", "")  # of no source
    SequentialRunner().run(register_pipelines()["predict"], catalog)


def test_outlines_of_an_earlier_run_never_stand_beside_a_new_table(
    scans: Path, tmp_path: Path
) -> None:
    segmenter, outlines = write("segmenter", tmp_path), tmp_path / "out/outlines"
    run(segmenter, scans, outlines, tmp_path / "out/table.csv")
    assert len(list(outlines.iterdir())) == 6
    (scans / "scan 0 50%.png").unlink()
    run(segmenter, scans, outlines, tmp_path / "out/table.csv")
    named = pd.read_csv(tmp_path / "out/table.csv")["outline"]
    assert sorted(named) == sorted(path.name for path in outlines.iterdir())
    run(write("model", tmp_path), scans, outlines, tmp_path / "out/table.csv")
    assert list(outlines.iterdir()) == []


def test_no_table_is_written_where_its_outlines_cannot_be(scans: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder can be made in here")
    with pytest.raises(DatasetError, match="file"):
        run(
            write("segmenter", tmp_path),
            scans,
            tmp_path / "file/outlines",
            tmp_path / "table.csv",
        )
    assert not (tmp_path / "table.csv").exists()
