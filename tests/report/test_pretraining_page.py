"""The page of a study without labels: what was trained, where it lies, how to load it."""

import ast
import html
import re
from collections.abc import Iterator
from dataclasses import replace

import pandas as pd
import pytest
from playwright.sync_api import Browser, Page

from maskwise.report.inputs import ReportConfig
from maskwise.report.page import render_pretraining
from maskwise.report.pretraining_cautions import cautions_of_pretraining
from maskwise.report.pretraining_facts import read_pretraining
from maskwise.report.pretraining_headline import headline
from report.synthetic import TITLES, history, plain, pretraining

WITHOUT_LESIONS = {
    run: history(*run).drop(columns=[name for name in history(*run) if "lift" in name])
    for run in (("random_box", 0), ("dqn", 0), ("simclr", 0))
}


def told(**changes: object) -> str:
    return plain(headline(read_pretraining(pretraining(**changes))))  # type: ignore[arg-type]


def curve(*losses: float) -> pd.DataFrame:
    epochs = range(1, len(losses) + 1)
    return pd.DataFrame({"epoch": epochs, "step": [7 * e for e in epochs], "loss": losses})


def test_the_first_sentence_says_on_what_for_how_long_and_what_the_loss_did() -> None:
    histories = {("dqn", 0): curve(0.9, 0.7, 0.5)}

    assert told(recipes=("dqn",), histories=histories) == (
        "Intelligent Masking was pre-trained on 200 images of 100 groups for 21 steps "
        "(3 epochs); its loss fell from 0.9 to 0.5."
    )


@pytest.mark.parametrize(
    ("losses", "course"),
    [
        ((0.5, 0.8), "rose from 0.5 to 0.8"),
        ((0.5, 0.2, 0.501), "stayed nearly where it was, from 0.5 to 0.501"),
    ],
)
def test_a_loss_that_did_not_fall_is_not_said_to_have_fallen(
    losses: tuple[float, ...], course: str
) -> None:
    assert course in told(recipes=("dqn",), histories={("dqn", 0): curve(*losses)})


def test_of_several_seeds_the_mean_loss_is_told() -> None:
    histories = {("dqn", 0): curve(1.0, 0.2), ("dqn", 1): curve(2.0, 0.6)}

    text = told(recipes=("dqn",), seeds=(0, 1), histories=histories)

    assert "14 steps (2 epochs) with 2 seeds; its loss fell from 1.5 to 0.4." in text


def test_several_recipes_are_named_with_a_loss_each() -> None:
    text = told()

    assert text.startswith(
        "Random boxes, Intelligent Masking and SimCLR were each pre-trained on 200 images of "
        "100 groups for 240 steps (12 epochs). Their losses, of different tasks: random boxes "
    )


def test_where_nothing_was_trained_the_page_says_so() -> None:
    assert told(recipes=("scratch",)).startswith("Nothing was pre-trained")
    assert "Nothing was pre-trained" in render_pretraining(pretraining(("scratch",))).html


def test_images_set_apart_for_tests_count_where_a_recipe_saw_them_all_the_same() -> None:
    inputs = pretraining(("dqn",))
    splits = inputs.splits.assign(split=["test", "test", *["train"] * 238])
    everything = {"dqn": {**inputs.recipes["dqn"], "transductive": True}}

    sparing = read_pretraining(replace(inputs, splits=splits))
    using = read_pretraining(replace(inputs, splits=splits, recipes=everything))

    assert sparing.trained_on("dqn", 0) == (238, 119)
    assert using.trained_on("dqn", 0) == (240, 120)


def test_every_encoder_is_named_with_its_file() -> None:
    inputs = pretraining(seeds=(0, 1))

    page = render_pretraining(inputs).html

    for file in inputs.encoders.values():
        assert file.path in page


def test_the_lines_that_load_an_encoder_are_python() -> None:
    page = html.unescape(render_pretraining(pretraining()).html)
    blocks = re.findall(r"<pre[^>]*>(.*?)</pre>", page, re.DOTALL)
    loading = [block for block in blocks if "load_encoder" in block]

    assert len(loading) == 2
    for block in loading:
        ast.parse(block)
        assert "encoder.prepare(" in block
        assert "encoder.pooled(" in block


def test_no_score_and_no_label_is_spoken_of() -> None:
    page = render_pretraining(pretraining(histories=WITHOUT_LESIONS)).html

    for word in ("AUROC", "Holm", "linear probe", "no pre-training", "test image", "Mask lift"):
        assert word not in page


def test_masks_and_reconstructions_are_drawn_without_a_lesion_to_measure_them_on() -> None:
    page = render_pretraining(pretraining(histories=WITHOUT_LESIONS)).html

    assert "nothing tells whether the masks lie where lesions are" in page
    assert "Intelligent Masking: masks and map over training" in page
    assert "bright on the right is what was missed" in page


def test_where_lesions_are_outlined_the_page_says_whether_the_agent_finds_them() -> None:
    page = plain(render_pretraining(pretraining()).html)

    assert "Does the agent look at the image?" in page
    assert "Intelligent Masking hid 4." in page


def test_the_gravest_doubt_is_that_nothing_was_tested() -> None:
    facts = read_pretraining(pretraining(generated=False))
    found = cautions_of_pretraining(facts)

    assert found[0].title == "What the encoders are worth was not tested"
    assert len(found) >= 3


def test_warnings_of_training_stand_on_the_first_screen() -> None:
    inputs = pretraining(warnings={("dqn", 0): ["the policy collapsed"]})
    first = render_pretraining(inputs).html.partition("<nav")[0]

    assert "Intelligent Masking, seed 0: the policy collapsed" in first


def test_names_of_files_stay_off_the_page_unless_they_are_asked_for() -> None:
    inputs = pretraining()
    pair = list(inputs.manifest["path"].iloc[:2])
    against = {
        **inputs.data_summary["contradictions"],
        "label_sets": 1,
        "labels": [{"images": {"a": pair[:1], "b": pair[1:]}}],
    }
    duplicates = {"images": 2, "sets": 1, "distance": 4}
    summary = {**inputs.data_summary, "contradictions": against, "duplicates": duplicates}
    shown = ReportConfig(titles=TITLES, names=True)
    inputs = replace(inputs, data_summary=summary)

    assert "scan 0.png" not in render_pretraining(inputs).html
    assert "scan 0.png" in render_pretraining(replace(inputs, config=shown)).html


def test_the_training_table_holds_every_history() -> None:
    table = render_pretraining(pretraining()).training

    assert list(table.columns[:3]) == ["recipe", "seed", "epoch"]
    assert len(table) == 36


def test_the_same_inputs_give_the_same_page() -> None:
    assert render_pretraining(pretraining()).html == render_pretraining(pretraining()).html


@pytest.fixture(params=[(1400, 900), (360, 740)], ids=["wide", "narrow"])
def opened(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    width, height = request.param
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_content(render_pretraining(pretraining()).html)
    yield page
    page.close()


def test_the_page_fits_the_screen_and_no_picture_is_broken(opened: Page) -> None:
    assert opened.evaluate(
        "() => document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )
    assert opened.evaluate("() => [...document.images].every(i => i.naturalWidth > 0 && i.alt)")
