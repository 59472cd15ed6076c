"""A step whose loss is no number is kept in one file, from which it is made again."""

import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from maskwise.artefacts.encoder import write_tensors
from maskwise.artefacts.store import Store
from maskwise.errors import UserError
from maskwise.pretrain.divergence import read_kept
from maskwise.pretrain.replicate import PretrainRun
from maskwise.pretrain.training import replay_step
from maskwise.replay_command import lines
from pretrain.toys import RANDOM_BOX, at_rate, make_run, make_store, pretrain


@pytest.fixture
def diverged(tmp_path: Path) -> tuple[Path, Store, object, PretrainRun]:
    """Return the file of a step that diverged, and what it was a step of."""
    store, splits = make_store(tmp_path / "store")
    block = {**RANDOM_BOX, "optimisation": {"accumulate": 2}}
    run = at_rate(make_run(tmp_path / "run", block, steps=30), 1e18)
    with pytest.raises(UserError) as caught:
        pretrain(store, splits, run)
    found = re.search(r"`kedro replay (\S+)` makes it again", str(caught.value))
    assert found is not None, str(caught.value)
    return Path(found[1]), store, splits, run


def test_a_kept_step_breaks_again_at_the_same_place_with_the_same_loss(diverged) -> None:  # type: ignore[no-untyped-def]
    path, store, splits, run = diverged
    kept = read_kept(path)
    assert kept.about.step > 0
    replayed = replay_step(path, store, splits, run)
    assert [str(loss) for loss in replayed.losses] == list(kept.about.losses)
    assert replayed.forward is not None or replayed.backward
    assert lines(replayed)[0].startswith("Loss: ")
    # The file is read without running code, and the weights are those before the step.
    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
    assert {"index", "augmentation_seed", "mask", "draws.mask", "draws.torch"} <= names
    assert all(tensor.isfinite().all() for tensor in kept.network.values())


def test_a_step_of_other_images_is_not_replayed(diverged, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path, _, _, run = diverged
    store, splits = make_store(tmp_path / "other", number=36)
    with pytest.raises(UserError, match=r"saw other images then"):
        replay_step(path, store, splits, run)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "encoder.safetensors"
    write_tensors({"weight": torch.zeros(2)}, {"encoder": {}}, path)
    with pytest.raises(UserError, match=r"encoder\.safetensors: no step that diverged; choose"):
        read_kept(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing\.safetensors: no such file"):
        read_kept(tmp_path / "nothing.safetensors")


def test_where_steps_are_not_looked_at_the_message_says_how_to_keep_one(
    tmp_path: Path,
) -> None:
    run = at_rate(make_run(tmp_path, RANDOM_BOX, steps=30, finite_checks="checkpoint"), 1e18)
    with pytest.raises(UserError, match=r"pretrain.finite_checks: step keeps such a step"):
        pretrain(*make_store(tmp_path / "store"), run)


def test_looking_at_every_step_changes_no_weight(tmp_path: Path) -> None:
    given = make_store(tmp_path / "store")
    looked, unlooked = (
        pretrain(*given, make_run(tmp_path / when, RANDOM_BOX, finite_checks=when))
        for when in ("step", "checkpoint")
    )
    weights = unlooked.encoder.state_dict()
    assert all(
        torch.equal(tensor, weights[name])
        for name, tensor in looked.encoder.state_dict().items()
    )
