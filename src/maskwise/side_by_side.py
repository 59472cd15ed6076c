"""Commands that run beside one another, a few at a time, each with a log of its own."""

import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
PATIENCE = 0.2
"""Seconds between two looks at what runs."""
FAREWELL = 300.0
"""Seconds that a command has to save what it was at when all are told to stop."""


@dataclass(frozen=True)
class Job:
    """One command."""

    name: str
    command: Sequence[str]
    log: Path
    """Where all that it says is written."""
    after: str | None = None
    """The name of another that must have ended well."""


@dataclass(frozen=True)
class Done:
    """A command that has ended, or that was never begun because of another's end."""

    job: Job
    code: int | None
    """Exit code; None where it was not begun."""
    seconds: float


def run(
    jobs: Sequence[Job], at_once: int, threads: int, folder: Path
) -> Generator[Done, None, None]:
    """Run all, ``at_once`` at a time; yield each as it ends.

    What is begun does not depend on how others end, but for ``after``. When the caller stops
    listening, or is interrupted, all that runs is asked to stop, and waited for.

    Args:
        jobs: in the order in which they should begin.
        at_once: how many may run.
        threads: that each may use.
        folder: where the commands run.
    """
    waiting, ended = deque(jobs), dict[str, bool]()
    running: dict[subprocess.Popen[bytes], tuple[Job, float]] = {}
    names = {job.name for job in jobs}
    try:
        while waiting or running:
            while len(running) < at_once and (job := _next(waiting, ended, names)) is not None:
                if job.after is not None and ended.get(job.after) is False:
                    ended[job.name] = False
                    yield Done(job, None, 0.0)
                    continue
                running[_start(job, threads, folder)] = (job, time.monotonic())
            for process in [each for each in running if each.poll() is not None]:
                job, begun = running.pop(process)
                ended[job.name] = process.returncode == 0
                yield Done(job, process.returncode, time.monotonic() - begun)
            if running:
                time.sleep(PATIENCE)
    finally:
        _stop(list(running))


def _next(waiting: deque[Job], ended: Mapping[str, bool], names: set[str]) -> Job | None:
    """Take the first that waits for nothing that is still to come."""
    for job in waiting:
        if job.after is None or job.after in ended or job.after not in names:
            waiting.remove(job)
            return job
    return None


def _start(job: Job, threads: int, folder: Path) -> "subprocess.Popen[bytes]":
    job.log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, **dict.fromkeys(THREADS, str(threads))}
    with job.log.open("ab") as log:
        # A session of its own: Ctrl-C is meant for this process, which tells the others.
        return subprocess.Popen(
            job.command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _stop(processes: "list[subprocess.Popen[bytes]]") -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    until = time.monotonic() + FAREWELL
    for process in processes:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
