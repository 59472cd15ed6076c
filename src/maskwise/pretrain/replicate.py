"""One replicate, a recipe and a seed: everything seeded, built and run once, to an encoder."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import maskwise
from maskwise import seeds
from maskwise.artefacts.encoder import keep_decoder, write_encoder
from maskwise.artefacts.gallery import Gallery
from maskwise.artefacts.policy import (
    LearntPolicy,
    PolicyMetadata,
    check_origin,
    content,
    options_of,
)
from maskwise.artefacts.splits import for_seed, learnt_from
from maskwise.artefacts.store import Store, open_store
from maskwise.encoders.contract import Encoder
from maskwise.encoders.metadata import EncoderMetadata
from maskwise.errors import UserError
from maskwise.masks import check_grid
from maskwise.preparation import Preparation
from maskwise.pretrain.batches import Batches
from maskwise.pretrain.beginning import Beginning, begin
from maskwise.pretrain.cells import fitted
from maskwise.pretrain.checkpoint import Checkpoint, fingerprint
from maskwise.pretrain.contracts import Objective, Policy, Setting
from maskwise.pretrain.diagnostics import Probe, Watch, pack
from maskwise.pretrain.hardware import build_fabric, determinism
from maskwise.pretrain.histogram import histogram
from maskwise.pretrain.loop import COLUMNS, Loop, Plan, Report
from maskwise.pretrain.policies.learnt import kept
from maskwise.pretrain.recipe import Budget, PretrainConfig, Recipe
from maskwise.pretrain.statistics import settle

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
    report: Report | None = None
    """Is told each epoch's row of the history; what it raises ends the run."""

    @property
    def replicate(self) -> str:
        """The replicate's name in messages."""
        return f"{self.recipe_name} seed {self.seed}"

    def snapshot(self, step: int) -> Path:
        """Where the encoder is kept as it is after ``step`` steps."""
        return self.checkpoints / f"step_{step:06d}.safetensors"


@dataclass(frozen=True)
class Pretrained:
    """What the stage hands on."""

    encoder: Encoder
    metadata: EncoderMetadata
    history: pd.DataFrame
    gallery: Gallery
    policy: LearntPolicy
    """What the agent thinks of each place, for recipes that ask; without a tensor where the
    policy has no map that it learnt."""


@contextmanager
def pretraining(store: Store, splits: pd.DataFrame, run: PretrainRun) -> Iterator[Pretrained]:
    """Run one replicate, or go on where an interrupted run of it stopped; the block saves it.

    Until the block has ended well the last checkpoint stays, from which nothing need be trained
    again, and no other run may touch the replicate.

    Raises:
        UserError: if recipe, budget and images do not go together, the replicate is at work in
            another process, or training was stopped or diverged.
    """
    seen = store.header.preparation
    check_grid(run.budget.grid, seen.height, seen.width, f"{run.source}.pretrain.grid")
    run = _fitted(run, seen)
    beginning = begin(store, run.recipe, run.recipe_name, run.source, run.seed)
    checkpoint = Checkpoint(run.checkpoints, _key(store, run, beginning))
    with checkpoint.lock(run.config.second_run, run.replicate):
        if not checkpoint.path.exists():
            for stale in run.checkpoints.glob("step_*.safetensors"):  # of another recipe
                stale.unlink()
        _check_learnt(beginning.store, run)
        with seeds.torch_stream():
            trained = _pretrain(beginning, for_seed(splits, run.seed), run, checkpoint)
        yield trained
        checkpoint.remove()


def _fitted(run: PretrainRun, seen: Preparation) -> PretrainRun:
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


def _pretrain(
    beginning: Beginning, splits: pd.DataFrame, run: PretrainRun, checkpoint: Checkpoint
) -> Pretrained:
    encoder = _encoder(beginning, run)
    probe = Probe.build(beginning.store, splits, run.budget.grid, run.seed)
    if run.recipe.trains:
        history, gallery, maps = _train(beginning, splits, run, encoder, probe, checkpoint)
    else:
        history, gallery, maps = pd.DataFrame(columns=list(COLUMNS)), pack(probe), {}
        if beginning.weights is None:
            settle(encoder, _batches(beginning.store, splits, run, torch.device("cpu")))
    encoder.freeze(0)  # as a file would give it back
    cast(Any, encoder).to("cpu").to(memory_format=torch.contiguous_format).eval()
    policy = LearntPolicy(_policy_metadata(beginning.store, run), maps)
    return Pretrained(encoder, _metadata(beginning, run), history, gallery, policy)


def _encoder(beginning: Beginning, run: PretrainRun) -> Encoder:
    """Build the encoder with the weights that it begins with."""
    channels = beginning.store.header.preparation.channels
    try:
        encoder = _initialised(run, "encoder", lambda: run.recipe.encoder.build(channels))
    except UserError as error:
        raise UserError(f"{run.recipe_name}.{error}") from None
    beginning.load(encoder, run.replicate)
    return encoder


def _train(
    beginning: Beginning,
    splits: pd.DataFrame,
    run: PretrainRun,
    encoder: Encoder,
    probe: Probe,
    checkpoint: Checkpoint,
) -> tuple[pd.DataFrame, Gallery, dict[str, Tensor]]:
    fabric = build_fabric(run.config.device, run.config.precision)
    batches = _batches(beginning.store, splits, run, fabric.device)
    objective, policy = _networks(beginning, splits, run, encoder, batches)
    timeline = run.recipe.timeline(run.budget.steps)
    log.info(
        "pretrain %s: %d steps of %d images, drawn from %d.",
        run.replicate,
        timeline.steps,
        run.budget.batch_size,
        len(batches.rows),
    )
    if len(batches.rows) < run.budget.batch_size:
        log.warning(
            "pretrain %s: %d images do not fill a batch of %d, so that each of them is in it "
            "more than once; take a smaller %s.pretrain.batch_size",
            run.replicate,
            len(batches.rows),
            run.budget.batch_size,
            run.source,
        )
    plan = Plan(
        replicate=run.replicate,
        seed=run.seed,
        timeline=timeline,
        grid=run.budget.grid,
        optimisation=run.recipe.optimisation,
        checkpoint_every=run.config.checkpoint_every,
        gallery_moments=run.config.gallery_moments,
        channels_last=run.config.channels_last,
        watches=run.config.watches,
        stop_collapsed=run.config.on_collapse == "stop",
        assemble=partial(_assemble, beginning.store.path, splits, run),
        snapshots={
            step: partial(write_encoder, encoder, _metadata(beginning, run), run.snapshot(step))
            for step in run.budget.snapshots
        },
        report=run.report,
    )
    with determinism(run.config.deterministic):
        watch = Watch.build(beginning.store, splits, run.seed) if run.config.watches else None
        loop = Loop(plan, fabric, objective, policy, batches, probe, watch)
        history, gallery = loop.run(checkpoint)
    if run.recipe.keep_decoder:
        weights = _decoder(objective).state_dict()
        keep_decoder(encoder, {name: tensor.cpu() for name, tensor in weights.items()})
    return history, gallery, kept(policy)


def _decoder(objective: Objective) -> nn.Module:
    """Return the objective's decoder, or raise ``UserError`` where it has none."""
    parts = dict(objective.named_children())
    if "decoder" not in parts:
        raise UserError(
            "keep_decoder: true, but the objective has no decoder that outlines could begin "
            "with; leave it out, or choose autoencoder or context_encoder"
        )
    return parts["decoder"]


def _networks(
    beginning: Beginning,
    splits: pd.DataFrame,
    run: PretrainRun,
    encoder: Encoder,
    batches: Batches,
) -> tuple[Objective, Policy[Any]]:
    setting = _setting(beginning, splits, run, batches)
    return build_networks(
        run.recipe, run.recipe_name, setting, encoder, partial(_initialised, run)
    )


def _assemble(
    path: Path, splits: pd.DataFrame, run: PretrainRun
) -> tuple[Objective, Policy[Any], Batches]:
    """Build a replicate's parts anew in another process, which maps the store for itself."""
    store = open_store(path)
    beginning = begin(store, run.recipe, run.recipe_name, run.source, run.seed)
    encoder = _encoder(beginning, run)
    batches = _batches(beginning.store, splits, run, torch.device("cpu"))
    return *_networks(beginning, splits, run, encoder, batches), batches


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
            _decoder(objective)
        for_policy = replace(setting, objective=objective)
        policy = initialised("policy", lambda: recipe.policy.build(for_policy))
    except UserError as error:
        raise UserError(f"{name}.{error}") from None
    return objective, policy


def _initialised(run: PretrainRun, stream: str, build: Callable[[], T]) -> T:
    """Build under a seed of its own: layers draw from torch's global generator."""
    with seeds.torch_stream(seeds.torch_seed(run.seed, "initialisation", stream)):
        return build()


def _batches(
    store: Store, splits: pd.DataFrame, run: PretrainRun, device: torch.device
) -> Batches:
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


def _metadata(beginning: Beginning, run: PretrainRun) -> EncoderMetadata:
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


def _policy_metadata(store: Store, run: PretrainRun) -> PolicyMetadata:
    return PolicyMetadata(
        name=run.recipe.names["policy"],
        options=options_of(run.recipe.policy),
        grid=run.budget.grid,
        preparation=store.header.preparation,
        source=run.source,
        recipe=run.recipe_name,
        seed=run.seed,
        data_hash=store.header.data_hash,
        version=maskwise.__version__,
        transductive=run.recipe.transductive,
    )


def _check_learnt(store: Store, run: PretrainRun) -> None:
    """Refuse an agent of other images, which may have seen those of this replicate's test."""
    if run.learnt is not None:
        where = f"{run.recipe_name}.policy.map.recipe"
        if run.learnt.metadata.transductive and not run.recipe.transductive:
            raise UserError(
                f"{where}: {run.learnt.metadata.recipe} saw the test images; name another "
                "recipe, or say transductive: true here too, which the report prints in red"
            )
        check_origin(
            run.learnt,
            run.budget.grid,
            store.header.preparation,
            store.header.data_hash,
            (run.source, run.seed),
            where,
        )


def _key(store: Store, run: PretrainRun, beginning: Beginning) -> str:
    config = asdict(run.config)
    # How often and where a checkpoint is saved, and who may wait for whom, shapes no weight.
    shapeless = ("checkpoint_every", "checkpoints", "on_collapse", "second_run")
    shaping = {name: value for name, value in config.items() if name not in shapeless}
    return fingerprint(
        asdict(run.recipe),
        asdict(run.budget),
        shaping,
        asdict(store.header),
        [run.source, run.recipe_name, run.seed],
        beginning.weights.origin.sha256 if beginning.weights else None,
        *([] if run.learnt is None else [content(run.learnt)]),
    )
