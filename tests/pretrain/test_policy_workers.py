"""Several processes teach one policy: what they share, and what happens when one dies."""

import signal
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from torch import Generator

from maskwise.errors import UserError
from maskwise.pretrain.policy_workers import mask_generator
from maskwise.pretrain.recipe import parse_recipe
from pretrain.toys import RANDOM_BOX, make_run, make_store, pretrain


def recipe(workers: int, steps: int = 6, **options: Any) -> dict[str, Any]:
    """Return a staged recipe; 0 workers = the synchronous learner."""
    learner = {"learner": "asynchronous", "workers": workers} if workers else {}
    return {
        **RANDOM_BOX,
        "policy": {"name": "a3c", "ratio": 0.25, "widths": [8, 8], **learner, **options},
        "schedule": {"name": "staged", "first": 0.34, "policy_steps": steps},
    }


def children() -> list[psutil.Process]:
    """Return this process's workers, without Python's own resource tracker."""
    everyone = psutil.Process().children(recursive=True)
    return [one for one in everyone if any("spawn_main" in part for part in one.cmdline())]


def test_one_worker_is_the_synchronous_learner_to_the_last_bit(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    alone = pretrain(store, splits, make_run(tmp_path / "a", recipe(0)))
    worker = pretrain(store, splits, make_run(tmp_path / "b", recipe(1)))
    # The network of the last phase saw the masks that the taught policy drew.
    one, other = alone.encoder.state_dict(), worker.encoder.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    # In between the workers may be ahead of whoever measures the policy.
    learnt = ["loss", "reward", "policy_loss", "policy_gradient_norm"]
    assert alone.history[learnt].equals(worker.history[learnt])
    assert alone.history.iloc[-1].equals(worker.history.iloc[-1])


def test_two_workers_make_every_step_once_and_leave(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    history = pretrain(store, splits, make_run(tmp_path, recipe(2, steps=12))).history
    assert history["step"].iloc[-1] == 9 + 12
    assert history["reward"].notna().sum() >= 4
    assert not children()


def test_every_worker_draws_masks_of_its_own_and_the_first_goes_on_with_the_run_s() -> None:
    run = Generator().manual_seed(3)
    shift: Any = SimpleNamespace(mask_generator=run.get_state(), seed=0)
    drawn = [torch.rand(8, generator=mask_generator(rank, shift)) for rank in range(3)]
    assert drawn[0].equal(torch.rand(8, generator=run))
    assert not any(drawn[a].equal(drawn[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


def test_a_worker_that_is_killed_is_named_and_the_run_goes_on_from_its_checkpoint(
    tmp_path: Path,
) -> None:
    store, splits = make_store(tmp_path / "store")
    run = make_run(tmp_path / "run", recipe(2, steps=4000), checkpoint_every=1)

    def kill() -> None:
        while len(workers := children()) < 2:
            pass
        workers[1].kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(
        UserError, match=r"worker \d of 2 died with exit code -9 \(killed.*again"
    ):
        pretrain(store, splits, run)
    killer.join()
    assert not children()
    (checkpoint,) = (tmp_path / "run").glob("*.pt")
    assert torch.load(checkpoint, weights_only=True)["step"] >= 3


def test_workers_leave_it_to_their_parent_when_the_whole_group_is_told_to_stop(
    tmp_path: Path,
) -> None:
    store, splits = make_store(tmp_path / "store")

    def tell() -> None:
        while len(workers := children()) < 2:
            pass
        for worker in workers:  # at once: they have not begun to import
            worker.send_signal(signal.SIGTERM)
            worker.send_signal(signal.SIGINT)

    group = threading.Thread(target=tell)
    group.start()
    history = pretrain(store, splits, make_run(tmp_path, recipe(2, steps=12))).history
    group.join()
    assert history["step"].iloc[-1] == 9 + 12


def test_an_error_in_a_worker_is_told_with_its_place(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    run = make_run(tmp_path, recipe(1), steps=9)
    (tmp_path / "store" / "masks.npy").rename(tmp_path / "masks.npy")
    (tmp_path / "store" / "index.parquet").unlink()  # a worker opens the store for itself
    with pytest.raises(UserError, match=r"worker 0 failed(.|\n)*is not a complete store"):
        pretrain(store, splits, run)
    assert not children()


def test_workers_need_a_network_that_stands_still(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    block = {**recipe(2), "schedule": {"name": "alternating"}}
    with pytest.raises(UserError, match=r"learner: asynchronous needs a network that stands"):
        pretrain(store, splits, make_run(tmp_path, block))
    nobody = {**block, "policy": {**block["policy"], "workers": 0}}
    with pytest.raises(UserError, match=r"workers: is 0, but must lie between 1 and 256"):
        parse_recipe(nobody, "recipe")
