"""What a recipe and a budget say: names and options, checked together, and how long."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

from maskwise.config import check_range, choose, parse
from maskwise.encoders import ENCODERS
from maskwise.encoders.contract import EncoderConfig
from maskwise.errors import UserError, hint
from maskwise.masks import Grid
from maskwise.pretrain.augmentation import AugmentationConfig
from maskwise.pretrain.checkpoint import SecondRun
from maskwise.pretrain.contracts import ObjectiveConfig, PolicyConfig
from maskwise.pretrain.hardware import Device, Precision
from maskwise.pretrain.objectives import OBJECTIVES
from maskwise.pretrain.optimisation import OptimisationConfig
from maskwise.pretrain.phases import (
    MOST_STEPS,
    SCHEDULES,
    AlternatingConfig,
    ScheduleConfig,
    Timeline,
)
from maskwise.pretrain.policies import POLICIES
from maskwise.pretrain.policies.none import NoneConfig as NoPolicyConfig


@dataclass(frozen=True)
class Recipe:
    """How an encoder is pre-trained; for how long, the source's budget says."""

    objective: ObjectiveConfig
    policy: PolicyConfig
    encoder: EncoderConfig
    names: Mapping[str, str]
    """``objective``, ``policy``, ``encoder``: their names in the YAML."""
    optimisation: OptimisationConfig = field(default_factory=OptimisationConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    schedule: ScheduleConfig = field(default_factory=AlternatingConfig)
    """Who learns when."""
    keep_decoder: bool = False
    """Write the decoder's weights beside the encoder's: the task ``lesion`` may begin there."""
    transductive: bool = False
    """Let test images into pre-training, without labels. The report prints it in red."""

    @property
    def trains(self) -> bool:
        """Whether the loop has anything to do."""
        return self.objective.needs_training

    def timeline(self, steps: int) -> Timeline:
        """Return the phases of a run in which the network makes ``steps`` steps."""
        return Timeline(self.schedule.phases(steps))


@dataclass(frozen=True)
class Budget:
    """A source's block ``pretrain``: its grid and for how long a recipe is trained on it."""

    grid: Grid = (16, 16)
    """Cells, one side and the other; it must divide the image."""
    steps: int = 1200
    """Optimiser steps of the network; a staged schedule adds those of the policy."""
    batch_size: int = 32
    """Images a step."""
    snapshots: tuple[int, ...] = ()
    """Steps of a run after which its encoder is kept as well, to be looked at or begun from."""

    def __post_init__(self) -> None:
        check_range(self, 1, MOST_STEPS, "steps")
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}, but should be 1 or more")
        if any(not 1 <= step < self.steps for step in self.snapshots):
            raise ValueError(
                f"snapshots are {list(self.snapshots)}, but each should be 1 or more and below "
                f"steps ({self.steps}), after which the encoder is kept anyway"
            )


@dataclass(frozen=True)
class PretrainConfig:
    """``conf/base/parameters_pretrain.yml``: where and how the loop runs, for all recipes."""

    device: Device = "auto"
    precision: Precision = "auto"
    channels_last: bool = True
    """Memory layout of images and weights: faster convolutions on most hardware."""
    deterministic: bool = False
    """Reproducible kernels on a GPU, at a price; a CPU is reproducible anyway."""
    checkpoint_every: int = 200
    """Steps."""
    checkpoints: Path = Path("data/06_models")
    """Folder with one of each cell in it, outside DVC's outs, which it deletes beforehand."""
    gallery_moments: int = 8
    """Epochs at which masks and reconstructions of the probe images are kept."""
    second_run: SecondRun = "leave"
    """What a run does that finds its cell at work in another: ``leave`` or ``wait``."""

    def __post_init__(self) -> None:
        for name in ("checkpoint_every", "gallery_moments"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, but should be 1 or more")


def parse_recipe(block: Any, where: str) -> Recipe:
    """Parse a recipe's YAML block; ``where`` is its name.

    Raises:
        UserError: naming everything that is wrong with it.
    """
    if not isinstance(block, Mapping):
        raise UserError(f"{where}: should be a block of options, but is {block!r}")
    known = [f.name for f in fields(Recipe) if f.name != "names"]
    problems = [
        f"{where}.{key}: there is no such option; {hint(str(key), known)}"
        for key in block
        if key not in known
    ]
    parsed: dict[str, Any] = {}
    readers: dict[str, Callable[[Any, str], Any]] = {
        "objective": partial(choose, OBJECTIVES),
        "policy": partial(choose, POLICIES),
        "encoder": partial(choose, ENCODERS),
        "optimisation": partial(parse, OptimisationConfig),
        "augmentation": partial(parse, AugmentationConfig),
        "schedule": partial(choose, SCHEDULES),
    }
    block = {"schedule": {"name": "alternating"}, **block}
    for key, read in readers.items():
        try:
            parsed[key] = read(block.get(key, {}), f"{where}.{key}")
        except UserError as error:
            problems.append(str(error))
    flags = {key: block.get(key, False) for key in ("keep_decoder", "transductive")}
    problems += [
        f"{where}.{key}: should be true or false, not {value!r}"
        for key, value in flags.items()
        if not isinstance(value, bool)
    ]
    if problems:
        raise UserError("\n".join(problems))
    names = {key: str(block[key]["name"]) for key in ("objective", "policy", "encoder")}
    recipe = Recipe(**parsed, names=names, **flags)
    _check_together(recipe, where)
    return recipe


def _check_together(recipe: Recipe, where: str) -> None:
    hides = not isinstance(recipe.policy, NoPolicyConfig)
    objective, policy = recipe.names["objective"], recipe.names["policy"]
    if recipe.objective.needs_mask and not hides:
        raise UserError(
            f"{where}.policy.name: objective {objective} fills in hidden cells, but policy "
            f"none hides nothing; {hint('', [name for name in POLICIES if name != 'none'])}"
        )
    if not recipe.trains and recipe.keep_decoder:
        raise UserError(f"{where}.keep_decoder: true, but objective none trains no decoder")
    if not recipe.trains and hides:
        raise UserError(
            f"{where}.policy.name: objective none trains nothing, so that policy {policy} "
            "would never be asked; use policy none"
        )
    if not hides and not isinstance(recipe.schedule, AlternatingConfig):
        raise UserError(
            f"{where}.schedule.name: policy none never learns, so that it needs no phase of "
            "its own; use alternating"
        )
