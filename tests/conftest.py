"""What several test folders share: the real images, and a copy of the project made tiny."""

import gc
import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from playwright.sync_api import Browser, sync_playwright

from maskwise import workers
from maskwise.errors import UserError
from project import Finished, Project, copy_project
from shared import SHARED

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

# Every test that reads starts workers anew, which import for longer than they read. Here they
# find it imported; those of a user's command cannot (see ``workers``).
vars(workers)["_LIBRARIES"] += (
    "maskwise.fingerprint.sample",
    "maskwise.ingest.measure",
    "maskwise.ingest.sources",
    "maskwise.prediction.dicom.writing",
    "maskwise.prediction.scans",
    "maskwise.preprocess.fill",
)

NO_IMAGES = "needs real images"
NOBODY = 65534
_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real images, or skip saying which folder was looked for."""
    if not SHARED.is_dir():
        pytest.skip(f"{NO_IMAGES}: there is no {SHARED} (set MASKWISE_SHARED)")
    return SHARED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many tests did not run because real images are absent."""
    skipped = [
        report
        for report in terminalreporter.stats.get("skipped", [])
        if NO_IMAGES in str(report.longrepr)
    ]
    if skipped:
        terminalreporter.write_line(
            f"{len(skipped)} tests on real images did not run: there is no {SHARED}; "
            "set MASKWISE_SHARED to the folder that holds them"
        )


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Generator[None]:
    """Deal tests that share something to one worker, so that no two workers make it.

    They share what a mark `xdist_group` says, else their module's fixtures. Refuses to go on
    where pytest-xdist loses the groups: tests would pass, each worker making all for itself.
    """
    grouped = bool(getattr(config.option, "loadgroup", False))
    for item in items if grouped else ():
        if _shares_a_fixture(item) and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    yield
    for item in items if grouped else ():
        if item.get_closest_marker("xdist_group") and "@" not in item.nodeid:
            raise pytest.UsageError(
                f"pytest {pytest.__version__} and pytest-xdist do not go together: the group "
                f"of {item.nodeid} is lost; install what constraints.txt names"
            )


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without the collector of garbage, a third of the time: what is made stays."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def _shares_a_fixture(item: pytest.Item) -> bool:
    """Say whether a test asks, itself or through others, for a fixture of its module's."""
    known: Any = getattr(item, "_fixtureinfo", None)
    fixtures = known.name2fixturedefs.values() if known else ()
    return any(chosen[-1].scope == "module" for chosen in fixtures)


@pytest.fixture(scope="session", autouse=True)
def _elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Stand in a folder of the session's own: some files are made where one stands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        Path("conf/local").mkdir(parents=True)
        yield


@pytest.fixture(scope="session")
def tiny_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a committed copy with a budget of seconds and three recipes, not to be edited."""
    project = copy_project(
        tmp_path_factory.mktemp("tiny") / "project with spaces",
        sources=("phantom", "busi"),
        recipes=("scratch", "random_box", "dqn"),
    )
    project.edit(
        "conf/base/experiment.yml",
        experiment__recipes=["scratch", "random_box", "dqn"],
        experiment__sources__busi={"recipes": ["scratch", "dqn"]},
    )
    project.git("add", "-A")
    project.git("commit", "-q", "-m", "A tiny project")
    return project


@pytest.fixture(scope="session")
def finished(tiny_project: Project) -> Finished:
    """Return the tiny project after `kedro run`; tests must leave its artefacts alone."""
    return Finished(tiny_project, tiny_project.run("kedro", "run", anew=True))


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """Return an empty folder, and take root's power to read and write everything."""
    with tempfile.TemporaryDirectory() as name:
        folder, root = Path(name), os.geteuid() == 0
        if root:
            os.chown(folder, NOBODY, -1)
            os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            if root:
                os.seteuid(0)
            folder.chmod(0o700)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return headless Chromium; its absence is a failure, for pages would go unseen.

    A module's own: while one is open, its event loop keeps others in the process from running.
    """
    chromium = shutil.which("chromium") or "/usr/bin/chromium"
    if not Path(chromium).exists():
        raise UserError(f"{chromium}: absent; tests open pages with it: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(_QUIET))
        yield browser
        browser.close()
