"""Where studies of tests lie."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")


@contextmanager
def in_memory() -> Iterator[Path]:
    """Yield an empty folder, in memory where there is such a place.

    SQLite waits for the disk at every commit, which says nothing about a study.
    """
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
        yield Path(name)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder of a test's own."""
    with in_memory() as path:
        yield path


@pytest.fixture(scope="module")
def shared_folder() -> Iterator[Path]:
    """Return one that the tests of a module share."""
    with in_memory() as path:
        yield path
