"""One cell of a diagnosis, and the two ways to learn from a fraction of its labels."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import softmax

from maskwise.artefacts.model import ModelMetadata, build_classifier
from maskwise.artefacts.store import Store
from maskwise.artefacts.tables import PREDICTIONS, SUBSETS
from maskwise.encoders.classifier import Classifier
from maskwise.encoders.contract import Encoder
from maskwise.encoders.metadata import EncoderMetadata
from maskwise.errors import UserError
from maskwise.finetune.contracts import Finetuned, Mode
from maskwise.finetune.diagnosis import probe
from maskwise.finetune.diagnosis.features import Features, extract
from maskwise.finetune.diagnosis.folds import deal_folds, hold_out
from maskwise.finetune.diagnosis.heads import LinearHead
from maskwise.finetune.diagnosis.task import Diagnosis, DiagnosisConfig
from maskwise.finetune.diagnosis.temperature import fit_temperature, log_loss
from maskwise.finetune.diagnosis.training import Lesson, fine_tune, predict_logits
from maskwise.finetune.models import Models
from maskwise.finetune.opening import device_of, learns, own_metadata, split_rows
from maskwise.finetune.run import FinetuneRun
from maskwise.finetune.subsets import draw_subsets
from maskwise.progress import bar, note

log = logging.getLogger(__name__)

Logits = NDArray[np.float64]
"""``(N, K)``, of the rows of ``Cell.labelled``."""


@dataclass(frozen=True)
class Labels:
    """The images that one fraction may learn from and choose by."""

    fraction: float
    images: pd.DataFrame
    """Rows of ``Cell.labelled`` with their ``position`` in it, and ``role``."""
    choices: list[probe.Choice]
    """The probe's best strength for each candidate of stages."""

    def part(self, role: str) -> pd.DataFrame:
        """Return the images with that role."""
        return self.images[self.images["role"] == role]


@dataclass(frozen=True)
class Cell:
    """What all fractions of a cell share."""

    encoder: Encoder
    metadata: EncoderMetadata
    store: Store
    task: Diagnosis
    labelled: pd.DataFrame
    """A row a labelled image: ``image_id, group, split, fold, label, row, target``."""
    features: Features
    """Of the rows of ``labelled``."""
    pooling: str
    subsets: pd.DataFrame
    modes: tuple[Mode, ...]
    run: FinetuneRun
    device: torch.device

    def labels(self, fraction: float) -> Labels:
        """Return a fraction's images, and what they say of the probe's options."""
        chosen = self.subsets.loc[self.subsets["fraction"] == fraction, ["image_id", "role"]]
        positions = self.labelled.assign(position=np.arange(len(self.labelled)))
        images = positions.merge(chosen, on="image_id", validate="one_to_one")
        config, folds = self.run.config, hold_out(images)
        if config.validation == "subset":
            # A few validation images choose at random: the whole subset takes turns instead.
            folds = deal_folds(images, config.probe.folds, self.run.seed) or folds
        targets = images["target"].to_numpy()
        choices = probe.choose(
            [stage[images["position"]] for stage in self.features],
            targets,
            self.task.weights(targets[(images["role"] == "train").to_numpy()]),
            folds,
            probe.candidates(len(self.features)),
            config.probe.strengths,
        )
        return Labels(fraction, images, choices)


@dataclass(frozen=True)
class Learnt:
    """A model, and what it says of the rows of ``Cell.labelled``."""

    model: Classifier
    metadata: ModelMetadata
    logits: Logits
    choice: dict[str, float]
    """What was chosen for it, beside what the metadata say."""


def learn(encoder: Encoder, store: Store, splits: pd.DataFrame, run: FinetuneRun) -> Finetuned:
    """Fit the probe and fine-tune everything, at every fraction of the labels."""
    cell = prepare(encoder, store, splits, run)
    models, tables = Models(run.config.keep), []
    learners = {"probe": learn_probe, "full": learn_full}
    for fraction in run.fractions:
        labels = cell.labels(fraction)
        for mode in cell.modes:
            learnt = learners[mode](cell, labels)
            models.add(learnt.model, learnt.metadata, learnt.choice)
            tables.append(predictions(cell, learnt))
    return Finetuned(cell.subsets, pd.concat(tables, ignore_index=True), models.write)


def prepare(encoder: Encoder, store: Store, splits: pd.DataFrame, run: FinetuneRun) -> Cell:
    """Read labels, draw the subsets, extract the frozen encoder's features."""
    metadata, store = own_metadata(encoder, store), store.for_seed(run.seed)
    config = cast(DiagnosisConfig, run.budget.task)
    task = config.build(store.index, f"{run.source}.finetune.task")
    labelled = _labelled(store, split_rows(store, splits, run.seed), task)
    subsets = draw_subsets(labelled, run.fractions, run.config.validation, run.seed)
    subsets = subsets.assign(source=run.source, recipe=run.recipe, seed=run.seed)
    trainable = learns(encoder)
    # An encoder without parameters has no features to pool: every place counts for itself.
    pooling = run.config.probe.pooling if trainable else "places"
    device = device_of(run)
    rows = labelled["row"].to_numpy()
    return Cell(
        encoder=encoder,
        metadata=metadata,
        store=store,
        task=task,
        labelled=labelled,
        features=extract(encoder, store, rows, pooling, device),
        pooling=pooling,
        subsets=subsets[list(SUBSETS)],
        modes=run.config.modes if trainable else ("probe",),
        run=run,
        device=device,
    )


def learn_probe(cell: Cell, labels: Labels) -> Learnt:
    """Fit the linear layer alone, on the stages that held-out images prefer."""
    choice = min(labels.choices, key=lambda one: one.loss)
    head = _fit(cell, labels, choice)
    logits = head.logits(probe.select(cell.features, choice.stages))
    temperature = fit_temperature(choice.logits, choice.targets)
    fitted = (temperature, len(choice.targets))
    metadata = _metadata(cell, labels, "probe", choice.stages, fitted, logits)
    model = build_classifier(cell.encoder, metadata)
    model.head = head.folded()
    log.info(
        "probe, %.0f %% of the labels: stages %s, C %g, held-out log loss %.3f nats",
        100 * labels.fraction, _counted(choice.stages), choice.strength, choice.loss,
    )  # fmt: skip
    return Learnt(model, metadata, logits, {"strength": choice.strength})


def learn_full(cell: Cell, labels: Labels) -> Learnt:
    """Train everything, all stages under the linear layer; validation chooses the rate."""
    stages = tuple(range(len(cell.features)))
    choice = next(one for one in labels.choices if one.stages == stages)
    head = _fit(cell, labels, choice)
    if cell.run.config.full.head == "fresh":
        head = replace(head, weight=head.weight * 0, bias=head.bias * 0)
    held_out, tried = labels.part("validation"), []
    for rate, model in _trained(cell, labels, stages, head):
        logits = predict_logits(model, cell.store, cell.labelled["row"].to_numpy(), cell.device)
        if not np.isfinite(logits).all():
            raise UserError(
                f"{cell.run.source}.finetune.learning_rates: at {rate:g} the network's answers "
                f"({cell.run.recipe}, seed {cell.run.seed}, {labels.fraction:g} of the labels) "
                "are no longer finite; take a smaller one"
            )
        loss = log_loss(logits[held_out["position"]], held_out["target"].to_numpy())
        tried.append((loss, rate, model, logits))
    loss, rate, model, logits = min(tried, key=lambda one: one[0])
    at = held_out["position"]
    temperature = fit_temperature(logits[at], held_out["target"].to_numpy())
    model.temperature = temperature
    fitted = (temperature, len(held_out))
    metadata = _metadata(cell, labels, "full", stages, fitted, logits)
    log.info(
        "full, %.0f %% of the labels: rate %g (%d tried), held-out log loss %.3f nats",
        100 * labels.fraction, rate, len(tried), loss,
    )  # fmt: skip
    return Learnt(model, metadata, logits, {"learning_rate": rate})


def predictions(cell: Cell, learnt: Learnt) -> pd.DataFrame:
    """Return the model's rows of ``predictions.parquet``: all validation and test images."""
    asked = cell.labelled["split"].isin(["validation", "test"]).to_numpy()
    images = cell.labelled[asked].reset_index(drop=True)
    table = images.rename(columns={"label": "truth"}).assign(
        source=cell.run.source,
        recipe=cell.run.recipe,
        seed=cell.run.seed,
        fraction=learnt.metadata.fraction,
        mode=learnt.metadata.mode,
    )[list(PREDICTIONS)]
    chances = softmax(learnt.logits[asked], axis=1)
    names = [f"p_{name}" for name in cell.task.classes]
    return pd.concat([table, pd.DataFrame(chances, columns=names)], axis=1)


def _trained(
    cell: Cell, labels: Labels, stages: probe.Stages, head: LinearHead
) -> Iterator[tuple[float, Classifier]]:
    """Train once a learning rate, all under one bar."""
    budget, train = cell.run.budget, labels.part("train")
    targets = train["target"].to_numpy()
    start = Classifier(cell.encoder, stages, cell.pooling, *head.weight.shape[::-1])
    name = f"{cell.run.recipe}.s{cell.run.seed}, {labels.fraction:.0%} of the labels"
    steps = budget.steps * len(budget.learning_rates)
    with bar("finetune", name, steps, budget.batch_size) as shown:
        for rate in budget.learning_rates:
            lesson = Lesson(
                store=cell.store,
                rows=train["row"].to_numpy(),
                targets=targets,
                weights=cell.task.weights(targets),
                laterality=cell.store.header.laterality,
                steps=budget.steps,
                batch_size=budget.batch_size,
                learning_rate=rate,
                seed=cell.run.seed,
                device=cell.device,
            )
            model = fine_tune(start, head, lesson, cell.run.config.full, shown)
            note(finetune_images_per_second=shown.images_per_second)
            yield rate, model


def _labelled(store: Store, rows: pd.DataFrame, task: Diagnosis) -> pd.DataFrame:
    labels = task.labels(store.index).to_numpy(dtype=object)[rows["row"]]
    table = rows.assign(label=labels)
    table = table[table["label"].notna()].reset_index(drop=True)
    table["label"] = table["label"].astype(str)
    return table.assign(target=task.targets(table["label"]))


def _fit(cell: Cell, labels: Labels, choice: probe.Choice) -> LinearHead:
    train = labels.part("train")
    targets = train["target"].to_numpy()
    seen = probe.select(cell.features, choice.stages)[train["position"]]
    return probe.fit(seen, targets, cell.task.weights(targets), choice.strength)


def _metadata(
    cell: Cell,
    labels: Labels,
    mode: Mode,
    stages: probe.Stages,
    fitted: tuple[float, int],
    logits: Logits,
) -> ModelMetadata:
    """Describe a model; ``fitted`` is its temperature, and on how many images it was fitted."""
    temperature, images = fitted
    held_out = labels.part("validation")
    calibrated = logits[held_out["position"]] / temperature
    return ModelMetadata(
        encoder=cell.metadata,
        task=cell.task.name,
        classes=cell.task.classes,
        mode=mode,
        fraction=labels.fraction,
        images=len(labels.part("train")),
        stages=stages,
        pooling=cell.pooling,
        features=sum(cell.features[stage].shape[1] for stage in stages),
        temperature=temperature,
        calibrated_on=images,
        validation_log_loss=log_loss(calibrated, held_out["target"].to_numpy()),
    )


def _counted(stages: probe.Stages) -> str:
    return " and ".join(str(stage + 1) for stage in stages)
