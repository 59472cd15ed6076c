"""Chunks of work spread over processes, results in order, with one message if a worker dies."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing.connection import wait
from typing import TypeVar

from maskwise.errors import UserError

C = TypeVar("C")
R = TypeVar("R")

_AHEAD = 4
"""Chunks a worker that are under way at once: bounds memory, hides uneven images."""


def available_cores() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_chunks(work: Callable[[C], R], chunks: Iterable[C], workers: int) -> Iterator[R]:
    """Yield ``work(chunk)`` for each chunk, in order; with one worker in this process.

    Workers are spawned, never forked, so that no lock or thread of this process is copied.

    Raises:
        UserError: if a worker dies (killed for memory, most often).
    """
    if workers == 1:
        yield from map(work, chunks)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_start_worker)
    try:
        yield from _in_order(pool, work, iter(chunks), workers * _AHEAD)
    except BrokenProcessPool:
        raise UserError(
            "ingest: a worker process died while it read images, most often because memory ran "
            "out; run again with fewer `ingest.workers` or a lower `ingest.max_pixels`"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _in_order(
    pool: ProcessPoolExecutor, work: Callable[[C], R], chunks: Iterator[C], ahead: int
) -> Iterator[R]:
    running: deque[Future[R]] = deque(pool.submit(work, c) for c in islice(chunks, ahead))
    while running:
        result = running.popleft().result()
        running.extend(pool.submit(work, chunk) for chunk in islice(chunks, 1))
        yield result


def _start_worker() -> None:
    # Ctrl-C is the parent's to handle; a worker whose parent was killed must not stay behind.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
