"""What the page says of an agent: its masks, the yardsticks beside them, and what is shown."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats

from maskwise.pipeline_registry import PROJECT
from maskwise.report.agents import agent_sentence, over_seeds
from maskwise.report.cautions import cautions
from maskwise.report.facts import read_facts
from maskwise.report.figures import lift
from maskwise.report.headline import headline
from maskwise.report.inputs import ReportInputs
from maskwise.report.page import render
from maskwise.report.sections import agent
from report.synthetic import RECIPES, TITLES, gallery, history, plain, study

RANDOM_TASTE = (-0.78, 3.40, 2.80, 2.71, 0.23)
"""Content lift at the end of five runs that were told the rewards of other images."""


def lifted(lifts: Mapping[str, Sequence[float]]) -> ReportInputs:
    """Return a study whose agents end with these content lifts, one entry per seed.

    Every seed's interval over images is half a unit wide, on either side; nothing was
    measured of the variance control.
    """
    seeds = range(len(next(iter(lifts.values()))))
    inputs = study(seeds=tuple(seeds), recipes=("scratch", "dqn"))
    block = RECIPES["dqn"]
    shuffled = {**block, "policy": {**block["policy"], "told": "shuffled"}}
    extra = [name for name in lifts if name != "dqn"]
    recipes = {**inputs.recipes, **dict.fromkeys(extra, shuffled)}
    predictions = [
        inputs.predictions,
        *(inputs.predictions.assign(recipe=name) for name in extra),
    ]
    runs = [(name, seed) for name in lifts for seed in seeds]
    found = replace(
        inputs,
        recipes=recipes,
        predictions=pd.concat(predictions, ignore_index=True),
        config=replace(inputs.config, titles={**TITLES, "dqn_shuffled": "the control"}),
        histories={
            (name, seed): history("dqn", seed).assign(
                content_lift=lifts[name][seed],
                content_lift_low=lifts[name][seed] - 0.5,
                content_lift_high=lifts[name][seed] + 0.5,
            )
            for name, seed in runs
        },
        galleries={run: gallery("dqn", run[1]) for run in runs},
    )
    return without_variance(found)


def told(inputs: ReportInputs, recipe: str = "dqn") -> str:
    return plain(agent_sentence(read_facts(inputs), recipe))


def without_variance(inputs: ReportInputs) -> ReportInputs:
    """Return the study as it was before content lift of the controls was measured."""
    histories = {
        run: table.drop(columns=[name for name in table if "variance" in str(name)])
        for run, table in inputs.histories.items()
    }
    return replace(inputs, histories=histories)


def test_a_rule_that_has_a_map_and_learns_nothing_is_no_agent() -> None:
    inputs = study()
    rules = {
        run: replace(drawn, learns=np.asarray(False)) for run, drawn in inputs.galleries.items()
    }
    assert headline(read_facts(inputs)).agents
    assert not headline(read_facts(replace(inputs, galleries=rules))).agents
    page = plain(str(agent.build(read_facts(replace(inputs, galleries=rules)))))
    assert "Masks of the policies that do not learn" in page
    assert "map over training" not in page


def test_what_only_policies_of_cells_have_stands_in_the_table() -> None:
    inputs = study()
    known = {"lift_mean_map": 1.23, "error_correlation": 0.45, "overlap": 0.67}
    histories = {run: table.assign(**known) for run, table in inputs.histories.items()}
    page = plain(str(agent.build(read_facts(replace(inputs, histories=histories)))))
    lines = lift.draw({0: histories["dqn", 0]}, "dqn").axes[0].get_lines()
    assert "its mean map" in [line.get_label() for line in lines]
    for heading in ("mean map", "correlation with error", "overlap of two draws"):
        assert heading in page
    assert all(str(value) in page for value in known.values())


@pytest.mark.parametrize(
    ("own", "control"),
    [
        ({"name": "dqn"}, {"name": "dqn", "told": "shuffled"}),
        ({"name": "a3c"}, {"name": "a3c", "reward": {"told": "shuffled"}}),
        (
            {"name": "a3c", "reward": {"scale": "raw"}},
            {"name": "a3c", "reward": {"told": "shuffled", "scale": "raw"}},
        ),
    ],
)
def test_the_control_of_every_agent_is_known_by_its_shuffled_rewards(
    own: dict[str, Any], control: dict[str, Any]
) -> None:
    inputs = study(recipes=("scratch", "dqn", "simclr"))
    recipes = {
        **inputs.recipes,
        "dqn": {**RECIPES["dqn"], "policy": own},
        "simclr": {**RECIPES["dqn"], "policy": control},
    }
    assert read_facts(replace(inputs, recipes=recipes)).shuffled("dqn") == "simclr"


def test_a_recipe_that_begins_with_imagenet_weights_counts_as_pretrained() -> None:
    text = (PROJECT / "conf/base/recipes/parameters_imagenet.yml").read_text("utf-8")
    inputs = study(recipes=("scratch", "dqn"))
    recipes = {**inputs.recipes, "dqn": yaml.safe_load(text)["imagenet"]}
    facts = read_facts(replace(inputs, recipes=recipes))
    assert facts.is_pretrained("dqn")
    assert not facts.is_pretrained("scratch")


def test_an_agent_is_set_beside_the_rule_that_needs_no_training() -> None:
    one, three = (told(study(seeds=seeds)) for seeds in ((0,), (0, 1, 2)))

    assert "(masks anywhere: 1.4, the untrained rule “most variance”: 4.3)" in one
    # The last epoch's: 2.1 - 1.88 + 0.05 sin 9 and its own interval; then over sin(9 + seed).
    assert one.endswith("“most variance” on the same images: +0.24 [0.02, 0.46].")
    assert three.endswith("“most variance” on the same images: +0.20 [0.11, 0.29].")


def test_a_history_without_the_controls_content_lift_is_still_told_and_drawn() -> None:
    inputs = without_variance(study(seeds=(0,), recipes=("scratch", "dqn")))

    assert "most variance" not in told(inputs)
    assert "content lift above most variance" in render(inputs).html


@pytest.mark.parametrize("lift", [3.4, -0.78])
def test_one_seed_off_0_depends_on_the_image_and_proves_no_learning(lift: float) -> None:
    said = told(lifted({"dqn": [lift]}))

    assert said.endswith(
        "where it hides depends on the image (one seed cannot tell learning from a random "
        "preference)."
    )


def test_one_seed_whose_interval_holds_0_was_not_shown_to_depend_on_the_image() -> None:
    said = told(lifted({"dqn": [0.23]}))

    assert said.endswith("content lift +0.23 [-0.27, 0.73]: not shown to depend on the image.")


def test_seeds_of_an_agent_with_a_random_taste_show_nothing() -> None:
    said = told(lifted({"dqn": RANDOM_TASTE}))

    # Mean 1.672, deviation 1.832, t of 4 degrees of freedom 2.776: 1.672 -+ 2.275.
    assert said.endswith(
        "content lift +1.67 [-0.60, 3.95] over 5 seeds (t interval): not shown to follow the "
        "image."
    )


@pytest.mark.parametrize(("sign", "words"), [(1, "go to lesions"), (-1, "avoid lesions")])
def test_seeds_that_agree_are_said_to(sign: int, words: str) -> None:
    said = told(lifted({"dqn": [sign * lift for lift in (2.0, 2.2, 2.1)]}))

    assert said.endswith(f"over 3 seeds (t interval): the seeds agree that its masks {words}.")


def test_an_agent_is_set_beside_its_control_seed_by_seed() -> None:
    own = [lift + 1 + 0.1 * seed for seed, lift in enumerate(RANDOM_TASTE)]
    inputs = lifted({"dqn": own, "dqn_shuffled": RANDOM_TASTE})

    # The differences are 1.0, 1.1, 1.2, 1.3 and 1.4, whatever the taste of a seed.
    assert told(inputs).endswith(
        "; against the control, the same agent told the rewards of other images, +1.20 [1.00, "
        "1.40] in 5 paired seeds."
    )
    assert "against" not in told(inputs, "dqn_shuffled")
    assert "+1.20" not in told(lifted({"dqn": own}))


def test_a_control_of_another_agent_is_no_control() -> None:
    inputs = lifted({"dqn": [2.0, 2.1], "dqn_shuffled": [0.0, 0.1]})
    other = {**RECIPES["dqn"], "policy": {"name": "dqn", "preset": "release"}}
    inputs = replace(inputs, recipes={**inputs.recipes, "dqn": other})

    assert "against" not in told(inputs)


def test_the_interval_over_seeds_is_student_s() -> None:
    found = over_seeds(RANDOM_TASTE)

    slow = stats.ttest_1samp(RANDOM_TASTE, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((slow.low, slow.high))


def test_the_page_sets_content_lift_over_seeds_beside_the_control() -> None:
    own, told = [2.0, 2.1, 2.2], [0.1, 0.0, 0.2]
    html = plain(render(lifted({"dqn": own, "dqn_shuffled": told})).html)

    assert "Content lift over seeds, with 95 % t intervals" in html
    assert "2.10 [1.85, 2.35]" in html
    assert "2.00 [1.75, 2.25]" in html


def test_two_seeds_have_no_interval() -> None:
    assert np.isnan([over_seeds([1.0, 2.0]).low, over_seeds([1.0, 2.0]).high]).all()
    assert "over 2 seeds, too few to say" in told(lifted({"dqn": [2.0, 2.1]}))


def with_lift(lifts: Sequence[float], uniform: float = 1.0) -> ReportInputs:
    """Return a study whose agent ends with these mask lifts, one entry per seed."""
    inputs = study(seeds=tuple(range(len(lifts))), recipes=("scratch", "dqn"))
    histories = {
        (name, seed): table.assign(
            lift=lifts[seed],
            lift_low=lifts[seed] - 0.1,
            lift_high=lifts[seed] + 0.1,
            lift_uniform=uniform,
        )
        if name == "dqn"
        else table
        for (name, seed), table in inputs.histories.items()
    }
    return replace(inputs, histories=histories)


@pytest.mark.parametrize(
    ("lifts", "uniform", "words"),
    [
        ([0.5], 1.0, "it hides 2.0 times less of it than random cells would"),
        ([0.4, 0.5, 0.6], 1.0, "it hides 2.0 times less of it than random cells would"),
        ([0.5], 1.5, "it hides 3.0 times less of it than such masks anywhere would"),
        ([0.0], 1.0, "it hides none of it, of which random cells would hide some"),
    ],
)
def test_a_policy_that_hides_less_of_lesions_than_chance_is_said_to_spare_them(
    lifts: list[float], uniform: float, words: str
) -> None:
    inputs = with_lift(lifts, uniform)
    assert f"spares the lesion: {words}" in told(inputs)
    page = plain(str(agent.build(read_facts(inputs))))
    assert f"spares the lesion: {words}." in page


@pytest.mark.parametrize("lifts", [[0.95], [1.2], [0.2, 0.9, 1.5], [0.5, 0.6]])
def test_a_lift_that_may_be_chance_spares_nothing(lifts: list[float]) -> None:
    inputs = with_lift(lifts)
    assert "spares" not in told(inputs)
    assert "spares the lesion" not in plain(str(agent.build(read_facts(inputs))))


def test_sparing_is_no_reason_for_doubt() -> None:
    without = {caution.title for caution in cautions(read_facts(with_lift([1.5])))}
    assert {caution.title for caution in cautions(read_facts(with_lift([0.4])))} == without


@pytest.mark.parametrize(("lift_at_the_end", "shaded"), [(0.5, True), (1.5, False)])
def test_what_lies_below_chance_is_shaded_where_the_policy_ends_there(
    lift_at_the_end: float, shaded: bool
) -> None:
    histories = {0: with_lift([lift_at_the_end]).histories["dqn", 0]}
    labels = [patch.get_label() for patch in lift.draw(histories, "dqn").axes[0].patches]
    assert ("spares the lesion" in labels) == shaded


def test_the_page_says_how_a_map_that_was_kept_serves_another_recipe() -> None:
    inputs = study(recipes=("scratch", "random_box", "dqn"))
    kept = str(agent.build(read_facts(replace(inputs, agents={("dqn", 0): 1234}))))
    assert "policy.safetensors" in kept
    assert "1,234 weights" in kept
    assert "map: {recipe: dqn}" in kept
    assert "policy.safetensors" not in str(agent.build(read_facts(inputs)))
