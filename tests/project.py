"""A copy of the project, made tiny, in which tests run its commands as a user would."""

import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import warm

PROJECT = Path(__file__).parents[1]
_PARTS = (
    "conf",
    "src",
    "dvc.yaml",
    ".dvcignore",
    ".ci",
    *(f".dvc/{name}" for name in ("config", ".gitignore", "plots")),
)
_FILES = (".gitignore", ".telemetry", "pyproject.toml", "README.md", "LICENSE")
_NOT_COPIED = shutil.ignore_patterns("__pycache__", "*.egg-info", "local")


@dataclass(frozen=True)
class Project:
    """A copy of the project, its Git repository, and its commands."""

    root: Path

    def run(self, *command: str, fails: bool = False, anew: bool = False) -> str:
        """Run a command of the environment; return what it wrote to both streams.

        Kedro and DVC find all libraries imported, unless ``anew``; so they do where a script
        or DVC starts them.
        """
        if command[0] == "kedro" and not anew:
            code, written = warm.run(command, self.root, self.environment)
        else:
            cold = anew or command[0] == "python"
            done = subprocess.run(
                command,
                cwd=self.root,
                env=self.environment if cold else warm.doors(self.environment),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            code, written = done.returncode, done.stdout
        assert (code != 0) == fails, written
        return written

    def start(self, *command: str) -> warm.Running:
        """Start a command of Kedro's in a group of processes of its own, as a terminal does."""
        return warm.Running(command, self.root, self.environment)

    @property
    def environment(self) -> dict[str, str]:
        """What the commands see: the test's Python first, one thread, no telemetry."""
        return {**os.environ, **_ENVIRONMENT}

    def git(self, *arguments: str) -> str:
        """Run Git."""
        command = ["git", *_IDENTITY, *arguments]
        done = subprocess.run(
            command, cwd=self.root, capture_output=True, text=True, check=True
        )
        return done.stdout

    def edit(self, file: str, **changes: Any) -> None:
        """Change keys of a YAML file, given with ``__`` between levels."""
        path = self.root / file
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        for key, value in changes.items():
            *parents, last = key.split("__")
            block = document
            for parent in parents:
                block = block.setdefault(parent, {})
            block[last] = value
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "PYTHONDONTWRITEBYTECODE": "1",
}
_IDENTITY = ("-c", "user.name=Test", "-c", "user.email=test@example.org")


def copy_project(
    root: Path, sources: Collection[str] = (), recipes: Collection[str] = ()
) -> Project:
    """Copy what a run needs of the project, with the settings of ``conf/test``.

    With ``sources`` and ``recipes`` it knows no others: to read those of all studies that the
    project ships takes longer than whatever most commands of a test do.
    """
    for part in (*_PARTS, *_FILES):
        origin, copy = PROJECT / part, root / part
        copy.parent.mkdir(parents=True, exist_ok=True)
        if origin.is_dir():
            shutil.copytree(origin, copy, ignore=_NOT_COPIED)
        elif origin.exists():
            shutil.copy(origin, copy)
    (root / "conf/local").mkdir()
    (root / "conf/local/.gitkeep").touch()
    _merge(
        root / "conf/base/sources/parameters_phantom.yml",
        PROJECT / "conf/test/sources/parameters_phantom.yml",
    )
    project = Project(root)
    if sources:
        _leave_out_others(project, sources, recipes)
    project.git("init", "-q", "-b", "main")
    project.git("config", "user.name", "Test")
    project.git("config", "user.email", "test@example.org")
    return project


def _leave_out_others(
    project: Project, sources: Collection[str], recipes: Collection[str]
) -> None:
    """Delete what the files of other sources and recipes say, and whatever names them."""
    read = {
        name: yaml.safe_load((project.root / f"conf/base/{name}.yml").read_text("utf-8"))
        for name in ("experiment", "parameters_evaluate", "parameters_report")
    }
    lists = read["experiment"]["experiment"]["sources"]
    evaluate = read["parameters_evaluate"]["evaluate"]
    primary = {name: each for name, each in evaluate["primary"].items() if name in sources}
    asked = [pair for each in primary.values() for pair in each["comparisons"]]
    known = {*recipes, evaluate["against"], *(name for pair in asked for name in pair)}
    project.edit(
        "conf/base/experiment.yml",
        experiment__sources={name: lists[name] for name in lists if name in sources},
    )
    project.edit(
        "conf/base/parameters_evaluate.yml",
        evaluate__primary=primary,
        evaluate__except_recipes=[each for each in evaluate["except_recipes"] if each in known],
        evaluate__pairs=[pair for pair in evaluate["pairs"] if known.issuperset(pair)],
    )
    titles = read["parameters_report"]["report"]["titles"]
    project.edit(
        "conf/base/parameters_report.yml",
        report__titles={name: title for name, title in titles.items() if name in known},
    )
    for folder, kept in (("sources", sources), ("recipes", known)):
        for path in (project.root / "conf/base" / folder).glob("parameters_*.yml"):
            if path.stem.removeprefix("parameters_") not in kept:
                path.unlink()
    for path in (project.root / "conf/base/studies").glob("*_study.yml"):
        if path.stem.removesuffix("_study") not in sources:
            path.unlink()


def _merge(path: Path, other: Path) -> None:
    def merged(one: Any, two: Any) -> Any:
        if isinstance(one, Mapping) and isinstance(two, Mapping):
            return {**one, **{key: merged(one.get(key), two[key]) for key in two}}
        return two

    blocks = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in (path, other)]
    path.write_text(yaml.safe_dump(merged(*blocks), sort_keys=False), encoding="utf-8")


@dataclass(frozen=True)
class Finished:
    """A project after `kedro run`, and what the run wrote to the terminal."""

    project: Project
    log: str

    @property
    def data(self) -> Path:
        """The folder of all artefacts."""
        return self.project.root / "data"
