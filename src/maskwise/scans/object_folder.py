"""The folder that a bucket's objects come to: its list, its lock, and how a file gets there.

What is on the disk is never half of anything: files are written elsewhere on it and then moved.
The folder may have come from another person, so nothing outside it is touched, whatever its
list says and wherever links in it lead.
"""

import errno
import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import pandas as pd

from maskwise.errors import UserError, shown
from maskwise.scans.bucket import Bucket, Object

LOCAL = "conf/local/globals.yml"
"""Where a person says which disk it is, and how much of it."""

_LIST = ".objects.parquet"
FACTS = ".bucket.json"
_LOCK = ".lock"
_ARRIVING = ".arriving"
"""Objects on their way. All four names are hidden, and so no scans."""


def update(folder: Path, bucket: Bucket, listed: pd.DataFrame, most_bytes: int | None) -> None:
    """Make the folder one of ``listed``: empty what changed, and then say what is there."""
    before = pd.DataFrame(columns=list(Object._fields))
    if (folder / _LIST).exists():
        before = read_list(folder)
    now = listed.set_index("path")["etag"]
    was = before.set_index("path")["etag"]
    for path in was.index.difference(now.index):
        _remove(folder, path)
    _check_inside(folder, [f"{_ARRIVING}/", *now.index])
    _sweep(folder)
    kept = now.index.intersection(was.index)
    same = (now[kept] == was[kept]).to_numpy()
    deleted = [path for path in kept[same] if size_of(folder, path) is None]
    for path in [*kept[~same], *now.index.difference(was.index), *deleted]:
        empty(folder, path)
    _replace(folder, _LIST, lambda file: listed.to_parquet(file, index=False))
    facts = json.dumps({"url": bucket.url, "most_bytes": most_bytes}).encode()
    _replace(folder, FACTS, lambda file: file.write(facts))


def read_list(folder: Path) -> pd.DataFrame:
    """Return the objects that the folder has files of, with the columns of ``Object``.

    Raises:
        UserError: if one of these files would lie outside the folder.
    """
    listed = pd.read_parquet(folder / _LIST)
    paths = listed["path"].astype("str")
    if (odd := no_paths(paths)).any():
        raise UserError(
            f"{folder / _LIST}: {shown(paths[odd].iloc[0])} is no path in this folder; delete "
            "the folder, and run again: what it held comes anew"
        )
    _check_inside(folder, paths)
    return listed


def no_paths(paths: "pd.Series[str]") -> "pd.Series[bool]":
    """Tell which of ``paths`` no file in a folder can have, or a file out of it has."""
    return paths.str.contains(r"(?:^|/)(?:\.{0,2}(?:/|$))|\0|\\", regex=True)


def _check_inside(folder: Path, paths: Iterable[str]) -> None:
    """Raise ``UserError`` if a link on the way to one of ``paths`` leads elsewhere."""
    real = os.path.realpath(folder)
    for above in {path.rpartition("/")[0] for path in paths}:
        if os.path.realpath(folder / above) != os.path.join(real, above).rstrip("/"):
            raise UserError(
                f"{folder / above}: is reached by a link, but what is kept of a bucket has "
                "none; delete the link, and run again"
            )


def size_of(folder: Path, path: str) -> int | None:
    """Return how many bytes of an object are on the disk; None where its file was deleted."""
    try:
        return os.path.getsize(os.path.join(folder, path))  # of a million
    except (FileNotFoundError, NotADirectoryError):
        return None


def _remove(folder: Path, path: str) -> None:
    """Remove a file, and folders that hold nothing then: an object may have such a name."""
    # A run that was killed may have left what comes in their place.
    with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
        (folder / path).unlink()
    for above in list(Path(path).parents)[:-1]:
        try:
            (folder / above).rmdir()
        except OSError:  # it holds something, or was removed before
            return


def put(folder: Path, temporary: Path, path: str) -> None:
    """Move what has arrived to its place."""
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(temporary, target)


def empty(folder: Path, path: str) -> None:
    """Put an empty file there; whoever has the old one open goes on reading it."""
    with of_disk(folder), arriving(folder) as temporary:
        put(folder, temporary, path)


def _replace(folder: Path, name: str, write: Callable[[IO[bytes]], Any]) -> None:
    with arriving(folder) as temporary:
        with temporary.open("wb") as file:
            write(file)
        put(folder, temporary, name)


@contextmanager
def arriving(folder: Path) -> Iterator[Path]:
    """Yield a new file on the folder's disk, which is gone at the end unless it was moved."""
    (folder / _ARRIVING).mkdir(exist_ok=True)
    while True:
        handle, name = tempfile.mkstemp(dir=folder / _ARRIVING)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            break
        os.close(handle)  # another run was quicker, and took it for left behind
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)
        os.close(handle)


def _sweep(folder: Path) -> None:
    """Remove what runs that were killed left half arrived: all that nobody holds."""
    if not (folder / _ARRIVING).exists():
        return
    for path in list((folder / _ARRIVING).iterdir()):
        with suppress(OSError):  # it is held, or gone, or another person's
            handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(handle)


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
    lock = os.fdopen(
        os.open(folder / _LOCK, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o666), "wb"
    )
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
