"""A bucket's objects as a folder on the disk, so that all who read scans know folders only.

The folder holds every object under its key. One that has not come yet, or made room for others,
is an empty file of that name, so that listing the folder costs no transfer; ``locate`` and
``head_of`` in ``raw.py`` notice and ask here. A file with content always is the object that
``.objects.parquet`` lists: what changed in the bucket is emptied before a new list is written.

Without a bound everything comes at the door. With one, ``in_turn`` brings what the next chunks
of images need and removes what was read; the disk stays flat.
"""

import hashlib
import json
import logging
import math
import os
import threading
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from maskwise.errors import UserError, shown
from maskwise.scans.bucket import Bucket, BucketFolder, Object
from maskwise.scans.object_folder import (
    FACTS,
    LOCAL,
    alone,
    arriving,
    empty,
    no_paths,
    of_disk,
    put,
    read_list,
    size_of,
    update,
)
from maskwise.wording import count

log = logging.getLogger(__name__)

GIGABYTE = 10**9
_SET = f"set it in {LOCAL}; conf/base/globals.yml says what it is"

_AT_ONCE, _SUBMITTED = 16, 256
"""Objects that come at the same time, and that are asked for together."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Keeping:
    """Where objects are kept from run to run, and how much of them."""

    root: Path
    """Holds a folder for each bucket."""
    most_bytes: int | None = None
    """Bytes that one bucket's objects may take on the disk; None = all come, and all stay."""

    @classmethod
    def of(cls, block: Mapping[str, Any]) -> "Keeping":
        """Read ``objects_root`` and ``objects_gigabytes``, as the catalog hands them on."""
        root, most = block.get("path"), block.get("gigabytes")
        if not isinstance(root, str) or not root:
            raise UserError(
                f"objects_root: should be the path of a folder, but is {shown(root)}; {_SET}"
            )
        number = isinstance(most, int | float) and not isinstance(most, bool)
        if most is not None and not (number and 0 < most < math.inf):
            raise UserError(
                f"objects_gigabytes: should be a number above 0, or null, but is "
                f"{shown(most)}; {_SET}"
            )
        return cls(Path(root), None if most is None else int(most * GIGABYTE))


def bring_folder(url: str, keeping: Keeping) -> BucketFolder:
    """Return a folder with what the bucket at ``url``, as in ``s3://a/b``, holds now.

    Where it is bounded, this process alone removes files from it. From the first look at a file
    on it keeps others from bringing the folder, until ``in_use`` ends or it is brought anew.

    Raises:
        UserError: if the bucket fails or holds nothing, or the disk fails.
    """
    bucket, most_bytes = Bucket.at(url), keeping.most_bytes
    folder = BucketFolder(folder_of(url, keeping.root))
    _close(folder)
    listed = _checked(bucket, pd.DataFrame(bucket.objects(), columns=list(Object._fields)))
    with of_disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with alone(folder):
            update(folder, bucket, listed, most_bytes)
    if most_bytes is None:
        _bring_all(folder, bucket, listed)
    _BROUGHT[folder] = os.getpid()
    return folder


@contextmanager
def in_use(raw: Path) -> Iterator[None]:
    """Let other runs have the folder when the block ends; a plain folder they always may."""
    try:
        yield
    finally:
        _close(raw)


def folder_of(url: str, cache: Path) -> Path:
    """Return where the objects at ``url`` are kept."""
    bucket = Bucket.at(url)
    name = (bucket.prefix or bucket.name).rpartition("/")[2]
    # Two endpoints may have a bucket of one name.
    where = f"{os.environ.get('AWS_ENDPOINT_URL', '')}\0{bucket.url}"
    return cache / f"{name}-{hashlib.sha256(where.encode()).hexdigest()[:12]}"


def check_not_empty(url: str) -> None:
    """Raise ``UserError`` unless there is an object at ``url``."""
    if next(Bucket.at(url).objects(), None) is None:
        raise _nothing(Bucket.at(url))


def come(raw: Path, path: str) -> None:
    """See to it that the empty file ``path`` of ``raw`` has its content, if it is an object."""
    opened = _opened(raw)
    if opened is not None:
        opened.bring([path])
        opened.release([path])


def head_of_object(raw: Path, path: str, size: int) -> bytes | None:
    """Return the first bytes of an object that has not come; None if ``path`` is none."""
    opened = _opened(raw)
    if opened is None or size_of(raw, path):
        return None
    found = opened.objects([path])
    return opened.bucket.head(found[0], size) if found else None


def in_turn(
    raw: Path,
    chunks: Iterable[Sequence[T]],
    files: Callable[[T], Iterable[str]],
    work: Callable[[Iterable[Sequence[T]]], Iterator[R]],
) -> Iterator[R]:
    """Yield what ``work`` makes of ``chunks``, while their ``files`` come from a bucket.

    ``work`` takes chunks as it needs them and yields one answer per chunk, in their order. A
    chunk's objects are on the disk from before it is taken until its answer is there. Where
    ``raw`` is a plain folder, nothing is done beside the work.
    """
    opened = _opened(raw)
    if opened is None or opened.most_bytes is None:
        yield from work(chunks)
        return
    under_way: deque[list[str]] = deque()

    def coming() -> Iterator[Sequence[T]]:
        for chunk in chunks:
            paths = list(dict.fromkeys(path for task in chunk for path in files(task)))
            opened.bring(paths)
            under_way.append(paths)
            yield chunk

    for answer in work(coming()):
        yield answer
        opened.release(under_way.popleft())


class _Opened:
    """The folder of a bucket, and which of its objects are on the disk."""

    def __init__(self, folder: Path) -> None:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        self.bucket = Bucket.at(facts["url"])
        self.most_bytes: int | None = facts["most_bytes"]
        self._folder = folder
        self._list = read_list(folder).set_index("path")
        self._needed: Counter[str] = Counter()
        # A worker process brings what it lacks, but what may go is known where it was brought.
        self._may_remove = _BROUGHT.get(folder) == os.getpid()
        self._held: dict[str, int] = {}
        """Path -> bytes, the one that came first first."""
        self._alone = ExitStack()
        weakref.finalize(self, self._alone.close)  # at the end of the process at the latest
        if self.most_bytes is not None and self._may_remove:
            with of_disk(folder):
                self._alone.enter_context(alone(folder))
            self._held = _present(folder, self._list)

    def close(self) -> None:
        """Remove nothing any more, and let other runs do so."""
        self._may_remove = False
        self._alone.close()

    def objects(self, paths: Sequence[str]) -> list[Object]:
        """Return the objects among ``paths``; a file in an archive is the archive's."""
        places = self._list.index.get_indexer(pd.Index(paths))
        for missing in np.flatnonzero(places < 0).tolist():
            places[missing] = self._archive(paths[missing])
        rows = self._list.iloc[np.unique(places[places >= 0])]
        return [Object(*row) for row in rows.itertuples()]

    def _archive(self, path: str) -> int:
        parts = path.split("/")
        above = ["/".join(parts[:length]) for length in range(1, len(parts))]
        found = self._list.index.get_indexer(pd.Index(above, dtype=object))
        return int(found.max(initial=-1))

    def bring(self, paths: Sequence[str]) -> None:
        """Have the objects ``paths`` on the disk until they are released."""
        wanted = [found for found in self.objects(paths) if found.size]
        self._needed.update(found.path for found in wanted)
        missing = [found for found in wanted if not size_of(self._folder, found.path)]
        for found in missing:
            self._held.pop(found.path, None)  # where somebody deleted the file
        self._make_room(sum(found.size for found in missing))
        _fetch(self._folder, self.bucket, missing)
        for found in wanted:
            self._held.pop(found.path, None)  # those needed last stay longest
            self._held[found.path] = found.size

    def release(self, paths: Sequence[str]) -> None:
        """Say that ``paths`` were read; they stay while there is room."""
        self._needed.subtract(found.path for found in self.objects(paths) if found.size)
        self._needed = +self._needed

    def _make_room(self, size: int) -> None:
        """Remove what was read longest ago until ``size`` bytes more may come."""
        if self.most_bytes is None or not self._may_remove:
            return
        there = sum(self._held.values())
        removable = (path for path in list(self._held) if path not in self._needed)
        while there + size > self.most_bytes:
            path = next(removable, None)
            if path is None:
                raise UserError(
                    f"{self._folder}: the local cache of {self.bucket.url} is full: it may "
                    f"hold {_gigabytes(self.most_bytes)} (objects_gigabytes), but what is read "
                    f"at once takes {_gigabytes(there + size)}; allow more in {LOCAL}, or set "
                    "fewer `workers`"
                )
            there -= self._held.pop(path)
            empty(self._folder, path)


_BROUGHT: dict[Path, int] = {}
"""Folder -> the process that brought it: a copy in a process forked off it is told apart."""
_OPENED: dict[tuple[Path, int], tuple[int, _Opened]] = {}
"""By folder and process: the version of its facts, and what they were read into."""
_ONE_AT_A_TIME = threading.Lock()


def _opened(raw: Path) -> _Opened | None:
    if not isinstance(raw, BucketFolder):
        return None
    try:
        version = os.stat(raw / FACTS).st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return None
    with _ONE_AT_A_TIME:  # nodes of several sources may run side by side
        known = _OPENED.get((raw, os.getpid()))
        if known is not None and known[0] != version:
            known[1].close()
        if known is None or known[0] != version:
            known = _OPENED[raw, os.getpid()] = version, _Opened(raw)
        return known[1]


def _close(raw: Path) -> None:
    with _ONE_AT_A_TIME:
        known = _OPENED.pop((raw, os.getpid()), None)
    if known is not None:
        known[1].close()


def _checked(bucket: Bucket, listed: pd.DataFrame) -> pd.DataFrame:
    """Return the objects that are no hidden files, or refuse what no folder can hold."""
    if listed.empty:
        raise _nothing(bucket)
    paths = listed["path"].astype("str")
    odd = no_paths(paths)
    folders = set(paths.str.rpartition("/")[0])
    while above := {path.rpartition("/")[0] for path in folders} - folders:
        folders |= above
    odd |= paths.isin(folders)
    if odd.any():
        raise UserError(
            f"{bucket.url}: no folder on a disk can hold the key {shown(paths[odd].iloc[0])}; "
            "rename the object, or name a raw_root without it"
        )
    hidden = paths.str.contains(r"(?:^|/)\.", regex=True)
    return listed[~hidden].reset_index(drop=True)


def _nothing(bucket: Bucket) -> UserError:
    return UserError(f"{bucket.url}: there is no object; correct raw_root")


def _bring_all(folder: Path, bucket: Bucket, listed: pd.DataFrame) -> None:
    missing = [
        found
        for found in map(Object._make, listed.itertuples(index=False))
        if found.size and not size_of(folder, found.path)
    ]
    if not missing:
        return
    size = sum(found.size for found in missing)
    log.info(
        "Fetching %s (%s) from %s to %s",
        count(len(missing), "object"),
        _gigabytes(size),
        bucket.url,
        folder,
    )
    _fetch(folder, bucket, missing)


def _fetch(folder: Path, bucket: Bucket, wanted: Sequence[Object]) -> None:
    """Bring objects, several at a time; each is there as a whole or not at all."""
    if not wanted:
        return

    def fetch(found: Object) -> None:
        with of_disk(folder), arriving(folder) as temporary:
            bucket.fetch(found, temporary)
            put(folder, temporary, found.path)

    with ThreadPoolExecutor(min(_AT_ONCE, len(wanted))) as threads:
        for start in range(0, len(wanted), _SUBMITTED):  # a failure waits for these alone
            deque(threads.map(fetch, wanted[start : start + _SUBMITTED]), maxlen=0)


def _present(folder: Path, listed: pd.DataFrame) -> dict[str, int]:
    """Return the objects that are on the disk, the oldest first."""
    found = []
    for path in listed.index[listed["size"] > 0]:
        if size := size_of(folder, path):
            found.append((os.stat(folder / path).st_mtime_ns, path, size))
    return {path: size for _, path, size in sorted(found)}


def _gigabytes(size: int) -> str:
    return f"{size / GIGABYTE:.3g} GB"
