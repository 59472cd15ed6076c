"""Ctrl-C and SIGTERM in every stage: one message, and nothing is left behind."""

import os
import shutil
import signal
from pathlib import Path

import psutil
import pytest

from project import Finished, Project
from warm import Running

pytestmark = pytest.mark.xdist_group("finished")

BEGUN = {
    "generate": "generate@phantom",
    "ingest": "ingest phantom:",
    "preprocess": "preprocess phantom:",
    "pretrain": "pretrain random_box seed 0:",
    "finetune": "finetune@phantom-random_box-0",
    "evaluate": "evaluate@phantom",
    "report": "report@phantom",
    "predict": "predict phantom:",
}
"""Stage -> what it writes when it is at work; where it shows a bar, the bar."""
KEPT = (".lock", "/lock", ".pt")
"""Ends of files that stay on purpose: locks, which a run takes again, and checkpoints."""


@pytest.fixture(scope="module")
def project(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a copy of the finished project, whose stages may be broken off."""
    root = tmp_path_factory.mktemp("signals") / "project"
    shutil.copytree(finished.project.root, root)
    return Project(root)


def command(project: Project, stage: str) -> list[str]:
    """Return what runs ``stage`` alone, of one recipe where each has its own."""
    if stage == "predict":
        model = next((project.root / "data/06_models/phantom/models").rglob("*.safetensors"))
        options = f"predict.model={model},predict.scans={project.root}/data/01_raw/phantom"
        return ["kedro", "run", "--pipelines", "predict", "--params", options]
    replicate = ["--namespaces", "random_box.s0"] if stage in ("pretrain", "finetune") else []
    return ["kedro", "run", "--tags", stage, *replicate]


def begin(project: Project, stage: str) -> Running:
    """Start ``stage``, and return when it is at work."""
    run = project.start(*command(project, stage))
    written = ""
    while BEGUN[stage] not in written:
        line = run.line()
        assert line, written
        written += line
    return run


def files(project: Project) -> dict[str, int]:
    """Return what lies in the data folder, and when it was written."""
    found = (path for path in (project.root / "data").rglob("*") if path.is_file())
    return {str(path): path.stat().st_mtime_ns for path in found if not path.match("run.json")}


@pytest.mark.parametrize(
    ("stage", "sent"),
    [
        *((stage, signal.SIGTERM) for stage in BEGUN),
        # Those that start processes or take Ctrl-C themselves; a start of each takes seconds.
        *((stage, signal.SIGINT) for stage in ("ingest", "preprocess", "pretrain", "predict")),
        ("report", signal.SIGINT),
    ],
)
def test_a_stage_that_is_asked_to_stop_leaves_one_message_and_nothing_else(
    project: Project,
    stage: str,
    sent: signal.Signals,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before = files(project)
    run = begin(project, stage)
    family = psutil.Process(run.pid).children(recursive=True)
    if sent is signal.SIGINT:
        os.killpg(run.pid, sent)  # a terminal sends it to all of them
    else:
        run.send_signal(sent)
    _, written = run.communicate(timeout=120)
    assert run.returncode == 128 + sent, written
    assert "Traceback" not in written
    assert "run the same command again" in written.splitlines()[-1]
    _, left = psutil.wait_procs(family, timeout=30)
    assert not left
    after = files(project)
    assert [path for path in after.keys() - before.keys() if not path.endswith(KEPT)] == []
    assert {path: after.get(path) for path in before if not path.endswith(KEPT)} == {
        path: time for path, time in before.items() if not path.endswith(KEPT)
    }
    # torch's own, which lasts from run to run
    assert [file for file in tmp_path.iterdir() if "torchinductor" not in file.name] == []


def test_the_next_run_makes_what_was_broken_off(project: Project) -> None:
    manifest = project.root / "data/02_intermediate/phantom/manifest.parquet"
    expected = manifest.read_bytes()
    manifest.unlink()
    run = begin(project, "ingest")
    run.send_signal(signal.SIGTERM)
    run.communicate(timeout=120)
    assert not manifest.exists()
    project.run("kedro", "run", "--tags", "ingest")
    assert manifest.read_bytes() == expected
