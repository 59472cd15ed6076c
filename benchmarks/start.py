"""How long commands take that should answer at once: help, the registry, `dvc status`.

Each runs several times in a fresh process, by turns; printed is the median and the slowest.
Aim: under 3 s each, torch not imported by the first two. `dvc status` needs outputs to look at:
run `dvc repro` first.

    python benchmarks/start.py [--rounds 5]
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

PROJECT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
COMMANDS = (["kedro", "--help"], ["kedro", "registry", "list"], ["dvc", "status"])
WITHOUT_TORCH = COMMANDS[:2]


def main() -> None:
    """Run all commands by turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    taken: dict[str, list[float]] = {" ".join(command): [] for command in COMMANDS}
    for _ in range(1 + arguments.rounds):  # the first round warms the disk's cache
        for command in COMMANDS:
            start = time.perf_counter()
            run([str(BIN / command[0]), *command[1:]])
            taken[" ".join(command)].append(time.perf_counter() - start)
    for name, spent in taken.items():
        print(f"{name}: {statistics.median(spent[1:]):.2f} s (slowest {max(spent[1:]):.2f} s)")
    for command in WITHOUT_TORCH:
        imported = run(
            [sys.executable, "-X", "importtime", str(BIN / command[0]), *command[1:]]
        ).stderr
        names = {line.rpartition("|")[2].strip() for line in imported.splitlines()}
        print(f"{' '.join(command)} imports torch: {'yes' if 'torch' in names else 'no'}")


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command in the project; it must succeed."""
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)


if __name__ == "__main__":
    main()
