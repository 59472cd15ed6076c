"""`kedro slurm`, in jobs of submitit's local executor."""

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from maskwise import slurm_command
from maskwise.errors import Terminated, UserError
from maskwise.replicates import Study
from maskwise.resources import Resources, ResourcesConfig
from maskwise.session import stoppable
from maskwise.slurm_command import (
    Jobs,
    Queue,
    Work,
    _cancelling,
    _options,
    _said,
    make_replicates,
    slurm,
)
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
    copy: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    for name, value in copy.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(copy.root / "src"))
    models = copy.root / "data/06_models/phantom"
    shutil.rmtree(models / "encoders/random_box")
    # One that an earlier test left would say that this job is at work.
    shutil.rmtree(models / "checkpoints/random_box", ignore_errors=True)
    params = "phantom.pretrain.steps=200,pretrain.checkpoint_every=5"
    work = Work(Asked(copy.root, None, params), "phantom", ("pretrain",), "random_box.s0")
    executor = Queue("local", tmp_path / "jobs", 1.0, {}).executor("x", Resources())
    job = executor.submit(work)

    def end() -> None:
        if job._process.poll() is None:
            job.cancel(check=False)
        job._process.wait(60)

    request.addfinalizer(end)

    def wait_until(holds: Callable[[], object]) -> None:
        deadline = time.monotonic() + 300
        while not holds():
            assert time.monotonic() < deadline, log_of(job)
            assert not job.done(), log_of(job)
            time.sleep(0.05)

    wait_until(lambda: list((models / "checkpoints/random_box").rglob("*.pt")))
    # What Slurm sends before it takes the machine away; submitit's controller passes it on.
    import psutil

    (task,) = psutil.Process(job._process.pid).children()
    task.send_signal(signal.SIGTERM)
    wait_until(lambda: "SIGTERM: saving a checkpoint" in log_of(job))
    task.send_signal(signal.SIGUSR2)

    assert job.result() is None
    log = log_of(job)
    assert "Requeued job" in log
    assert "random_box seed 0: going on" in log
    assert (models / "encoders/random_box/s0/encoder.safetensors").exists()


def log_of(job: Any) -> str:
    streams = (job.paths.stdout, job.paths.stderr)
    return " ".join(Path(each).read_text(encoding="utf-8") for each in streams)


def test_a_job_that_is_pre_empted_in_fine_tuning_does_not_pre_train_again(
    copy: Project,
) -> None:
    program = f"""
from pathlib import Path
from maskwise import slurm_command as slurm
from maskwise.study_command import Asked
slurm.run_stages = lambda asked, source, stages, namespace: print("ran", *stages)
asked = Asked(Path({str(copy.root)!r}), None, "")
work = slurm.Work(asked, "phantom", ("pretrain", "finetune"), "random_box.s0")
Path("data/07_model_output/phantom/predictions/random_box/s0/predictions.parquet").unlink()
work()
Path("data/06_models/phantom/encoders/random_box/s0/encoder.safetensors").unlink()
work()
"""
    lines = copy.run("python", "-c", program).splitlines()
    assert [line for line in lines if line.startswith("ran")] == [
        "ran finetune",
        "ran pretrain finetune",
    ]


@dataclass
class SmallQueue:
    """Stands in for a queue that takes ``room`` jobs at a time, and ``most`` in all."""

    most: int = 100
    room: int = 1
    fails: str = ""
    """Name of the job that ends with a sentence for the user."""
    cluster: str = "local"
    folder: Path = Path("jobs")
    jobs: list[Any] = field(default_factory=list)
    submitted: list[str] = field(default_factory=list)
    busiest: int = 0
    """How many jobs it had at one time."""

    def executor(self, name: str, resources: Resources) -> Any:
        return Submitting(self, name)


@dataclass
class Submitting:
    """Stands in for submitit's executor."""

    queue: SmallQueue
    name: str

    def submit(self, work: Callable[[], Any]) -> Any:
        queue = self.queue
        there = sum(bool(job.looks) for job in queue.jobs)
        if there == queue.room or len(queue.submitted) == queue.most:
            raise RuntimeError("QOSMaxSubmitJobPerUserLimit")
        queue.submitted.append(self.name)
        queue.busiest = max(queue.busiest, there + 1)
        job = Running(said="the disk is full" if self.name == queue.fails else None)
        queue.jobs.append(job)
        return job


@dataclass
class Running:
    """Stands in for a job, which ends before the third look."""

    looks: int = 2
    said: str | None = None
    was_cancelled: bool = False

    def done(self) -> bool:
        self.looks = max(0, self.looks - 1)
        return self.looks == 0

    def result(self) -> str | None:
        return self.said

    def cancel(self, check: bool) -> None:
        self.was_cancelled = True


STUDY = Study("s", True, ("a", "b", "c"), (0,), (), "params:fractions")
ASKING = replace(STUDY, recipes=("asks", "agent"), needs={"asks": "agent"})
"""A study whose first recipe needs what the second has learnt."""


def make_all(queue: SmallQueue, study: Study = STUDY, at_once: int = 3) -> Jobs:
    jobs = Jobs(queue)  # type: ignore[arg-type]
    lacking = {one: ["pretrain"] for one in study.all_replicates}
    asked = Asked(Path(), None, "")
    make_replicates(asked, study, lacking, jobs, at_once, ResourcesConfig())
    return jobs


def test_what_the_queue_refuses_waits_while_others_are_in_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    queue = SmallQueue()
    make_all(queue)
    assert queue.submitted == ["a.s0", "b.s0", "c.s0"]
    assert capsys.readouterr().out.count("was refused (QOSMaxSubmitJobPerUserLimit); it") == 1


def test_what_the_queue_refuses_though_nothing_is_in_it_is_an_error() -> None:
    queue = SmallQueue(most=2)
    with pytest.raises(UserError, match=r"^kedro slurm: c\.s0 was refused \(QOSMax\w+\)$"):
        make_all(queue)
    assert queue.submitted == ["a.s0", "b.s0"]


@pytest.mark.parametrize("at_once", [1, 2])
def test_no_more_jobs_are_in_the_queue_than_at_once_says(at_once: int) -> None:
    queue = SmallQueue(room=3)
    jobs = make_all(queue, at_once=at_once)
    assert queue.busiest == at_once
    assert jobs.ended == {"a.s0", "b.s0", "c.s0"}


def test_what_asks_an_agent_is_submitted_when_that_has_ended() -> None:
    queue = SmallQueue(room=3)
    make_all(queue, ASKING)
    assert queue.submitted == ["agent.s0", "asks.s0"]
    assert queue.busiest == 1


def test_what_asks_an_agent_that_failed_is_not_begun_and_that_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    queue = SmallQueue(room=3, fails="agent.s0")
    jobs = make_all(queue, ASKING)
    assert queue.submitted == ["agent.s0"]
    assert set(jobs.failed) == {"agent.s0", "asks.s0"}
    assert capsys.readouterr().out.splitlines() == [
        "1 of 2: agent.s0 FAILED (the disk is full)",
        "2 of 2: asks.s0 was not begun, because agent.s0 failed",
    ]


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let submitit find Slurm's commands, of which one takes whatever it is given."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("srun", "sbatch"):
        command = folder / name
        command.write_text("#!/bin/sh\necho Submitted batch job 7\n", encoding="utf-8")
        command.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


@pytest.mark.usefixtures("commands")
def test_slurm_is_asked_for_the_hours_cores_gpus_memory_and_options(tmp_path: Path) -> None:
    options = {"partition": "gpu", "mail_type": "END"}
    queue = Queue("slurm", tmp_path / "jobs", 1.51, options)
    work = Work(Asked(tmp_path, None, ""), "s", ("pretrain",), "a.s0")

    job = queue.executor("a.s0", Resources(cpu=4, gpu=0.5, memory=16)).submit(work)

    assert job.paths.submission_file == tmp_path / "jobs/7/7_submission.sh"
    asked = job.paths.submission_file.read_text(encoding="utf-8").splitlines()
    assert {
        "#SBATCH --job-name=a.s0",
        "#SBATCH --time=91",
        "#SBATCH --cpus-per-task=4",
        "#SBATCH --gpus-per-node=1",
        "#SBATCH --mem=16GB",
        "#SBATCH --partition=gpu",
        "#SBATCH --mail-type=END",
    } <= set(asked)


@pytest.mark.usefixtures("commands")
def test_slurm_is_not_asked_for_what_no_stage_asks_for(tmp_path: Path) -> None:
    queue = Queue("slurm", tmp_path / "jobs", 1, {})
    work = Work(Asked(tmp_path, None, ""), "s", ("pretrain",), "a.s0")
    job = queue.executor("a.s0", Resources()).submit(work)
    asked = job.paths.submission_file.read_text(encoding="utf-8")
    assert "gpus" not in asked
    assert "--mem" not in asked


def test_what_the_command_is_given_reaches_the_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    monkeypatch.setattr(slurm_command, "chosen_study", lambda *given: STUDY)
    monkeypatch.setattr(slurm_command, "_make", lambda *given: made.extend(given))
    given = (
        "s --hours 8 --at-once 5 --sbatch partition=gpu --sbatch account=lab --cluster local"
    )
    options = ["--env", "test", "--params", "a.b=1"]

    done = CliRunner().invoke(
        slurm, [*given.split(), *options], obj=SimpleNamespace(project_path=tmp_path)
    )

    assert done.exit_code == 0, done.output
    asked, study, jobs, at_once = made
    assert asked == Asked(tmp_path, "test", "a.b=1")
    assert study is STUDY
    assert at_once == 5
    folder = tmp_path / "data/study/s/jobs"
    assert jobs.queue == Queue("local", folder, 8, {"partition": "gpu", "account": "lab"})


@pytest.fixture
def terminal() -> Iterator[None]:
    """Let the signal that a closed terminal sends do what it usually does."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("terminal")
def test_jobs_are_cancelled_when_the_terminal_is_closed() -> None:
    jobs, job = Jobs(SmallQueue()), Running()  # type: ignore[arg-type]
    jobs.running["a.s0"] = (job, 0.0)
    with pytest.raises(Terminated), stoppable(), _cancelling(jobs):
        signal.raise_signal(signal.SIGHUP)
    assert job.was_cancelled
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


def test_what_a_job_cannot_do_is_one_sentence(copy: Project) -> None:
    said = copy.run("kedro", "slurm", "phantom", fails=True)
    assert said.splitlines()[-1].startswith("Error: kedro slurm: Could not detect")
    assert said.splitlines()[-1].endswith("or try it out with --cluster local")
    said = copy.run("kedro", "slurm", "phantm", fails=True)
    assert "slurm: there is no source 'phantm'; did you mean 'phantom'?" in said
    params = ("--cluster", "local", "--params", "resources.pretrain.cpu=0")
    said = copy.run("kedro", "slurm", "phantom", *params, fails=True)
    assert "resources.pretrain.cpu: is 0, but must lie between 1 and 1024" in said
    assert "Traceback" not in said


def test_options_of_slurm_are_passed_on_by_its_names() -> None:
    assert _options(["partition=gpu", "--mail-type=END"]) == {
        "partition": "gpu",
        "mail_type": "END",
    }
    with pytest.raises(UserError, match=r"^--sbatch gpu: should be KEY=VALUE"):
        _options(["gpu"])


def ended_with(folder: Path, trace: str) -> Any:
    """Return submitit's job that an error ended, as its process leaves it."""
    job = submitit.LocalJob(folder, "7")
    submitit.core.utils.cloudpickle_dump(("error", trace), job.paths.result_pickle)
    return job


def test_of_a_job_that_an_error_ended_the_reason_and_the_log_are_named(tmp_path: Path) -> None:
    trace = (
        "Traceback (most recent call last):\n"
        '  File "training.py", line 7, in step\n'
        "    loss.backward()\n"
        "torch.OutOfMemoryError: CUDA out of memory\n"
    )
    assert _said(ended_with(tmp_path, trace)) == (
        f"torch.OutOfMemoryError: CUDA out of memory; its log is {tmp_path}/7_0_log.err"
    )


def test_of_a_job_that_vanished_the_last_words_and_the_log_are_named(tmp_path: Path) -> None:
    log = tmp_path / "7_0_log.err"
    log.write_text("pretrain: step 3\nslurmstepd: error: Detected 1 oom_kill event\n")
    job = submitit.LocalJob(tmp_path, "7")
    job._results_timeout_s = 0
    assert _said(job) == f"slurmstepd: error: Detected 1 oom_kill event; its log is {log}"
