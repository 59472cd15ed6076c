"""Outlines scored: by image, by volume, with empty masks, against slow references."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from maskwise.artefacts.tables import PREDICTIONS, SEGMENTATION
from maskwise.errors import UserError
from maskwise.evaluate.config import EmptyMasks
from maskwise.evaluate.stage import EvaluateConfig, Evaluated, evaluate
from maskwise.evaluate.tasks.lesion import Lesion, overlaps
from maskwise.pipelines.evaluate import headline

QUICK = EvaluateConfig(draws=199)
MEASURED = ("tp", "fp", "fn", "hd95", "asd", "unit_hd95", "unit_asd")
NAN = float("nan")
MASKS = arrays(np.bool_, (3, 4), elements=st.booleans())


def outlined(
    rows: Sequence[tuple[int, int, int]],
    recipe: str = "scratch",
    seed: int = 0,
    unit_size: int = 1,
    **columns: Any,
) -> pd.DataFrame:
    """Make the test rows of a replicate from counts of right, wrong and missed pixels."""
    n = len(rows)
    counts = pd.DataFrame(rows, columns=["tp_lesion", "fp_lesion", "fn_lesion"])
    shown = (counts["tp_lesion"] + counts["fn_lesion"] > 0).to_numpy()
    called = (counts["tp_lesion"] + counts["fp_lesion"] > 0).to_numpy()
    far = np.where(shown & called, counts["fp_lesion"] + counts["fn_lesion"], NAN)
    units = [f"u{i // unit_size:03d}" for i in range(n)]
    table = pd.DataFrame(
        {
            "source": "discs",
            "recipe": recipe,
            "seed": seed,
            "fraction": 1.0,
            "mode": "full",
            "image_id": [f"i{i:03d}" for i in range(n)],
            "group": units,
            "split": "test",
            "fold": -1,
            "truth": np.where(shown, "lesion", "no lesion"),
            "unit": units,
            "unit_kind": "group",
            "distance_unit": "px",
        }
    )
    assert tuple(table.columns) == (*PREDICTIONS, *SEGMENTATION)
    distances = pd.DataFrame({"hd95_lesion": far, "asd_lesion": far / 2})
    means = distances.groupby(units).transform("mean").add_prefix("unit_")
    return pd.concat([table, counts, distances, means], axis=1).assign(**columns)


def scored(predictions: pd.DataFrame, config: EvaluateConfig = QUICK) -> Evaluated:
    subsets = pd.DataFrame(
        {
            "source": "discs",
            "recipe": predictions["recipe"].unique(),
            "seed": 0,
            "fraction": 1.0,
            "image_id": "t0",
            "group": "h0",
            "role": "train",
            "label": "lesion",
        }
    )
    return evaluate(predictions, subsets, config, "discs", "lesion")


def values(result: Evaluated, recipe: str = "scratch") -> dict[str, Any]:
    metrics = result.scores["scores"][recipe]["full"]["1.0"]
    return {name: figures["value"] for name, figures in metrics.items()}


ROWS = [(10, 0, 0), (5, 5, 0), (5, 0, 15), (0, 4, 0), (0, 0, 4), (0, 0, 0)]
"""Right; half is wrong; a quarter found; a false alarm; a miss; rightly nothing."""


@given(one=MASKS, other=MASKS)
def test_overlaps_are_those_of_sets_of_pixels(one: Any, other: Any) -> None:
    called = {tuple(place) for place in np.argwhere(one).tolist()}
    there = {tuple(place) for place in np.argwhere(other).tolist()}
    both, either = len(called & there), len(called | there)
    right, wrong, missed = (
        np.array(float(n)) for n in (both, len(called - there), len(there - called))
    )
    found = overlaps(right, wrong, missed, "one")
    expected = {
        "dice": 2 * both / (len(called) + len(there)) if either else 1.0,
        "iou": both / either if either else 1.0,
        "sensitivity": both / len(there) if there else NAN,
        "precision": both / len(called) if called else NAN,
        "lesion_dice": 2 * both / (len(called) + len(there)) if there else NAN,
        "false_alarms": NAN if there else float(bool(called)),
    }
    assert {name: float(each) for name, each in found.items()} == pytest.approx(
        expected, nan_ok=True
    )


def test_figures_are_means_over_images_by_paper_and_pencil() -> None:
    found = values(scored(outlined(ROWS)))
    assert found["dice"] == pytest.approx((1 + 2 / 3 + 0.4 + 0 + 0 + 1) / 6, abs=1e-5)
    assert found["iou"] == pytest.approx((1 + 0.5 + 0.25 + 0 + 0 + 1) / 6, abs=1e-5)
    assert found["sensitivity"] == pytest.approx((1 + 1 + 0.25 + 0) / 4)
    assert found["precision"] == pytest.approx((1 + 0.5 + 1 + 0) / 4)
    assert found["lesion_dice"] == pytest.approx((1 + 2 / 3 + 0.4 + 0) / 4, abs=1e-5)
    assert found["false_alarms"] == pytest.approx(1 / 2)
    assert found["hd95"] == pytest.approx((0 + 5 + 15) / 3, abs=1e-4)
    assert found["asd"] == pytest.approx((0 + 5 + 15) / 6, abs=1e-4)


@pytest.mark.parametrize(
    ("convention", "dice"),
    [
        ("one", (1 + 2 / 3 + 0.4 + 1) / 6),
        ("skip", (1 + 2 / 3 + 0.4) / 5),
        ("zero", (1 + 2 / 3 + 0.4) / 6),
    ],
)
def test_what_two_empty_masks_count_is_an_option_and_is_said(
    convention: EmptyMasks, dice: float
) -> None:
    result = scored(outlined(ROWS), EvaluateConfig(draws=199, empty_masks=convention))
    assert values(result)["dice"] == pytest.approx(dice, abs=1e-5)
    assert result.scores["empty_masks"] == convention
    assert any(f"empty_masks: {convention}" in note for note in result.scores["notes"])


def test_distances_are_compared_where_both_recipes_have_one() -> None:
    # The second calls nothing where the first is worst, and is no better elsewhere.
    rows = [(10, n % 3, n % 4) for n in range(12)] + [(5, 0, 40), (5, 0, 50)]
    silent = [*rows[:12], (0, 0, 45), (0, 0, 55)]
    result = scored(
        pd.concat([outlined(rows), outlined(silent, recipe="random_cells")], ignore_index=True)
    )
    paired = result.paired.set_index("metric")
    for name in ("hd95", "asd", "group_hd95", "group_asd"):
        assert (paired.loc[name, ["difference", "low", "high"]] == 0).all()
    assert paired.loc["hd95", "n_images"] == 12
    assert paired.loc["dice", "n_images"] == 14
    assert values(result, "random_cells")["hd95"] < values(result)["hd95"]


def test_what_is_left_out_is_counted() -> None:
    metrics = scored(outlined(ROWS)).scores["scores"]["scratch"]["full"]["1.0"]
    left_out = {name: figures["left_out"] for name, figures in metrics.items()}
    assert left_out["dice"] == 0
    assert (left_out["sensitivity"], left_out["precision"], left_out["hd95"]) == (2, 2, 3)


def test_a_unit_counts_the_pixels_of_its_images_together() -> None:
    found = values(scored(outlined(ROWS, unit_size=3)))
    # 20 right, 5 wrong, 15 missed; then 4 wrong, 4 missed.
    assert found["group_dice"] == pytest.approx(40 / 60 / 2, abs=1e-5)
    assert found["group_sensitivity"] == pytest.approx(20 / 35 / 2, abs=1e-5)
    # Of the second group no distance is defined.
    assert found["group_hd95"] == pytest.approx((0 + 5 + 15) / 3, abs=1e-4)


def test_volumes_lead_where_the_store_knows_them() -> None:
    scores = scored(outlined(ROWS, unit_size=3, unit_kind="volume")).scores
    assert (scores["leading"], scores["unit"]) == ("volume_dice", "volume")
    assert list(headline(scores)) == ["volume_dice", "test"]
    assert scored(outlined(ROWS)).scores["leading"] == "dice"


def test_the_scores_say_task_unit_and_which_metrics_are_better_when_smaller() -> None:
    scores = scored(outlined(ROWS, distance_unit="mm")).scores
    assert (scores["task"], scores["distance_unit"]) == ("lesion", "mm")
    of_images = ["false_alarms", "hd95", "asd"]
    of_groups = [f"group_{name}" for name in of_images]
    assert scores["smaller_is_better"] == of_images + of_groups
    assert any("millimetres" in note for note in scores["notes"])
    assert scores["classes"]["no lesion"] == {"n_images": 2, "n_groups": 2}


@pytest.mark.parametrize("weigh", ["group", "image"])
def test_a_draw_scores_the_images_as_often_as_they_are_drawn(weigh: Any) -> None:
    config = EvaluateConfig(draws=199, weigh=weigh)
    groups = ["large"] * 7 + [f"g{i}" for i in range(5)]
    table = outlined([*ROWS, *ROWS[::-1]], group=groups, unit=groups)
    result = values(scored(table, config))
    true, wrong, missed = (table[f"{kind}_lesion"] for kind in ("tp", "fp", "fn"))
    dice = (2 * true / (2 * true + wrong + missed)).fillna(1.0)
    by_group = dice.groupby(table["group"]).mean().mean()
    assert result["dice"] == pytest.approx(by_group if weigh == "group" else dice.mean())


def test_intervals_hold_the_value_and_a_better_recipe_is_found_so() -> None:
    generator = np.random.default_rng(0)
    parts = []
    for seed in range(3):
        for recipe, skill in (("scratch", 10), ("dqn", 40)):
            rows = [(int(n), 10, 10) for n in generator.integers(skill, skill + 20, 40)]
            parts.append(outlined(rows, recipe, seed))
    result = scored(pd.concat(parts, ignore_index=True), EvaluateConfig(draws=500))
    figures = result.scores["scores"]["dqn"]["full"]["1.0"]["dice"]
    assert figures["low"] < figures["value"] < figures["high"]
    row = result.paired.set_index("metric").loc["dice"]
    assert row["low"] > 0
    assert set(result.label_efficiency["metric"]) == set(values(result))


def test_networks_that_outline_nothing_are_named_and_not_called_equal() -> None:
    silent = [(0, 0, 10)] * 30
    result = scored(pd.concat([outlined(silent), outlined(silent, recipe="dqn")]))
    assert [entry["what"] for entry in result.scores["stuck"]] == [
        "nothing was outlined in 100% of the test images"
    ] * 2
    half = [(0, 0, 10)] * 15 + [(0, 0, 0)] * 15
    assert result.paired.set_index("metric").loc["dice", "difference"] == 0
    assert len(scored(outlined(half)).scores["stuck"]) == 1
    assert not scored(outlined([(8, 2, 2)] * 30)).scores["stuck"]


def test_a_class_that_one_network_never_outlines_is_named_with_its_network() -> None:
    table = outlined([(8, 2, 2)] * 30)
    bone = {f"{kind}_bone": table[f"{kind}_lesion"] for kind in MEASURED}
    silent = bone | {"tp_bone": 0, "fp_bone": 0, "fn_bone": 10}
    both = pd.concat([table.assign(**bone), table.assign(seed=1, **silent)])
    (entry,) = scored(both).scores["stuck"]
    assert entry["what"].startswith("nothing was outlined as bone in 100% of the test images")
    assert (entry["networks"], entry["of"]) == (1, 2)


def test_an_average_distance_has_no_negative_end() -> None:
    generator = np.random.default_rng(0)
    parts = []
    for seed in range(3):
        rows = [(20, int(seed == 0) * int(n), 0) for n in generator.integers(1, 9, 40)]
        parts.append(outlined(rows, "scratch", seed))
    metrics = scored(pd.concat(parts)).scores["scores"]["scratch"]["full"]["1.0"]
    assert metrics["hd95"]["low"] == 0


def test_of_several_classes_the_mean_leads_and_each_stands_beside_it() -> None:
    table = outlined(ROWS[:3])
    bone = {f"{kind}_bone": table[f"{kind}_lesion"] for kind in MEASURED}
    bone |= {"tp_bone": [0, 0, 0], "fn_bone": [4, 4, 4], "truth": "bone + lesion"}
    found = values(scored(table.assign(**bone)))
    assert found["dice_lesion"] == pytest.approx((1 + 2 / 3 + 0.4) / 3, abs=1e-5)
    assert found["dice_bone"] == 0
    assert found["dice"] == pytest.approx(found["dice_lesion"] / 2, abs=1e-5)


def test_a_class_of_which_nothing_is_defined_leaves_no_mean() -> None:
    found = values(scored(outlined([(0, 0, 4), (0, 0, 2)])))
    assert found["dice"] == 0
    assert found["hd95"] is None
    assert found["precision"] is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tp_lesion": -1}, r"scratch seed 0 \(full, fraction 1.0\), image i000: .*negative"),
        ({"fn_lesion": NAN}, "image i000: .*missing"),
        ({"asd_lesion": -0.5}, "image i000: .*negative"),
        ({"unit_kind": ["group"] * 5 + ["volume"]}, "unit_kind is group and volume"),
        ({"distance_unit": ["px"] * 5 + ["mm"]}, "distance_unit is mm and px"),
        ({"unit": "u0"}, "images of the group u0 are in several groups"),
    ],
)
def test_impossible_outlines_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        scored(outlined(ROWS, **changes))


def test_the_metrics_stand_in_the_order_of_what_score_returns() -> None:
    measures = Lesion(("a", "b"), ("a", "b"), "group", "px", QUICK)
    assert measures.metrics[:2] == ("dice", "iou")
    assert measures.metrics[-2:] == ("dice_a", "dice_b")
    assert len(measures.metrics) == 18


@pytest.mark.parametrize(
    ("convention", "undefined", "noted"), [("one", 0, False), ("skip", 199, True)]
)
def test_only_draws_without_the_leading_metric_count_as_undefined(
    convention: EmptyMasks, undefined: int, noted: bool
) -> None:
    # Nothing is there and nothing is called: no precision, no distance.
    config = EvaluateConfig(draws=199, empty_masks=convention)
    scores = scored(outlined([(0, 0, 0)] * 4), config).scores
    assert scores["undefined_draws"] == undefined
    assert any("is defined" in note for note in scores["notes"]) == noted
