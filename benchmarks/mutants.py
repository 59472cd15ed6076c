"""Plant faults of one line, one after another, and see whether the tests notice.

    python benchmarks/mutants.py                       # all of mutants.yml, half an hour
    python benchmarks/mutants.py --only uniformity     # those whose sentence holds a word
    python benchmarks/mutants.py --table mutants.tsv   # kept one by one, and gone on from

Works in a copy of the project; what came of it is written to ``docs/results/mutants.md``.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

PROJECT = Path(__file__).parents[1]
PAGE = PROJECT / "docs/results/mutants.md"
COPIED = ("src", "tests", "conf", "docs", "benchmarks", "notebooks", "pyproject.toml")
NOTICED, SURVIVED = "noticed", "**survived**"


@dataclass(frozen=True)
class Fault:
    """One line that is wrong, and who should see it."""

    fault: str
    """In a sentence."""
    file: str
    """Below ``src/maskwise``."""
    before: str
    after: str
    tests: tuple[str, ...]
    """Below ``tests``."""
    why: str = ""
    """Why it may survive."""

    @property
    def stage(self) -> str:
        """The package it is planted in."""
        return self.file.split("/")[0].removesuffix(".py")


def read_faults(path: Path) -> list[Fault]:
    """Read the list of faults."""
    blocks = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [Fault(**{**block, "tests": tuple(block["tests"])}) for block in blocks]


@dataclass(frozen=True)
class Copy:
    """A copy of the project, to be spoilt."""

    root: Path

    def judge(self, fault: Fault) -> tuple[str, float]:
        """Plant a fault; return what came of it, and in how many seconds."""
        file, start = self.root / "src/maskwise" / fault.file, time.perf_counter()
        text = file.read_text(encoding="utf-8")
        if text.count(fault.before) != 1:
            raise SystemExit(f"{fault.fault}: stands {text.count(fault.before)} times there")
        file.write_text(text.replace(fault.before, fault.after), encoding="utf-8")
        try:
            done = self._test(fault.tests)
        finally:
            file.write_text(text, encoding="utf-8")
        if done.returncode not in (0, 1, 2):  # 2: a test could not even be collected
            raise SystemExit(
                f"{fault.fault}: pytest ended with {done.returncode}\n{done.stdout}"
            )
        return NOTICED if done.returncode else SURVIVED, time.perf_counter() - start

    def _test(self, tests: tuple[str, ...]) -> "subprocess.CompletedProcess[str]":
        places = [str(self.root / "tests" / name) for name in tests]
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.root / "src"),
            "OMP_NUM_THREADS": "1",
        }
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *places],
            cwd=self.root,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )


def judged(faults: list[Fault]) -> Iterator[tuple[Fault, str]]:
    """Yield each fault and what came of it, as it comes."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(Path(folder) / "project")
        for name in COPIED:
            origin, target = PROJECT / name, copy.root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if origin.is_dir():
                shutil.copytree(origin, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(origin, target)
        for number, fault in enumerate(faults, 1):
            verdict, seconds = copy.judge(fault)
            print(
                f"{number} of {len(faults)}, {seconds:.0f} s, {verdict}: {fault.fault}",
                flush=True,
            )
            yield fault, verdict


def page(results: list[tuple[Fault, str]]) -> str:
    """Return the page of results."""
    survivors = [fault for fault, verdict in results if verdict == SURVIVED]
    stages = sorted({fault.stage for fault, _ in results})
    lines = [
        "# Faults that the tests notice",
        "",
        f"{len(results)} faults of one line, chosen by hand over {len(stages)} packages, were",
        "planted one at a time; the tests named in `benchmarks/mutants.yml` ran on each.",
        f"**{len(results) - len(survivors)} of {len(results)} were noticed.** Those who wrote",
        "the tests chose the faults, too; those of others would be noticed less often.",
        "",
        "Made by `python benchmarks/mutants.py`.",
        "",
        "| package | fault | the tests |",
        "| --- | --- | --- |",
    ]
    for fault, verdict in sorted(results, key=lambda one: one[0].stage):
        why = f" {fault.why}" if verdict == SURVIVED and fault.why else ""
        lines.append(f"| `{fault.stage}` | {fault.fault} | {verdict}{why} |")
    return "\n".join(lines) + "\n"


def _read(table: Path | None) -> dict[str, str]:
    """Return what is known of faults: sentence -> what came of it."""
    if table is None or not table.exists():
        return {}
    lines = table.read_text(encoding="utf-8").splitlines()
    return {sentence: verdict for verdict, sentence in (line.split("\t") for line in lines)}


def main() -> None:
    """Judge all faults, or some; of all, write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="a word in the fault's sentence")
    parser.add_argument("--table", type=Path, help="one row per fault, kept and gone on from")
    arguments = parser.parse_args()
    only, table = arguments.only, arguments.table
    faults = [
        fault
        for fault in read_faults(Path(__file__).with_suffix(".yml"))
        if only in f"{fault.fault} {fault.file}"
    ]
    known = _read(table)
    for fault, verdict in judged([fault for fault in faults if fault.fault not in known]):
        known[fault.fault] = verdict
        if table:
            rows = "".join(f"{verdict}\t{sentence}\n" for sentence, verdict in known.items())
            table.write_text(rows, encoding="utf-8")
    results = [(fault, known[fault.fault]) for fault in faults]
    survivors = [fault.fault for fault, verdict in results if verdict == SURVIVED]
    print(f"{len(results) - len(survivors)} of {len(results)} noticed; survivors: {survivors}")
    if not only:
        PAGE.write_text(page(results), encoding="utf-8")


if __name__ == "__main__":
    main()
