"""What one more image costs in each stage: seconds of a core, the start of the stage left out.

Every stage runs as a command in a copy of the project, on generated images, with few images
and with more; the difference over the difference in images is the cost per image, what is left
is the cost of a start. Counted is the time that cores were busy, worker processes included, so
that other work on the machine hardly matters. Pre-training and fine-tuning see every image as
often as `--epochs` says; their cost is per image seen. docs/scale.md goes on from here.

    python benchmarks/stage_costs.py [--images 600 2400] [--raw-side 512] [--side 64]
"""

import argparse
import ctypes
import os
import resource
import subprocess
import tempfile
from pathlib import Path

from bookkeeping import KEDRO, change, copy
from steps import where

SUBREAPER = 36
"""Of prctl: processes that lose their parent become ours, so that their time is counted."""
BATCH = 32
STAGES = {
    "ingest": ("ingest",),
    "preprocess": ("preprocess",),
    "pretrain": ("pretrain",),
    "finetune": ("finetune",),
    "evaluate, report": ("evaluate", "report"),
}


def main() -> None:
    """Measure and print a row per stage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs=2, default=[600, 2400])
    parser.add_argument("--raw-side", type=int, default=512, help="pixels of the files")
    parser.add_argument("--side", type=int, default=64, help="pixels of the network's image")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--recipe", default="random_box")
    arguments = parser.parse_args()
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    print(f"{where()}; {arguments}")
    found: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        project = copy(Path(folder) / "project")
        for images in arguments.images:
            arrange(project, images, arguments)
            busy(project, ("generate",))
            found.append({name: busy(project, tags) for name, tags in STAGES.items()})
    few, many = arguments.images
    for name in STAGES:
        slope = (found[1][name] - found[0][name]) / (many - few)
        seen = arguments.epochs if name in ("pretrain", "finetune") else 1
        start = found[0][name] - slope * few
        print(f"{name:18s} {1000 * slope / seen:8.2f} ms per image, {start:6.1f} s to start")


def arrange(project: Path, images: int, arguments: argparse.Namespace) -> None:
    """Let the demonstration have so many images, one recipe and one seed."""
    experiment = project / "conf/base/experiment.yml"
    change(experiment, "experiment", recipes=[arguments.recipe], seeds=[0], fractions=[1.0])
    change(project / "conf/base/parameters_evaluate.yml", "evaluate", primary={})
    change(
        project / "conf/base/sources/parameters_phantom.yml",
        "phantom",
        ingest={
            "name": "phantom",
            "images": images,
            "smallest_side": arguments.raw_side,
            "largest_side": arguments.raw_side,
        },
        pretrain={
            "grid": [16, 16],
            "steps": images * arguments.epochs // BATCH,
            "batch_size": BATCH,
        },
        finetune={
            "task": {"name": "diagnosis", "label": "diagnosis"},
            "steps": images * arguments.epochs // BATCH,
            "batch_size": BATCH,
        },
    )


def busy(project: Path, tags: tuple[str, ...]) -> float:
    """Run stages and return the seconds that their processes kept a core busy."""
    before = spent()
    done = subprocess.run(
        [KEDRO, "run", "--env", "probes", "--pipelines", "phantom", "--tags", ",".join(tags)],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(tags)} failed:\n{done.stdout}{done.stderr}")
    while True:  # those that were left to us
        try:
            os.wait()
        except ChildProcessError:
            break
    return spent() - before


def spent() -> float:
    """Return the seconds of all processes of this one that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
