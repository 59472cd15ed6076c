"""Workers that fail or are left alone; what they import is kept small, for they are spawned."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from maskwise.errors import UserError
from maskwise.workers import available_cores, deaf_to_interrupts, map_chunks, workers_for

DEATH = "reading: a worker died"


def die(chunk: int) -> int:
    """Kill the process that works on chunk 1, as the system does when memory runs out."""
    if chunk == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return chunk


def divide(chunk: int) -> float:
    """Fail on chunk 0."""
    return 1 / chunk


def double(chunk: int) -> int:
    """Do something."""
    return 2 * chunk


def never_end(folder: Path) -> None:
    """Say that the work has begun, and never end it."""
    (folder / str(os.getpid())).touch()
    threading.Event().wait()


def test_a_dying_worker_gives_one_message_that_names_the_remedy() -> None:
    with pytest.raises(UserError, match=DEATH):
        list(map_chunks(die, range(4), 2, DEATH))


def test_an_error_in_a_worker_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        list(map_chunks(divide, range(4), 2, DEATH))


def test_results_come_in_order_however_many_there_are() -> None:
    assert list(map_chunks(double, range(50), 2, DEATH)) == list(range(0, 100, 2))


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


def workers_of(parent: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Return its two workers, as early as there are two."""
    found: list[psutil.Process] = []
    while len(found) < 2 and parent.poll() is None:
        children = psutil.Process(parent.pid).children()
        found = [child for child in children if "--multiprocessing-fork" in child.cmdline()]
    assert len(found) == 2
    return found


def test_no_worker_stays_behind_when_its_parent_is_killed(tmp_path: Path) -> None:
    with working(tmp_path) as parent:
        workers = workers_of(parent)
        while len(list(tmp_path.iterdir())) < 2 and parent.poll() is None:
            pass
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive


def test_workers_leave_ctrl_c_to_their_parent_from_their_first_moment_on(
    tmp_path: Path,
) -> None:
    with working(tmp_path) as parent:
        for worker in workers_of(parent):
            status = Path(f"/proc/{worker.pid}/status").read_text(encoding="utf-8")
            blocked = int(status.partition("SigBlk:")[2].split()[0], 16)
            assert blocked >> (signal.SIGINT - 1) & 1


def test_ctrl_c_waits_for_the_start_of_a_worker_to_end_whichever_thread_it_reaches() -> None:
    started: list[str] = []
    go = threading.Event()

    def hear() -> None:
        go.wait()
        signal.raise_signal(signal.SIGINT)

    def start() -> None:
        with deaf_to_interrupts():
            go.set()
            other.join()
            started.append("the worker")

    other = threading.Thread(target=hear)
    other.start()  # before the signal is blocked, as a pool's own threads are
    with pytest.raises(KeyboardInterrupt):
        start()
    assert started == ["the worker"]


def test_the_parent_hears_of_ctrl_c_again_when_its_workers_have_started() -> None:
    assert list(map_chunks(double, range(4), 2, DEATH)) == [0, 2, 4, 6]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


if __name__ == "__main__":
    list(map_chunks(never_end, [Path(sys.argv[1])] * 2, 2, DEATH))
