"""Files inside ZIP archives, read where they lie: nothing is ever unpacked to the disk.

Such a file is addressed as ``folder/images.zip/inside/a.png``: the archive's own path, then the
member's name.
"""

import functools
import os
import re
import zipfile
from pathlib import Path

from maskwise.scans.guarded import refusing
from maskwise.scans.reasons import RejectedError

MOST_MEMBERS = 2**20
"""Of an archive; its directory is read whole."""

_INSIDE = re.compile(r"(?P<archive>.+?\.zip)/(?P<member>.+)\Z", re.IGNORECASE | re.DOTALL)
_UNREADABLE = "is not a readable ZIP archive"
_ENCRYPTED = 1
"""Bit of a member's flags."""


def archive_of(raw: Path, path: str) -> tuple[str, str] | None:
    """Return archive and member where ``path`` leads into a ZIP archive, else None.

    A folder may be called ``a.zip`` as well.
    """
    match = _INSIDE.match(path)
    if match is None or not os.path.isfile(os.path.join(raw, match["archive"])):
        return None
    return match["archive"], match["member"]


def members(file: Path, path: str) -> list[str]:
    """Return the names of the files in the archive ``file``, called ``path`` in messages.

    Raises:
        RejectedError: ``damaged`` or ``too_long``.
    """
    with refusing(path, _UNREADABLE):
        infos = _opened(file, _version(file)).infolist()
    if len(infos) > MOST_MEMBERS:
        raise RejectedError(path, "too_long", f"holds {len(infos):,} files; unpack it")
    return sorted({info.filename for info in infos if not info.is_dir()})


def read_member(file: Path, member: str, path: str, limit: int, first: int = -1) -> bytes:
    """Return the content of a member, or its ``first`` bytes; ``path`` names it in messages.

    Raises:
        RejectedError: ``missing_file``, ``damaged`` or, where it holds more than ``limit``
            bytes, ``too_large``.
    """
    with refusing(path, "cannot be read out of its archive"):
        archive = _opened(file, _version(file))
        try:
            info = archive.getinfo(member)
        except KeyError:
            detail = "there is no such file in the archive"
            raise RejectedError(path, "missing_file", detail) from None
        if info.flag_bits & _ENCRYPTED:
            detail = "is encrypted; unpack the archive with its password"
            raise RejectedError(path, "damaged", detail)
        if info.file_size > limit:
            raise RejectedError(path, "too_large", f"more than {limit:,} bytes")
        with archive.open(info) as stream:  # which gives no more than the size that it names
            return stream.read(first)


def _version(file: Path) -> tuple[int, ...]:
    status = file.stat()
    return status.st_mtime_ns, status.st_size, os.getpid()


@functools.lru_cache(maxsize=4)
def _opened(file: Path, version: tuple[int, ...]) -> zipfile.ZipFile:
    """Keep archives open; a forked process opens its own."""
    del version
    return zipfile.ZipFile(file)
