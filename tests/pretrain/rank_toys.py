"""Replicates of every objective and policy, for two processes that do all of them in turn."""

import os
import signal
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from maskwise.artefacts.store import open_store
from maskwise.errors import UserError
from maskwise.pretrain.contracts import EqualCells
from maskwise.pretrain.learner import Learner
from maskwise.pretrain.meeting import ProcessesConfig, Seat
from maskwise.pretrain.objectives import OBJECTIVES
from maskwise.pretrain.policies import POLICIES
from maskwise.pretrain.recipe import parse_recipe
from maskwise.pretrain.replicate import PretrainRun
from maskwise.pretrain.training import follow_replicate
from pretrain.toys import TOKENS, make_run, make_setting, small_tokens

CONVOLUTIONS = {
    "name": "context_cnn",
    "widths": [8, 8],
    "convolutions": [1, 1],
    "norm": "batch",
}
UNEVEN = {"name": "a3c", "preset": "ahm", "ratio": 0.5}
"""Hides more cells of one image than of another, so that ranks hide unequally many."""
EVEN = {"name": "random_cells"}
OPTIONS: dict[str, dict[str, Any]] = {
    "byol": {"hidden": 8, "embedding": 8},
    "mae": {"width": 16, "heads": 4},
    "moco_v2": {"hidden": 8, "embedding": 8, "queue": 8, "norm_groups": 2},
    "multiscale": {"width": 16, "heads": 4, "hi_target": "upsampled"},
    "simclr": {"hidden": 8, "embedding": 8},
    "spark": {"width": 16, "packed": "always"},
    "swav": {
        "hidden": 8,
        "embedding": 8,
        "prototypes": 8,
        "queue": 8,
        "queue_from": 0.3,
        "freeze_prototypes_steps": 0,
        "crops": 1,
    },
}
TWO = ProcessesConfig(devices=2)
NEEDED: dict[str, dict[str, Any]] = {
    "mean_map": {"policy": {"name": "a3c"}},
    "oracle": {"goal": "hide"},
}
PLAIN = {"optimiser": {"name": "sgd"}, "learning_rate": 0.05, "warm_up": 0.0}
"""Of an optimiser that divides by nothing: rounding stays rounding."""


def _block(objective: str, policy: dict[str, Any], **more: Any) -> dict[str, Any]:
    tokens = isinstance(OBJECTIVES[objective](), EqualCells)
    return {
        "objective": {"name": objective, **OPTIONS.get(objective, {}), **more},
        "policy": policy,
        "encoder": TOKENS if tokens else CONVOLUTIONS,
        "optimisation": PLAIN,
    }


def _learns(config: Any) -> bool:
    """Say whether a policy learns; the others only draw, and rank 0 draws for all."""
    parsed = parse_recipe(_block("context_encoder", EVEN), "recipe")
    setting = make_setting()
    objective = parsed.objective.build(setting, parsed.encoder.build(1))
    try:
        return bool(config().build(replace(setting, objective=objective)).learns)
    except UserError:  # it needs what this encoder lacks
        return True


def _policy_for(objective: str) -> dict[str, Any]:
    config = OBJECTIVES[objective]()
    return UNEVEN if config.errors_by_cell and not isinstance(config, EqualCells) else EVEN


def _objective_for(policy: str) -> str:
    return {"attention": "mae", "none": "simclr"}.get(policy, "context_encoder")


CASES: dict[str, dict[str, Any]] = {
    **{
        f"objective {name}": _block(name, _policy_for(name))
        for name in OBJECTIVES
        if name != "none"
    },
    **{
        f"policy {name}": _block(_objective_for(name), {"name": name, **NEEDED.get(name, {})})
        for name, config in POLICIES.items()
        if name in NEEDED or _learns(config)
    },
    "batch norm of one group": _block("moco_v2", EVEN, norm_groups=1),
    "a policy that learns from pixels": _block(
        "context_encoder", {"name": "dqn", "box": [2, 2], "pool_px": 2}
    ),
    "a batch in parts": {
        **_block("spark", UNEVEN, packed="never"),
        "optimisation": {**PLAIN, "accumulate": 2},
    },
    "one after the other": {
        **_block("autoencoder", {"name": "dqn", "box": [2, 2]}),
        "schedule": {"name": "staged", "first": 0.5, "policy_steps": 2, "restart": True},
    },
}


def side(block: dict[str, Any]) -> int:
    """Return the pixels of an image, whose cells must hold a whole place of some encoders."""
    whole = block["objective"]["name"] in ("spark", "mae", "multiscale")
    return 64 if whole else 32


def run_of(
    folder: Path, name: str, processes: ProcessesConfig, checkpoints: str = ""
) -> PretrainRun:
    """Return a case's replicate: a few steps of 4 images."""
    options: dict[str, Any] = {"gallery_moments": 1, "watches": 0}
    return make_run(
        folder / name / (checkpoints or str(processes.number)),
        CASES[name],
        processes=processes,
        steps=2 if CASES[name]["encoder"] is TOKENS else 4,
        batch_size=8 if name == "a batch in parts" else 4,
        **options,
    )


def follow_all(folder: Path, seat: Seat) -> None:
    """Be the second process of all cases, one after the other."""
    with small_tokens():
        for name, block in CASES.items():
            place = folder / str(side(block))
            splits = pd.read_parquet(place / "splits.parquet")
            follow_replicate(place / "store", splits, run_of(folder, name, TWO), seat)


def each(call: Callable[[str], Any]) -> dict[str, Any]:
    """Return what ``call`` makes of every case."""
    return {name: call(name) for name in CASES}


def stored(folder: Path, name: str) -> tuple[Any, pd.DataFrame]:
    """Return the case's store and splits."""
    place = folder / str(side(CASES[name]))
    return open_store(place / "store"), pd.read_parquet(place / "splits.parquet")


def follow_and_die(path: Path, splits: pd.DataFrame, run: PretrainRun, seat: Seat) -> None:
    """Be the second process, and be killed before its fourth step."""
    steps: list[int] = []
    update = Learner.update

    def dying(self: Learner, step: int, finite_only: bool) -> Tensor:
        steps.append(step)
        if len(steps) == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return update(self, step, finite_only)

    Learner.update = dying  # type: ignore[method-assign]
    follow_replicate(path, splits, run, seat)


def fail(seat: Seat) -> None:
    raise ValueError(f"rank {seat.ranks.rank} is of no use")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
