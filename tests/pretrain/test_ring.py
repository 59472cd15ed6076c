"""The queue holds the last vectors in order, whatever its length and the batch's."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from maskwise.pretrain.objectives.ring import UNKNOWN, Entries, Ring


def entries(first: int, number: int) -> Entries:
    """Return vectors that say their own number, in group 100 + number."""
    numbers = torch.arange(first, first + number)
    return Entries(numbers[:, None].expand(-1, 2).float(), numbers, numbers + 100)


def in_order(ring: Ring) -> Tensor:
    """Return the rows from the oldest to the newest."""
    order = (ring.pointer + torch.arange(ring.length)) % ring.length
    return ring.rows[order]


@given(st.integers(1, 12), st.lists(st.integers(1, 15), min_size=1, max_size=8))
def test_it_holds_the_last_vectors_in_order(length: int, batches: list[int]) -> None:
    ring, pushed = Ring(length, 2), 0
    for number in batches:
        ring.push(entries(pushed, number))
        pushed += number
    expected = ([UNKNOWN] * length + list(range(pushed)))[-length:]
    assert in_order(ring).tolist() == expected
    assert ring.filled == min(length, pushed)
    written = ring.rows != UNKNOWN
    assert (ring.groups[written] == ring.rows[written] + 100).all()
    assert (ring.vectors[written] == ring.rows[written][:, None]).all()


@given(st.integers(1, 6), st.integers(1, 9))
def test_what_is_written_first_lies_at_the_beginning(length: int, number: int) -> None:
    ring = Ring(length, 2)
    ring.push(entries(0, number))
    written = ring.rows != UNKNOWN
    assert (written == (torch.arange(length) < ring.filled)).all()


def test_a_queue_of_no_length_takes_everything_and_keeps_nothing() -> None:
    ring = Ring(0, 2)
    ring.push(entries(0, 3))
    assert ring.filled == 0


def test_a_saved_queue_goes_on_where_it_was() -> None:
    ring, resumed = Ring(5, 2), Ring(5, 2)
    ring.push(entries(0, 3))
    resumed.load_state_dict(ring.state_dict())
    for each in (ring, resumed):
        each.push(entries(3, 4))
    assert in_order(resumed).tolist() == [2, 3, 4, 5, 6]
    assert resumed.rows.equal(ring.rows)
    assert (resumed.pointer, resumed.filled) == (ring.pointer, ring.filled)
