"""The raw folder: which files it holds, and the only door to their bytes.

Nothing outside the folder is opened, and nothing that is not a regular file is opened.
"""

import functools
import importlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from maskwise.errors import UserError
from maskwise.scans.decode import HEAD, claimed_format, sniff
from maskwise.scans.dicom_file import begins_as_dicom
from maskwise.scans.reasons import Reject, RejectedError
from maskwise.scans.zipped import archive_of, members, read_member

_JUNK = frozenset({"Thumbs.db", "desktop.ini", "__MACOSX"})
_ANY_SIZE = 2**62


def check_raw(raw: Path, advice: str) -> None:
    """Raise ``UserError`` with ``advice`` unless ``raw`` is a folder with something in it."""
    if not raw.is_dir():
        raise UserError(f"{raw}: there is no such folder; {advice}")
    try:
        empty = next(iter(_visible(raw)), None) is None
    except OSError as error:
        raise UserError(
            f"{raw}: cannot be listed ({error.strerror}); check its permissions"
        ) from None
    if empty:
        raise UserError(f"{raw}: the folder is empty; {advice}")


def walk(raw: Path) -> tuple[list[str], list[Reject]]:
    """Return all files below ``raw``, as sorted relative paths, and what may not be opened.

    Hidden names and what desktops leave behind (``Thumbs.db``, ``__MACOSX``) are ignored.
    """
    _real.cache_clear()  # what a link points to may have changed since the last look
    files: list[str] = []
    rejects: list[Reject] = []
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            entries = list(_visible(raw / folder))
        except OSError as error:
            rejects.append(Reject(folder, "unreadable", f"cannot be listed ({error.strerror})"))
            continue
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                folders.append(path)
                continue
            reject = _refusal(raw, path, entry)
            if reject is None:
                files.append(path)
            else:
                rejects.append(reject)
    return sorted(files), sorted(rejects)


def walk_zip(raw: Path, path: str) -> list[str]:
    """Return the files in the ZIP archive ``path``, each as ``<path>/<its name>``.

    Hidden names and what desktops leave behind are ignored, and so are names that lead out.

    Raises:
        RejectedError: what ``locate`` raises, ``damaged`` or ``too_long``.
    """
    names = members(locate(raw, path), path)
    return [f"{path}/{name}" for name in names if all(map(_is_plain, name.split("/")))]


def looks_like_image(raw: Path, path: str) -> bool:
    """Tell whether the suffix or else the first bytes of a file claim an image."""
    if claimed_format(path) is not None:
        return True
    try:
        head = head_of(raw, path)
    except RejectedError:
        return False
    return sniff(head) is not None or begins_as_dicom(head)


def locate(raw: Path, path: str) -> Path:
    """Return the regular file ``path`` inside ``raw``, links resolved.

    A file that stands for an object of a bucket has its content afterwards.

    Raises:
        RejectedError: ``missing_file``, ``link``, ``not_a_file`` or ``unreadable``.
        UserError: if the object cannot be brought.
    """
    file, size = _inside(raw, path)
    if not size:
        _objects().come(raw, path)
    return file


def _inside(raw: Path, path: str) -> tuple[Path, int]:
    """Return the file and how many bytes of it are on the disk."""
    if "\0" in path:
        raise RejectedError(
            path.replace("\0", "?"), "missing_file", "the name holds a null character"
        )
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        shown = path.encode("ascii", "backslashreplace").decode()
        detail = "the name holds half a character"
        raise RejectedError(shown, "missing_file", detail) from None
    folder, name = os.path.split(path)
    root, parent = _real(os.fspath(raw)), _real(os.path.join(raw, folder))
    target = os.path.join(parent, name)
    if name in ("", ".", "..") or os.path.islink(target):
        target = os.path.realpath(target)
    if target != root and not target.startswith(os.path.join(root, "")):
        raise RejectedError(path, "link", "leads out of the raw folder")
    try:
        status = os.stat(target)
    except (FileNotFoundError, NotADirectoryError):
        raise RejectedError(path, "missing_file", "there is no such file") from None
    except OSError as error:
        raise RejectedError(path, "unreadable", str(error.strerror)) from None
    if not stat.S_ISREG(status.st_mode):
        raise RejectedError(path, "not_a_file", "is not a regular file")
    return Path(target), status.st_size


def _objects() -> ModuleType:
    """Return what knows of buckets: late, because it takes long to import, and rarely used."""
    return importlib.import_module("maskwise.scans.objects")


def read_bytes(raw: Path, path: str, max_pixels: int) -> bytes:
    """Return the content of one file, which may be as large as ``max_pixels`` can explain.

    It may lie in a ZIP archive, as in ``images.zip/a.png``.
    """
    limit = most_bytes(max_pixels)
    zipped = archive_of(raw, path)
    if zipped is not None:
        return read_member(locate(raw, zipped[0]), zipped[1], path, limit)
    file = locate(raw, path)
    try:
        if file.stat().st_size > limit:
            detail = f"more than {limit:,} bytes (by max_pixels = {max_pixels:,})"
            raise RejectedError(path, "too_large", detail)
        return file.read_bytes()
    except OSError as error:
        raise RejectedError(path, "unreadable", str(error.strerror)) from None


def most_bytes(max_pixels: int) -> int:
    """Return how large a file may be whose image has as many pixels."""
    return 16 * max_pixels + 2**20  # four channels of 32 bits, and room for metadata


def head_of(raw: Path, path: str) -> bytes:
    """Return the first bytes of a file, which tell its format."""
    zipped = archive_of(raw, path)
    if zipped is not None:
        return read_member(locate(raw, zipped[0]), zipped[1], path, _ANY_SIZE, HEAD)
    file, size = _inside(raw, path)
    if not size:
        head: bytes | None = _objects().head_of_object(raw, path, HEAD)
        if head is not None:
            return head
    try:
        with file.open("rb") as stream:
            return stream.read(HEAD)
    except OSError as error:
        raise RejectedError(path, "unreadable", str(error.strerror)) from None


def version_of(raw: Path, path: str) -> tuple[int, ...]:
    """Return what tells a changed file, or a forked process, from the one that is kept open."""
    zipped = archive_of(raw, path)
    try:
        status = os.stat(os.path.join(raw, zipped[0] if zipped else path))
    except (OSError, ValueError):
        locate(raw, path)  # says what is wrong with it
        raise
    return status.st_mtime_ns, status.st_size, os.getpid()


@functools.lru_cache(maxsize=1024)
def _real(folder: str) -> str:
    """Resolve the links of a folder, once for all the files in it."""
    return os.path.realpath(folder)


def _visible(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if _is_plain(entry.name):
                yield entry


def _is_plain(name: str) -> bool:
    return bool(name) and not name.startswith(".") and name not in _JUNK


def _refusal(raw: Path, path: str, entry: os.DirEntry[str]) -> Reject | None:
    try:
        path.encode()
    except UnicodeEncodeError:
        shown = path.encode(errors="backslashreplace").decode()
        return Reject(shown, "bad_name", "the name is not valid UTF-8; rename the file")
    if not entry.is_symlink():
        regular = entry.is_file(follow_symlinks=False)
        return None if regular else Reject(path, "not_a_file", "is not a regular file")
    try:
        locate(raw, path)
    except RejectedError as error:
        if error.reject.reason == "link":
            return error.reject
        detail = "leads to a folder" if os.path.isdir(raw / path) else "leads nowhere"
        return Reject(path, "link", detail)
    return None
