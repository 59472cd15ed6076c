"""Notebooks run one after another in one kernel, of which each start takes seconds."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient


def run_notebooks(
    paths: Iterable[Path], folder: Path, source: str = "phantom"
) -> dict[str, list[Any]]:
    """Run notebooks in ``folder`` on what was made of ``source``; return each one's outputs.

    Each begins without a name, as in a kernel of its own.
    """
    notebooks = {path.stem: nbformat.read(path, as_version=4) for path in paths}
    all_of_them = nbformat.v4.new_notebook()
    for notebook in notebooks.values():
        for cell in notebook.cells:
            cell.source = cell.source.replace('"phantom"', f'"{source}"')
        all_of_them.cells += [nbformat.v4.new_code_cell("%reset -f"), *notebook.cells]
    where = {"metadata": {"path": str(folder)}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
        NotebookClient(
            all_of_them, timeout=120, kernel_name="python3", resources=where
        ).execute()
    return {
        name: [output for cell in notebook.cells for output in cell.get("outputs", [])]
        for name, notebook in notebooks.items()
    }
