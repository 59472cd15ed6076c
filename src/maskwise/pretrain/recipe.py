"""A recipe and a budget in, an encoder out: seeds, builds and runs everything once."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd
import torch
from torch import nn

import maskwise
from maskwise import seeds
from maskwise.artefacts.encoder import EncoderMetadata, fill, keep_decoder, read_checkpoint
from maskwise.artefacts.gallery import Gallery
from maskwise.artefacts.splits import for_seed
from maskwise.artefacts.store import Store, open_store
from maskwise.config import choose, parse
from maskwise.encoders import ENCODERS
from maskwise.encoders.contract import EncoderConfig
from maskwise.errors import UserError, hint
from maskwise.masks import Grid, check_grid
from maskwise.pretrain.augmentation import AugmentationConfig
from maskwise.pretrain.batches import Batches
from maskwise.pretrain.checkpoint import Checkpoint, SecondRun, fingerprint
from maskwise.pretrain.contracts import (
    Objective,
    ObjectiveConfig,
    Policy,
    PolicyConfig,
    Setting,
)
from maskwise.pretrain.diagnostics import Probe
from maskwise.pretrain.hardware import Device, Precision, build_fabric, determinism
from maskwise.pretrain.loop import COLUMNS, Loop, Plan
from maskwise.pretrain.objectives import OBJECTIVES
from maskwise.pretrain.objectives.none import NoneConfig as NoObjectiveConfig
from maskwise.pretrain.optimisation import OptimisationConfig
from maskwise.pretrain.phases import SCHEDULES, AlternatingConfig, ScheduleConfig, Timeline
from maskwise.pretrain.policies import POLICIES
from maskwise.pretrain.policies.none import NoneConfig as NoPolicyConfig

log = logging.getLogger(__name__)
T = TypeVar("T")


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

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, but should be 1 or more")


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


@dataclass(frozen=True)
class PretrainRun:
    """One cell."""

    recipe: Recipe
    budget: Budget
    config: PretrainConfig
    source: str
    recipe_name: str
    seed: int
    checkpoints: Path
    """Folder of the cell's own, outside all outputs."""

    @property
    def cell(self) -> str:
        """The cell's name in messages."""
        return f"{self.recipe_name} seed {self.seed}"


@dataclass(frozen=True)
class Pretrained:
    """What the stage hands on."""

    encoder: nn.Module
    metadata: EncoderMetadata
    history: pd.DataFrame
    gallery: Gallery


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


@contextmanager
def pretraining(store: Store, splits: pd.DataFrame, run: PretrainRun) -> Iterator[Pretrained]:
    """Run one cell, or go on where an interrupted run of it stopped; the block saves it.

    Until the block has ended well the last checkpoint stays, from which nothing need be trained
    again, and no other run may touch the cell.

    Raises:
        UserError: if recipe, budget and images do not go together, the cell is at work in
            another process, or training was stopped or diverged.
    """
    header = store.header
    where = f"{run.source}.pretrain.grid"
    check_grid(run.budget.grid, header.height, header.width, where)
    checkpoint = Checkpoint(run.checkpoints, _key(store, run))
    with checkpoint.lock(run.config.second_run, run.cell):
        own = store.for_seed(run.seed)  # with folds, each seed normalises by its own images
        yield _pretrain(own, for_seed(splits, run.seed), run, checkpoint)
        checkpoint.remove()


def _pretrain(
    store: Store, splits: pd.DataFrame, run: PretrainRun, checkpoint: Checkpoint
) -> Pretrained:
    encoder = _initialised(
        run, "encoder", lambda: run.recipe.encoder.build(store.header.channels)
    )
    probe = Probe.build(store, splits, run.budget.grid, run.seed)
    if run.recipe.trains:
        history, gallery = _train(store, splits, run, encoder, probe, checkpoint)
    else:
        _load_weights(encoder, run, store.header.channels)
        history, gallery = pd.DataFrame(columns=list(COLUMNS)), probe.gallery([], [])
    cast(Any, encoder).to("cpu").to(memory_format=torch.contiguous_format).eval()
    return Pretrained(encoder, _metadata(store, run), history, gallery)


def _train(
    store: Store,
    splits: pd.DataFrame,
    run: PretrainRun,
    encoder: nn.Module,
    probe: Probe,
    checkpoint: Checkpoint,
) -> tuple[pd.DataFrame, Gallery]:
    fabric = build_fabric(run.config.device, run.config.precision)
    batches = _batches(store, splits, run, fabric.device)
    objective, policy = _networks(store, run, encoder, batches)
    timeline = run.recipe.timeline(run.budget.steps)
    log.info(
        "pretrain %s: %d steps of %d images, drawn from %d.",
        run.cell,
        timeline.steps,
        run.budget.batch_size,
        len(batches.rows),
    )
    plan = Plan(
        cell=run.cell,
        seed=run.seed,
        timeline=timeline,
        grid=run.budget.grid,
        optimisation=run.recipe.optimisation,
        checkpoint_every=run.config.checkpoint_every,
        gallery_moments=run.config.gallery_moments,
        channels_last=run.config.channels_last,
        assemble=partial(_assemble, store.path, splits, run),
    )
    with determinism(run.config.deterministic):
        told = Loop(plan, fabric, objective, policy, batches, probe).run(checkpoint)
    if run.recipe.keep_decoder:
        weights = _decoder(objective).state_dict()
        keep_decoder(encoder, {name: tensor.cpu() for name, tensor in weights.items()})
    return told


def _decoder(objective: Objective) -> nn.Module:
    """Return the objective's decoder, or raise ``UserError`` where it has none."""
    parts = dict(cast(nn.Module, objective).named_children())
    if "decoder" not in parts:
        raise UserError(
            "keep_decoder: true, but the objective draws nothing; leave it out, or choose "
            "autoencoder or context_encoder"
        )
    return parts["decoder"]


def _networks(
    store: Store, run: PretrainRun, encoder: nn.Module, batches: Batches
) -> tuple[Objective, Policy[Any]]:
    setting = _setting(store, run, batches)
    return _build(run.recipe, run.recipe_name, setting, encoder, partial(_initialised, run))


def _assemble(
    path: Path, splits: pd.DataFrame, run: PretrainRun
) -> tuple[Objective, Policy[Any], Batches]:
    """Build a cell's parts anew in another process, which maps the store for itself."""
    store = open_store(path).for_seed(run.seed)
    encoder = _initialised(
        run, "encoder", lambda: run.recipe.encoder.build(store.header.channels)
    )
    batches = _batches(store, splits, run, torch.device("cpu"))
    return *_networks(store, run, encoder, batches), batches


def _build(
    recipe: Recipe,
    name: str,
    setting: Setting,
    encoder: nn.Module,
    initialised: Callable[[str, Callable[[], Any]], Any],
) -> tuple[Objective, Policy[Any]]:
    """Build objective and policy, or raise ``UserError`` where they do not suit the images."""
    try:
        recipe.augmentation.check(setting.modality, setting.height, setting.width)
        recipe.optimisation.check(setting.batch_size)
        objective = initialised("objective", lambda: recipe.objective.build(setting, encoder))
        if recipe.keep_decoder:
            _decoder(objective)
        for_policy = replace(setting, objective=objective)
        policy = initialised("policy", lambda: recipe.policy.build(for_policy))
    except UserError as error:
        raise UserError(f"{name}.{error}") from None
    return objective, policy


def rehearse(recipe: Recipe, name: str, setting: Setting) -> None:
    """Build all of a recipe once and throw it away: what does not suit must not wait its turn.

    Raises:
        UserError: as ``pretrain`` does, for the images that ``setting`` describes.
    """
    if recipe.trains:
        with torch.random.fork_rng(devices=[]):
            encoder = recipe.encoder.build(setting.channels)
            _build(recipe, name, setting, encoder, lambda _, build: build())


def _initialised(run: PretrainRun, stream: str, build: Callable[[], T]) -> T:
    """Build under a seed of its own: layers draw from torch's global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.torch_seed(run.seed, "initialisation", stream))
        return build()


def _batches(
    store: Store, splits: pd.DataFrame, run: PretrainRun, device: torch.device
) -> Batches:
    allowed = ["train", "test"] if run.recipe.transductive else ["train"]
    rows = store.rows(splits.loc[splits["split"].isin(allowed), "image_id"].to_numpy())
    if not len(rows):
        raise UserError(
            f"pretrain {run.cell}: source {run.source} has no training image; look at the "
            "source's split, and at rejects.csv"
        )
    return Batches(
        store=store,
        rows=np.sort(rows),
        batch_size=run.budget.batch_size,
        seed=run.seed,
        augmentation=run.recipe.augmentation,
        laterality=store.header.laterality,
        device=device,
        groups=pd.factorize(store.index["group"])[0].astype(np.int64),
    )


def _setting(store: Store, run: PretrainRun, batches: Batches) -> Setting:
    header = store.header
    return Setting(
        channels=header.channels,
        height=header.height,
        width=header.width,
        grid=run.budget.grid,
        steps_per_epoch=batches.steps_per_epoch,
        batch_size=run.budget.batch_size,
        modality=header.modality,
        images=batches.images,
        mean=header.mean,
        std=header.std,
        laterality=header.laterality,
        rows=len(store),
    )


def _load_weights(encoder: nn.Module, run: PretrainRun, channels: int) -> None:
    objective = run.recipe.objective
    if not isinstance(objective, NoObjectiveConfig) or objective.weights is None:
        return
    where = f"{run.recipe_name}.objective.weights: {objective.weights}"
    tensors = run.recipe.encoder.adapt(read_checkpoint(objective.weights, where), channels)
    log.info("pretrain %s: loaded %s of %s.", run.cell, fill(encoder, tensors, where), where)


def _metadata(store: Store, run: PretrainRun) -> EncoderMetadata:
    header = store.header
    return EncoderMetadata(
        architecture=run.recipe.names["encoder"],
        arguments=asdict(cast(Any, run.recipe.encoder)),
        channels=header.channels,
        height=header.height,
        width=header.width,
        mean=header.mean,
        std=header.std,
        modality=header.modality,
        intensity=header.intensity,
        geometry=header.geometry,
        source=run.source,
        recipe=run.recipe_name,
        seed=run.seed,
        data_hash=header.data_hash,
        version=maskwise.__version__,
    )


def _key(store: Store, run: PretrainRun) -> str:
    config = asdict(run.config)
    # How often and where a checkpoint is saved, and who may wait for whom, shapes no weight.
    shapeless = ("checkpoint_every", "checkpoints", "second_run")
    shaping = {name: value for name, value in config.items() if name not in shapeless}
    return fingerprint(
        asdict(run.recipe),
        asdict(run.budget),
        shaping,
        asdict(store.header),
        [run.source, run.recipe_name, run.seed],
    )
