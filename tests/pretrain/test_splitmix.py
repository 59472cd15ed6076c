"""The mixing behind augmentation and lots."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from maskwise.pretrain.splitmix import GOLDEN, mix


def by_hand(seed: int, number: int) -> list[int]:
    """The reference, in Python's own integers: the first ``number`` outputs from ``seed``."""
    bits, outputs = (1 << 64) - 1, []
    for i in range(1, number + 1):
        z = (seed + i * 0x9E3779B97F4A7C15) & bits
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & bits
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & bits
        outputs.append(z ^ (z >> 31))
    return outputs


@given(st.integers(-(2**63), 2**63 - 1))
def test_the_numbers_are_those_of_splitmix64(seed: int) -> None:
    mixed = mix(torch.tensor(seed) + torch.arange(1, 5) * GOLDEN)
    assert [number % 2**64 for number in mixed.tolist()] == by_hand(seed % 2**64, 4)


def test_the_first_number_from_1234567_is_the_published_one() -> None:
    # The test vector of Vigna's splitmix64.c, as Rosetta Code has it.
    assert int(mix(torch.tensor(1234567) + GOLDEN)) == 6457827717110365317
