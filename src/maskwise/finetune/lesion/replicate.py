"""One replicate of the task: every fraction's images, two networks each, their outlines."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from maskwise.artefacts.model import SegmenterMetadata
from maskwise.artefacts.outlines import ModelOutlines, pack
from maskwise.artefacts.store import Store
from maskwise.artefacts.tables import PREDICTIONS, SEGMENTATION, SUBSETS
from maskwise.device import choose_device
from maskwise.encoders.contract import Encoder
from maskwise.encoders.metadata import EncoderMetadata
from maskwise.encoders.segmenter import Segmenter
from maskwise.finetune.classification.features import extract
from maskwise.finetune.contracts import Finetuned, Mode
from maskwise.finetune.inputs import as_seen, learns, split_rows
from maskwise.finetune.lesion.config import LesionConfig
from maskwise.finetune.lesion.measures import (
    Spacing,
    Units,
    count,
    measure,
    spacing_of,
    units_of,
)
from maskwise.finetune.lesion.outlines import Outlines, read_outlines
from maskwise.finetune.lesion.start import build_start
from maskwise.finetune.lesion.subsets import draw_outlined
from maskwise.finetune.lesion.training import Lesson, Trained, predict, train
from maskwise.finetune.models import Models
from maskwise.finetune.run import FinetuneRun
from maskwise.finetune.training import at_every_rate, refuse_infinite
from maskwise.limits.record import Limits
from maskwise.limits.typical import Space, evenly
from maskwise.progress import Bar

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Replicate:
    """What all fractions of a replicate share."""

    metadata: EncoderMetadata
    store: Store
    outlines: Outlines
    spacing: Spacing
    units: Units
    start: Segmenter
    """The encoder under its decoder, before it has seen a label."""
    decoder: str
    """Where that is from: ``fresh`` or ``pretrained``."""
    images: pd.DataFrame
    """One row per outlined image: ``image_id, group, split, fold, row, label``."""
    subsets: pd.DataFrame
    modes: tuple[Mode, ...]
    run: FinetuneRun
    device: torch.device

    @property
    def task(self) -> LesionConfig:
        """The options of the run."""
        return cast(LesionConfig, self.run.budget.task)

    @property
    def fractions(self) -> list[float]:
        """Those of the run that are enough to learn from, in its order."""
        return [each for each in self.run.fractions if each in set(self.subsets["fraction"])]

    def rows(self, fraction: float, role: str) -> NDArray[np.int64]:
        """Return the store's rows that a fraction uses in a role."""
        table = self.subsets
        chosen = table[(table["fraction"] == fraction) & (table["role"] == role)]
        return self.store.rows(chosen["image_id"])


@dataclass(frozen=True)
class Learnt:
    """A network, and how it did on validation images."""

    model: Segmenter
    metadata: SegmenterMetadata
    choice: dict[str, Any]
    """What ``index.json`` says beside these: rate, decoder, steps made and of the best
    weights, their Dice on validation images."""


def learn(encoder: Encoder, store: Store, splits: pd.DataFrame, run: FinetuneRun) -> Finetuned:
    """Train a segmenter on the frozen encoder and one as a whole, at every fraction."""
    replicate = prepare(encoder, store, splits, run)
    models, tables, largest = Models(run.config.keep), [], max(replicate.fractions)
    for fraction in replicate.fractions:
        for mode in replicate.modes:
            learnt = learn_one(replicate, fraction, mode)
            limits = partial(limits_of, replicate, learnt)
            models.add(learnt.model, learnt.metadata, learnt.choice, limits)
            table, called = predictions(replicate, learnt)
            tables.append(table)
            if fraction == largest and mode == replicate.modes[-1]:
                models.outlines = _outlines(replicate, learnt, table, called)
    return Finetuned(replicate.subsets, pd.concat(tables, ignore_index=True), models.write)


def prepare(
    encoder: Encoder, store: Store, splits: pd.DataFrame, run: FinetuneRun
) -> Replicate:
    """Find the outlined images, draw the subsets, put a decoder on the encoder."""
    metadata, store = as_seen(encoder, store)
    outlines = read_outlines(store, f"{run.source}.finetune.task")
    images = split_rows(store, splits, run.seed)
    outlined = store.index["has_mask"].to_numpy()[images["row"]]
    images = images[outlined].reset_index(drop=True)
    images = images.assign(label=outlines.kinds(images["row"].to_numpy()))
    subsets = draw_outlined(images, run.fractions, run.config.validation, run.seed)
    subsets = subsets.assign(source=run.source, recipe=run.recipe, seed=run.seed)
    start, decoder = build_start(encoder, store.header.preparation, len(outlines.classes), run)
    modes = tuple(sorted(run.config.modes, reverse=True))  # probe, then full
    return Replicate(
        metadata=metadata,
        store=store,
        outlines=outlines,
        spacing=spacing_of(store.index),
        units=units_of(store.index),
        start=start,
        decoder=decoder,
        images=images,
        subsets=subsets[list(SUBSETS)],
        modes=modes if learns(encoder) else ("probe",),
        run=run,
        device=choose_device(run.config.device, "finetune.device"),
    )


def learn_one(replicate: Replicate, fraction: float, mode: Mode) -> Learnt:
    """Train once per learning rate; validation images choose."""
    tried: list[tuple[float, Trained]] = []
    for rate, trained in _trained(replicate, fraction, mode):
        refuse_infinite(replicate.run, rate, fraction, bool(np.isfinite(trained.loss)))
        tried.append((rate, trained))
    rate, best = max(tried, key=lambda one: (one[1].dice, -one[1].loss))
    log.info(
        "%s, %.0f %% of the labels: rate %g (%d tried), step %d of %d made, of %d at most; "
        "held-out Dice %.3f, Dice + cross-entropy %.3f",
        mode, 100 * fraction, rate, len(tried), best.best_step, best.steps,
        replicate.run.budget.steps, best.dice, best.loss,
    )  # fmt: skip
    metadata = SegmenterMetadata(
        encoder=replicate.metadata,
        task="lesion",
        classes=replicate.outlines.classes,
        mode=mode,
        fraction=fraction,
        images=len(replicate.rows(fraction, "train")),
        validation_loss=best.loss,
        network=replicate.task.network,
    )
    choice = {
        "learning_rate": rate,
        "decoder": replicate.decoder,
        "steps": best.steps,
        "best_step": best.best_step,
        "validation_dice": best.dice,
    }
    return Learnt(best.model, metadata, choice)


def limits_of(replicate: Replicate, learnt: Learnt) -> Limits:
    """Return where the encoder puts the training images, and how far held-out ones lie."""
    fraction, groups = learnt.metadata.fraction, replicate.store.index["group"].to_numpy(object)
    held_out = replicate.rows(fraction, "validation")
    learnt_from, others = (
        extract(learnt.model.encoder, replicate.store, rows, "mean", replicate.device)[-1]
        for rows in (evenly(replicate.rows(fraction, "train")), held_out)
    )
    return Limits(None, Space.of(learnt_from, others, groups[held_out]))


def predictions(replicate: Replicate, learnt: Learnt) -> tuple[pd.DataFrame, NDArray[np.uint8]]:
    """Return the network's rows of ``predictions.parquet``: all validation and test images.

    Beside them what it outlined, ``(n, H, W)``.
    """
    asked = replicate.images[replicate.images["split"].isin(["validation", "test"])]
    asked = asked.reset_index(drop=True)
    rows = asked["row"].to_numpy()
    called = np.concatenate(
        [
            logits.argmax(dim=1).numpy().astype(np.uint8)
            for _, logits in predict(learnt.model, replicate.store, rows, replicate.device)
        ]
    )
    table = asked.rename(columns={"label": "truth"}).assign(
        source=replicate.run.source,
        recipe=replicate.run.recipe,
        seed=replicate.run.seed,
        fraction=learnt.metadata.fraction,
        mode=learnt.metadata.mode,
        unit=replicate.units.names[rows],
        unit_kind=replicate.units.kind,
        distance_unit=replicate.spacing.unit,
    )[[*PREDICTIONS, *SEGMENTATION]]
    return table.join(_measured(replicate, rows, called, asked["split"] == "test")), called


def _measured(
    replicate: Replicate,
    rows: NDArray[np.int64],
    called: NDArray[np.uint8],
    test: "pd.Series[bool]",
) -> pd.DataFrame:
    """Count the pixels of all rows, and measure distances of the test part, which take long."""
    names, slices = replicate.outlines.classes, replicate.units.slices
    counts = count(called, replicate.outlines.of(rows), names)
    tested = rows[test]
    units = replace(
        replicate.units,
        names=replicate.units.names[tested],
        slices=None if slices is None else slices[tested],
        apart=replicate.units.apart[tested],
    )
    truths, sides = replicate.outlines.of(tested), replicate.spacing.sides[tested]
    distances = measure(called[test], truths, names, units, sides)
    return counts.join(distances.set_index(counts.index[test]))


def _trained(
    replicate: Replicate, fraction: float, mode: Mode
) -> Iterator[tuple[float, Trained]]:
    """Train once per learning rate."""
    run, held_out = replicate.run, replicate.rows(fraction, "validation")
    whole = replicate.units.kind == "volume"

    def train_at(rate: float, shown: Bar) -> Trained:
        lesson = Lesson(
            store=replicate.store,
            rows=replicate.rows(fraction, "train"),
            steps=run.budget.steps,
            batch_size=run.budget.batch_size,
            learning_rate=rate,
            seed=run.seed,
            device=replicate.device,
            outlines=replicate.outlines,
            mode=mode,
            task=replicate.task,
            validation=held_out,
            # As `evaluate` scores by default: volumes where there are some, else images.
            units=replicate.units.names[held_out] if whole else held_out.astype(object),
            groups=replicate.store.index["group"].to_numpy(dtype=object)[held_out],
        )
        return train(replicate.start, lesson, run.config.full, shown)

    what = f"{mode}, {fraction:.0%} of the labels"
    return at_every_rate(run, what, train_at, replicate.task.every)


def _outlines(
    replicate: Replicate, learnt: Learnt, table: pd.DataFrame, called: NDArray[np.uint8]
) -> ModelOutlines:
    test = (table["split"] == "test").to_numpy()
    return ModelOutlines(
        image_ids=table.loc[test, "image_id"].to_numpy(dtype=np.str_),
        outlines=pack(called[test], len(replicate.outlines.classes)),
        classes=np.asarray(replicate.outlines.classes, dtype=np.str_),
        size=np.asarray(called.shape[1:], dtype=np.int64),
        mode=np.asarray(learnt.metadata.mode),
        fraction=np.asarray(learnt.metadata.fraction),
    )
