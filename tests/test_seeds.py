"""Named streams of one seed."""

from hypothesis import given
from hypothesis import strategies as st

from maskwise import seeds


@given(st.integers(0, 2**32), st.text(max_size=5))
def test_equal_names_give_equal_draws(seed: int, name: str) -> None:
    one, two = seeds.stream(seed, name, 3), seeds.stream(seed, name, 3)
    assert (one.random(4) == two.random(4)).all()


def test_streams_differ_by_seed_name_and_epoch() -> None:
    keys: list[tuple[int, str, int]] = [(0, "order", 0), (1, "order", 0), (0, "mask", 0)]
    keys += [(0, "order", 1)]
    assert len({seeds.stream(*key).random() for key in keys}) == len(keys)
    assert len({seeds.torch_seed(*key) for key in keys}) == len(keys)


def test_a_stream_does_not_depend_on_what_was_drawn_from_another() -> None:
    before = seeds.stream(5, "mask").random()
    seeds.stream(5, "order").random(1000)
    assert seeds.stream(5, "mask").random() == before


@given(st.integers(0, 2**32))
def test_torch_takes_every_seed(seed: int) -> None:
    assert 0 <= seeds.torch_seed(seed, "initialisation") < 2**63
