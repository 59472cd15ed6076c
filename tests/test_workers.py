"""Workers that die, hang, speak or are left alone."""

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from maskwise.errors import UserError
from maskwise.scans.reasons import REASONS, RejectedError
from maskwise.workers import Loss, Pool, available_cores, deaf_to_interrupts, workers_for

CHUNKS = [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


class Panic(BaseException):
    """What Rust's panics are to Python: no ``Exception``."""


def double(task: int) -> int:
    """Do something."""
    return 2 * task


def die_at_four(task: int) -> int:
    """End as a decoder that reads beyond its memory does."""
    if task == 4:
        os.kill(os.getpid(), signal.SIGSEGV)
    return 2 * task


def leave_at_four(task: int) -> int:
    """End as a library that calls ``exit`` does."""
    if task == 4:
        os._exit(3)
    return 2 * task


def panic_at_four(task: int) -> int:
    """Raise what is no ``Exception``, with a text that nobody should see."""
    if task == 4:
        raise Panic("ANON^A")
    return 2 * task


def exit_at_four(task: int) -> int:
    """Ask Python to end."""
    return sys.exit(0) if task == 4 else 2 * task


def hang_at_four(task: int) -> int:
    """Sleep in C, with Python's lock held, as a decoder that never comes back."""
    if task == 4:
        ctypes.PyDLL(None).sleep(600)
    return 2 * task


def die_once(task: tuple[Path, int]) -> int:
    """Be killed at the first try only, as when memory was short for a moment."""
    folder, number = task
    if number == 1 and not (folder / "tried").exists():
        (folder / "tried").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die_once_and_look_round(task: tuple[Path, int]) -> int:
    """Be killed at the first try, and at the second count the workers there are."""
    die_once(task)
    return len(psutil.Process(os.getppid()).children()) if task[1] == 1 else 0


def refuse_three_and_one(task: int) -> int:
    """Find what a user can mend, in two chunks."""
    if task in (1, 3):
        raise RejectedError(f"{task}.png", "damaged", "cut off")
    return task


def speak(task: int) -> int:
    """Say something in all the ways that libraries have."""
    os.write(2, b"ANON^A, by a library in C\n")
    os.write(1, b"ANON^A, to the other stream\n")
    logging.getLogger("library").error("ANON^A, by a logger")
    warnings.warn("ANON^A, by a warning", stacklevel=1)
    sys.stderr.write("ANON^A, written\n")
    return task


def never_end(folder: Path) -> None:
    """Say that the work has begun, and never end it."""
    (folder / str(os.getpid())).touch()
    threading.Event().wait()


def said(task: Any, loss: Loss) -> Any:
    """Return what was lost and why."""
    assert loss.reason in REASONS
    return task, loss.reason, loss.detail


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("work", "reason", "detail"),
    [
        (die_at_four, "crashed", "the process that read it died (SIGSEGV)"),
        (leave_at_four, "crashed", "the process that read it died (exit code 3)"),
        (panic_at_four, "crashed", "reading it failed (Panic)"),
        (exit_at_four, "crashed", "reading it failed (SystemExit)"),
        (hang_at_four, "too_slow", "reading it took longer than 2 s"),
    ],
)
def test_a_task_that_ends_its_process_is_found_and_costs_no_other(
    workers: int, work: type, reason: str, detail: str
) -> None:
    with Pool(workers, seconds=2) as pool:
        answers = list(pool.map(work, CHUNKS, said))
    assert answers == [[0, 2, 4], [6, (4, reason, detail), 10], [12, 14, 16]]


def test_several_that_end_their_process_are_all_found() -> None:
    with Pool(2) as pool:
        answers = list(pool.map(die_at_four, [[4, 4], [1, 4], [4, 2]], said))
    assert [[isinstance(one, tuple) for one in chunk] for chunk in answers] == [
        [True, True], [False, True], [True, False],
    ]  # fmt: skip


def test_a_task_whose_worker_was_killed_by_chance_is_tried_again(tmp_path: Path) -> None:
    with Pool(2) as pool:
        chunks = [[(tmp_path, number)] for number in range(4)]
        assert list(pool.map(die_once, chunks, said)) == [[0], [1], [2], [3]]


def test_the_second_try_has_the_machine_to_itself(tmp_path: Path) -> None:
    with Pool(2) as pool:
        chunks = [[(tmp_path, number)] for number in range(3)]
        assert list(pool.map(die_once_and_look_round, chunks, said)) == [[0], [1], [0]]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_user_can_mend_ends_the_work_whoever_finds_it_first(workers: int) -> None:
    with Pool(workers) as pool, pytest.raises(UserError, match=r"1\.png: cut off"):
        list(pool.map(refuse_three_and_one, CHUNKS, said))


def test_results_come_in_order_however_many_there_are() -> None:
    with Pool(2) as pool:
        answers = list(pool.map(double, ([number] for number in range(50)), said))
    assert answers == [[2 * number] for number in range(50)]


def test_a_pool_serves_one_kind_of_work_after_another() -> None:
    with Pool(1) as pool:
        assert list(pool.map(double, [[1], []], said)) == [[2], []]
        assert list(pool.map(refuse_three_and_one, [[2]], said)) == [[2]]


def test_no_word_of_a_library_leaves_a_worker(capfd: pytest.CaptureFixture[str]) -> None:
    with Pool(1) as pool:
        assert list(pool.map(speak, [[0], [1]], said)) == [[0], [1]]
    assert capfd.readouterr() == ("", "")


def test_no_worker_is_left_when_the_work_was_broken_off() -> None:
    with Pool(2) as pool:
        answers = pool.map(double, CHUNKS, said)
        next(answers)
        workers = [worker._process.pid or 0 for worker in pool._workers]
        assert all(psutil.pid_exists(worker) for worker in workers)
    gone = [not psutil.pid_exists(worker) for worker in workers]
    assert gone == [True] * len(workers)


def test_few_images_are_not_worth_another_process() -> None:
    assert workers_for(24, None) == 1
    assert workers_for(10**6, None) == available_cores()
    assert workers_for(24, 3) == 3


@contextmanager
def working(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Yield a process whose two workers never end."""
    command = [sys.executable, "-m", "test_workers", str(folder)]
    parent = subprocess.Popen(command, cwd=Path(__file__).parent)
    try:
        yield parent
    finally:
        parent.kill()
        parent.wait()


def family_of(parent: subprocess.Popen[bytes], folder: Path) -> list[psutil.Process]:
    """Return its two workers, as early as they work, and whatever else it has started."""
    while len(list(folder.iterdir())) < 2 and parent.poll() is None:
        time.sleep(0)
    family: list[psutil.Process] = psutil.Process(parent.pid).children(recursive=True)
    return family


def test_no_process_stays_behind_when_the_parent_is_killed(tmp_path: Path) -> None:
    with working(tmp_path) as parent:
        family = family_of(parent, tmp_path)
        assert {int(file.name) for file in tmp_path.iterdir()} <= {one.pid for one in family}
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive


def test_workers_leave_ctrl_c_to_their_parent(tmp_path: Path) -> None:
    with working(tmp_path) as parent:
        family_of(parent, tmp_path)
        for file in tmp_path.iterdir():
            status = Path(f"/proc/{file.name}/status").read_text(encoding="utf-8")
            blocked = int(status.partition("SigBlk:")[2].split()[0], 16)
            assert blocked >> (signal.SIGINT - 1) & 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_start_of_a_worker_to_end_whichever_thread_it_reaches(
    number: signal.Signals,
) -> None:
    started: list[str] = []
    go = threading.Event()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def hear() -> None:
        go.wait()
        signal.raise_signal(number)

    def start() -> None:
        with deaf_to_interrupts():
            go.set()
            other.join()
            started.append("the worker")

    other = threading.Thread(target=hear)
    other.start()  # before the signal is blocked, as a pool's own threads are
    before = signal.signal(number, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            start()
    finally:
        signal.signal(number, before)
    assert started == ["the worker"]


@pytest.fixture
def _hearing() -> Iterator[None]:
    """Hear of Ctrl-C, to which a job in the background is deaf."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_hearing")
def test_the_parent_hears_of_ctrl_c_again_when_its_workers_have_started() -> None:
    with Pool(2) as pool:
        assert list(pool.map(double, [[0], [1]], said)) == [[0], [2]]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def no_loss(task: Path, loss: Loss) -> None:
    """Be surprised."""
    raise UserError(f"{task}: {loss}")


if __name__ == "__main__":
    from test_workers import never_end as work  # workers do not import the program

    with Pool(2) as pool:
        list(pool.map(work, [[Path(sys.argv[1])]] * 2, no_loss))
