"""Reading in processes of their own: what one file does to a process costs that file only.

A decoder may crash, hang, or eat all memory, and what it says on the way may quote a patient's
header. So files are read by workers that are mute, and replaced when they die.
"""

import multiprocessing
import os
import resource
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from types import ModuleType
from typing import Any, Generic, Literal, TypeVar

from maskwise.errors import UserError

WORTH_A_WORKER = 400
"""Images under which starting another process costs more than it saves."""
SECONDS_PER_FILE = 300.0
"""Default of how long one file may take to read."""
LONGEST = 86_400.0
"""What that can be set to at most: a day."""

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 4
"""Chunks per worker that are under way at once: bounds memory, hides uneven images."""
_STARTS = 3
"""Workers that may die in a row without having begun anything."""
_LIBRARIES = ("numpy", "PIL.Image", "imagehash", "pydicom", "scipy.fftpack")
"""What takes long to import and most workers need. None of our own modules: the process that
workers are forked from may find another copy of them than this one runs."""


def available_cores() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def workers_for(images: int, asked: int | None) -> int:
    """Return how many processes to take: ``asked``, or one per core where it pays."""
    if asked is not None:
        return asked
    return max(1, min(available_cores(), images // WORTH_A_WORKER))


LossReason = Literal["crashed", "too_slow"]


@dataclass(frozen=True)
class Loss:
    """What became of a task that no worker could answer; nothing in it comes from the file."""

    reason: LossReason
    detail: str


@dataclass(frozen=True)
class _Answer:
    """Of one task; just one of the three."""

    value: Any = None
    refused: UserError | None = None
    loss: Loss | None = None


@dataclass
class _Chunk(Generic[T]):
    """Tasks whose answers are handed on together."""

    tasks: Sequence[T]
    answers: dict[int, _Answer]
    """By the task's place in the chunk."""

    def left(self) -> list[int]:
        return [place for place in range(len(self.tasks)) if place not in self.answers]


@dataclass(frozen=True)
class _Order(Generic[T]):
    """Tasks that a worker is busy with."""

    chunk: _Chunk[T]
    places: list[int]
    alone: bool = False
    """The second try of a task at which a worker died: no other worker takes its memory."""


class Pool:
    """Worker processes that answer tasks; leave the block, and none is left.

    They are never forked off this process, whose locks and threads (torch's, OpenMP's) would be
    copied, but off one that only imports: one that died is replaced in no time. They say
    nothing, and leave when this process is killed.
    """

    def __init__(self, workers: int, seconds: float = SECONDS_PER_FILE) -> None:
        """Take ``workers`` processes, started when needed, and so long for each task."""
        self.size = workers
        self._seconds = seconds
        self._workers: list[_Worker] = []

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        self.dismiss()

    def dismiss(self) -> None:
        """End all workers, whatever they are doing."""
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.end()

    def map(
        self,
        work: Callable[[T], R],
        chunks: Iterable[Sequence[T]],
        lost: Callable[[T, Loss], R],
    ) -> Iterator[list[R]]:
        """Yield ``[work(task) for task in chunk]`` for each chunk, in order.

        A task that raises what is no ``UserError``, takes longer than allowed, or ends its
        process twice (the second time alone in a fresh one) is answered by ``lost``.

        Raises:
            UserError: what ``work`` or ``lost`` raises, or that no worker can be started.
        """
        under_way: deque[_Chunk[T]] = deque()
        errands = _Errands(self, work)
        rest = iter(chunks)
        while True:
            for tasks in islice(rest, self.size * _AHEAD - len(under_way)):
                chunk = _Chunk(tasks, {})
                under_way.append(chunk)
                errands.add(chunk)
            if not under_way:
                return
            while under_way[0].left():
                errands.go_on()
            chunk = under_way.popleft()
            yield [
                _opened(task, chunk.answers[place], lost)
                for place, task in enumerate(chunk.tasks)
            ]

    def hire(self) -> "_Worker | None":
        """Return a worker that has nothing to do, started if there is room for one."""
        for worker in self._workers:
            if worker.order is None:
                return worker
        if len(self._workers) == self.size:
            return None
        worker = _Worker(self._seconds)
        self._workers.append(worker)
        return worker

    def busy(self) -> "dict[Connection, _Worker]":
        """Return the workers that have something to do."""
        return {worker.line: worker for worker in self._workers if worker.order is not None}

    def bury(self, worker: "_Worker") -> Loss:
        """Remove a worker that died, and say of what."""
        self._workers.remove(worker)
        return worker.end(self._seconds)


class _Errands(Generic[T]):
    """Who does what: tasks go out, answers come in, and a death is looked into."""

    def __init__(self, pool: Pool, work: Callable[[T], Any]) -> None:
        self._pool, self._work = pool, work
        self._orders: deque[_Order[T]] = deque()
        self._suspects: deque[_Order[T]] = deque()
        self._stillborn = 0

    def add(self, chunk: _Chunk[T]) -> None:
        if chunk.tasks:
            self._orders.append(_Order(chunk, chunk.left()))

    def go_on(self) -> None:
        """Give out what can be, and wait until a worker answers or dies."""
        self._give_out()
        busy = self._pool.busy()
        for line in wait(list(busy)):
            worker = busy[line]  # type: ignore[index]
            order: _Order[T] = worker.order
            try:
                answers = worker.line.recv()
            except (EOFError, OSError):
                self._look_into(worker, order)
            else:
                worker.order, self._stillborn = None, 0
                order.chunk.answers.update(zip(order.places, answers, strict=True))

    def _give_out(self) -> None:
        busy = self._pool.busy().values()
        if any(worker.order.alone for worker in busy):
            return
        if self._suspects:
            if not busy:
                self._pool.dismiss()
                self._send(self._suspects.popleft())
            return
        while self._orders and self._send(self._orders[0]):
            self._orders.popleft()

    def _send(self, order: _Order[T]) -> bool:
        worker = self._pool.hire()
        if worker is None:
            return False
        worker.give(self._work, order)
        return True

    def _look_into(self, worker: "_Worker", order: _Order[T]) -> None:
        """Find the task at which a worker died; the others of its order are done again."""
        begun = worker.begun.value
        loss = self._pool.bury(worker)
        if begun < 0:
            self._stillborn += 1
            if self._stillborn == _STARTS:
                raise UserError(
                    f"{_STARTS} worker processes died before they had begun anything "
                    f"({loss.detail}); is there memory left?"
                )
            (self._suspects if order.alone else self._orders).appendleft(order)
            return
        self._stillborn = 0
        suspect = order.places[begun]
        if order.alone or loss.reason == "too_slow":
            order.chunk.answers[suspect] = _Answer(loss=loss)
        else:
            self._suspects.append(_Order(order.chunk, [suspect], alone=True))
        others = [place for place in order.places if place != suspect]
        if others:
            self._orders.appendleft(_Order(order.chunk, others))


class _Worker:
    """One process, and the line to it."""

    def __init__(self, seconds: float) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(_LIBRARIES))
        self.order: Any = None
        self.begun = context.RawValue("q", -1)
        """Place in the order of the task at hand; -1 = none yet."""
        # Started late, it would undo what is blocked for the worker.
        resource_tracker.ensure_running()
        self.line, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, self.begun, seconds), daemon=True
        )
        try:
            with theirs, deaf_to_interrupts(), without_main():
                self._process.start()
        except (EOFError, OSError) as error:
            raise UserError(
                f"no worker process can be started ({error or type(error).__name__}); is there "
                "memory left, and may this user start more processes?"
            ) from None

    def give(self, work: Callable[[T], Any], order: _Order[T]) -> None:
        """Hand tasks over; if the worker has died, waiting for its answers will tell."""
        self.order, self.begun.value = order, -1
        with suppress(BrokenPipeError, ConnectionResetError):
            self.line.send((work, [order.chunk.tasks[place] for place in order.places]))

    def end(self, seconds: float = 0.0) -> Loss:
        """Kill it if it lives, and say how it ended; ``seconds`` is what a task may take."""
        self._process.kill()
        self._process.join()
        self.line.close()
        code = self._process.exitcode or 0
        self._process.close()
        if code == -signal.SIGALRM:
            return Loss("too_slow", f"reading it took longer than {seconds:g} s")
        return Loss("crashed", f"the process that read it died ({_said(code)})")


@contextmanager
def without_main() -> Iterator[None]:
    """Keep a process that is started from importing the program and all that it imports.

    It would take longer than all else, and ``_serve`` and what it is sent are not found there.
    """
    program = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = program


def _opened(task: T, answer: _Answer, lost: Callable[[T, Loss], R]) -> R:
    if answer.refused is not None:
        raise answer.refused
    if answer.loss is not None:
        return lost(task, answer.loss)
    value: R = answer.value
    return value


def _said(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    if -code == signal.SIGKILL:
        return "SIGKILL: most often memory ran out"
    return signal.Signals(-code).name if -code in {*signal.Signals} else f"signal {-code}"


def _serve(line: Connection, begun: Any, seconds: float) -> None:
    """Answer until nobody asks any more: a worker's whole life."""
    _begin()
    while True:
        try:
            work, tasks = line.recv()
        except EOFError:
            return
        answers = []
        for place, task in enumerate(tasks):
            begun.value = place
            answers.append(_answer(work, task, seconds))
        line.send(answers)


def _begin() -> None:
    # Whatever libraries write, C and Rust among them, may quote a header.
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nothing, stream)
    # Nor may what was in memory stay on the disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Ends the process at the time limit, be it inside a library that never returns to Python.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    # A worker whose parent was killed must not stay behind.
    threading.Thread(target=leave_with_parent, daemon=True).start()


def _answer(work: Callable[[Any], Any], task: Any, seconds: float) -> _Answer:
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        return _Answer(work(task))
    except UserError as error:
        return _Answer(refused=error)
    except BaseException as error:  # Rust's panics are no `Exception`
        # The text of an exception may quote the file.
        return _Answer(loss=Loss("crashed", f"reading it failed ({type(error).__name__})"))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def leave_with_parent() -> None:
    """Wait for the end of the parent process, and end at once."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


@contextmanager
def deaf_to_interrupts(*others: signal.Signals) -> Iterator[None]:
    """Keep Ctrl-C and SIGTERM waiting until the block ends; one after the other, as they came.

    A process started in it never hears of Ctrl-C, nor of ``others``.

    A terminal sends Ctrl-C to workers too, and one that is still importing would answer with a
    traceback, before any line of ours could tell it to leave that to its parent. It inherits
    what is blocked here. The parent is not helped by that, because the system hands the signal
    to another of its threads; and half a start would leave a worker that misses its orders.
    """
    waiting: list[int] = []
    handlers: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            handlers[number] = signal.signal(number, lambda sent, _: waiting.append(sent))
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, *others])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for number, handler in handlers.items():
            # None: not installed by Python, and cannot be put back from here.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if waiting:
            signal.raise_signal(waiting[0])
