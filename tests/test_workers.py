"""Workers that fail or are left alone; what they import is kept small, for they are spawned."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from maskwise.errors import UserError
from maskwise.workers import available_cores, map_chunks, workers_for

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


def test_no_worker_stays_behind_when_its_parent_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-m", "test_workers", str(tmp_path)], cwd=Path(__file__).parent
    )
    while len(list(tmp_path.iterdir())) < 2 and parent.poll() is None:
        pass
    workers = [psutil.Process(int(path.name)) for path in tmp_path.iterdir()]
    assert len(workers) == 2
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive


if __name__ == "__main__":
    list(map_chunks(never_end, [Path(sys.argv[1])] * 2, 2, DEATH))
