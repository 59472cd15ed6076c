"""One replicate: from a store and a recipe to an encoder and the story of its training."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import pandas as pd
import torch

import maskwise
from maskwise import seeds
from maskwise.artefacts.gallery import Gallery
from maskwise.artefacts.policy import (
    LearntPolicy,
    PolicyMetadata,
    check_origin,
    options_of,
)
from maskwise.artefacts.splits import for_seed
from maskwise.artefacts.store import Store
from maskwise.encoders.contract import Encoder
from maskwise.encoders.metadata import EncoderMetadata
from maskwise.errors import UserError
from maskwise.masks import check_grid
from maskwise.pretrain.assembly import PretrainRun as PretrainRun  # what it is called with
from maskwise.pretrain.assembly import (
    batches_of,
    build_encoder,
    fitted_run,
    key_of,
    metadata_of,
)
from maskwise.pretrain.beginning import Beginning, begin
from maskwise.pretrain.checkpoint import Checkpoint
from maskwise.pretrain.diagnostics import Probe, pack
from maskwise.pretrain.records import COLUMNS
from maskwise.pretrain.statistics import settle
from maskwise.pretrain.training import train

log = logging.getLogger(__name__)


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
    run = fitted_run(run, seen)
    beginning = begin(store, run.recipe, run.recipe_name, run.source, run.seed)
    checkpoint = Checkpoint(run.checkpoints, key_of(store, run, beginning))
    with checkpoint.lock(run.config.second_run, run.replicate):
        if not checkpoint.path.exists():
            for stale in run.checkpoints.glob("step_*.safetensors"):  # of another recipe
                stale.unlink()
        _check_learnt(beginning.store, run)
        with seeds.torch_stream():
            trained = _pretrain(beginning, for_seed(splits, run.seed), run, checkpoint)
        yield trained
        checkpoint.remove()


def _pretrain(
    beginning: Beginning, splits: pd.DataFrame, run: PretrainRun, checkpoint: Checkpoint
) -> Pretrained:
    encoder = build_encoder(beginning, run)
    probe = Probe.build(beginning.store, splits, run.budget.grid, run.seed)
    if run.recipe.trains:
        history, gallery, maps = train(beginning, splits, run, encoder, probe, checkpoint)
    else:
        history, gallery, maps = pd.DataFrame(columns=list(COLUMNS)), pack(probe), {}
        if beginning.weights is None:
            settle(encoder, batches_of(beginning.store, splits, run, torch.device("cpu")))
    encoder.freeze(0)  # as a file would give it back
    cast(Any, encoder).to("cpu").to(memory_format=torch.contiguous_format).eval()
    policy = LearntPolicy(_policy_metadata(beginning.store, run), maps)
    return Pretrained(encoder, metadata_of(beginning, run), history, gallery, policy)


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
