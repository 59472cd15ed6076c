"""What `kedro study` costs beside training, and what two replicates side by side gain.

Seconds of bookkeeping: what a replicate takes that neither its pre-training nor its fine-tuning
does, of a recipe that trains nothing, one at a time. Throughput: replicates of SimCLR, two at
once with one thread each, as a ratio to one after the other with two threads each. In a copy of
the project, which is removed afterwards. Aims: at most 2 s, and at least 1.7.

    OMP_NUM_THREADS=2 python benchmarks/bookkeeping.py [--replicates 10] [--rounds 3]
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from steps import where

PROJECT = Path(__file__).parents[1]
KEDRO = str(Path(sys.executable).parent / "kedro")
ENV = "probes"
TOOK = re.compile(r"\d+ of \d+: (\S+) took ([\d.]+) (s|min);")
IMAGES = 240
STEPS = 30
"""Of SimCLR: some seconds per replicate."""


def main() -> None:
    """Measure and print both figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=10, help="whose bookkeeping is timed")
    parser.add_argument("--rounds", type=int, default=3, help="of throughput")
    options = parser.parse_args()
    print(where())
    with tempfile.TemporaryDirectory() as folder:
        project = copy(Path(folder) / "project")
        arrange(project, "scratch", options.replicates)
        study(project, 1)
        kept = bookkeeping(project)
        print(
            f"bookkeeping of a replicate: {statistics.median(kept):.2f} s "
            f"(slowest {max(kept):.2f} s, {len(kept)} replicates)"
        )
        arrange(project, "simclr", 4)
        ratios = []
        for _ in range(options.rounds):
            alone, together = (study(project, at_once) for at_once in (1, 2))
            ratios.append(alone / together)
            print(f"one after the other {alone:.1f} s, two side by side {together:.1f} s")
        print(f"throughput of two side by side: {statistics.median(ratios):.2f} times")


def copy(target: Path) -> Path:
    """Copy what Git knows of the project."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (PROJECT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, target / name)
    return target


def arrange(project: Path, recipe: str, seeds: int) -> None:
    """Let the demonstration have one recipe, and begin anew."""
    change(project / "conf/base/experiment.yml", "experiment", recipes=[recipe])
    change(project / "conf/base/experiment.yml", "experiment", seeds=list(range(seeds)))
    change(project / "conf/base/parameters_evaluate.yml", "evaluate", primary={})
    budget = {"grid": [16, 16], "steps": STEPS, "batch_size": 32}
    ingest = {"name": "phantom", "images": IMAGES}
    source = project / "conf/base/sources/parameters_phantom.yml"
    change(source, "phantom", ingest=ingest, pretrain=budget)


def change(path: Path, block: str, **options: Any) -> None:
    """Set options of a YAML file's block."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    document[block].update(options)
    path.write_text(yaml.safe_dump(document), encoding="utf-8")


def study(project: Path, at_once: int) -> float:
    """Make all replicates, and return the seconds from the first's begin to the last's end."""
    for name in ("06_models", "07_model_output", "study"):
        shutil.rmtree(project / "data" / name, ignore_errors=True)
    begun = ended = 0.0
    lines = []
    command = [KEDRO, "study", "phantom", "--env", ENV, "--side-by-side", str(at_once)]
    environment = {"PYTHONPATH": str(project / "src")}
    with subprocess.Popen(
        command,
        cwd=project,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        for line in process.stdout or ():
            lines.append(line)
            if "to make" in line:
                begun = time.monotonic()
            if TOOK.match(line):
                ended = time.monotonic()
    if process.returncode:
        raise SystemExit("".join(lines))
    (project / "took.txt").write_text("".join(lines), encoding="utf-8")
    return ended - begun


def bookkeeping(project: Path) -> list[float]:
    """Return what each replicate took beside its stages."""
    found = []
    for line in (project / "took.txt").read_text(encoding="utf-8").splitlines():
        match = TOOK.match(line)
        if match and match[3] == "s":
            found.append(float(match[2]) - at_work(project, match[1]))
    return found


def at_work(project: Path, namespace: str) -> float:
    """Return the seconds of a replicate's stages, which ``run.json`` beside each holds."""
    recipe, seed = namespace.split(".")
    models = project / "data/06_models/phantom/encoders"
    predictions = project / "data/07_model_output/phantom/predictions"
    return sum(
        float(facts["seconds"])
        for folder in (models, predictions)
        for facts in json.loads(
            (folder / recipe / seed / "run.json").read_text(encoding="utf-8")
        ).values()
    )


if __name__ == "__main__":
    main()
