"""Who asked to stop: Ctrl-C and SIGTERM, in whichever thread or process the work is done.

The system hands a signal to the main thread of a process. Work in another thread is told by it,
and the workers of a pool of processes learn here to end without a word.
"""

import ctypes
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from maskwise.errors import Terminated
from maskwise.workers import leave_with_parent

log = logging.getLogger(__name__)

ASKED = (signal.SIGINT, signal.SIGTERM)
SAME = 1.0
"""Seconds within which a second signal is the first once more: what ends a group of processes
reaches a worker twice, by itself and through the process that it works for."""


@dataclass
class Interruption:
    """Whether someone asked the run to stop."""

    received: signal.Signals | None = None
    since: float = 0.0
    """When, in seconds of ``time.monotonic``."""
    wants_checkpoint: bool = False
    """Whether to save one and go on; whoever saves takes it back."""


@dataclass
class _Process:
    """What signals have done to this process, which has one set of handlers."""

    threads: dict[int, Interruption | None] = field(default_factory=dict)
    """Threads at work beside the main one; with a note where the work looks at one itself."""
    stopped: signal.Signals | None = None
    """What nodes that have yet to begin are told."""
    runs: int | None = None
    """Which process runs pipelines: a forked one inherits what stands here."""
    has_parent_watched: bool = False
    outlives_sigterm: bool = False


_PROCESS = _Process()


@contextmanager
def interruptions() -> Iterator[Interruption]:
    """Turn the first Ctrl-C or SIGTERM of the block into a note; the second acts at once."""
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        thread = threading.get_ident()
        before_in_thread = _PROCESS.threads.get(thread)
        _PROCESS.threads[thread] = interruption
        try:
            yield interruption
        finally:
            _PROCESS.threads[thread] = before_in_thread
        return
    before = {number: signal.getsignal(number) for number in ASKED}

    def note(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGTERM and _PROCESS.outlives_sigterm:
            interruption.wants_checkpoint = True
            log.warning("SIGTERM: saving a checkpoint after this step, and going on.")
        elif interruption.received is None:
            _note(interruption, signal.Signals(number))
        elif time.monotonic() - interruption.since >= SAME:
            _restore(before)
            signal.raise_signal(number)

    for number in before:
        signal.signal(number, note)
    try:
        yield interruption
    finally:
        _restore(before)


@contextmanager
def outliving_sigterm() -> Iterator[None]:
    """Let work in the block save at SIGTERM and go on, where another signal will end it."""
    before, _PROCESS.outlives_sigterm = _PROCESS.outlives_sigterm, True
    try:
        yield
    finally:
        _PROCESS.outlives_sigterm = before


@contextmanager
def at_work() -> Iterator[None]:
    """Let the block be stopped wherever it runs, and not be begun after a stop.

    Raises:
        KeyboardInterrupt: if the run was asked to stop before.
    """
    if threading.current_thread() is threading.main_thread():
        with _in_worker():
            yield
        return
    thread = threading.get_ident()
    # First of all: a signal between the two would else reach neither this thread nor the check.
    _PROCESS.threads[thread] = None
    try:
        _refuse_after_stop()
        yield
    except KeyboardInterrupt as interrupt:
        _say(interrupt)
        raise
    finally:
        _PROCESS.threads.pop(thread, None)


@contextmanager
def handing_on(beside: bool) -> Iterator[None]:
    """Run pipelines in the block; hand what asks to stop on to the nodes that run ``beside``.

    Threads are told of Ctrl-C and SIGTERM. A terminal sends Ctrl-C to worker processes as well,
    but SIGTERM goes to one process, so they are sent that.
    """
    _PROCESS.stopped, _PROCESS.runs = None, os.getpid()
    if not beside or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in ASKED}

    def hand_on(number: int, frame: FrameType | None) -> None:
        _restore(before)
        _stop_threads(signal.Signals(number))
        if number == signal.SIGTERM:
            for child in multiprocessing.active_children():
                child.terminate()
        signal.raise_signal(number)

    for number in before:
        signal.signal(number, hand_on)
    try:
        yield
    finally:
        _restore(before)


def _stop_threads(number: signal.Signals) -> None:
    _PROCESS.stopped = number
    for thread, interruption in list(_PROCESS.threads.items()):
        if interruption is not None:
            _note(interruption, number)
        else:
            error = _error(number)
            # The only way to interrupt a thread that does not look whether it should stop.
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(thread), ctypes.py_object(error)
            )


@contextmanager
def _in_worker() -> Iterator[None]:
    """Let a worker of a pool of processes stop as the main process does; elsewhere nothing."""
    if multiprocessing.parent_process() is None or _PROCESS.runs == os.getpid():
        yield
        return
    if not _PROCESS.has_parent_watched:
        _PROCESS.has_parent_watched = True
        # A pool whose main process was killed would wait for work for ever.
        threading.Thread(target=leave_with_parent, daemon=True).start()
    _refuse_after_stop()

    def stop(number: int, frame: FrameType | None) -> None:
        raise _error(signal.Signals(number))

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    for number in ASKED:
        signal.signal(number, stop)
    try:
        yield
    except KeyboardInterrupt as interrupt:
        terminated = isinstance(interrupt, Terminated)
        _PROCESS.stopped = signal.SIGTERM if terminated else signal.SIGINT
        _say(interrupt)
        raise
    finally:
        for number in ASKED:  # between two nodes there is nothing to save, and nothing to say
            signal.signal(number, leave)


def _refuse_after_stop() -> None:
    if _PROCESS.stopped is not None:
        raise _error(_PROCESS.stopped)


def _error(number: signal.Signals) -> type[KeyboardInterrupt]:
    return Terminated if number == signal.SIGTERM else KeyboardInterrupt


def _say(interrupt: KeyboardInterrupt) -> None:
    """Log what was saved: the main thread is interrupted too, and knows nothing of it."""
    if str(interrupt):
        log.warning("%s", interrupt)


def _note(interruption: Interruption, number: signal.Signals) -> None:
    interruption.received, interruption.since = number, time.monotonic()
    log.warning("%s: saving a checkpoint after this step.", number.name)


def _restore(handlers: Mapping[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        # None: the handler was not installed by Python and cannot be put back from here.
        signal.signal(number, signal.SIG_DFL if handler is None else handler)
