"""The folder that a bucket's objects come to: its list, its lock, and how a file gets there.

What is on the disk is never half of anything: files are written elsewhere on it and then moved.
"""

import errno
import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pandas as pd

from maskwise.errors import UserError
from maskwise.scans.bucket import Bucket, Object

LOCAL = "conf/local/globals.yml"
"""Where a person says which disk it is, and how much of it."""

LIST = ".objects.parquet"
FACTS = ".bucket.json"
_LOCK = ".lock"
_ARRIVING = ".arriving"
"""Objects on their way. All four names are hidden, and so no scans."""


def update(folder: Path, bucket: Bucket, listed: pd.DataFrame, most_bytes: int | None) -> None:
    """Make the folder one of ``listed``: empty what changed, and then say what is there."""
    before = pd.DataFrame(columns=list(Object._fields))
    if (folder / LIST).exists():
        before = pd.read_parquet(folder / LIST)
    now = listed.set_index("path")["etag"]
    was = before.set_index("path")["etag"]
    for path in was.index.difference(now.index):
        (folder / path).unlink(missing_ok=True)
    kept = now.index.intersection(was.index)
    for path in [*kept[(now[kept] != was[kept]).to_numpy()], *now.index.difference(was.index)]:
        empty(folder, path)
    _replace(folder, LIST, lambda file: listed.to_parquet(file, index=False))
    facts = json.dumps({"url": bucket.url, "most_bytes": most_bytes}).encode()
    _replace(folder, FACTS, lambda file: file.write(facts))


def empty(folder: Path, path: str) -> None:
    """Put an empty file there; whoever has the old one open goes on reading it."""
    with of_disk(folder):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        with arriving(folder) as temporary:
            os.replace(temporary, folder / path)


def _replace(folder: Path, name: str, write: Callable[[IO[bytes]], Any]) -> None:
    with arriving(folder) as temporary:
        with temporary.open("wb") as file:
            write(file)
        os.replace(temporary, folder / name)


@contextmanager
def arriving(folder: Path) -> Iterator[Path]:
    """Yield a new file on the folder's disk, which is gone at the end unless it was moved."""
    (folder / _ARRIVING).mkdir(exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder / _ARRIVING)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def of_disk(folder: Path) -> Iterator[None]:
    """Say what is wrong with the disk that objects come to."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise UserError(
                f"{folder}: the disk is full ({error.strerror}); make room, or bound what is "
                f"kept there: objects_gigabytes in {LOCAL}"
            ) from None
        raise UserError(
            f"{folder}: cannot be written ({error.strerror}); check its permissions, or name "
            f"another folder: objects_root in {LOCAL}"
        ) from None


def alone(folder: Path) -> IO[bytes]:
    """Return the lock of whoever may empty the folder's files; held until it is closed."""
    lock = (folder / _LOCK).open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise UserError(
            f"{folder}: another run is bringing objects of this bucket, or removes what it has "
            "read; wait for its end, or give this run another folder: objects_root in "
            f"{LOCAL}"
        ) from None
    return lock
