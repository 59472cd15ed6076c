"""`kedro slurm`, in jobs of submitit's local executor."""

import shutil
import signal
import time
from pathlib import Path

import pytest

from maskwise.errors import UserError
from maskwise.resources import Resources
from maskwise.slurm_command import Queue, Work, _options
from maskwise.study_command import Asked
from project import Finished, Project

submitit = pytest.importorskip("submitit", reason="needs submitit, of the extra `slurm`")
pytestmark = pytest.mark.xdist_group("finished")


@pytest.fixture
def copy(finished: Finished, tmp_path: Path) -> Project:
    root = tmp_path / "copy"
    shutil.copytree(finished.project.root, root, symlinks=True)
    project = Project(root)
    # Whose recipes are not those of the tiny study.
    project.edit("conf/base/parameters_evaluate.yml", evaluate__primary={})
    return project


def test_what_is_missing_is_made_by_jobs_and_scored(copy: Project) -> None:
    predictions = copy.root / "data/07_model_output/phantom/predictions"
    expected = (predictions / "scratch/s0/predictions.parquet").read_bytes()
    shutil.rmtree(predictions / "scratch")
    (copy.root / "data/08_reporting/phantom/scores.json").unlink()

    said = copy.run("kedro", "slurm", "phantom", "--cluster", "local")

    assert "1 replicate to make, 2 there already." in said
    assert "1 of 1: scratch.s0 took" in said
    assert (predictions / "scratch/s0/predictions.parquet").read_bytes() == expected
    assert (copy.root / "data/08_reporting/phantom/scores.json").is_file()
    assert "Traceback" not in said


def test_a_job_that_is_pre_empted_goes_on_from_its_checkpoint(
    copy: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in copy.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(copy.root / "src"))
    models = copy.root / "data/06_models/phantom"
    shutil.rmtree(models / "encoders/random_box")
    params = "phantom.pretrain.steps=200,pretrain.checkpoint_every=5"
    work = Work(Asked(copy.root, None, params), "phantom", ("pretrain",), "random_box.s0")
    executor = Queue("local", tmp_path / "jobs", 1.0, {}).executor("x", Resources())
    job = executor.submit(work)
    deadline = time.monotonic() + 120
    while not list((models / "checkpoints/random_box").rglob("*.pt")):
        assert time.monotonic() < deadline, job.stderr()
        time.sleep(0.05)
    # What Slurm sends before it takes the machine away; submitit's controller passes it on.
    import psutil

    (task,) = psutil.Process(job._process.pid).children()
    task.send_signal(signal.SIGUSR2)

    assert job.result() is None
    streams = (job.paths.stdout, job.paths.stderr)
    log = " ".join(Path(each).read_text(encoding="utf-8") for each in streams)
    assert "Requeued job" in log
    assert "random_box seed 0: going on" in log
    assert (models / "encoders/random_box/s0/encoder.safetensors").exists()


def test_what_a_job_cannot_do_is_one_sentence(copy: Project) -> None:
    said = copy.run("kedro", "slurm", "phantom", fails=True)
    assert said.splitlines()[-1].startswith("Error: kedro slurm: Could not detect")
    assert said.splitlines()[-1].endswith("or try it out with --cluster local")
    said = copy.run("kedro", "slurm", "phantm", fails=True)
    assert "slurm: there is no source 'phantm'; did you mean 'phantom'?" in said
    assert "Traceback" not in said


def test_options_of_slurm_are_passed_on_by_its_names() -> None:
    assert _options(["partition=gpu", "--mail-type=END"]) == {
        "partition": "gpu",
        "mail_type": "END",
    }
    with pytest.raises(UserError, match=r"^--sbatch gpu: should be KEY=VALUE"):
        _options(["gpu"])
