"""What a replicate is made of: its encoder, networks and batches, in whatever process."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

import maskwise
from maskwise import seeds
from maskwise.artefacts.policy import LearntPolicy, content
from maskwise.artefacts.splits import learnt_from
from maskwise.artefacts.store import Store, open_store
from maskwise.encoders.contract import Encoder
from maskwise.encoders.metadata import EncoderMetadata
from maskwise.errors import UserError
from maskwise.preparation import Preparation
from maskwise.pretrain.batches import Batches
from maskwise.pretrain.beginning import Beginning, begin
from maskwise.pretrain.cells import fitted
from maskwise.pretrain.checkpoint import digest_of
from maskwise.pretrain.contracts import Objective, Policy, Setting
from maskwise.pretrain.histogram import histogram
from maskwise.pretrain.recipe import Budget, PretrainConfig, Recipe

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class PretrainRun:
    """One replicate."""

    recipe: Recipe
    budget: Budget
    config: PretrainConfig
    source: str
    recipe_name: str
    seed: int
    checkpoints: Path
    """Folder of the replicate's own, outside all outputs."""
    learnt: LearntPolicy | None = None
    """The agent whose map the recipe's policy asks for, where it asks for one."""
    report: Callable[[Mapping[str, float], Encoder], None] | None = None
    """Is told each epoch's row of the history, and shown the encoder, which it must leave as it
    is; what it raises ends the run."""

    @property
    def replicate(self) -> str:
        """The replicate's name in messages."""
        return f"{self.recipe_name} seed {self.seed}"

    def snapshot(self, step: int) -> Path:
        """Where the encoder is kept as it is after ``step`` steps."""
        return self.checkpoints / f"step_{step:06d}.safetensors"


def fitted_run(run: PretrainRun, seen: Preparation) -> PretrainRun:
    """Return the run with a grid that its encoder allows, and say so where it differs."""
    grid, size = run.budget.grid, (seen.height, seen.width)
    coarser = fitted(run.recipe, grid, size, seen.channels)
    if coarser == grid:
        return run
    log.info(
        "pretrain %s: cells of %d x %d pixels, a grid of %d x %d in place of %d x %d: a cell "
        "must hold whole places of the encoder's last features.",
        run.replicate, size[0] // coarser[0], size[1] // coarser[1], *coarser, *grid,
    )  # fmt: skip
    return replace(run, budget=replace(run.budget, grid=coarser))


def build_encoder(beginning: Beginning, run: PretrainRun) -> Encoder:
    """Build the encoder with the weights that it begins with."""
    channels = beginning.store.header.preparation.channels
    try:
        encoder = _initialised(run, "encoder", lambda: run.recipe.encoder.build(channels))
    except UserError as error:
        raise UserError(f"{run.recipe_name}.{error}") from None
    beginning.load(encoder, run.replicate)
    return encoder


def decoder_of(objective: Objective) -> nn.Module:
    """Return the objective's decoder, or raise ``UserError`` where it has none."""
    parts = dict(objective.named_children())
    if "decoder" not in parts:
        raise UserError(
            "keep_decoder: true, but the objective has no decoder that outlines could begin "
            "with; leave it out, or choose autoencoder or context_encoder"
        )
    return parts["decoder"]


def networks_of(
    beginning: Beginning,
    splits: pd.DataFrame,
    run: PretrainRun,
    encoder: Encoder,
    batches: Batches,
) -> tuple[Objective, Policy[Any]]:
    """Build the replicate's objective round ``encoder``, and its policy."""
    setting = _setting(beginning, splits, run, batches)
    return build_networks(
        run.recipe, run.recipe_name, setting, encoder, partial(_initialised, run)
    )


def assemble(
    path: Path, splits: pd.DataFrame, run: PretrainRun
) -> tuple[Objective, Policy[Any], Batches]:
    """Build a replicate's parts anew in another process, which maps the store for itself."""
    store = open_store(path)
    beginning = begin(store, run.recipe, run.recipe_name, run.source, run.seed)
    encoder = build_encoder(beginning, run)
    batches = batches_of(beginning.store, splits, run, torch.device("cpu"))
    return *networks_of(beginning, splits, run, encoder, batches), batches


def build_networks(
    recipe: Recipe,
    name: str,
    setting: Setting,
    encoder: Encoder,
    initialised: Callable[[str, Callable[[], Any]], Any],
) -> tuple[Objective, Policy[Any]]:
    """Build objective and policy, or raise ``UserError`` where they do not suit the images."""
    try:
        recipe.augmentation.check(setting.modality, setting.height, setting.width)
        recipe.optimisation.check(setting.batch_size)
        part = replace(setting, batch_size=recipe.optimisation.part(setting.batch_size))
        objective = initialised("objective", lambda: recipe.objective.build(part, encoder))
        if recipe.keep_decoder:
            decoder_of(objective)
        for_policy = replace(setting, objective=objective)
        policy = initialised("policy", lambda: recipe.policy.build(for_policy))
    except UserError as error:
        raise UserError(f"{name}.{error}") from None
    return objective, policy


def _initialised(run: PretrainRun, stream: str, build: Callable[[], T]) -> T:
    """Build under a seed of its own: layers draw from torch's global generator."""
    with seeds.torch_stream(seeds.torch_seed(run.seed, "initialisation", stream)):
        return build()


def batches_of(
    store: Store, splits: pd.DataFrame, run: PretrainRun, device: torch.device
) -> Batches:
    """Return the replicate's batches, or raise ``UserError`` where there is no image."""
    allowed = ["train", "test"] if run.recipe.transductive else ["train"]
    rows = _rows(store, splits, allowed)
    if not len(rows):
        raise UserError(
            f"pretrain {run.replicate}: source {run.source} has no training image; look at the "
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


def _rows(store: Store, splits: pd.DataFrame, parts: Sequence[str]) -> NDArray[np.int64]:
    return store.rows(learnt_from(splits, parts)["image_id"].to_numpy())


def _setting(
    beginning: Beginning, splits: pd.DataFrame, run: PretrainRun, batches: Batches
) -> Setting:
    store = beginning.store
    seen = store.header.preparation
    return Setting(
        channels=seen.channels,
        height=seen.height,
        width=seen.width,
        grid=run.budget.grid,
        steps_per_epoch=batches.steps_per_epoch,
        batch_size=run.budget.batch_size,
        modality=seen.modality,
        images=batches.images,
        mean=seen.mean,
        std=seen.std,
        mean_pixel=beginning.mean_pixel,
        laterality=store.header.laterality,
        rows=len(store),
        steps=run.budget.steps,
        trained_on=len(batches.rows),
        window=seen.window,
        fine=seen.fine,
        detail=_detail(store, batches),
        lesions=None if store.masks is None else batches.lesions,
        learnt=run.learnt,
        histogram=lambda: histogram(store, _rows(store, splits, ["train"])),
    )


def _detail(store: Store, batches: Batches) -> NDArray[np.float64] | None:
    """Return what the training images' files hold beyond what the network sees."""
    if "detail" not in store.index:
        return None
    detail: NDArray[np.float64] = store.index["detail"].to_numpy(np.float64)[batches.rows]
    return detail


def metadata_of(beginning: Beginning, run: PretrainRun) -> EncoderMetadata:
    """Return what the encoder's file says of it."""
    header = beginning.store.header
    return EncoderMetadata(
        architecture=run.recipe.names["encoder"],
        arguments=asdict(cast(Any, run.recipe.encoder.architecture)),
        preparation=header.preparation,
        source=run.source,
        recipe=run.recipe_name,
        seed=run.seed,
        data_hash=header.data_hash,
        version=maskwise.__version__,
        weights=beginning.weights.origin if beginning.weights else None,
        transductive=run.recipe.transductive,
        told_lesions=run.recipe.names["policy"] == "oracle",
    )


def key_of(store: Store, run: PretrainRun, beginning: Beginning) -> str:
    """Hash all that shapes the weights: the name of the replicate's checkpoint."""
    config = asdict(run.config)
    # How often and where a checkpoint is saved, who may wait for whom, and on how many
    # processes a batch is trained, shapes no weight.
    shapeless = (
        "checkpoint_every",
        "checkpoints",
        "finite_checks",
        "on_collapse",
        "processes",
        "second_run",
        "trackers",
    )
    shaping = {name: value for name, value in config.items() if name not in shapeless}
    return digest_of(
        asdict(run.recipe),
        asdict(run.budget),
        shaping,
        asdict(store.header),
        [run.source, run.recipe_name, run.seed],
        beginning.weights.origin.sha256 if beginning.weights else None,
        *([] if run.learnt is None else [content(run.learnt)]),
    )
