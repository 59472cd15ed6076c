"""kedro-viz: the page opens on the story, draws without an error, and names no machine."""

import functools
import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from project import Finished

STAGES = {"generate", "ingest", "preprocess", "evaluate", "report"}
RECIPES = {"scratch", "random_box", "dqn"}

pytestmark = pytest.mark.xdist_group("finished")


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files without one line per request."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@dataclass
class Page:
    """What a reader of the site met."""

    boxes: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    tour: bool = False


@pytest.fixture(scope="module")
def site(finished: Finished) -> Path:
    finished.project.run("python", "-m", "maskwise.lineage", "site")
    return finished.project.root / "site"


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def page(address: str, browser: Browser) -> Page:
    met, tab = Page(), browser.new_page(viewport={"width": 1600, "height": 1000})
    tab.on(
        "console",
        lambda line: met.errors.append(line.text) if line.type == "error" else None,
    )
    tab.on("pageerror", lambda error: met.errors.append(str(error)))
    tab.on(
        "request",
        lambda request: (
            None if request.url.startswith(address) else met.outside.append(request.url)
        ),
    )
    tab.goto(address)
    tab.wait_for_selector(".pipeline-node__text")
    tab.wait_for_load_state("networkidle")
    met.boxes = {
        box.text_content() or "" for box in tab.query_selector_all(".pipeline-node__text")
    }
    met.tour = tab.query_selector(".feature-hints") is not None
    tab.close()
    return met


def test_the_page_opens_on_the_stages_and_one_box_a_recipe(page: Page) -> None:
    assert page.boxes >= STAGES | RECIPES
    assert not {box for box in page.boxes if ".s0" in box or box == "pretrain"}


def test_data_sets_have_short_names(page: Page) -> None:
    assert {"manifest", "store", "splits", "scores", "dqn.predictions"} <= page.boxes


def test_the_page_draws_without_an_error_in_the_console(page: Page) -> None:
    assert page.errors == []


def test_the_page_asks_nobody_outside(page: Page) -> None:
    assert [url for url in page.outside if not url.startswith(("data:", "blob:"))] == []


def test_the_tour_does_not_cover_the_page(page: Page) -> None:
    assert not page.tour


def test_no_folder_of_the_machine_that_built_it_is_published(
    site: Path, finished: Finished
) -> None:
    folder = str(finished.project.root)
    texts = [path for path in site.rglob("*") if path.suffix in ("", ".html", ".json")]
    assert not [path for path in texts if path.is_file() and folder in path.read_text("utf-8")]


def test_tables_figures_and_scores_have_previews(site: Path) -> None:
    graph = json.loads((site / "api/main").read_text(encoding="utf-8"))
    previews = {}
    for node in graph["nodes"]:
        answer = site / "api/nodes" / node["id"]
        if node["type"] == "data" and answer.exists():
            content = json.loads(answer.read_text(encoding="utf-8"))
            previews[node["name"]] = content.get("preview_type")
    assert previews["manifest"] == "TablePreview"
    assert previews["metrics"] == "JSONPreview"
    assert previews["figure"] == "ImagePreview"


def test_the_layers_are_those_of_the_stages(site: Path) -> None:
    graph = json.loads((site / "api/main").read_text(encoding="utf-8"))
    stages = ["raw", "ingest", "preprocess", "pretrain", "finetune", "evaluate", "report"]
    assert [layer for layer in graph["layers"] if layer in stages] == stages


def test_building_the_site_leaves_git_clean(site: Path, finished: Finished) -> None:
    assert site.exists()
    assert finished.project.git("status", "--porcelain") == ""
