"""The page as its readers open it: in a browser, wide and narrow, without a network."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

from maskwise.report.inputs import Report, ReportInputs
from report.synthetic import FRACTIONS, RECIPES, TITLES, plain

pytestmark = pytest.mark.xdist_group("report")  # a page that takes seconds to draw

WIDE, NARROW = (1400, 900), (360, 740)
TABLES = """() => Object.fromEntries([...document.querySelectorAll("table")].map(table => [
    table.caption.textContent.trim(),
    [...table.rows].map(row => [...row.cells].map(cell => cell.textContent.trim())),
]))"""


@dataclass
class Opened:
    """A page in the browser, and what went wrong while it opened."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def file(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report of phantom.html"
    path.write_text(report.html, encoding="utf-8")
    return path


@pytest.fixture(scope="module", params=[WIDE, NARROW], ids=["wide", "narrow"])
def opened(browser: Browser, file: Path, request: pytest.FixtureRequest) -> Iterator[Opened]:
    width, height = request.param
    page = browser.new_page(viewport={"width": width, "height": height})
    found = Opened(page)
    page.on("console", lambda message: found.complaints.append(message.text))
    page.on("pageerror", lambda error: found.complaints.append(str(error)))
    page.on("request", lambda asked: found.requests.append(asked.url))
    page.goto(file.as_uri())
    yield found
    page.close()


@pytest.fixture(scope="module")
def tables(browser: Browser, file: Path) -> dict[str, pd.DataFrame]:
    """Return every table of the page by its caption, the first column as index."""
    page = browser.new_page()
    page.goto(file.as_uri())
    found = page.evaluate(TABLES)
    page.close()
    return {
        plain(caption): pd.DataFrame(
            [[plain(cell) for cell in row] for row in rows[1:]], columns=rows[0]
        )
        for caption, rows in found.items()
    }


def test_the_console_stays_silent(opened: Opened) -> None:
    assert opened.complaints == []


def test_nothing_is_asked_of_the_network(opened: Opened, file: Path) -> None:
    outside = [url for url in opened.requests if not url.startswith("data:")]

    assert outside == [file.as_uri()]


def test_no_image_is_broken_and_each_says_what_it_shows(opened: Opened) -> None:
    images = opened.page.evaluate(
        "() => [...document.images].map(i => [i.complete && i.naturalWidth > 0, i.alt])"
    )

    assert len(images) > 20
    assert all(whole and len(words) > 20 for whole, words in images)


def test_nothing_is_wider_than_the_screen(opened: Opened) -> None:
    """Wide tables and commands scroll inside their own box; all folds are opened first."""
    wider = opened.page.evaluate(
        """() => {
            document.querySelectorAll("details").forEach(fold => (fold.open = true));
            const screen = document.documentElement.clientWidth;
            return [...document.querySelectorAll("body *")]
                .filter(part => !part.closest(".scroll") || part.matches(".scroll"))
                .filter(part => part.getBoundingClientRect().right > screen + 0.5)
                .map(part => part.outerHTML.slice(0, 80))
                .concat(document.documentElement.scrollWidth > screen ? ["the page"] : []);
        }"""
    )

    assert wider == []


def shadows(page: Page) -> tuple[int, int]:
    """Return how dark the left and the right edge of the first table's box are, 0 = white."""
    box = page.locator(".table .scroll").first.bounding_box()
    assert box is not None
    dark = []
    for x in (box["x"], box["x"] + box["width"] - 2):
        clip: Any = {"x": x, "y": box["y"] + 1, "width": 2, "height": 1}  # above all text
        with Image.open(BytesIO(page.screenshot(clip=clip))) as picture:
            dark.append(255 - min(np.asarray(picture.convert("L")).ravel().tolist()))
    return dark[0], dark[1]


@pytest.mark.parametrize(("width", "scrolls"), [(420, True), (1300, False)])
def test_a_table_that_goes_on_beyond_an_edge_has_a_shadow_there(
    browser: Browser, file: Path, width: int, scrolls: bool
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(file.as_uri())
    table = page.locator(".table .scroll").first
    table.scroll_into_view_if_needed()
    hidden = table.evaluate("box => box.scrollWidth - box.clientWidth")
    caption = table.locator("caption").bounding_box()
    at_start = shadows(page)
    table.evaluate("box => (box.scrollLeft = box.scrollWidth)")
    at_end = shadows(page)
    page.close()

    assert caption is not None
    assert caption["x"] + caption["width"] < width  # it is read as a whole, and does not scroll
    assert (hidden > 0) == scrolls
    assert at_start[0] == at_end[1] == 0
    assert (at_start[1] > 40) == (at_end[0] > 40) == scrolls


def test_the_answer_stands_on_the_first_screen(opened: Opened) -> None:
    box = opened.page.locator(".answer").bounding_box()
    size = opened.page.viewport_size

    assert box is not None
    assert size is not None
    assert box["y"] + box["height"] < size["height"]


def test_figure_and_doubts_share_the_first_wide_screen(browser: Browser, file: Path) -> None:
    page = browser.new_page(viewport={"width": WIDE[0], "height": WIDE[1]})
    page.goto(file.as_uri())
    boxes = [page.locator(part).first.bounding_box() for part in (".lead img", ".cautions")]
    doubts = page.locator(".cautions li").count()
    page.close()

    assert doubts == 3
    assert all(box is not None and box["y"] + box["height"] < WIDE[1] for box in boxes)


def test_every_link_leads_to_a_section(opened: Opened) -> None:
    targets = opened.page.eval_on_selector_all("nav a", "all => all.map(a => a.hash.slice(1))")

    assert len(targets) == 12
    assert all(opened.page.locator(f"section#{target} h2").count() == 1 for target in targets)


def test_a_table_is_copied_as_tab_separated_text(browser: Browser, file: Path) -> None:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(file.as_uri())
    page.locator("#methods .table button").first.click()
    page.locator("#methods .table button:has-text('Copied')").wait_for()
    text = plain(page.evaluate("() => navigator.clipboard.readText()"))
    context.close()

    assert text.splitlines()[0] == "recipe\t10 % of the labels\t100 % of the labels"
    assert "SimCLR\t0.757 [0.716, 0.798]\t0.837 [0.796, 0.878]" in text


def test_the_page_prints_with_everything_unfolded(browser: Browser, file: Path) -> None:
    page = browser.new_page()
    page.goto(file.as_uri())
    page.evaluate(
        "() => addEventListener('beforeprint', () => { window.folded ="
        " document.querySelectorAll('details:not([open])').length; })"
    )
    printed = page.pdf()
    folded = page.evaluate("() => window.folded")
    page.emulate_media(media="print")
    navigation = page.locator("nav").is_visible()
    page.close()

    assert printed.startswith(b"%PDF")
    assert folded == 0
    assert not navigation


@pytest.mark.parametrize("mode", ["full fine-tuning", "linear probe"])
def test_every_score_of_the_page_is_that_of_the_scores(
    tables: dict[str, pd.DataFrame], inputs: ReportInputs, mode: str
) -> None:
    key = {"full fine-tuning": "full", "linear probe": "probe"}[mode]
    scores = inputs.scores["scores"]

    for metric, words in (("macro_auroc", "macro AUROC"), ("macro_f1", "macro F1")):
        table = tables[f"{words}, {mode}"].set_index("recipe")
        for recipe in (name for name in RECIPES if key in scores[name]):
            row = next(row for name, row in table.iterrows() if TITLES[recipe] in str(name))
            for fraction in FRACTIONS:
                figures = scores[recipe][key][str(fraction)][metric]
                low, high = figures["low"], figures["high"]
                shown = plain(str(row[f"{100 * fraction:g}\xa0% of the labels"]))
                assert shown == f"{figures['value']:.3f} [{low:.3f}, {high:.3f}]"


def test_every_difference_of_the_page_is_that_of_the_paired_table(
    tables: dict[str, pd.DataFrame], inputs: ReportInputs
) -> None:
    table = tables["All paired differences"]

    assert len(table) == len(inputs.paired)
    for (_, shown), (_, row) in zip(table.iterrows(), inputs.paired.iterrows(), strict=True):
        assert TITLES[row["recipe"]] in shown["recipe"]
        assert float(shown["difference"]) == pytest.approx(row["difference"], abs=5e-4)
        low, high = shown["95 % interval"].strip("[]").split(", ")
        assert float(low) == pytest.approx(row["low"], abs=5e-4)
        assert float(high) == pytest.approx(row["high"], abs=5e-4)
        assert shown["test images"] == str(row["n_images"])


def test_every_lift_of_the_page_is_that_of_the_last_epoch(
    tables: dict[str, pd.DataFrame], inputs: ReportInputs
) -> None:
    table = tables["At the end of training, with 95 % intervals over groups"]
    rows = table[table["recipe"].str.contains("Intelligent")].set_index("seed")

    for seed in (0, 1, 2):
        last = inputs.histories["dqn", seed].iloc[-1]
        content = f"{last['content_lift']:.2f}"
        assert str(rows.at[str(seed), "content lift"]).startswith(content)
        assert rows.at[str(seed), "oracle"] == f"{last['lift_oracle']:.2f}"


def test_the_confusion_counts_every_test_image_once_a_seed(
    tables: dict[str, pd.DataFrame], inputs: ReportInputs
) -> None:
    test = inputs.predictions.query(
        "recipe == 'simclr' and mode == 'full' and fraction == 0.1 and split == 'test'"
    )
    columns = ["p_normal", "p_benign", "p_malignant"]
    called = test[columns].idxmax(axis=1)
    right = ((test["truth"] == "normal") & (called == "p_normal")).sum()

    table = tables["SimCLR, 3 seeds"]

    assert table["all"].astype(int).sum() == len(test) == 3 * 80
    assert table["called normal"].astype(int).iloc[0] == right
