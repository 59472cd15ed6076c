"""The notebooks run on what `kedro run` wrote, and are kept without outputs."""

import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest

from notebooks import run_notebooks
from project import PROJECT, Finished

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
pytestmark = pytest.mark.xdist_group("finished")


@pytest.fixture(scope="module")
def outputs(
    finished: Finished, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[Any]]:
    """Return what the notebooks show, run in a copy of the finished project."""
    root = tmp_path_factory.mktemp("notebooks") / "project"
    shutil.copytree(finished.project.root, root, symlinks=True)
    shutil.copytree(PROJECT / "notebooks", root / "notebooks")
    return run_notebooks(sorted((root / "notebooks").glob("*.ipynb")), root / "notebooks")


@pytest.mark.filterwarnings("ignore:.*IPC transport.*")
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_its_own_folder(
    outputs: dict[str, list[Any]], notebook: Path
) -> None:
    shown = outputs[notebook.stem]

    assert shown
    assert not [output for output in shown if output.get("name") == "stderr"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs_and_says_what_makes_its_data(
    notebook: Path,
) -> None:
    kept = nbformat.read(notebook, as_version=4)

    assert all(not cell.get("outputs") for cell in kept.cells)
    assert "`make run`" in kept.cells[0]["source"]


def test_the_three_notebooks_are_there() -> None:
    names = {path.stem for path in NOTEBOOKS}

    assert names >= {"01_look_at_the_data", "02_what_the_agent_learnt", "03_use_the_encoder"}
