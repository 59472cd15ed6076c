"""Workers that fail; what they import is kept small, for they are spawned."""

import os
import signal

import pytest

from maskwise.errors import UserError
from maskwise.ingest.workers import map_chunks


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


def test_a_dying_worker_gives_one_message_that_names_the_remedy() -> None:
    with pytest.raises(UserError, match=r"worker process died .* fewer `ingest\.workers`"):
        list(map_chunks(die, range(4), workers=2))


def test_an_error_in_a_worker_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        list(map_chunks(divide, range(4), workers=2))


def test_results_come_in_order_however_many_there_are() -> None:
    assert list(map_chunks(double, range(50), workers=2)) == list(range(0, 100, 2))
