"""The page for referees: figures of one recipe, and what a checklist misses."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser

from maskwise.evaluate.config import EvaluateConfig
from maskwise.evaluate.referee.config import Referee
from maskwise.evaluate.referee.stage import Images, referee
from maskwise.report.facts import read_facts
from maskwise.report.inputs import Report, ReportConfig, ReportInputs
from maskwise.report.referee.answers import ANSWERS
from maskwise.report.referee.checked import CHECKLISTS, requirement
from maskwise.report.referee.claim import CLAIM
from maskwise.report.referee.known import Known
from maskwise.report.referee.mi_claim import MI_CLAIM
from maskwise.report.referee.page import render_referee
from maskwise.report.referee.tripod import TRIPOD
from maskwise.report.study_facts import KEYS, StudyFacts
from report.synthetic import plain

pytestmark = pytest.mark.xdist_group("report")  # a page that takes seconds to draw

ASKED = Referee(
    recipe="dqn",
    mode="full",
    fraction=1.0,
    subgroups=("site", "age"),
    bands={"age": (40.0, 60.0)},
    prevalence={"malignant": 0.05},
)


class Scans:
    """A store that has nothing but noise to show."""

    def rows(self, image_ids: Any) -> Any:
        return np.arange(len(image_ids))

    def intensities(self, rows: Any) -> Any:
        return np.random.default_rng(0).random((len(rows), 1, 16, 16), dtype=np.float32)


@pytest.fixture(scope="module")
def asked(inputs: ReportInputs) -> ReportInputs:
    """Return the study with sites, one of them of three patients, and ages."""
    sites = np.where(np.arange(240) // 2 % 2 == 0, "A", "B").astype(object)
    sites[-6:] = "Hospital C"
    ages = [20 + 7 * n % 60 for n in range(240)]
    store: Any = Scans()
    return replace(inputs, manifest=inputs.manifest.assign(site=sites, age=ages), store=store)


def document_of(inputs: ReportInputs, options: Referee, task: str = "diagnosis") -> Any:
    config = EvaluateConfig(draws=199, referee={inputs.source: options})
    store: Any = inputs.store
    images = Images(inputs.manifest, store)
    return referee(inputs.predictions, inputs.subsets, images, config, inputs.source, task)


@pytest.fixture(scope="module")
def document(asked: ReportInputs) -> Mapping[str, Any]:
    found: Mapping[str, Any] = document_of(asked, ASKED)
    return found


@pytest.fixture(scope="module")
def page(asked: ReportInputs, document: Mapping[str, Any]) -> str:
    return render_referee(asked, document)


def writing(inputs: ReportInputs, **texts: str) -> ReportInputs:
    study = {inputs.source: StudyFacts(**texts)}
    return replace(inputs, config=replace(inputs.config, study=study))


def known(inputs: ReportInputs, document: Mapping[str, Any], **texts: str) -> Known:
    return Known(read_facts(inputs), document, StudyFacts(**texts))


def test_the_page_says_first_of_whom_it_speaks_and_who_chose_them(page: str) -> None:
    text = plain(page)
    assert "Intelligent Masking (full fine-tuning, all labels), measured on 80 test" in text
    assert "80 test images of 40 patients with 3 networks." in text
    assert (
        "Options may have been written after test scores were seen, which this page cannot "
        "know."
    ) in text
    assert "Nothing on this page was chosen on test images" not in text


def chosen_by(document: Mapping[str, Any], rule: str, n_folds: int) -> dict[str, Any]:
    chosen = {**document["chosen"], "rule": rule, "options": []}
    return {**document, "chosen": chosen, "n_folds": n_folds}


def test_the_page_is_free_of_test_images_unless_folds_were_chosen_by_validation(
    asked: ReportInputs, document: Mapping[str, Any]
) -> None:
    free = "Nothing on this page was chosen on test images"
    assert free in render_referee(asked, chosen_by(document, "validation", 0))
    assert free in render_referee(asked, chosen_by(document, "primary", 5))
    folds = render_referee(asked, chosen_by(document, "validation", 5))
    assert free not in folds
    assert "Each validation image is a test image of another fold" in folds


def test_thresholds_are_said_to_be_of_probabilities_before_the_temperature(page: str) -> None:
    for anchor in ("operating", "calibration", "benefit"):
        section = page.split(f'<section id="{anchor}"')[1].split("</section>")[0]
        assert "first divides logits by a temperature" in plain(section)


def test_the_same_inputs_give_the_same_bytes(
    asked: ReportInputs, document: Mapping[str, Any], page: str
) -> None:
    assert render_referee(asked, document) == page


def test_a_subgroup_of_three_is_named_with_its_number_and_has_no_figure(page: str) -> None:
    text = plain(page)
    assert (
        "Fewer than 10 patients or groups (<code>evaluate.referee.phantom.smallest</code>) "
        "give no interval worth printing, so without a figure: Hospital C (6 images of 3 "
        "patients)."
    ) in text
    row = text[text.index('<th scope="row">Hospital C</th>') :].split("</tr>")[0]
    assert row.count("<td>—</td>") == 3  # two metrics, and nothing that it lacks


def test_a_subgroup_with_two_patients_of_a_class_says_so(
    asked: ReportInputs, document: Mapping[str, Any]
) -> None:
    column = document["subgroups"][0]
    first, *others = column["groups"]
    beside = column["metrics"][1]
    first = {
        **first,
        "rare": {"malignant": 2},
        "figures": {beside: first["figures"][beside]},
    }
    few = {**document, "subgroups": [{**column, "groups": [first, *others]}]}
    assert (
        "Too few patients or groups of some class, or without it, for macro AUROC: A "
        "(malignant 2)."
    ) in plain(render_referee(asked, few))


def test_a_class_without_figures_is_named(
    asked: ReportInputs, document: Mapping[str, Any]
) -> None:
    html = render_referee(asked, {**document, "unmeasured": ["malignant"]})
    assert "Without figures on this page: malignant." in html


def test_the_worst_group_is_named_with_its_distance_to_the_others(
    page: str, document: Mapping[str, Any]
) -> None:
    for column in document["subgroups"]:
        worst = column["worst"]
        assert f"{column['title']} {worst['name']}, macro AUROC {worst['value']:.3f}" in page
    assert "The lowest of several figures looks lower than it is." in page


def test_values_at_a_prevalence_are_printed_where_it_was_stated_and_nowhere_else(
    asked: ReportInputs, page: str
) -> None:
    assert plain(page).count("PPV at 5 %") == 1
    unstated = document_of(asked, replace(ASKED, prevalence={}, subgroups=(), bands={}))
    told = plain(render_referee(asked, unstated))
    assert "PPV at" not in told
    assert "evaluate.referee.phantom.prevalence</code> does" in told
    assert "None was asked for: <code>evaluate.referee.phantom.subgroups</code>" in told


def test_no_id_and_no_name_of_an_image_or_patient_is_on_the_page(
    asked: ReportInputs,
) -> None:
    named = replace(asked, config=replace(asked.config, names=True))
    few_labels = document_of(asked, replace(ASKED, fraction=0.1))
    html = render_referee(named, few_labels)
    assert len(few_labels["errors"]) == html.count('alt="Scan ') == 12
    for one in few_labels["errors"]:
        assert one["image_id"] not in html
    assert "images/scan" not in html
    assert not re.search(r"\bg0\d\d\b", html)


def test_what_people_wrote_is_quoted_and_what_they_did_not_is_missing(
    asked: ReportInputs, document: Mapping[str, Any], page: str
) -> None:
    assert "`report.study.phantom.ethics`" not in page
    assert "Missing; yours to write: <code>report.study.phantom.ethics</code>." in page
    told = render_referee(writing(asked, ethics="Approved <by> nobody & all"), document)
    assert "<b>ethics</b>: Approved &lt;by&gt; nobody &amp; all" in told
    assert "report.study.phantom.ethics" not in told
    assert "Nothing is made up in their place." in told


def test_an_item_is_answered_once_all_that_it_asks_for_is_there(
    asked: ReportInputs, document: Mapping[str, Any]
) -> None:
    items = {item.number: item for item in CLAIM.items}
    nothing, some = known(asked, document), known(asked, document, eligibility="All women.")
    assert requirement(nothing, items["8"]).state == "in part"  # rejects are counted
    assert requirement(some, items["8"]).state == "answered"
    assert requirement(nothing, items["13"]).state == "missing"
    assert requirement(nothing, items["1"]).state == "article"
    assert requirement(nothing, items["38"]).state == "answered"
    both = known(asked, document, setting="Two clinics.")
    assert requirement(both, items["7"]).lacking == [
        "Missing; yours to write: `report.study.phantom.dates`."
    ]


def test_parts_are_apart_by_patient_only_where_patients_are_named(
    asked: ReportInputs, document: Mapping[str, Any]
) -> None:
    item = {item.number: item for item in CLAIM.items}["20"]
    assert requirement(known(asked, document), item).state == "answered"
    unnamed = replace(asked, manifest=asked.manifest.assign(patient=None))
    told = requirement(known(unnamed, document), item)
    assert told.state == "in part"
    assert "images of one patient" not in told.answers[0][0]
    assert "a patient may lie in both parts" in told.lacking[0]
    dqn = {**asked.recipes["dqn"], "transductive": True}
    saw = replace(asked, recipes={**asked.recipes, "dqn": dqn})
    assert requirement(known(saw, document), item).lacking == [
        "Pre-training of this recipe saw the test images, without their labels."
    ]


def test_images_for_published_weights_are_normalised_as_these_expect(
    asked: ReportInputs, document: Mapping[str, Any]
) -> None:
    item = {item.number: item for item in CLAIM.items}["9"]
    encoder = {**asked.recipes["dqn"]["encoder"], "weights": "package"}
    dqn = {**asked.recipes["dqn"], "encoder": encoder}
    begun = replace(asked, recipes={**asked.recipes, "dqn": dqn})
    own, published = (
        requirement(known(each, document), item).answers[0][0] for each in (asked, begun)
    )
    assert "normalised by the mean and deviation of training images." in own
    assert "normalised as the weights from elsewhere expect it" in published


def test_centres_are_answered_by_people_and_by_no_subgroup(
    asked: ReportInputs, document: Mapping[str, Any]
) -> None:
    items = {item.number: item for item in TRIPOD.items}
    both = known(asked, document, centres="One centre.")
    for number in ("12d", "23b"):
        assert requirement(known(asked, document), items[number]).state == "missing"
        assert requirement(both, items[number]).state == "answered"


def test_a_comparison_with_the_baseline_needs_one_and_a_p(
    asked: ReportInputs, document: Mapping[str, Any]
) -> None:
    alone, with_p = (item for item in MI_CLAIM.items if "baseline" in item.here)
    primary = {**document, "fraction": 0.1}
    assert requirement(known(asked, primary), with_p).state == "answered"
    assert requirement(known(asked, document), with_p).state == "in part"
    assert requirement(known(asked, document), alone).state == "answered"
    itself = {**document, "recipe": "scratch"}
    assert requirement(known(asked, itself), alone).state == "missing"


def test_every_item_of_the_guidelines_has_its_number() -> None:
    assert [item.number for item in CLAIM.items] == [str(n) for n in range(1, 45)]
    numbers = [item.number for item in TRIPOD.items]
    assert len(numbers) == len(set(numbers)) == 52
    assert list(dict.fromkeys(re.sub("[a-z]", "", each) for each in numbers)) == [
        str(n) for n in range(1, 28)
    ]


def test_every_item_asks_for_something_that_there_is() -> None:
    items = [item for each in CHECKLISTS for item in each.items]
    assert {key for item in items for key in item.yours} == set(KEYS)
    assert {name for item in items for name in item.here} == set(ANSWERS)
    assert all(item.here or item.yours or item.manuscript for item in items)


def test_every_link_leads_to_a_section_of_this_page_or_of_the_report(
    page: str, report: Report
) -> None:
    links = set(re.findall(r'<a href="([^"]+)"', page))
    assert {"report.html#data", "#operating", "#subgroups"} <= links
    for link in links:
        file, _, anchor = link.partition("#")
        if anchor:
            text = {"": page, "report.html": report.html}[file]
            assert f'<section id="{anchor}"' in text, link
        else:
            assert file in ("report.html", "referee.csv", "referee.json")
    assert 'href="referee.html"' in report.html


def test_outlines_are_told_plainly_what_does_not_apply_to_them(
    asked: ReportInputs, document: Mapping[str, Any]
) -> None:
    outlines = {**document, "task": "lesion", "classes": {}, "confusion": {}, "errors": []}
    html = render_referee(asked, outlines)
    assert (
        "reliability diagrams, decision curves, confusion and the gallery of errors do" in html
    )
    assert "Does not apply: an outline states no probability of a class." in html
    assert 'id="benefit"' not in html
    assert 'id="subgroups"' in html


def test_a_threshold_that_nothing_could_choose_is_said_to_be_none(
    asked: ReportInputs, document: Mapping[str, Any]
) -> None:
    point = {"fixed": "specificity", "target": 0.9, "chosen": False, "thresholds": [None]}
    normal = {**document["classes"]["normal"], "operating_points": [point]}
    html = render_referee(asked, {**document, "classes": {"normal": normal}})
    assert "no threshold: validation images lack the class, or the rest" in html


@pytest.mark.parametrize("width", [1400, 360])
def test_nothing_is_wider_than_the_screen_and_nothing_is_asked_of_the_network(
    browser: Browser, page: str, tmp_path: Path, width: int
) -> None:
    file = tmp_path / "referee.html"
    file.write_text(page, encoding="utf-8")
    opened = browser.new_page(viewport={"width": width, "height": 800})
    asked, complaints = list[str](), list[str]()
    opened.on("request", lambda one: asked.append(one.url))
    opened.on("console", lambda one: complaints.append(one.text))
    opened.goto(file.as_uri())
    wider = opened.evaluate(
        """() => {
            document.querySelectorAll("details").forEach(fold => (fold.open = true));
            const screen = document.documentElement.clientWidth;
            return [...document.querySelectorAll("body *")]
                .filter(part => !part.closest(".scroll") || part.matches(".scroll"))
                .filter(part => part.getBoundingClientRect().right > screen + 0.5)
                .map(part => part.outerHTML.slice(0, 80));
        }"""
    )
    opened.close()
    assert wider == []
    assert complaints == []
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]


def test_a_study_without_a_word_of_its_own_makes_a_page(
    asked: ReportInputs, document: Mapping[str, Any]
) -> None:
    bare = replace(asked, config=ReportConfig(), store=None)
    assert "Most confident errors" in render_referee(bare, document)
