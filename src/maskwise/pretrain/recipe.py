"""What a recipe and a budget say: names and options, checked together, and how long."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from maskwise.bounds import BatchSize, Length, Side, Steps, Within
from maskwise.config import Choice, parse
from maskwise.device import Device, Precision, trains_in_half
from maskwise.encoders import ENCODERS
from maskwise.encoders.start import ChosenEncoder, StartConfig
from maskwise.errors import UserError, hint, shown
from maskwise.pretrain.augmentation import AugmentationConfig
from maskwise.pretrain.checkpoint import SecondRun
from maskwise.pretrain.contracts import (
    ComparesCells,
    EqualCells,
    HidesUnequally,
    ObjectiveConfig,
    PixelReward,
    PolicyConfig,
)
from maskwise.pretrain.hardware import FiniteChecks, device_of
from maskwise.pretrain.meeting import ProcessesConfig
from maskwise.pretrain.objectives import OBJECTIVES
from maskwise.pretrain.optimisation import OptimisationConfig
from maskwise.pretrain.optimisers import OPTIMISERS
from maskwise.pretrain.phases import SCHEDULES, AlternatingConfig, ScheduleConfig, Timeline
from maskwise.pretrain.policies import POLICIES
from maskwise.pretrain.policies.dqn.config import DqnConfig
from maskwise.pretrain.policies.none import NoneConfig as NoPolicyConfig
from maskwise.pretrain.policies.oracle import OracleConfig
from maskwise.pretrain.trackers import Tracker, check_trackers


@dataclass(frozen=True)
class Recipe:
    """How an encoder is pre-trained; for how long, the source's budget says."""

    objective: Annotated[ObjectiveConfig, Choice(lambda: OBJECTIVES)]
    policy: Annotated[PolicyConfig, Choice(lambda: POLICIES)]
    encoder: Annotated[ChosenEncoder, Choice(lambda: ENCODERS, shared=StartConfig)]
    """Its architecture, and the weights it begins with."""
    optimisation: OptimisationConfig = field(default_factory=OptimisationConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    schedule: Annotated[ScheduleConfig, Choice(lambda: SCHEDULES)] = field(
        default_factory=AlternatingConfig
    )
    """Who learns when."""
    keep_decoder: bool = False
    """Write the decoder's weights beside the encoder's: the task ``lesion`` may begin there."""
    transductive: bool = False
    """Let test images into pre-training, without labels. The report prints it in red."""
    names: Mapping[str, str] = field(init=False)
    """``objective``, ``policy``, ``encoder``, ``optimiser``: their names in the YAML."""

    def __post_init__(self) -> None:
        chosen: tuple[tuple[str, Mapping[str, type[Any]], object], ...] = (
            ("objective", OBJECTIVES, self.objective),
            ("policy", POLICIES, self.policy),
            ("encoder", ENCODERS, self.encoder.architecture),
            ("optimiser", OPTIMISERS, self.optimisation.optimiser),
        )
        names = {
            key: {config: name for name, config in known.items()}.get(
                type(choice), type(choice).__name__
            )
            for key, known, choice in chosen
        }
        object.__setattr__(self, "names", names)

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

    grid: tuple[Side, Side] = (16, 16)
    """Cells, one side and the other; it must divide the image."""
    steps: Steps = 1200
    """Optimiser steps of the network; a staged schedule adds those of the policy."""
    batch_size: BatchSize = 32
    """Images per step."""
    snapshots: Annotated[tuple[Steps, ...], Length(0, 1_000)] = ()
    """Steps of a run after which its encoder is kept as well, to be looked at or begun from."""

    def __post_init__(self) -> None:
        if any(step >= self.steps for step in self.snapshots):
            raise ValueError(
                f"snapshots are {shown(self.snapshots)}, but each should be below steps "
                f"({self.steps}), after which the encoder is kept anyway"
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
    checkpoint_every: Steps = 200
    """Steps."""
    checkpoints: Path = Path("data/06_models")
    """Folder of the replicates' own, outside DVC's outs, which it deletes beforehand."""
    gallery_moments: Annotated[int, Within(1, 1_000)] = 8
    """Epochs at which masks and reconstructions of the probe images are kept."""
    watches: Annotated[int, Within(0, 1_000)] = 3
    """Epochs, evenly spread, after which features of validation images are told by their
    nearest neighbours among training images, and their spread is measured; 0 = never."""
    on_collapse: Literal["warn", "stop"] = "warn"
    """What happens when all images are projected to nearly one point; ``stop`` looks after
    every epoch."""
    processes: ProcessesConfig = field(default_factory=ProcessesConfig)
    """How many train a replicate together."""
    finite_checks: FiniteChecks = "auto"
    """When a loss or gradient that is no finite number is noticed: after every ``step``, so
    that the step can be kept and replayed, or with each ``checkpoint``; a GPU waits for the
    look. ``auto``: every step on a CPU."""
    trackers: Annotated[tuple[Tracker, ...], Length(0, 8)] = ()
    """Where a run's figures are shown while it is at work: ``tensorboard``, ``dvclive``."""
    second_run: SecondRun = "leave"
    """What pre-training does that finds its replicate at work in another run: ``leave`` or
    ``wait``. A run that would make the images anew leaves in either case."""

    def __post_init__(self) -> None:
        if self.on_collapse == "stop" and not self.watches:
            raise ValueError(
                "on_collapse is stop, but with watches: 0 nothing looks at the features; let "
                "watches be 1 or more"
            )


def check_machine(config: PretrainConfig, budget: Budget, recipe: Recipe, source: str) -> None:
    """Raise ``UserError`` where this machine lacks what training the recipe asks for."""
    device = device_of(config.device, config.processes.devices)
    trains_in_half(config.precision, device, "pretrain.precision")
    check_trackers(config.trackers)
    parts = recipe.optimisation.accumulate
    config.processes.check(budget.batch_size, parts, f"{source}.pretrain.batch_size")


def parse_recipe(block: Any, where: str) -> Recipe:
    """Parse a recipe's YAML block; ``where`` is its name.

    Raises:
        UserError: naming everything that is wrong with it.
    """
    recipe = parse(Recipe, block, where)
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
    if hides:
        _check_reward(recipe, where)
    if isinstance(recipe.policy, OracleConfig) and recipe.transductive:
        raise UserError(
            f"{where}.transductive: true, but policy oracle would be told the outlines of test "
            "images; leave transductive out"
        )
    if not recipe.trains and recipe.keep_decoder:
        raise UserError(f"{where}.keep_decoder: true, but objective none trains no decoder")
    start = recipe.encoder.start
    for key in ("frozen_stages", "norm_statistics"):
        if not recipe.trains and getattr(start, key):
            raise UserError(
                f"{where}.encoder.{key}: {getattr(start, key)}, but objective none trains "
                "nothing, so that all stays as it is; leave it out"
            )
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


def _check_reward(recipe: Recipe, where: str) -> None:
    """Refuse a policy that is told other things than it learns from."""
    objective = recipe.names["objective"]
    unequal = recipe.policy.unequal() if isinstance(recipe.policy, HidesUnequally) else None
    if unequal is not None and isinstance(recipe.objective, EqualCells):
        option, _, remedy = unequal.partition("; ")
        raise UserError(
            f"{where}.policy.{option}, may hide more cells of one image than of another, but "
            f"objective {objective} needs as many of each; {remedy}"
        )
    compares = recipe.policy.comparing() if isinstance(recipe.policy, ComparesCells) else None
    if compares is not None and recipe.trains and not recipe.objective.errors_by_cell:
        option, _, remedy = compares.partition("; ")
        raise UserError(
            f"{where}.policy.{option} asks which of an image's hidden cells has the larger "
            f"error, but objective {objective} has one error for all of them; {remedy}"
        )
    option = recipe.policy.pixel_option if isinstance(recipe.policy, PixelReward) else ""
    if option and not recipe.objective.draws_pixels:
        drawing = [name for name, config in OBJECTIVES.items() if config().draws_pixels]
        raise UserError(
            f"{where}.policy.{option}: is made of the error of every pixel, but objective "
            f"{objective} draws none; use another reward, or {hint('', drawing)}"
        )
    if (
        isinstance(recipe.policy, DqnConfig)
        and recipe.policy.boxes > 1
        and _rewards_ease(recipe)
    ):
        raise UserError(
            f"{where}.policy.boxes: {recipe.policy.boxes}, but with objective.reward: easy an "
            "agent earns by laying its boxes over one another, which hides less; use boxes: 1"
        )


def _rewards_ease(recipe: Recipe) -> bool:
    return getattr(recipe.objective, "reward", "hard") == "easy"
