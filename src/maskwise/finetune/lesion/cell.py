"""One cell of the task: every fraction's images, two networks each, and what they outline."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from maskwise.artefacts.contours import Contours, pack
from maskwise.artefacts.model import SegmenterMetadata
from maskwise.artefacts.store import Store
from maskwise.artefacts.tables import PREDICTIONS, SEGMENTATION, SUBSETS
from maskwise.encoders.contract import Encoder
from maskwise.encoders.metadata import EncoderMetadata
from maskwise.encoders.segmenter import Segmenter
from maskwise.errors import UserError
from maskwise.finetune.contracts import Finetuned, Mode
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
from maskwise.finetune.lesion.training import Lesson, loss_on, predict, train
from maskwise.finetune.models import Models
from maskwise.finetune.opening import device_of, learns, own_metadata, split_rows
from maskwise.finetune.run import FinetuneRun
from maskwise.progress import bar, note

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cell:
    """What all fractions of a cell share."""

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
    """A row an outlined image: ``image_id, group, split, fold, row, label``."""
    subsets: pd.DataFrame
    modes: tuple[Mode, ...]
    run: FinetuneRun
    device: torch.device

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
    learning_rate: float


def learn(encoder: Encoder, store: Store, splits: pd.DataFrame, run: FinetuneRun) -> Finetuned:
    """Train a segmenter on the frozen encoder and one as a whole, at every fraction."""
    cell = prepare(encoder, store, splits, run)
    models, tables, largest = Models(run.config.keep), [], max(cell.fractions)
    for fraction in cell.fractions:
        for mode in cell.modes:
            learnt = learn_one(cell, fraction, mode)
            choice = {"learning_rate": learnt.learning_rate, "decoder": cell.decoder}
            models.add(learnt.model, learnt.metadata, choice)
            table, called = predictions(cell, learnt)
            tables.append(table)
            if fraction == largest and mode == cell.modes[-1]:
                models.contours = _contours(cell, learnt, table, called)
    return Finetuned(cell.subsets, pd.concat(tables, ignore_index=True), models.write)


def prepare(encoder: Encoder, store: Store, splits: pd.DataFrame, run: FinetuneRun) -> Cell:
    """Find the outlined images, draw the subsets, put a decoder on the encoder."""
    metadata, store = own_metadata(encoder, store), store.for_seed(run.seed)
    outlines = read_outlines(store, f"{run.source}.finetune.task")
    images = split_rows(store, splits, run.seed)
    outlined = store.index["has_mask"].to_numpy()[images["row"]]
    images = images[outlined].reset_index(drop=True)
    images = images.assign(label=outlines.kinds(images["row"].to_numpy()))
    subsets = draw_outlined(images, run.fractions, run.config.validation, run.seed)
    subsets = subsets.assign(source=run.source, recipe=run.recipe, seed=run.seed)
    start, decoder = build_start(encoder, store.header.preparation, len(outlines.classes), run)
    modes = tuple(sorted(run.config.modes, reverse=True))  # probe, then full
    return Cell(
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
        device=device_of(run),
    )


def learn_one(cell: Cell, fraction: float, mode: Mode) -> Learnt:
    """Train once a learning rate; the loss on validation images chooses."""
    held_out, tried = cell.rows(fraction, "validation"), []
    for rate, model in _trained(cell, fraction, mode):
        loss = loss_on(model, cell.store, cell.outlines, held_out, cell.device)
        if not np.isfinite(loss):
            raise UserError(
                f"{cell.run.source}.finetune.learning_rates: at {rate:g} the network's answers "
                f"({cell.run.recipe}, seed {cell.run.seed}, {fraction:g} of the labels) are no "
                "longer finite; take a smaller one"
            )
        tried.append((loss, rate, model))
    loss, rate, model = min(tried, key=lambda one: one[0])
    log.info(
        "%s, %.0f %% of the labels: rate %g (%d tried), held-out Dice + cross-entropy %.3f",
        mode, 100 * fraction, rate, len(tried), loss,
    )  # fmt: skip
    metadata = SegmenterMetadata(
        encoder=cell.metadata,
        task="lesion",
        classes=cell.outlines.classes,
        mode=mode,
        fraction=fraction,
        images=len(cell.rows(fraction, "train")),
        validation_loss=loss,
    )
    return Learnt(model, metadata, rate)


def predictions(cell: Cell, learnt: Learnt) -> tuple[pd.DataFrame, NDArray[np.uint8]]:
    """Return the network's rows of ``predictions.parquet``: all validation and test images.

    Beside them what it outlined, ``(n, H, W)``.
    """
    asked = cell.images[cell.images["split"].isin(["validation", "test"])]
    asked = asked.reset_index(drop=True)
    rows = asked["row"].to_numpy()
    called = np.concatenate(
        [
            logits.argmax(dim=1).numpy().astype(np.uint8)
            for _, logits in predict(learnt.model, cell.store, rows, cell.device)
        ]
    )
    table = asked.rename(columns={"label": "truth"}).assign(
        source=cell.run.source,
        recipe=cell.run.recipe,
        seed=cell.run.seed,
        fraction=learnt.metadata.fraction,
        mode=learnt.metadata.mode,
        unit=cell.units.names[rows],
        unit_kind=cell.units.kind,
        distance_unit=cell.spacing.unit,
    )[[*PREDICTIONS, *SEGMENTATION]]
    return table.join(_measured(cell, rows, called, asked["split"] == "test")), called


def _measured(
    cell: Cell, rows: NDArray[np.int64], called: NDArray[np.uint8], test: "pd.Series[bool]"
) -> pd.DataFrame:
    """Count the pixels of all rows, and measure distances of the test part, which take long."""
    names, slices = cell.outlines.classes, cell.units.slices
    counts = count(called, cell.outlines.of(rows), names)
    tested = rows[test]
    units = replace(
        cell.units,
        names=cell.units.names[tested],
        slices=None if slices is None else slices[tested],
        apart=cell.units.apart[tested],
    )
    truths, sides = cell.outlines.of(tested), cell.spacing.sides[tested]
    distances = measure(called[test], truths, names, units, sides)
    return counts.join(distances.set_index(counts.index[test]))


def _trained(cell: Cell, fraction: float, mode: Mode) -> Iterator[tuple[float, Segmenter]]:
    """Train once a learning rate, all under one bar."""
    budget, run = cell.run.budget, cell.run
    name = f"{run.recipe}.s{run.seed}, {mode}, {fraction:.0%} of the labels"
    steps = budget.steps * len(budget.learning_rates)
    with bar("finetune", name, steps, budget.batch_size) as shown:
        for rate in budget.learning_rates:
            lesson = Lesson(
                store=cell.store,
                outlines=cell.outlines,
                rows=cell.rows(fraction, "train"),
                mode=mode,
                steps=budget.steps,
                batch_size=budget.batch_size,
                learning_rate=rate,
                seed=run.seed,
                device=cell.device,
            )
            model = train(cell.start, lesson, run.config.full, shown)
            note(finetune_images_per_second=shown.images_per_second)
            yield rate, model


def _contours(
    cell: Cell, learnt: Learnt, table: pd.DataFrame, called: NDArray[np.uint8]
) -> Contours:
    test = (table["split"] == "test").to_numpy()
    return Contours(
        image_ids=table.loc[test, "image_id"].to_numpy(dtype=np.str_),
        outlines=pack(called[test], len(cell.outlines.classes)),
        classes=np.asarray(cell.outlines.classes, dtype=np.str_),
        size=np.asarray(called.shape[1:], dtype=np.int64),
        mode=np.asarray(learnt.metadata.mode),
        fraction=np.asarray(learnt.metadata.fraction),
    )
