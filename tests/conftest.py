"""What several test folders share: the real images, and a copy of the project made tiny."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parents[1]
SHARED = PROJECT / os.environ.get("MASKWISE_SHARED", "../shared/data")
NO_IMAGES = "needs real images"
_PARTS = (
    "conf",
    "src",
    "dvc.yaml",
    ".dvcignore",
    *(f".dvc/{name}" for name in ("config", ".gitignore", "plots")),
)
_FILES = (".gitignore", ".telemetry", "pyproject.toml", "README.md", "LICENSE")
_NOT_COPIED = shutil.ignore_patterns("__pycache__", "*.egg-info", "local")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real images, or skip saying which folder was looked for."""
    if not SHARED.is_dir():
        pytest.skip(f"{NO_IMAGES}: there is no {SHARED} (set MASKWISE_SHARED)")
    return SHARED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many tests did not run for want of real images."""
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


@dataclass(frozen=True)
class Project:
    """A copy of the project, its Git repository, and its commands."""

    root: Path

    def run(self, *command: str, fails: bool = False) -> str:
        """Run a command of the environment; return what it wrote to both streams."""
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stdout
        return done.stdout

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command of the environment, which the caller ends."""
        return subprocess.Popen(
            command,
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

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


def copy_project(root: Path) -> Project:
    """Copy what a run needs of the project, with the settings of ``conf/test``."""
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
    project.git("init", "-q", "-b", "main")
    project.git("config", "user.name", "Test")
    project.git("config", "user.email", "test@example.org")
    return project


def _merge(path: Path, other: Path) -> None:
    def merged(one: Any, two: Any) -> Any:
        if isinstance(one, Mapping) and isinstance(two, Mapping):
            return {**one, **{key: merged(one.get(key), two[key]) for key in two}}
        return two

    blocks = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in (path, other)]
    path.write_text(yaml.safe_dump(merged(*blocks), sort_keys=False), encoding="utf-8")


@pytest.fixture(scope="session")
def tiny_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a committed copy with a budget of seconds and three recipes, not to be edited."""
    project = copy_project(tmp_path_factory.mktemp("tiny") / "project with spaces")
    project.edit(
        "conf/base/experiment.yml", experiment__recipes=["scratch", "random_box", "dqn"]
    )
    project.git("add", "-A")
    project.git("commit", "-q", "-m", "A tiny project")
    return project


@dataclass(frozen=True)
class Finished:
    """A project after `kedro run`, and what the run wrote to the terminal."""

    project: Project
    log: str

    @property
    def data(self) -> Path:
        """The folder of all artefacts."""
        return self.project.root / "data"


@pytest.fixture(scope="session")
def finished(tiny_project: Project) -> Finished:
    """Return the tiny project after `kedro run`; tests must leave its artefacts alone."""
    return Finished(tiny_project, tiny_project.run("kedro", "run"))
