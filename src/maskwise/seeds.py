"""One seed drives named streams, so that adding a stream never shifts another."""

import hashlib

import numpy as np


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Return the generator of the stream ``names`` of ``seed``; same names, same draws."""
    return np.random.default_rng(_sequence(seed, names))


def torch_seed(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed of that stream, for ``torch.Generator().manual_seed``."""
    return int(_sequence(seed, names).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _sequence(seed: int, names: tuple[str | int, ...]) -> np.random.SeedSequence:
    digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    key = tuple(int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4))
    return np.random.SeedSequence(seed, spawn_key=key)
