"""``run.json`` beside a node's outputs: what differs from run to run, so no artefact holds it.

Nothing depends on it and DVC does not see it (``.dvcignore``). It has one key per node, because
several nodes may write into one folder.
"""

import json
import platform
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from maskwise.progress import RunFacts, collecting_facts

FILE = "run.json"
SECONDS_BETWEEN_LOOKS = 0.2
"""At the memory in use; shorter peaks are missed."""
_PACKAGES = ("maskwise", "torch", "numpy", "pandas", "kedro", "dvc", "scikit-learn")


class Watch:
    """Times one node, looks at its memory, and collects what the stage notes of itself."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._facts: RunFacts = self._stack.enter_context(collecting_facts())
        self._memory = self._stack.enter_context(AnonymousMemory())
        self._begin = time.perf_counter()
        self._begun = datetime.now(UTC)

    def stop(self) -> dict[str, Any]:
        """Return the facts of the time since the watch was made; call it once."""
        seconds = time.perf_counter() - self._begin
        self._stack.close()
        return {
            "began": self._begun.isoformat(timespec="seconds"),
            "seconds": round(seconds, 3),
            "peak_anonymous_memory_mb": round(self._memory.peak / 2**20, 1),
            **self._facts.values,
        }


class AnonymousMemory:
    """The peak of anonymous memory (RssAnon) of this process and its children, in bytes.

    Resident memory would count the pages of the memory-mapped store, which the system takes
    back whenever it needs them. Where there is no ``/proc`` the peak stays 0.
    """

    def __init__(self) -> None:
        self.peak = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "AnonymousMemory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        import psutil

        process = psutil.Process()
        while True:
            try:
                family = [process, *process.children(recursive=True)]
            except psutil.Error:
                family = [process]
            self.peak = max(self.peak, sum(_rss_anon(member.pid) for member in family))
            if self._ended.wait(SECONDS_BETWEEN_LOOKS):
                return


@contextmanager
def alone(output: Path, address: str) -> Iterator[None]:
    """Hold a lock beside a node's first output: two runs at once would mix their outputs.

    Raises:
        UserError: if another process holds it.
    """
    from filelock import FileLock, Timeout

    from maskwise.artefacts.atomic import explained
    from maskwise.errors import UserError

    # Which the thread holds in which the node runs, but which another may have to release.
    lock = FileLock(output.with_name(f"{output.name}.lock"), thread_local=False)
    try:
        with explained(Path(lock.lock_file)):
            output.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(blocking=False)
    except Timeout:
        raise UserError(
            f"{address}: another run of it is at work (it holds {lock.lock_file}); run this "
            "command again when that one has ended"
        ) from None
    try:
        yield
    finally:
        lock.release()


@cache
def describe_machine(project: Path) -> dict[str, Any]:
    """Return commit, host and versions, as they were when this was first asked."""
    return {
        "commit": _commit(project),
        "host": platform.node(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: found for name in _PACKAGES if (found := _version(name))},
    }


def write_facts(folder: Path, key: str, facts: dict[str, Any]) -> None:
    """Put ``facts`` under ``key`` into the folder's ``run.json``, which nodes share."""
    from filelock import FileLock

    from maskwise.artefacts.atomic import replacing

    path = folder / FILE
    with FileLock(path.with_name(f"{FILE}.lock")):
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            known = {}
        with replacing(path) as temporary:
            text = json.dumps({**known, key: facts}, indent=2, sort_keys=True)
            temporary.write_text(f"{text}\n", encoding="utf-8")


def _rss_anon(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    kilobytes = [line.split()[1] for line in lines if line.startswith("RssAnon:")]
    return int(kilobytes[0]) * 1024 if kilobytes else 0


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit(project: Path) -> str | None:
    """Return the commit, with ``+`` where the working tree differs from it."""
    try:
        commit = _git(project, "rev-parse", "HEAD")
        return f"{commit}+" if _git(project, "status", "--porcelain") else commit
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(project: Path, *arguments: str) -> str:
    command = ["git", "-C", str(project), *arguments]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()
