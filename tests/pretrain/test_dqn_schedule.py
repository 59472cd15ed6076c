"""Epsilon over a run, by hand."""

import pytest

from maskwise.pretrain.policies.dqn.schedule import Epsilon


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        ("const", [0.1, 0.1, 0.1, 0.1]),
        ("step", [1.0, 1.0, 1.0, 0.1]),
        ("linear", [1.0, 0.775, 0.55, 0.1]),
        ("cosine", [1.0, 0.55 + 0.45 * 0.7071, 0.55, 0.1]),
    ],
)
def test_epsilon_goes_from_start_to_the_floor(schedule: str, values: list[float]) -> None:
    epsilon = Epsilon(schedule, start=1.0, end=0.1, share=0.4)  # type: ignore[arg-type]
    assert [epsilon.at(p) for p in (0.0, 0.1, 0.2, 0.4)] == pytest.approx(values, abs=1e-4)


def test_the_default_is_the_release_schedule_with_a_floor() -> None:
    epsilon = Epsilon()
    assert [epsilon.at(p) for p in (0.0, 0.199, 0.2, 0.99)] == [1.0, 1.0, 0.05, 0.05]
