"""A trial's score is of validation images; the test part might as well not exist."""

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from numpy.typing import NDArray

from finetune.blobs import write_blobs
from finetune.patches import write_patches
from maskwise.artefacts.splits import for_seed
from maskwise.artefacts.store import Store
from maskwise.config import parse
from maskwise.errors import UserError
from maskwise.evaluate.config import EvaluateConfig
from maskwise.finetune.classification.probe import ProbeConfig
from maskwise.finetune.run import FinetuneConfig
from maskwise.pretrain.recipe import PretrainConfig
from maskwise.tune.config import ObjectiveConfig
from maskwise.tune.objective import Training, without_test
from maskwise.tune.trials import Figure
from pretrain.toys import SIMCLR

RATE = "recipe.optimisation.learning_rate"
LESION = {"name": "lesion", "every": 1}


@dataclass(frozen=True)
class Poisoned(Store):
    """A store that refuses to show a test image."""

    test: frozenset[int] = field(default_factory=frozenset)

    def fine_intensities(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        assert not self.test & set(np.asarray(rows).tolist()), "a test image was read"
        return super().fine_intensities(rows)

    def lesions(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        assert not self.test & set(np.asarray(rows).tolist()), "outlines of a test image"
        return super().lesions(rows)


def poisoned(store: Store, splits: pd.DataFrame, seed: int) -> Poisoned:
    """Return the store with test images that may not be read, and whose labels are wrong."""
    own = for_seed(splits, seed)
    rows = store.rows(own.loc[own["split"] == "test", "image_id"])
    index = store.index.copy()
    index.loc[rows, "label_diagnosis"] = "poison"
    values = {each.name: getattr(store, each.name) for each in fields(Store)}
    return Poisoned(**{**values, "index": index}, test=frozenset(rows.tolist()))


def training(store: Store, splits: pd.DataFrame, folder: Path, **changes: Any) -> Training:
    options: dict[str, Any] = {
        "store": store,
        "splits": splits,
        "source": "patches",
        "recipe": "simclr",
        "base": {
            "recipe": SIMCLR,
            "pretrain": {"grid": [8, 8], "steps": 6, "batch_size": 8},
            "finetune": {"task": {"name": "diagnosis"}, "steps": 3, "batch_size": 8},
        },
        "objective": ObjectiveConfig(),
        "pretrain": PretrainConfig(device="cpu"),
        "finetune": FinetuneConfig(device="cpu", probe=ProbeConfig(strengths=(0.1,), folds=2)),
        "evaluate": EvaluateConfig(),
        "reports": 3,
        "folder": folder,
    }
    return Training(**{**options, **changes})


@pytest.fixture(scope="module")
def patches(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, pd.DataFrame]:
    return write_patches(tmp_path_factory.mktemp("store") / "store", {"a": 10, "b": 10})


@pytest.mark.parametrize("mode", ["probe", "full"])
def test_a_poisoned_test_part_changes_no_score(
    patches: tuple[Store, pd.DataFrame], mode: str, tmp_path: Path
) -> None:
    store, splits = patches
    objective = parse(ObjectiveConfig, {"mode": mode}, "objective")
    values, told = {RATE: 0.001}, lambda share, figure: None

    clean = training(store, splits, tmp_path, objective=objective)(values, 0, 0, told)
    spoilt = training(poisoned(store, splits, 0), splits, tmp_path, objective=objective)

    assert spoilt(values, 0, 1, told) == clean
    assert clean.metric == "macro_auroc"


def test_a_poisoned_test_part_changes_no_score_of_outlines(tmp_path: Path) -> None:
    store, splits = write_blobs(tmp_path / "store", groups=15)
    base = {
        "recipe": SIMCLR,
        "pretrain": {"grid": [8, 8], "steps": 4, "batch_size": 8},
        "finetune": {"task": LESION, "steps": 2, "batch_size": 8},
    }
    told = lambda share, figure: None  # noqa: E731

    clean = training(store, splits, tmp_path / "a", base=base)({}, 0, 0, told)
    spoilt = training(poisoned(store, splits, 0), splits, tmp_path / "b", base=base)

    assert spoilt({}, 0, 0, told) == clean
    assert clean.metric == "dice"


def test_of_test_images_neither_place_nor_label_is_left(
    patches: tuple[Store, pd.DataFrame],
) -> None:
    store, splits = patches

    hidden, kept = without_test(store, splits)

    test = set(splits.loc[splits["split"] == "test", "image_id"])
    assert set(kept["image_id"]) == set(splits["image_id"]) - test
    gone = hidden.index["label_diagnosis"].isna()
    assert set(hidden.index.loc[gone, "image_id"]) == test != set()


def test_every_epoch_is_told_and_may_ask_for_the_score_that_the_trial_has_by_then(
    patches: tuple[Store, pd.DataFrame], tmp_path: Path
) -> None:
    told: list[tuple[float, float | None]] = []
    asked = training(*patches, tmp_path / "asked")
    silent = training(*patches, tmp_path / "silent")

    score = asked({RATE: 0.001}, 0, 0, lambda share, figure: told.append((share, figure())))

    assert [share for share, _ in told] == sorted({share for share, _ in told})
    assert told[-1] == (1, score.value)
    assert len(told) > 1
    # To look changes nothing of what is learnt.
    assert silent({RATE: 0.001}, 0, 0, lambda share, figure: None) == score


def test_where_a_score_takes_training_the_nearest_neighbours_are_asked(
    patches: tuple[Store, pd.DataFrame], tmp_path: Path
) -> None:
    told: list[float | None] = []
    train = training(*patches, tmp_path, objective=ObjectiveConfig(mode="full"))

    train({RATE: 0.001}, 0, 0, lambda share, figure: told.append(figure()))

    images = len(patches[1].query("split == 'validation'"))
    assert all(each is not None and (each * images) % 1 == pytest.approx(0) for each in told)


class KilledError(Exception):
    """Stands for what ends a process."""


def test_a_trial_that_is_tried_again_goes_on_from_its_checkpoint_to_the_same_score(
    patches: tuple[Store, pd.DataFrame], tmp_path: Path
) -> None:
    loop = PretrainConfig(device="cpu", checkpoint_every=1)
    whole = training(*patches, tmp_path / "a", pretrain=loop)({}, 0, 0, lambda *_: None)
    train, shares = training(*patches, tmp_path / "b", pretrain=loop), []

    def dies(share: float, figure: Figure) -> None:
        if share > 0.8:
            raise KilledError

    with pytest.raises(KilledError):
        train({}, 0, 3, dies)
    again = train({}, 0, 3, lambda share, figure: shares.append(share))

    assert again == whole
    assert len(shares) == 1
    train.finished(3)
    assert not train.checkpoints(3).exists()


def test_two_trials_train_in_folders_of_their_own(
    patches: tuple[Store, pd.DataFrame], tmp_path: Path
) -> None:
    train = training(*patches, tmp_path)

    train({}, 0, 4, lambda *_: None)
    train({}, 1, 5, lambda *_: None)

    assert {path.name for path in tmp_path.iterdir()} == {"trial_4", "trial_5"}


def test_checkpoints_that_a_training_still_holds_are_left_alone(
    patches: tuple[Store, pd.DataFrame], tmp_path: Path
) -> None:
    train = training(*patches, tmp_path)
    folder = train.checkpoints(3) / "s0"
    folder.mkdir(parents=True)

    with FileLock(folder / "lock"):
        train.finished(3)
        assert folder.exists()
    train.finished(3)
    assert not folder.exists()


def test_a_metric_that_the_task_lacks_gets_the_close_match(
    patches: tuple[Store, pd.DataFrame], tmp_path: Path
) -> None:
    objective = replace(ObjectiveConfig(), metric="macro_aurok")

    with pytest.raises(UserError, match=r"objective\.metric: .*did you mean 'macro_auroc'"):
        training(*patches, tmp_path, objective=objective)({}, 0, 0, lambda *_: None)
