"""Which models a replicate leaves behind."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from finetune.patches import metadata, small_encoder
from maskwise import load_model
from maskwise.artefacts.model import ModelMetadata
from maskwise.artefacts.model_index import read_model_index
from maskwise.encoders.classifier import Classifier
from maskwise.errors import UserError
from maskwise.finetune.models import Keep, Models

PROBE = ModelMetadata(
    encoder=metadata("context_cnn", {"widths": (8, 16), "convolutions": (1, 1)}),
    task="diagnosis",
    classes=("a", "b"),
    mode="probe",
    fraction=1.0,
    images=10,
    stages=(1,),
    pooling="mean",
    features=16,
    temperature=1.0,
    calibrated_on=120,
    validation_log_loss=0.5,
)
TRAINED = (
    PROBE,
    replace(PROBE, mode="full", validation_log_loss=0.4),
    replace(PROBE, fraction=0.1, validation_log_loss=0.1),
)


def written(keep: Keep, folder: Path) -> list[str]:
    models = Models(keep)
    for one in TRAINED:
        models.add(Classifier(small_encoder(), (1,), "mean", 16, 2), one, {"strength": 1.0})
    models.write(folder)
    return sorted(path.name for path in folder.iterdir())


def test_best_is_the_lowest_validation_loss_of_the_largest_fraction(tmp_path: Path) -> None:
    assert written("best", tmp_path / "models") == ["best.safetensors", "index.json"]
    model = load_model(tmp_path / "models" / "best.safetensors")
    assert model.metadata == TRAINED[1]


def test_all_keeps_a_file_a_mode_and_fraction(tmp_path: Path) -> None:
    assert written("all", tmp_path / "models") == [
        "full_1.safetensors",
        "index.json",
        "probe_0.1.safetensors",
        "probe_1.safetensors",
    ]


def test_none_keeps_the_index_alone(tmp_path: Path) -> None:
    assert written("none", tmp_path / "models") == ["index.json"]


@pytest.mark.parametrize(
    ("keep", "files"),
    [
        ("best", [None, "best.safetensors", None]),
        ("all", ["probe_1.safetensors", "full_1.safetensors", "probe_0.1.safetensors"]),
        ("none", [None, None, None]),
    ],
)
def test_the_index_says_of_every_model_what_was_chosen_and_where_it_is(
    keep: Keep, files: list[str | None], tmp_path: Path
) -> None:
    written(keep, tmp_path / "models")
    index = json.loads((tmp_path / "models" / "index.json").read_text(encoding="utf-8"))
    assert [one["file"] for one in index["models"]] == files
    assert [one["strength"] for one in index["models"]] == [1.0] * 3


def test_models_of_an_earlier_run_do_not_stay_behind(tmp_path: Path) -> None:
    written("all", tmp_path / "models")
    assert written("best", tmp_path / "models") == ["best.safetensors", "index.json"]


def test_an_index_that_is_damaged_is_named(tmp_path: Path) -> None:
    assert read_model_index(tmp_path) == []
    (tmp_path / "index.json").write_text("{")
    with pytest.raises(UserError, match=r"index.json: cannot be read .*run finetune again"):
        read_model_index(tmp_path)
