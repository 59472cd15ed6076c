"""Every runner gives the same files, and stops when it is asked to."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from project import Finished, Project

pytestmark = pytest.mark.xdist_group("finished")
NODES = {
    "dqn.s0.pretrain": "06_models/phantom/encoders/dqn",
    "random_box.s0.pretrain": "06_models/phantom/encoders/random_box",
    "scratch.s0.finetune": "07_model_output/phantom/predictions/scratch",
}
"""What is run, at once where there is room, and the folder in which most of it is written."""
RUNNERS = {
    "ThreadRunner": {},
    "ParallelRunner": {"KEDRO_MP_CONTEXT": "spawn"},
    "maskwise.runners.RayRunner": {},
}


def files(project: Project) -> dict[str, bytes]:
    """Return what the nodes wrote, but for what differs from run to run."""
    data = project.root / "data"
    paths = [path for folder in NODES.values() for path in (data / folder).rglob("*")]
    return {
        str(path.relative_to(data)): path.read_bytes()
        for path in paths
        if path.is_file() and not path.name.endswith("lock") and path.name != "run.json"
    }


@pytest.fixture
def copy(finished: Finished, tmp_path: Path) -> Iterator[Project]:
    """Return the finished project without what the nodes made."""
    root = tmp_path / "copy"
    shutil.copytree(finished.project.root, root, symlinks=True)
    for folder in NODES.values():
        shutil.rmtree(root / "data" / folder)
    yield Project(root)
    shutil.rmtree(root)


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_runner_gives_the_same_files_bit_for_bit(
    finished: Finished, copy: Project, runner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "Ray" in runner:
        pytest.importorskip("ray", reason="needs Ray, of the extra `ray`")
    for name, value in RUNNERS[runner].items():
        monkeypatch.setenv(name, value)
    number = "num_cpus" if "Ray" in runner else "max_workers"
    options = ["--runner", runner, "--runner-params", f"{number}=2"]

    # Anew, as a user starts it: what is spawned begins with the file that was started.
    said = copy.run("kedro", "run", "--nodes", ",".join(NODES), *options, anew=True)

    expected, found = files(finished.project), files(copy)
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []
    assert "pretrain@phantom-dqn-0 took" in said
    for folder in NODES.values():  # what each node took, written when its outputs were saved
        assert list((copy.root / "data" / folder).rglob("run.json"))
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
    written = ""
    while "images/s" not in written:
        line = run.line()
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
