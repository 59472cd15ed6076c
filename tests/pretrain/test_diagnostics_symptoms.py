"""Warnings: each symptom with its likely cause, none for a healthy run."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from maskwise.pretrain.diagnostics import warnings

HEALTHY: dict[str, Any] = {
    "epoch": np.arange(1, 9),
    "loss": np.linspace(1.0, 0.4, 8),
    "entropy": 0.8,
    "top_share": 0.1,
    "position_share": 0.2,
    "variance_correlation": 0.4,
    "policy_loss": 0.5,
    "error": [np.nan] * 7 + [0.2],
    "error_mean_image": [np.nan] * 7 + [0.9],
    "error_smooth_fill": [np.nan] * 7 + [0.3],
}


def a_history(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({**HEALTHY, **columns})


def test_a_healthy_run_is_not_warned_of() -> None:
    assert warnings(a_history()) == []


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"loss": [1.0, 0.5, np.nan, *[np.nan] * 5]},
            "not a number from epoch 3 on: the learning",
        ),
        ({"loss": [1.0, 0.5, np.inf, *[0.5] * 5]}, "not a number from epoch 3"),
        ({"loss": [1.0, 0.4, 0.4, 0.5, 0.7, 0.9, 1.0, 1.1]}, "rose from 0.4 to 1.1"),
        ({"loss": [1.0] * 8}, "stayed at 1 .*learning rate is too low"),
        ({"entropy": 0.2}, "collapsed: it hides the same place .* explore more"),
        ({"top_share": 0.6}, "the same place in 60 % of the images"),
        ({"position_share": 0.95}, "ignores the image: position alone explains 95 %"),
        ({"variance_correlation": 0.93}, "found texture.*pool_px"),
        ({"overlap": 0.95, "policy_entropy": 0.1}, "nothing to chance: .* share 95 % .*bound"),
        ({"skipped_updates": 0.8}, "no signal: 80 % of its updates were skipped"),
        ({"advantage_above": 0.97}, "drift: 97 % of its advantages are above 0, .*relative"),
        ({"advantage_above": 0.02}, "drift: 98 % of its advantages are below 0"),
        (
            {"advantage_above": 0.4, "value_explained": [0.1, 0.5, 0.4, 0.2, 0, 0, 0, -0.4]},
            "drift: its values explained 50 % of the rewards once and now nothing",
        ),
        ({"error": 0.35}, "no better than smooth filling from the border"),
        ({"error": 0.35, "error_mean_image": 0.25}, "no better than the mean image"),
    ],
)
def test_a_symptom_is_named_with_its_likely_cause(
    columns: dict[str, Any], message: str
) -> None:
    found = warnings(a_history(**columns))
    assert len(found) == 1
    assert pd.Series(found).str.contains(message, regex=True).all()


def test_a_policy_that_learns_from_a_teacher_can_have_found_texture_as_well() -> None:
    taught = a_history(variance_correlation=0.93, hard_share=0.5).drop(columns="policy_loss")
    (found,) = warnings(taught)
    assert "found texture" in found
    assert warnings(taught.drop(columns="hard_share")) == []  # a control's map is the variance


def test_a_policy_whose_map_never_came_to_differ_is_told_that_it_got_no_signal() -> None:
    history = a_history(position_share=np.nan, skipped_updates=1.0)
    (found,) = warnings(history)
    assert "no signal: 100 % of its updates were skipped" in found


def test_a_lift_that_goes_up_and_down_chases_the_network() -> None:
    steady = np.linspace(1, 4, 40)
    wave = 2 + 2 * np.sin(np.linspace(0, 6 * np.pi, 40))
    epochs = {"epoch": np.arange(40), "loss": np.linspace(1, 0.4, 40), "position_share": 0.2}
    assert warnings(pd.DataFrame({**epochs, "lift": steady})) == []
    (found,) = warnings(pd.DataFrame({**epochs, "lift": wave}))
    assert "the lift turned 6 times by more than 0.5" in found
    assert "staged" in found


def test_a_loss_that_rises_against_a_frozen_network_is_no_divergence() -> None:
    loss = [1.0, 0.8, 0.6, 0.5, 0.4, 0.6, 0.9, 1.2]
    frozen = a_history(loss=loss, gradient_norm=[1.0] * 5 + [np.nan] * 3)
    assert warnings(frozen) == []
    assert "rose from 0.4 to 1.2" in warnings(a_history(loss=loss, gradient_norm=1.0))[0]


def test_the_control_that_is_local_variance_has_not_found_it() -> None:
    control = a_history(variance_correlation=1.0).drop(columns="policy_loss")
    assert warnings(control) == []


def test_a_policy_without_an_opinion_cannot_collapse() -> None:
    centre = a_history(entropy=0.0, top_share=1.0).drop(columns="position_share")
    assert warnings(centre) == []


def test_histories_of_any_shape_are_read() -> None:
    assert warnings(pd.DataFrame(columns=["epoch", "loss"])) == []
    assert warnings(pd.DataFrame({"epoch": [1]})) == []
    assert warnings(pd.DataFrame({"epoch": [1], "loss": [0.3]})) == []


def test_a_loss_against_a_target_that_moves_may_rise_after_its_dip() -> None:
    losses = [1.2, 0.5, 0.7, 0.8, 0.85, 0.9]
    history = pd.DataFrame({"epoch": range(1, 7), "loss": losses})
    assert any("diverges" in each for each in warnings(history))
    assert not warnings(history.assign(target_momentum=0.99))
