"""``maskwise.predict``: predictions in a script, as the stage makes them."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import maskwise
from finetune.patches import small_encoder
from maskwise.artefacts.encoder import write_encoder
from maskwise.errors import UserError
from maskwise.prediction.stage import PredictConfig, predict
from prediction.drawn import draw
from prediction.models import CLASSIFIER, SIDE, save_classifier, save_segmenter
from sources.volume import write as write_volume


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_classifier(CLASSIFIER, tmp_path / "best.safetensors")


def test_a_folder_gives_the_table_of_the_stage(model: Path, scans: Path) -> None:
    expected = predict(model, scans, PredictConfig()).table
    pd.testing.assert_frame_equal(maskwise.predict(scans, model), expected)


def test_it_can_be_called_again_and_whatever_else_was_imported(
    model: Path, scans: Path
) -> None:
    first = maskwise.predict(str(scans), str(model))
    importlib.import_module("maskwise.prediction.stage")
    pd.testing.assert_frame_equal(maskwise.predict(str(scans), str(model)), first)


def test_a_table_of_paths_is_read_with_its_options(model: Path, scans: Path) -> None:
    names = ["scan 0 50%.png", "scan 3 50%.png"]
    pd.DataFrame({"file": names}).to_csv(scans / "list.csv", index=False)
    table = maskwise.predict(scans / "list.csv", model, column="file")
    assert list(table["path"]) == names


def test_files_are_called_as_they_were_given_wherever_they_lie(
    model: Path, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    elsewhere = write_volume(
        tmp_path / "v.nii", np.random.default_rng(0).random((SIDE, SIDE, 2))
    )
    link = tmp_path / "link.png"
    link.symlink_to(scans / "scan 0 50%.png")
    whole = maskwise.predict(scans, model).set_index("path")
    table = maskwise.predict(["link.png", scans / "scan 3 50%.png", elsewhere], model)
    assert list(table["path"]) == [
        "link.png", str(scans / "scan 3 50%.png"), str(elsewhere), str(elsewhere)
    ]  # fmt: skip
    assert list(table["frame"]) == [0, 0, 0, 1]
    # Other scans of a batch may change the last bits.
    assert table["p_benign"][0] == pytest.approx(whole["p_benign"]["scan 0 50%.png"], abs=1e-6)


def test_one_file_is_enough_and_what_cannot_be_read_keeps_its_row(
    model: Path, scans: Path, tmp_path: Path
) -> None:
    assert len(maskwise.predict(scans / "scan 0 50%.png", model)) == 1
    (tmp_path / "notes.png").write_text("no image")
    table = maskwise.predict([scans / "scan 0 50%.png", tmp_path / "notes.png"], model)
    assert list(table["refused"] == "") == [True, False]
    with pytest.raises(UserError, match=r"notes\.png: the one scan was refused"):
        maskwise.predict(tmp_path / "notes.png", model)


def test_a_loaded_model_looks_without_learning_and_stays_as_it_is(
    model: Path, scans: Path
) -> None:
    network = maskwise.load_model(model).train()
    before = {name: each.clone() for name, each in network.state_dict().items()}
    learning: list[bool] = []
    watched = network.encoder
    watched.register_forward_pre_hook(lambda module, _: learning.append(module.training))
    table = maskwise.predict(scans, network)
    assert learning
    assert not any(learning)
    assert network.training
    assert all(torch.equal(before[name], each) for name, each in network.state_dict().items())
    pd.testing.assert_frame_equal(table, maskwise.predict(scans, model))


def test_of_a_model_that_outlines_there_are_the_areas(scans: Path, tmp_path: Path) -> None:
    table = maskwise.predict(scans, save_segmenter(tmp_path / "segmenter.safetensors"))
    assert list(table.columns) == [
        "path", "frame", "prediction", "area_mass", "area_cyst", "model", "data_hash", "refused"
    ]  # fmt: skip


def test_coloured_scans_are_taken_where_it_is_asked_for(model: Path, tmp_path: Path) -> None:
    draw(tmp_path / "colour.png", (SIDE, SIDE, 3))
    with pytest.raises(UserError, match="has 3 channels, the model takes 1"):
        maskwise.predict(tmp_path / "colour.png", model)
    table = maskwise.predict(tmp_path / "colour.png", model, colour="grey")
    assert list(table["refused"]) == [""]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"colur": "grey"},
            r"predict\.colur: there is no such option; did you mean 'colour'\?",
        ),
        ({"colour": "gray"}, r"predict\.colour: .*'grey'.*'gray'"),
        ({"modality": "mr"}, r"predict\.modality: the modality is mr"),
        ({"sort_by": "malign"}, r"predict\.sort_by: .*did you mean 'malignant'\?"),
    ],
)
def test_a_wrong_option_is_named(
    model: Path, scans: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        maskwise.predict(scans, model, **options)


def test_an_encoder_is_no_model_and_it_says_where_those_lie(
    scans: Path, tmp_path: Path
) -> None:
    encoder, path = small_encoder(), tmp_path / "encoder.safetensors"
    write_encoder(encoder, encoder.metadata, path)
    with pytest.raises(UserError, match=r"fine-tuned model is needed.*06_models/<source>/mode"):
        maskwise.predict(scans, path)


@pytest.mark.parametrize("paths", [[], [1]])
def test_what_is_no_path_is_refused(model: Path, paths: Any) -> None:
    with pytest.raises(UserError, match=r"paths: \[1?\] is not a folder, table, file or list"):
        maskwise.predict(paths, model)
