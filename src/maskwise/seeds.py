"""One seed drives named streams, so that adding a stream never shifts another."""

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

_TORCH = threading.RLock()


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Return the generator of the stream ``names`` of ``seed``; same names, same draws."""
    return np.random.default_rng(_sequence(seed, names))


def torch_seed(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed of that stream, for ``torch.Generator().manual_seed``."""
    return int(_sequence(seed, names).generate_state(1, np.uint64)[0] >> np.uint64(1))


@contextmanager
def torch_stream(seed: int | None = None, devices: Sequence[Any] = ()) -> Iterator[None]:
    """Have torch's global generator to oneself in the block, and leave it as it was.

    Layers draw their first weights from it, and there is one in a process: whatever else needs
    it waits, in whichever thread, so that nothing is drawn from the middle of another's stream.

    Args:
        seed: where the stream begins; None where nobody minds what is drawn.
        devices: CUDA devices whose generators are in use too.
    """
    import torch  # which takes seconds, and stages without it import this module

    with _TORCH, torch.random.fork_rng(devices=list(devices)):
        if seed is not None:
            torch.manual_seed(seed)
        yield


def _sequence(seed: int, names: tuple[str | int, ...]) -> np.random.SeedSequence:
    digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    key = tuple(int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4))
    return np.random.SeedSequence(seed, spawn_key=key)
