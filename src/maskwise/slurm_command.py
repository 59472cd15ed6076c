"""`kedro slurm`: what is missing of a study, one job of Slurm per replicate.

submitit writes the jobs, asks Slurm how they are, and puts one that was pre-empted or ran out
of time back into the queue, where it goes on from its checkpoint. What `kedro study` does on
one machine is done here on many: the same stages, in the same order, into the same folders,
which all machines share.
"""

import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from types import FrameType
from typing import Any

import click
from kedro.framework.startup import ProjectMetadata, bootstrap_project

from maskwise.errors import UserError, listed
from maskwise.experiment import read_studies
from maskwise.interruption import outliving_sigterm
from maskwise.replicates import Replicate, Study
from maskwise.resources import Resources, ResourcesConfig
from maskwise.session import telling
from maskwise.side_by_side import FAREWELL, share_threads
from maskwise.study_command import (
    AFTER,
    BEFORE,
    Asked,
    check_primary,
    chosen_study,
    context_of,
    lacks_images,
    minutes,
    missing,
    run_stages,
)
from maskwise.wording import count

SECONDS_BETWEEN_LOOKS = {"slurm": 5.0, "local": 0.2}


@dataclass(frozen=True)
class Work:
    """What a job does, which submitit pickles: stages of a source or of one replicate."""

    asked: Asked
    source: str
    stages: tuple[str, ...]
    namespace: str | None = None
    threads: int = 1

    def __call__(self) -> str | None:
        """Run what is missing of them; return what a user can put right, or None."""
        share_threads(self.threads)
        os.chdir(self.asked.project)
        bootstrap_project(self.asked.project)
        try:
            stages = self._left()
            if stages:
                # Slurm sends it before the signal at which submitit puts the job back.
                with outliving_sigterm():
                    run_stages(self.asked, self.source, stages, self.namespace)
        except UserError as error:
            return str(error)
        return None

    def _left(self) -> tuple[str, ...]:
        """Return the stages still to be run: some may have ended before the job was put back.

        Pre-training would otherwise begin anew, since its checkpoint goes when it has ended.
        """
        if self.namespace is None:
            return self.stages
        study = read_studies(self.asked.project)[self.source]
        lacking = missing(study, context_of(self.asked).catalog.exists)
        of_this = next(
            (lacks for one, lacks in lacking.items() if one.namespace == self.namespace), []
        )
        return tuple(stage for stage in self.stages if stage in of_this)

    def checkpoint(self) -> Any:
        """Return what submitit puts back into the queue: the same, since the stages go on."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    __submitit_checkpoint__ = checkpoint


class RefusedError(UserError):
    """The queue takes no such job, or no more jobs at this time."""


@dataclass(frozen=True)
class Queue:
    """Where jobs go, and with what."""

    cluster: str
    folder: Path
    """Of what submitit writes, logs among it."""
    hours: float
    sbatch: Mapping[str, str]
    """Further options of Slurm's."""

    def executor(self, name: str, resources: Resources) -> Any:
        """Return what submits jobs that take ``resources`` each.

        Raises:
            UserError: if submitit is not installed, or this machine knows of no Slurm.
        """
        try:
            import submitit
        except ImportError:
            raise UserError(
                "kedro slurm needs submitit, which is not installed: "
                'pip install "maskwise[slurm]"'
            ) from None
        try:
            executor = submitit.AutoExecutor(self.folder / "%j", cluster=self.cluster)
        except RuntimeError as error:
            raise UserError(
                f"kedro slurm: {str(error).rstrip('.')}; run it on a machine that submits jobs "
                "to Slurm, or try it out with --cluster local"
            ) from None
        executor.update_parameters(
            name=name,
            timeout_min=ceil(60 * self.hours),
            cpus_per_task=resources.cpu,
            gpus_per_node=ceil(resources.gpu) or None,
            mem_gb=resources.memory,
            slurm_additional_parameters=dict(self.sbatch) or None,
        )
        return executor


@dataclass
class Jobs:
    """What was submitted, and how it ended."""

    queue: Queue
    running: dict[str, tuple[Any, float]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)

    def submit(self, name: str, work: Work, resources: Resources) -> None:
        executor = self.queue.executor(name, resources)
        try:
            job = executor.submit(work)
        except Exception as error:  # submitit's own, or that of the command it calls
            raise RefusedError(f"kedro slurm: {name} was refused ({error})") from None
        self.running[name] = (job, time.monotonic())

    def wait(self) -> Iterator[tuple[str, float]]:
        """Wait until one or more have ended; yield each, and its seconds."""
        while True:
            over = [name for name, (job, _) in self.running.items() if job.done()]
            if over:
                break
            time.sleep(SECONDS_BETWEEN_LOOKS[self.queue.cluster])
        for name in over:
            job, begun = self.running.pop(name)
            said = _said(job)
            if said is None:
                self.ended.add(name)
            else:
                self.failed[name] = said
            yield name, time.monotonic() - begun

    def cancel(self) -> None:
        for job, _ in self.running.values():
            job.cancel(check=False)
        until = time.monotonic() + FAREWELL
        for job, _ in self.running.values():
            while not job.done() and time.monotonic() < until:
                time.sleep(SECONDS_BETWEEN_LOOKS[self.queue.cluster])


@click.command()
@click.argument("source")
@click.option("--env", "-e", default=None, help="Settings, as of `kedro run`.")
@click.option("--params", default="", help="Options, as of `kedro run`.")
@click.option(
    "--hours",
    type=click.FloatRange(0.01, 10_000),
    default=24.0,
    show_default=True,
    help="Time limit of a job; one that reaches it goes back into the queue, up to 3 times.",
)
@click.option(
    "--at-once",
    type=click.IntRange(1, 10_000),
    default=100,
    show_default=True,
    help="Replicates that are in the queue or at work at one time.",
)
@click.option(
    "--sbatch",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of Slurm's, such as partition=gpu or account=lab; may be repeated.",
)
@click.option(
    "--cluster",
    type=click.Choice(["slurm", "local"]),
    default="slurm",
    show_default=True,
    help="Where jobs go; local: processes of this machine, to try it out.",
)
@click.pass_obj
def slurm(
    metadata: ProjectMetadata,
    source: str,
    env: str | None,
    params: str,
    hours: float,
    at_once: int,
    sbatch: tuple[str, ...],
    cluster: str,
) -> None:
    """Make what is missing of a source, each replicate as a job of Slurm.

    It waits for the jobs and says how each ended; Ctrl-C, or the end of the terminal, cancels
    them. Run again, it makes what is still missing, and what was in the middle goes on from its
    checkpoint. What a job may take stands in conf/base/parameters_resources.yml.
    """
    with telling():
        asked = Asked(Path(metadata.project_path), env, params)
        chosen = chosen_study(asked, source, "slurm")
        folder = asked.project / "data/study" / source / "jobs"
        queue = Queue(cluster, folder, hours, _options(sbatch))
        with _cancelling(Jobs(queue)) as jobs:
            _make(asked, chosen, jobs, at_once)


def _options(given: Sequence[str]) -> dict[str, str]:
    found = {}
    for each in given:
        key, equals, value = each.partition("=")
        if not (key and equals and value):
            raise UserError(f"--sbatch {each}: should be KEY=VALUE, as in partition=gpu")
        found[key.lstrip("-").replace("-", "_")] = value
    return found


@contextmanager
def _cancelling(jobs: Jobs) -> Iterator[Jobs]:
    """Cancel all that runs if the block does not end well, or its terminal is closed."""
    before = signal.getsignal(signal.SIGHUP)

    def terminate(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # shell and system may both send it
        signal.raise_signal(signal.SIGTERM)

    if before is signal.SIG_DFL:  # not under nohup, which goes on without a terminal
        signal.signal(signal.SIGHUP, terminate)
    try:
        yield jobs
    except BaseException:
        jobs.cancel()
        raise
    finally:
        signal.signal(signal.SIGHUP, before)


def _make(asked: Asked, chosen: Study, jobs: Jobs, at_once: int) -> None:
    from maskwise.pipelines import parsing

    context = context_of(asked)
    check_primary(chosen, parsing.evaluate(context.params.get("evaluate") or {}, "evaluate"))
    resources = parsing.resources(context.params.get("resources") or {}, "resources")
    if lacks_images(chosen, context.catalog):
        _one(jobs, asked, chosen, BEFORE, resources)
    lacking = missing(chosen, context_of(asked).catalog.exists)
    there = len(chosen.all_replicates) - len(lacking)
    click.echo(f"{count(len(lacking), 'replicate')} to make, {there} there already.")
    make_replicates(asked, chosen, lacking, jobs, at_once, resources)
    if jobs.failed:
        raise UserError(
            f"slurm {chosen.source}: {count(len(jobs.failed), 'replicate')} failed "
            f"({listed(jobs.failed)}), and so nothing was scored; their logs are in "
            f"{jobs.queue.folder}; run the same command again when what they name is mended"
        )
    _one(jobs, asked, chosen, AFTER if chosen.finetunes else AFTER[1:], resources)


def make_replicates(
    asked: Asked,
    chosen: Study,
    lacking: Mapping[Replicate, Sequence[str]],
    jobs: Jobs,
    at_once: int,
    resources: ResourcesConfig,
) -> None:
    """Submit a job for each replicate that lacks something, and wait until all have ended.

    Raises:
        RefusedError: if the queue takes no job although none of these is in it.
    """
    waiting = dict(lacking)
    names = {one.namespace for one in lacking}

    def tell(name: str, what: str) -> None:
        over = len(jobs.ended & names) + len(jobs.failed)
        click.echo(f"{over} of {len(lacking)}: {name} {what}")

    is_full = False  # the queue, by its own rules; said once
    while waiting or jobs.running:
        for one, stages in list(waiting.items()):
            before = chosen.before(one)
            first = None if before is None else before.namespace
            if first in jobs.failed:
                del waiting[one]
                said = f"was not begun, because {first} failed"
                jobs.failed[one.namespace] = said
                tell(one.namespace, said)
            elif len(jobs.running) < at_once and (first not in names or first in jobs.ended):
                wanted = resources.of(stages)
                work = Work(asked, one.source, tuple(stages), one.namespace, wanted.cpu)
                try:
                    jobs.submit(one.namespace, work, wanted)
                except RefusedError as refused:
                    if not jobs.running:
                        raise
                    if not is_full:
                        click.echo(f"{refused}; it waits until another job has ended.")
                    is_full = True
                    break
                del waiting[one]
        for name, seconds in jobs.wait() if jobs.running else ():
            failure = jobs.failed.get(name)
            tell(name, f"FAILED ({failure})" if failure else f"took {minutes(seconds)}")


def _one(
    jobs: Jobs, asked: Asked, chosen: Study, stages: tuple[str, ...], config: ResourcesConfig
) -> None:
    """Submit stages that all replicates share as one job, and wait for it."""
    name, wanted = f"{stages[-1]}@{chosen.source}", config.of(stages)
    jobs.submit(name, Work(asked, chosen.source, stages, None, wanted.cpu), wanted)
    for _, seconds in jobs.wait():
        if name in jobs.failed:
            raise UserError(f"slurm: {name} failed ({jobs.failed[name]})")
        click.echo(f"{', '.join(stages)} took {minutes(seconds)}")


def _said(job: Any) -> str | None:
    """Return why a job failed; None if it ended well."""
    from submitit.core.utils import FailedJobError, UncompletedJobError

    try:
        said: str | None = job.result()
    except FailedJobError as error:
        return f"{_reason(str(error))}; its log is {job.paths.stderr}"
    except UncompletedJobError as error:
        last = str(error).strip().rpartition("\n")[2]
        return f"{last}; its log is {job.paths.stderr}"
    return said


def _reason(message: str) -> str:
    """Return the last line of the trace, which submitit puts between two rows of dashes."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    rows = [place for place, line in enumerate(lines) if set(line) == {"-"}]
    return lines[rows[-1] - 1] if rows else lines[-1]
