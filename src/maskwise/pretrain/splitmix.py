"""splitmix64 (Steele, Lea, Flood 2014): random integers that are equal on every device."""

from torch import Tensor


def mix(numbers: Tensor) -> Tensor:
    """Return int64 ``numbers`` mixed, with 64-bit wrap-around; each gives another.

    Neighbours should be ``GOLDEN`` apart.
    """
    # torch shifts signed numbers, hence the bit masks.
    z = (numbers ^ (numbers >> 30 & 0x3FFFFFFFF)) * _FIRST
    z = (z ^ (z >> 27 & 0x1FFFFFFFFF)) * _SECOND
    return z ^ (z >> 31 & 0x1FFFFFFFF)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


GOLDEN = _signed(0x9E3779B97F4A7C15)
"""2^64 / the golden ratio, odd."""
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)
