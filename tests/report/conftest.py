"""One page drawn for all, and a browser to open it with."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from maskwise.errors import UserError
from maskwise.report.inputs import Report, ReportInputs
from maskwise.report.page import render
from report.synthetic import study

_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def inputs() -> ReportInputs:
    """Return three seeds of five recipes, in which pre-training helps."""
    return study()


@pytest.fixture(scope="session")
def report(inputs: ReportInputs) -> Report:
    """Return the page of ``inputs``."""
    return render(inputs)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Return headless Chromium; its absence is a failure, for the page would go unseen."""
    chromium = shutil.which("chromium") or "/usr/bin/chromium"
    if not Path(chromium).exists():
        raise UserError(f"{chromium}: absent; the report's tests open it: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(_QUIET))
        yield browser
        browser.close()
