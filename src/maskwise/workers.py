"""Chunks of work spread over processes, results in order, with one message if a worker dies."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing.connection import wait
from typing import TypeVar

from maskwise.errors import UserError

WORTH_A_WORKER = 400
"""Images under which starting another process costs more than it saves."""

C = TypeVar("C")
R = TypeVar("R")

_AHEAD = 4
"""Chunks a worker that are under way at once: bounds memory, hides uneven images."""


def available_cores() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def workers_for(images: int, asked: int | None) -> int:
    """Return how many processes to take: ``asked``, or one a core where it pays."""
    if asked is not None:
        return asked
    return max(1, min(available_cores(), images // WORTH_A_WORKER))


def map_chunks(
    work: Callable[[C], R], chunks: Iterable[C], workers: int, death: str
) -> Iterator[R]:
    """Yield ``work(chunk)`` for each chunk, in order; with one worker in this process.

    Workers are spawned, never forked, so that no lock or thread of this process (torch's,
    OpenMP's) is copied. They leave when this process is killed.

    Raises:
        UserError: with the text ``death``, if a worker dies (killed for memory, most often).
    """
    if workers == 1:
        yield from map(work, chunks)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_start_worker)
    complete = False
    try:
        yield from _in_order(pool, work, iter(chunks), workers * _AHEAD)
        complete = True
    except BrokenProcessPool:
        raise UserError(death) from None
    finally:
        # Workers that have nothing left to do may leave while this process goes on.
        pool.shutdown(wait=not complete, cancel_futures=True)


def _in_order(
    pool: ProcessPoolExecutor, work: Callable[[C], R], chunks: Iterator[C], ahead: int
) -> Iterator[R]:
    running: deque[Future[R]] = deque(_submit(pool, work, c) for c in islice(chunks, ahead))
    while running:
        result = running.popleft().result()
        running.extend(_submit(pool, work, chunk) for chunk in islice(chunks, 1))
        yield result


def _submit(pool: ProcessPoolExecutor, work: Callable[[C], R], chunk: C) -> Future[R]:
    """Hand ``chunk`` over; where that starts a worker, it never hears of Ctrl-C."""
    with deaf_to_interrupts():
        return pool.submit(work, chunk)


@contextmanager
def deaf_to_interrupts(*others: signal.Signals) -> Iterator[None]:
    """Keep Ctrl-C waiting until the block ends; a process started in it never hears of it.

    Nor of ``others``.

    A terminal sends Ctrl-C to workers too, and one that is still importing would answer with a
    traceback, before any line of ours could tell it to leave that to its parent. It inherits
    what is blocked here. The parent is not helped by that, for the system hands the signal to
    another of its threads; and half a start would leave a worker that misses its orders.
    """
    waiting: list[int] = []
    in_charge = threading.current_thread() is threading.main_thread()
    if in_charge:
        handler = signal.signal(signal.SIGINT, lambda number, _: waiting.append(number))
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, *others])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        if in_charge:
            # None: not installed by Python, and cannot be put back from here.
            signal.signal(signal.SIGINT, signal.SIG_DFL if handler is None else handler)
        if waiting:
            signal.raise_signal(signal.SIGINT)


def _start_worker() -> None:
    # A worker whose parent was killed must not stay behind.
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
