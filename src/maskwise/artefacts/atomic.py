"""Write under a temporary name, sync, rename: a reader never meets half a file."""

import errno
import fcntl
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from maskwise.errors import HinderedError, UserError

_OWNER = re.compile(r"\.(?P<name>.+)\.(?P<host>[^.]+)-(?P<pid>\d+)\.[^.]+(\.old)?\Z")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file name in the folder of ``path``; on success it becomes ``path``.

    On any failure, Ctrl-C included, the previous ``path`` stays as it was.

    Raises:
        UserError: if the disk is full or the folder may not be written.
    """
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        handle, name = tempfile.mkstemp(prefix=_prefix(path), dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            _sync(temporary)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync(path.parent)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """The same for a folder: yield an empty temporary folder that becomes ``path``."""
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with alone_in(path.parent):
            _sweep(path)
        temporary = Path(tempfile.mkdtemp(prefix=_prefix(path), dir=path.parent))
        old = temporary.with_name(f"{temporary.name}.old")
        try:
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    _sync(file)
            os.chmod(temporary, 0o755)
            with alone_in(path.parent):  # no system renames one folder onto another at a stroke
                try:
                    if path.exists():
                        os.replace(path, old)
                    os.replace(temporary, path)
                finally:
                    if old.exists() and not path.exists():
                        os.replace(old, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)
        _sync(path.parent)


def write_files(files: Mapping[str, bytes], folder: Path) -> None:
    """Write files, by their paths in ``folder``; an earlier folder is replaced at the end."""
    with replacing_folder(folder) as temporary:
        for name, content in files.items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            (temporary / name).write_bytes(content)


@contextmanager
def alone_in(folder: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Keep other processes of this machine that come through here out of ``folder``.

    Others wait their turn, and call ``waiting`` before. No file is left, and the system ends
    the turn of who is killed.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is not None:
                waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _prefix(path: Path) -> str:
    """Name the temporary after what it becomes and who writes it."""
    return f".{path.name}.{_host()}-{os.getpid()}."


def _host() -> str:
    return socket.gethostname().replace(".", "_")


def _sweep(path: Path) -> None:
    """Remove what writers of ``path`` that were killed on this machine have left behind."""
    for leftover in path.parent.glob(f".{path.name}.*"):
        owner = _OWNER.fullmatch(leftover.name)
        if owner is None or owner["name"] != path.name or owner["host"] != _host():
            continue
        if _lives(int(owner["pid"])):
            continue
        if owner[4] and not path.exists():  # killed between the two renames
            os.replace(leftover, path)
        elif leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Say in words what the system said while the block wrote ``path``.

    Raises:
        HinderedError: if the disk is full or the folder may not be written.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # each library puts a full disk in its own way; others go on
        if _disk_is_full(error, path.parent):
            raise HinderedError(
                f"{path}: the disk is full; free some space and run the same command again "
                "(nothing half-written was left, the previous output is unchanged)"
            ) from error
        if isinstance(error, OSError) and error.errno in (
            errno.EACCES,
            errno.EPERM,
            errno.EROFS,
        ):
            raise HinderedError(
                f"{path}: may not be written; check the permissions of {path.parent}"
            ) from error
        raise


def _disk_is_full(error: Exception, folder: Path) -> bool:
    """Tell a full disk, however the library that wrote puts it."""
    cause: BaseException | None = error
    while cause is not None:  # torch: a RuntimeError about positions, after the system's own
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        cause = cause.__cause__ or cause.__context__
    if "No space left on device" in str(error):  # safetensors
        return True
    # NumPy: "1000 requested and 512 written", without a number
    return (
        type(error) is OSError
        and error.errno is None
        and shutil.disk_usage(folder).free < 2**20
    )


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
