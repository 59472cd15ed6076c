"""A replicate's training, on one process or on several, and a step of it made again."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from maskwise import seeds
from maskwise.artefacts.encoder import keep_decoder, write_encoder
from maskwise.artefacts.gallery import Gallery
from maskwise.artefacts.store import Store, open_store
from maskwise.encoders.contract import Encoder
from maskwise.encoders.metadata import EncoderMetadata
from maskwise.pretrain.assembly import (
    PretrainRun,
    assemble,
    batches_of,
    build_encoder,
    decoder_of,
    fitted_run,
    key_of,
    metadata_of,
    networks_of,
)
from maskwise.pretrain.beginning import Beginning, begin
from maskwise.pretrain.checkpoint import Checkpoint
from maskwise.pretrain.contracts import PixelReward
from maskwise.pretrain.diagnostics import Probe, Watch
from maskwise.pretrain.divergence import Origin, Replayed, keep, read_kept, replay
from maskwise.pretrain.hardware import build_fabric, determinism, device_of
from maskwise.pretrain.learner import Course, Learner
from maskwise.pretrain.loop import Loop
from maskwise.pretrain.meeting import Seat
from maskwise.pretrain.plan import Plan
from maskwise.pretrain.policies.learnt import kept
from maskwise.pretrain.processes import leading
from maskwise.pretrain.recipe import check_machine
from maskwise.pretrain.records import Report
from maskwise.pretrain.together import follow
from maskwise.pretrain.trackers import trackers
from maskwise.ranks import ALONE

log = logging.getLogger(__name__)


def train(
    beginning: Beginning,
    splits: pd.DataFrame,
    run: PretrainRun,
    encoder: Encoder,
    probe: Probe,
    checkpoint: Checkpoint,
) -> tuple[pd.DataFrame, Gallery, dict[str, Tensor]]:
    """Train on this process, or on several of which it is the first."""
    given = (beginning, splits, run, encoder, probe, checkpoint)
    config = run.config
    check_machine(config, run.budget, run.recipe, run.source)
    if config.processes.number == 1:
        return _trained(*given)
    accelerator = device_of(config.device, config.processes.devices)
    backend = "nccl" if accelerator == "cuda" else "gloo"
    silent = replace(run, report=None)  # which is of this process
    work = partial(follow_replicate, beginning.store.path, splits, silent)
    with leading(config.processes, backend, work, run.replicate) as seat:
        return _trained(*given, seat)


def _trained(
    beginning: Beginning,
    splits: pd.DataFrame,
    run: PretrainRun,
    encoder: Encoder,
    probe: Probe,
    checkpoint: Checkpoint,
    seat: Seat | None = None,
) -> tuple[pd.DataFrame, Gallery, dict[str, Tensor]]:
    loggers = trackers(run.config.trackers, run.checkpoints, run.replicate)
    fabric = _fabric(run, seat, loggers)
    batches = batches_of(beginning.store, splits, run, fabric.device)
    objective, policy = networks_of(beginning, splits, run, encoder, batches)
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
    plan = _plan(beginning, splits, run, encoder, checkpoint, fabric.device)
    with determinism(run.config.deterministic):
        watch = Watch.build(beginning.store, splits, run.seed) if run.config.watches else None
        ranks = ALONE if seat is None else seat.ranks
        loop = Loop(plan, fabric, objective, policy, batches, probe, watch, ranks)
        try:
            history, gallery = loop.run(checkpoint)
        finally:
            for logger in loggers:
                logger.finalize("success")
    if run.recipe.keep_decoder:
        weights = decoder_of(objective).state_dict()
        keep_decoder(encoder, {name: tensor.cpu() for name, tensor in weights.items()})
    return history, gallery, kept(policy)


def _plan(
    beginning: Beginning,
    splits: pd.DataFrame,
    run: PretrainRun,
    encoder: Encoder,
    checkpoint: Checkpoint,
    device: torch.device,
) -> Plan:
    config = run.config
    origin = Origin(
        run.source,
        run.recipe_name,
        run.seed,
        checkpoint.key,
        config.channels_last,
        run.recipe.optimisation.accumulate,
        config.processes.number,
    )
    return Plan(
        replicate=run.replicate,
        seed=run.seed,
        grid=run.budget.grid,
        course=_course(run),
        checkpoint_every=config.checkpoint_every,
        gallery_moments=config.gallery_moments,
        watches=config.watches,
        stop_collapsed=config.on_collapse == "stop",
        assemble=partial(assemble, beginning.store.path, splits, replace(run, report=None)),
        snapshots={
            step: partial(
                write_encoder, encoder, metadata_of(beginning, run), run.snapshot(step)
            )
            for step in run.budget.snapshots
        },
        report=_report(run, encoder, metadata_of(beginning, run)),
        pixels=_pixels(run),
        live=bool(config.trackers),
        finite_only=_finite_only(run, device),
        keep=partial(keep, origin=origin, folder=run.checkpoints),
    )


def _report(run: PretrainRun, encoder: Encoder, metadata: EncoderMetadata) -> Report | None:
    """Return what tells ``run.report`` a row, and shows it the encoder with its metadata."""
    told = run.report
    if told is None:
        return None

    def report(row: Mapping[str, float]) -> None:
        encoder.metadata = metadata
        told(row, encoder)

    return report


def _course(run: PretrainRun) -> Course:
    timeline = run.recipe.timeline(run.budget.steps)
    return Course(timeline, run.recipe.optimisation, run.config.channels_last)


def _pixels(run: PretrainRun) -> bool:
    policy = run.recipe.policy
    return isinstance(policy, PixelReward) and bool(policy.pixel_option)


def _finite_only(run: PretrainRun, device: torch.device) -> bool:
    wanted = run.config.finite_checks
    return wanted == "step" or (wanted == "auto" and device.type == "cpu")


def _fabric(run: PretrainRun, seat: Seat | None, loggers: Sequence[Any] = ()) -> Any:
    config = run.config
    return build_fabric(config.device, config.precision, seat, config.processes.nodes, loggers)


def follow_replicate(path: Path, splits: pd.DataFrame, run: PretrainRun, seat: Seat) -> None:
    """Train a replicate as another process than the first, which knows all that is not here."""
    logging.getLogger("maskwise").setLevel(logging.ERROR)  # the first says the same
    store = open_store(path)
    run = fitted_run(run, store.header.preparation)
    beginning = begin(store, run.recipe, run.recipe_name, run.source, run.seed)
    encoder = build_encoder(beginning, run)
    fabric = _fabric(run, seat)
    batches = batches_of(beginning.store, splits, run, fabric.device)
    objective, _ = networks_of(beginning, splits, run, encoder, batches)
    learner = Learner(_course(run), fabric, objective, seat.ranks)
    with determinism(run.config.deterministic):
        torch.manual_seed(seeds.torch_seed(run.seed, "training"))
        follow(
            learner,
            batches,
            run.budget.grid,
            _pixels(run),
            _finite_only(run, fabric.device),
        )


def replay_step(path: Path, store: Store, splits: pd.DataFrame, run: PretrainRun) -> Replayed:
    """Make a kept step of ``run`` again on the CPU.

    Raises:
        UserError: if the file is none, or its images are not those of today.
    """
    kept_step = read_kept(path)
    run = fitted_run(run, store.header.preparation)
    beginning = begin(store, run.recipe, run.recipe_name, run.source, run.seed)
    if key_of(store, run, beginning) != kept_step.about.origin.key:
        log.warning(
            "replay: recipe, budget, images or code have changed since %s was kept, and "
            "what is made again may be another step.",
            path,
        )
    objective, _, batches = assemble(store.path, splits, run)
    about = kept_step.about
    return replay(kept_step, objective, batches.batch(about.step, about.progress))
