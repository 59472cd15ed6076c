"""What a step with a policy costs, as a multiple of a step with the random one beside it.

All steps run in this process, on the same objective, batch and size, by turns and in changing
order; printed is the median of the ratios of neighbouring steps, so that other work falls on
all. Aims: `dqn` at most 1.15, `a3c` (`best`, `ahm`) at most 1.15, `hardest` at most 1.45, for
its teacher needs a forward pass; of no policy at all `foreground` at most 1.02, and `spare` at
most 1.10. The other lines are options whose price is to be known.

    python benchmarks/policy_step.py NAME [--rounds 40] [--side 64] [--batch 32]
        [--grid 16]
"""

import argparse
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from maskwise.experiment import needed
from steps import noise, training_step, where
from turns import by_turns, ratio

RECIPES = Path(__file__).parents[1] / "conf/base/recipes"
RATIO = {"ratio": 0.5}
COMPARISONS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "dqn": {"random_box": {}, "dqn": {}, "dqn_release": {}},
    "a3c": {
        "random_cells": {"name": "random_cells", **RATIO},
        "a3c best": {"name": "a3c", "preset": "best", **RATIO},
        "a3c ahm": {"name": "a3c", "preset": "ahm", **RATIO},
        "a3c ahm, exact_k": {"name": "a3c", "preset": "ahm", "exact_k": True, **RATIO},
    },
    "foreground": {
        "none": {"name": "none"},
        "random_cells": {"name": "random_cells", "ratio": 0.4},
        "foreground": {"name": "foreground", "ratio": 0.4},
    },
    "hardest": {
        "random_cells": {"name": "random_cells"},
        "hardest": {"name": "hardest"},
        "hardest, predictor": {"name": "hardest", "source": "predictor"},
        "hardest, complementary": {"name": "hardest", "coverage": "complementary"},
    },
    "spare": {
        "none": {"name": "none"},
        "spare, variance": {"name": "spare", "ratio": 0.4},
        "spare, a3c": {"name": "spare", "ratio": 0.4, "map": {"recipe": "a3c"}},
        "spare, dqn": {"name": "spare", "ratio": 0.4, "map": {"recipe": "dqn"}},
    },
}
"""The control first. A policy takes the place of that in the recipe of the comparison's name;
without options a line is a recipe of its own."""
PROGRESS = {"dqn": 0.5, "a3c": 0.5, "foreground": 0.5, "hardest": 0.99, "spare": 0.5}
"""Of the run: `hardest` hides most of the hard cells at its end."""


IN_VIEWS = {"foreground": "simclr_foreground", "spare": "simclr_spare"}
"""Recipes of comparisons with no policy, which only an objective of views can do without."""


def shipped(name: str) -> dict[str, Any]:
    """Return a recipe as its YAML stands."""
    text = (RECIPES / f"parameters_{name}.yml").read_text(encoding="utf-8")
    block: dict[str, Any] = yaml.safe_load(text)[name]
    return block


def recipe(comparison: str, line: str) -> dict[str, Any]:
    """Return the line's recipe as its YAML stands, with the line's policy."""
    policy = COMPARISONS[comparison][line]
    block = shipped(IN_VIEWS.get(comparison, comparison) if policy else line)
    return {**block, "policy": dict(policy)} if policy else block


def main() -> None:
    """Measure and print one line per policy."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("comparison", choices=list(COMPARISONS))
    parser.add_argument("--rounds", type=int, default=40, help="of steps, at least 20")
    parser.add_argument("--side", type=int, default=64, help="pixels")
    parser.add_argument("--batch", type=int, default=32, help="images")
    parser.add_argument("--grid", type=int, default=16, help="cells a side")
    options = parser.parse_args()
    images, name = noise(options.batch, options.side), options.comparison
    blocks = {line: recipe(name, line) for line in COMPARISONS[name]}
    agents = {line: needed(block) for line, block in blocks.items()}
    steps = {
        line: training_step(
            block,
            images,
            options.grid,
            PROGRESS[name],
            agent=shipped(agent) if (agent := agents[line]) else None,
        )
        for line, block in blocks.items()
    }
    taken = by_turns(steps, max(20, options.rounds))
    print(
        f"{where()}; {options.batch} images of {options.side} pixels, "
        f"{options.grid} x {options.grid} cells"
    )
    control = next(iter(taken))
    for line, times in taken.items():
        cost = f"{1000 * statistics.median(times):.1f} ms per step"
        if line == control:
            print(f"{line}: {cost}")
        else:
            print(f"{line} / {control}: {ratio(times, taken[control])}; {cost}")


if __name__ == "__main__":
    main()
