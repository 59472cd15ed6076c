"""Works that run beside one another, a few at a time, each with a process and a log of its own.

Processes are forked from this one, so that what it has imported costs none of them a second.
"""

import multiprocessing
import os
import signal
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.context import ForkProcess
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
PATIENCE = 0.2
"""Seconds between two looks at what runs."""
FAREWELL = 300.0
"""Seconds that a command has to save what it was at when all are told to stop."""


@dataclass(frozen=True)
class Job:
    """One work."""

    name: str
    work: Callable[[], object]
    """Called in the process of its own; it ends well unless it raises, ``SystemExit`` with
    another code than 0 included."""
    log: Path
    """Where all that it says is written."""
    after: str | None = None
    """The name of another that must have ended well."""


@dataclass(frozen=True)
class Done:
    """A work that has ended, or that was never begun because of another's end."""

    job: Job
    code: int | None
    """Exit code; None where it was not begun."""
    seconds: float


def share_threads(threads: int) -> None:
    """Let this process and those forked from it use so many each.

    Libraries read this when they are loaded, so it has no effect on one that is.
    """
    os.environ.update(dict.fromkeys(THREADS, str(threads)))


def run(jobs: Sequence[Job], at_once: int) -> Generator[Done, None, None]:
    """Run all, ``at_once`` at a time; yield each as it ends.

    What is begun does not depend on how others end, but for ``after``. When the caller stops
    listening, or is interrupted, all that runs is asked to stop, and waited for.

    Args:
        jobs: in the order in which they should begin.
        at_once: how many may run.
    """
    waiting, ended = deque(jobs), dict[str, bool]()
    running: dict[ForkProcess, tuple[Job, float]] = {}
    names = {job.name for job in jobs}
    try:
        while waiting or running:
            while len(running) < at_once and (job := _next(waiting, ended, names)) is not None:
                if job.after is not None and ended.get(job.after) is False:
                    ended[job.name] = False
                    yield Done(job, None, 0.0)
                    continue
                running[_start(job)] = (job, time.monotonic())
            for process in [each for each in running if each.exitcode is not None]:
                job, begun = running.pop(process)
                ended[job.name] = process.exitcode == 0
                yield Done(job, process.exitcode, time.monotonic() - begun)
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


def _start(job: Job) -> ForkProcess:
    job.log.parent.mkdir(parents=True, exist_ok=True)
    process = multiprocessing.get_context("fork").Process(target=_do, args=(job,))
    with warnings.catch_warnings():
        # From Python 3.12 on. The threads are OpenBLAS's, which puts them right itself.
        warnings.filterwarnings("ignore", ".*multi-threaded, use of fork", DeprecationWarning)
        process.start()
    return process


def _do(job: Job) -> None:
    """Do the work, in its own process: as a command that was typed in the background."""
    # A session of its own: Ctrl-C is meant for the first process, which tells the others.
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    log = os.open(job.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for stream in (1, 2):
        os.dup2(log, stream)
    job.work()


def _stop(processes: Sequence[ForkProcess]) -> None:
    for process in processes:
        _tell(process, signal.SIGTERM)
    until = time.monotonic() + FAREWELL
    for process in processes:
        process.join(max(0.0, until - time.monotonic()))
        if process.exitcode is None:
            _tell(process, signal.SIGKILL)
            process.join()


def _tell(process: ForkProcess, what: signal.Signals) -> None:
    # Until it has a session of its own it is in this one's, which must not be told.
    with suppress(ProcessLookupError):
        if process.pid is not None and os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, what)
        elif process.pid is not None:
            os.kill(process.pid, what)
