"""What CI does on the versions of Python that it does not run everything on.

    python .ci/versions.py 3.12 3.13

On each that the machine has, the whole pinned set is resolved. Where that brings a CPU build of
torch, all is installed, the package imported, every stage run (`kedro run --env test`), and a
fast selection of tests. Where torch would come with gigabytes of CUDA, as PyPI's builds for
Linux on x86-64 do, everything else is installed, and what needs no torch is tried. The output
says which of the two it was. What is tried is the last commit, not the working tree.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
NEED_TORCH = ("torch", "lightning-fabric", "monai")
"""What is left out where torch is: itself, and what depends on it."""
FAST = (
    "tests/artefacts",
    "tests/encoders",
    "tests/pretrain/test_checkpoint.py",
    "tests/pretrain/test_contracts.py",
    "tests/pretrain/test_loop.py",
)
WITHOUT_TORCH = (
    "tests/evaluate/test_metrics.py",
    "tests/ingest/test_source_layouts.py",
    "tests/scans/test_masks.py",
    "tests/scans/test_reading_tables.py",
    "tests/test_replicates.py",
    "tests/test_config.py",
)
"""What each stage before and after training does, in half a minute."""
IMPORT_ALL = """
import importlib, pkgutil, maskwise
found = pkgutil.walk_packages(maskwise.__path__, "maskwise.", lambda name: None)
names = [module.name for module in found if not module.name.endswith("__main__")]
left = []
for name in names:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "lightning_fabric", "monai"):
            raise
        left.append(name)
print(f"imported {len(names) - len(left)} of {len(names)} modules; the others need torch")
"""


class FailedError(Exception):
    """A command of a version failed; the message is what it wrote."""


@dataclass
class Attempt:
    """One version: its clone, its environment, and what there is to say of it."""

    version: str
    folder: Path
    lines: list[str] = field(default_factory=list)

    @property
    def python(self) -> Path:
        """The environment's own interpreter."""
        return self.folder / "venv/bin/python"

    @property
    def clone(self) -> Path:
        """The working tree as Git knows it, so that two versions do not meet in its folders."""
        return self.folder / "maskwise"

    def say(self, line: str) -> None:
        self.lines.append(f"{self.version}: {line}")

    def run(self, what: str, *command: str | Path) -> str:
        """Run a step in the clone; return its output, or raise ``FailedError`` with it."""
        begin = time.monotonic()
        done = subprocess.run(
            [*map(str, command)],
            cwd=self.clone,
            env=_environment(self.python.parent),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise FailedError(f"{what}: FAILED\n{done.stdout}")
        self.say(f"{what}: passed, {time.monotonic() - begin:.0f} s")
        return done.stdout

    def pip(self, what: str, *arguments: str | Path) -> None:
        options = ("-q", "--no-compile", "-c", "constraints.txt")
        self.run(what, self.python, "-m", "pip", "install", *options, *arguments)


def find(version: str) -> Path | None:
    """Return an interpreter of ``version`` that really runs; a shim of pyenv may refuse to."""
    candidates = [f"python{version}", *_pyenv(version)]
    for candidate in candidates:
        ask = "import ensurepip, ssl, sys; print(sys.executable)"
        try:
            done = subprocess.run(
                [candidate, "-c", ask], capture_output=True, text=True, check=False
            )
        except OSError:
            continue
        if done.returncode == 0:
            return Path(done.stdout.strip())
    return None


def _pyenv(version: str) -> Iterator[str]:
    if shutil.which("pyenv"):
        done = subprocess.run(
            ["pyenv", "prefix", version], capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            yield f"{done.stdout.strip()}/bin/python{version}"


def _environment(bin_folder: Path) -> dict[str, str]:
    return {
        **{key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "VIRTUAL_ENV": str(bin_folder.parent),
        "OMP_NUM_THREADS": "1",
        "DO_NOT_TRACK": "1",
        "DVC_NO_ANALYTICS": "1",
    }


def requirements(project: Path) -> list[str]:
    """Return what the package and its extras need, without what needs torch."""
    with (project / "pyproject.toml").open("rb") as file:
        table = tomllib.load(file)["project"]
    extras = table["optional-dependencies"]
    named = [*table["dependencies"], *extras["pipeline"], *extras["develop"]]
    return [line for line in named if _name(line) not in NEED_TORCH]


def _name(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower()


def brings_cuda(report: Path) -> bool:
    """Return whether what pip would install for torch are CUDA's libraries, too."""
    planned = json.loads(report.read_text(encoding="utf-8"))["install"]
    return any(item["metadata"]["name"].startswith(("nvidia-", "cuda-")) for item in planned)


def attempt(version: str, interpreter: Path, folder: Path) -> tuple[list[str], bool]:
    """Do all that can be done on one version; return what to say, and whether it passed."""
    this = Attempt(version, folder)
    this.say(f"CPython at {interpreter}")
    try:
        subprocess.run(["git", "clone", "-q", str(PROJECT), str(this.clone)], check=True)
        subprocess.run([str(interpreter), "-m", "venv", str(folder / "venv")], check=True)
        _try(this)
    except FailedError as failed:
        this.say(str(failed))
        return this.lines, False
    return this.lines, True


def _try(this: Attempt) -> None:
    torch = re.search(r"^torch==\S+", (this.clone / "constraints.txt").read_text(), re.M)
    if torch is None:
        raise FailedError("constraints.txt: names no version of torch")
    report = this.folder / "report.json"
    plan = ("--dry-run", "--report", report, torch[0], ".[pipeline,weights,develop]")
    this.pip("the whole pinned set resolves", *plan)
    compiled = ("-W", "error", "-m", "compileall", "-q", "-f", "src", "tests", "benchmarks")
    this.run("compile with warnings as errors", this.python, *compiled)
    if brings_cuda(report):
        this.say(
            f"no CPU build of {torch[0]} at the registry: it was NOT installed, and neither "
            "`kedro run` nor the tests that need it were tried"
        )
        _try_without_torch(this)
    else:
        _try_all(this, torch[0])


def _try_all(this: Attempt, torch: str) -> None:
    this.pip("install all", torch, ".[pipeline,weights,develop]")
    _import_all(this)
    this.run("kedro run --env test", this.python, "-m", "kedro", "run", "--env", "test")
    _test(this, "a fast selection of tests", (*FAST, *WITHOUT_TORCH))


def _try_without_torch(this: Attempt) -> None:
    this.pip("install all that needs no torch", *requirements(this.clone))
    this.pip("install the package", "--no-deps", ".")
    _import_all(this)
    listed = this.run("kedro registry list", this.python, "-m", "kedro", "registry", "list")
    if "- phantom\n" not in listed:
        raise FailedError(f"kedro registry list: names no pipeline\n{listed}")
    _test(this, "the tests that need no torch", WITHOUT_TORCH)


def _import_all(this: Attempt) -> None:
    this.say(this.run("import", this.python, "-c", IMPORT_ALL).splitlines()[-1])


def _test(this: Attempt, what: str, paths: tuple[str, ...]) -> None:
    tested = this.run(what, this.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *paths)
    this.say(tested.splitlines()[-1])


def main(versions: list[str]) -> int:
    """Try ``versions`` side by side; return the exit status."""
    found = {version: find(version) for version in versions}
    for version, interpreter in found.items():
        if interpreter is None:
            print(f"{version}: this machine has no such CPython: NOT tried")
    there = {version: path for version, path in found.items() if path is not None}
    passed = True
    with tempfile.TemporaryDirectory() as work, ThreadPoolExecutor() as pool:
        folders = [Path(work, version) for version in there]
        for folder in folders:
            folder.mkdir()
        for lines, well in pool.map(attempt, there, there.values(), folders):
            print("\n".join(lines), flush=True)
            passed = passed and well
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
