"""Killed at any instant and started again: the same weights, bit for bit."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
import torch

import maskwise
from maskwise import progress
from maskwise.errors import UserError
from maskwise.pretrain.checkpoint import Checkpoint, digest_of
from maskwise.pretrain.replicate import pretraining
from maskwise.workers import without_main
from pretrain import killed
from pretrain.toys import RANDOM_BOX, SIMCLR, make_run, make_store, pretrain
from warm import LIBRARIES

SOURCE = Path(maskwise.__file__).parents[1]
DQN: dict[str, Any] = {**RANDOM_BOX, "policy": {"name": "dqn", "box": [2, 2]}}
MACHINE: dict[str, Any] = {
    **RANDOM_BOX,
    "policy": {
        "name": "dqn",
        "box": [2, 2],
        "boxes": 2,
        "dueling": True,
        "baseline": "image_place",
        "replay": {"capacity": 10, "batch": 4},
        "target": {"every": 3, "tau": 0.5},
    },
}
"""All that a policy may have to remember."""
STAGED: dict[str, Any] = {
    **MACHINE,
    "schedule": {"name": "staged", "first": 0.34, "policy_steps": 4, "restart": True},
}
"""Phases that end and begin between checkpoints."""
BATCH_NORM: dict[str, Any] = {
    **RANDOM_BOX,
    "encoder": {**RANDOM_BOX["encoder"], "norm": "batch"},
}
LARS: dict[str, Any] = {**RANDOM_BOX, "optimisation": {"optimiser": {"name": "lars"}}}
LAMB: dict[str, Any] = {**RANDOM_BOX, "optimisation": {"optimiser": {"name": "lamb"}}}
"""Optimisers of another library."""

# Each run is a process of its own; the server imports libraries once for all of them.
PROCESSES = multiprocessing.get_context("forkserver")


@pytest.fixture(autouse=True, scope="module")
def server() -> Iterator[None]:
    """Give these tests a server of their own: that of reading workers is deaf to Ctrl-C."""
    running: Any = vars(forkserver)["_forkserver"]
    running._stop()
    PROCESSES.set_forkserver_preload([*LIBRARIES, "maskwise.pretrain.replicate"])
    yield
    running._stop()


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    returncode: int | None
    stderr: str


def start(folder: Path, instant: str, block: dict[str, Any]) -> Ended:
    """Run the replicate; ``instant`` says when it is hit, if at all (see ``killed.py``)."""
    process = PROCESSES.Process(target=killed.run_replicate, args=(folder, instant, block))
    with without_main():
        process.start()
    process.join()
    return Ended(process.exitcode, (folder / "stderr").read_text())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    _, splits = make_store(tmp_path / "store")
    splits.to_parquet(tmp_path / "splits.parquet")
    return tmp_path


def outputs(folder: Path) -> tuple[dict[str, torch.Tensor], str]:
    weights = torch.load(folder / "weights.pt", weights_only=True)
    return weights, (folder / "history.csv").read_text()


@pytest.mark.parametrize(
    "block",
    [RANDOM_BOX, SIMCLR, DQN, MACHINE, BATCH_NORM, STAGED, LARS, LAMB],
    ids=["random_box", "simclr", "dqn", "machine", "batch_norm", "staged", "lars", "lamb"],
)
def test_a_run_killed_twice_ends_with_the_weights_of_an_undisturbed_one(
    folder: Path, block: dict[str, Any]
) -> None:
    undisturbed = start(folder, "never", block)
    assert undisturbed.returncode == 0, undisturbed.stderr
    weights, history = outputs(folder)
    (folder / "weights.pt").unlink()
    # Once between a checkpoint and the next, once while the next is being put in place.
    for instant in ("step 4", "write 2"):
        assert start(folder, instant, block).returncode == -signal.SIGKILL
        assert not (folder / "weights.pt").exists()
    resumed = start(folder, "never", block)
    assert resumed.returncode == 0, resumed.stderr
    again, history_again = outputs(folder)
    assert all(torch.equal(tensor, again[name]) for name, tensor in weights.items())
    assert history == history_again


@pytest.mark.parametrize(
    ("sent", "error"), [("SIGTERM", "Terminated"), ("SIGINT", "KeyboardInterrupt")]
)
def test_a_run_asked_to_stop_saves_first_and_says_how_to_go_on(
    folder: Path, sent: str, error: str
) -> None:
    undisturbed = start(folder, "never", RANDOM_BOX)
    assert undisturbed.returncode == 0, undisturbed.stderr
    weights, _ = outputs(folder)
    stopped = start(folder, f"{sent} 4", RANDOM_BOX)
    assert stopped.returncode != 0
    last = stopped.stderr.strip().splitlines()[-1]
    assert error in last
    assert "stopped after step 4 of 9" in last
    assert "run the same command again to go on from there" in last
    assert start(folder, "never", RANDOM_BOX).returncode == 0
    assert all(
        torch.equal(tensor, outputs(folder)[0][name]) for name, tensor in weights.items()
    )


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "lock")


def test_the_checkpoint_is_removed_when_the_stage_ends_well(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    pretrain(store, splits, make_run(tmp_path / "checkpoints", RANDOM_BOX))
    assert files(tmp_path / "checkpoints") == []


@pytest.mark.parametrize("block", [RANDOM_BOX, DQN], ids=["random_box", "dqn"])
def test_what_could_not_be_saved_need_not_be_trained_again(
    tmp_path: Path, block: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    store, splits = make_store(tmp_path / "store")
    run = make_run(tmp_path / "checkpoints", block)
    with (
        pytest.raises(OSError, match="No space left"),
        pretraining(store, splits, run) as unsaved,
    ):
        raise OSError("No space left on device")
    assert files(tmp_path / "checkpoints") != []

    caplog.set_level("INFO")
    with progress.collecting_facts() as facts:
        saved = pretrain(store, splits, run)

    assert "going on after step 9 of 9" in caplog.text
    assert facts.values == {}  # no step, no speed
    again = saved.encoder.state_dict()
    assert all(t.equal(again[name]) for name, t in unsaved.encoder.state_dict().items())
    assert saved.history.equals(unsaved.history)
    assert (saved.gallery.masks == unsaved.gallery.masks).all()
    assert files(tmp_path / "checkpoints") == []


def test_until_its_outputs_are_saved_no_second_run_touches_the_replicate(
    tmp_path: Path,
) -> None:
    store, splits = make_store(tmp_path / "store")
    run = make_run(tmp_path / "checkpoints", RANDOM_BOX)
    with (
        pretraining(store, splits, run),
        pytest.raises(UserError, match="another run of this replicate is at work"),
    ):
        pretrain(store, splits, run)


def test_a_broken_run_keeps_its_last_good_checkpoint_and_a_changed_recipe_starts_anew(
    tmp_path: Path,
) -> None:
    store, splits = make_store(tmp_path / "store")
    block = {**RANDOM_BOX, "optimisation": {"warm_up": 0.5}}
    run = make_run(tmp_path / "a", block, checkpoint_every=1, steps=30)
    too_fast = replace(run.recipe.optimisation, learning_rate=1e18)
    with pytest.raises(UserError, match="The last good checkpoint is kept"):
        pretrain(store, splits, replace(run, recipe=replace(run.recipe, optimisation=too_fast)))
    kept = files(tmp_path / "a")
    assert len(kept) == 2  # the checkpoint, and the step that broke
    healthy = pretrain(store, splits, make_run(tmp_path / "a", RANDOM_BOX))
    alone = pretrain(store, splits, make_run(tmp_path / "b", RANDOM_BOX))
    assert files(tmp_path / "a") == kept
    assert healthy.history.equals(alone.history)


def test_a_second_run_of_a_replicate_at_work_leaves_with_a_message(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    run = make_run(tmp_path / "checkpoints", RANDOM_BOX)
    first = Checkpoint(run.checkpoints, "of the first run")
    with (
        first.lock("leave", run.replicate),
        pytest.raises(
            UserError,
            match=r"recipe seed 0: another run of this replicate is at work .*wait until",
        ),
    ):
        pretrain(store, splits, run)


def test_a_batch_that_the_images_do_not_fill_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, splits = make_store(tmp_path / "store")  # 12 images to train on
    pretrain(store, splits, make_run(tmp_path / "full", RANDOM_BOX, steps=1, batch_size=12))
    assert "do not fill a batch" not in caplog.text
    pretrain(store, splits, make_run(tmp_path / "over", RANDOM_BOX, steps=1, batch_size=13))
    assert "12 images do not fill a batch of 13" in caplog.text


def test_a_second_run_that_waits_begins_when_the_first_has_ended(tmp_path: Path) -> None:
    holder = (
        "import sys; from pathlib import Path; from maskwise.pretrain.checkpoint import *\n"
        "with Checkpoint(Path(sys.argv[1]), 'key').lock('leave', 'replicate'):\n"
        "    print('held', flush=True); sys.stdin.read()\n"
        "    (Path(sys.argv[1]) / 'order').write_text('first')\n"
    )
    command = [sys.executable, "-c", holder, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdin is not None
        assert first.stdout.readline() == "held\n"
        first.stdin.close()
        with Checkpoint(tmp_path, "key").lock("wait", "replicate"):
            assert (tmp_path / "order").read_text() == "first"


def test_a_checkpoint_that_cannot_be_read_is_named_with_the_remedy(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, "key")
    checkpoint.save({"step": 3})
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:-50])
    with pytest.raises(UserError, match=r"key.pt: the checkpoint cannot be read .* delete it"):
        checkpoint.load()


def test_nothing_but_tensors_and_plain_containers_is_unpickled(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, "key")
    torch.save({"step": checkpoint}, checkpoint.path)
    with pytest.raises(UserError, match="the checkpoint cannot be read"):
        checkpoint.load()


def test_a_checkpoint_s_name_follows_from_everything_that_shapes_the_result() -> None:
    assert digest_of({"a": 1}, [2]) == digest_of({"a": 1}, [2])
    assert len({digest_of({"a": 1}), digest_of({"a": 2}), digest_of({"b": 1})}) == 3


@pytest.mark.parametrize("file", ["pretrain/loop.py", "encoders/norm.py", "masks.py"])
def test_a_checkpoint_s_name_follows_from_the_code_that_shapes_the_result(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "maskwise"
    shutil.copytree(SOURCE / "maskwise", copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(maskwise, "__file__", str(copy / "__init__.py"))
    before = digest_of()
    assert before == digest_of()
    with (copy / file).open("a", encoding="utf-8") as code:
        code.write("# changed\n")
    assert digest_of() != before


def test_a_run_on_other_images_has_a_checkpoint_of_its_own(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    other = replace(store, header=replace(store.header, data_hash="other"))
    names = []
    for images in (store, other, store):
        run = make_run(tmp_path / "run", RANDOM_BOX)
        with pretraining(images, splits, run):
            names.append([path.name for path in run.checkpoints.glob("*.pt")])
    assert names[0] == names[2] != names[1]


def test_a_folder_that_may_not_be_written_is_named_before_any_step(unprivileged: Path) -> None:
    unprivileged.chmod(0o500)
    checkpoint = Checkpoint(unprivileged / "checkpoints", "key")
    with (
        pytest.raises(UserError, match="lock: may not be written; check the permissions"),
        checkpoint.lock("leave", "dqn seed 0"),
    ):
        pass
