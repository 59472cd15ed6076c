"""A stopped run goes on where it stopped, and no two runs train one replicate at a time."""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from filelock import FileLock, Timeout

import maskwise
from maskwise.artefacts.atomic import explained, replacing
from maskwise.errors import HinderedError, UserError

log = logging.getLogger(__name__)

SecondRun = Literal["leave", "wait"]
CODE = (
    "pretrain",
    "encoders",
    "artefacts",
    "preparation",
    "decay.py",
    "masks.py",
    "ranks.py",
    "seeds.py",
)
"""Whatever of the package shapes the weights."""


@dataclass(frozen=True)
class Checkpoint:
    """One file, named by ``key``; plain tensors and containers, so loading runs no code."""

    folder: Path
    """Of the replicate; no output of a stage lies in it."""
    key: str

    @property
    def path(self) -> Path:
        """A changed recipe has another key, and so never resumes a stale run."""
        return self.folder / f"{self.key}.pt"

    def load(self) -> dict[str, Any] | None:
        """Return what ``save`` was given last, or None.

        Raises:
            UserError: if the file cannot be read.
        """
        if not self.path.exists():
            return None
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except MemoryError:  # says nothing about the file
            raise
        except Exception as error:  # torch's reader of a damaged file raises what it meets
            raise UserError(
                f"{self.path}: the checkpoint cannot be read ({error}); delete it to start anew"
            ) from error
        return dict(state)

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the file as a whole, or leave the previous one."""
        with replacing(self.path) as temporary, temporary.open("wb") as file:
            torch.save(dict(state), file)  # a file of ours: torch would not say "disk full"

    def remove(self) -> None:
        """All that the stage made is saved: nothing is left to resume."""
        self.path.unlink(missing_ok=True)

    @contextmanager
    def lock(self, second_run: SecondRun, replicate: str) -> Iterator[None]:
        """Hold the replicate; a second run of it leaves with a message, or waits its turn."""
        # Which another thread may have to release.
        lock = FileLock(self.folder / "lock", thread_local=False)
        try:
            with explained(self.folder / "lock"):
                self.folder.mkdir(parents=True, exist_ok=True)
                lock.acquire(blocking=False)
        except Timeout:
            if second_run != "wait":
                raise HinderedError(
                    f"pretrain {replicate}: another run of this replicate is at work (it holds "
                    f"{lock.lock_file}); wait until it ends, or set pretrain.second_run: wait"
                ) from None
            log.info(
                "pretrain %s: waiting for the run that is at work on this replicate (it holds "
                "%s).", replicate, lock.lock_file,
            )  # fmt: skip
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


def digest_of(*blocks: Any) -> str:
    """Hash everything that shapes the result: ``blocks``, the code and the version of torch."""
    parts = json.dumps(
        [*blocks, _code_version(), torch.__version__], sort_keys=True, default=str
    )
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


def _code_version() -> str:
    package, digest = Path(maskwise.__file__).parent, hashlib.sha256()
    for name in CODE:
        place = package / name
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(file.relative_to(package).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()
