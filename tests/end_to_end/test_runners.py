"""Every runner gives the same files, and stops when it is asked to."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from project import Finished, Project

pytestmark = pytest.mark.xdist_group("finished")
STAGES = "pretrain,finetune,evaluate"
FOLDERS = ("06_models", "07_model_output", "08_reporting/phantom/scores.json")
RUNNERS = {
    "ThreadRunner": {},
    "ParallelRunner": {"KEDRO_MP_CONTEXT": "spawn"},
    "maskwise.runners.RayRunner": {},
}


def files(project: Project) -> dict[str, bytes]:
    """Return what the stages wrote, but for what differs from run to run."""
    data = project.root / "data"
    paths = [path for name in FOLDERS for path in ([data / name, *(data / name).rglob("*")])]
    return {
        str(path.relative_to(data)): path.read_bytes()
        for path in paths
        if path.is_file() and not path.name.endswith("lock") and path.name != "run.json"
    }


@pytest.fixture
def copy(finished: Finished, tmp_path: Path) -> Iterator[Project]:
    """Return the finished project without what its replicates made."""
    root = tmp_path / "copy"
    shutil.copytree(finished.project.root, root, symlinks=True)
    for folder in ("06_models", "07_model_output", "08_reporting"):
        shutil.rmtree(root / "data" / folder)
    yield Project(root)
    shutil.rmtree(root)


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_runner_gives_the_same_files_bit_for_bit(
    finished: Finished, copy: Project, runner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in RUNNERS[runner].items():
        monkeypatch.setenv(name, value)
    number = "num_cpus" if "Ray" in runner else "max_workers"

    said = copy.run(
        "kedro", "run", "--tags", STAGES, "--runner", runner, "--runner-params", f"{number}=2"
    )

    expected, found = files(finished.project), files(copy)
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []
    for node in ("pretrain@phantom-dqn-0", "finetune@phantom-scratch-0", "evaluate@phantom"):
        assert f"{node} took" in said
    assert "Traceback" not in said
    assert "Warning" not in said


@pytest.mark.parametrize(
    ("runner", "sent"), [("ThreadRunner", signal.SIGINT), ("ParallelRunner", signal.SIGTERM)]
)
def test_a_runner_that_is_asked_to_stop_saves_a_checkpoint_and_begins_nothing_more(
    copy: Project, runner: str, sent: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEDRO_MP_CONTEXT", "spawn")
    options = ["--runner", runner, "--runner-params", "max_workers=2"]
    options += ["--params", "phantom.pretrain.steps=100000", "--namespaces", "random_box,dqn"]
    run = copy.start("kedro", "run", "--tags", "pretrain,finetune", *options)
    assert run.stderr
    written = ""
    while "images/s" not in written:
        line = run.stderr.readline()
        assert line, written
        written += line
    family = psutil.Process(run.pid).children(recursive=True)
    run.send_signal(sent)
    _, rest = run.communicate(timeout=120)

    assert run.returncode == 128 + sent, rest
    assert "and a checkpoint was saved" in rest
    assert "finetune@" not in rest
    assert "Traceback" not in rest
    assert "run the same command again" in rest.splitlines()[-1]
    _, left = psutil.wait_procs(family, timeout=30)
    assert not left
    assert list((copy.root / "data/06_models").rglob("*.pt"))


def test_what_is_wrong_in_a_worker_is_one_message(
    copy: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEDRO_MP_CONTEXT", "spawn")
    (copy.root / "data/03_primary/phantom/store/store.json").write_text("{")
    said = copy.run(
        "kedro", "run", "--tags", "pretrain", "--namespaces", "dqn.s0", "--runner",
        "ParallelRunner", fails=True,
    )  # fmt: skip
    assert "Traceback" not in said
    assert "store" in said.splitlines()[-1]
    assert os.linesep not in said.splitlines()[-1]
