"""The notebooks run on what `kedro run` wrote, and are kept without outputs."""

import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from project import PROJECT, Finished, Project

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
pytestmark = pytest.mark.xdist_group("finished")


@pytest.fixture(scope="module")
def demonstrated(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a copy of the finished project with the notebooks in it."""
    project = Project(tmp_path_factory.mktemp("notebooks") / "project")
    shutil.copytree(finished.project.root, project.root, symlinks=True)
    shutil.copytree(PROJECT / "notebooks", project.root / "notebooks")
    return project


@pytest.mark.filterwarnings("ignore:.*IPC transport.*")
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_its_own_folder(
    demonstrated: Project, notebook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    folder = demonstrated.root / "notebooks"
    copy = nbformat.read(folder / notebook.name, as_version=4)

    NotebookClient(
        copy, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()

    outputs = [output for cell in copy.cells for output in cell.get("outputs", [])]
    assert outputs
    assert not [output for output in outputs if output.get("name") == "stderr"]


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
