"""One replicate of a classification, and the ways to learn from a fraction of its labels."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, cast, runtime_checkable

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from maskwise.array_types import Rows
from maskwise.artefacts.model import ClassifierMetadata, ModelMetadata, build_classifier
from maskwise.artefacts.store import Store
from maskwise.artefacts.tables import PREDICTIONS, SUBSETS
from maskwise.device import choose_device
from maskwise.encoders.classifier import Classifier
from maskwise.encoders.contract import Encoder
from maskwise.encoders.metadata import EncoderMetadata
from maskwise.finetune.classification import knn, probe
from maskwise.finetune.classification.contract import Question, Targets
from maskwise.finetune.classification.features import Features, extract
from maskwise.finetune.classification.folds import Folds, deal_folds, hold_out
from maskwise.finetune.classification.heads import LinearHead
from maskwise.finetune.classification.temperature import calibrated
from maskwise.finetune.classification.training import (
    Lesson,
    fine_tune,
    predict_features,
    predict_logits,
)
from maskwise.finetune.contracts import Finetuned, Mode
from maskwise.finetune.inputs import as_seen, learns, split_rows
from maskwise.finetune.limits import calibrate
from maskwise.finetune.models import Models
from maskwise.finetune.run import FinetuneRun
from maskwise.finetune.training import at_every_rate, refuse_infinite
from maskwise.limits.record import Limits
from maskwise.limits.typical import Space, evenly
from maskwise.progress import Bar

log = logging.getLogger(__name__)

Logits = NDArray[np.float64]
"""``(N, K)``, of the rows of ``Replicate.labelled``."""


@runtime_checkable
class AsksConfig(Protocol):
    """Options of a task that asks a linear layer about each image."""

    def build(self, index: pd.DataFrame, splits: pd.DataFrame, where: str) -> Question:
        """Read the question off a store's index and the splits of its images.

        ``where`` is the task's path in the YAML.
        """


@dataclass(frozen=True)
class Labels:
    """The images that one fraction may learn from and choose by."""

    fraction: float
    images: pd.DataFrame
    """Rows of ``Replicate.labelled`` with their ``position`` in it, and ``role``."""
    choices: list[probe.Choice]
    """The probe's best strength for each candidate of stages."""
    folds: Folds
    """Rows in ``images``, to fit on and to judge by."""

    def part(self, role: str) -> pd.DataFrame:
        """Return the images with that role."""
        return self.images[self.images["role"] == role]


@dataclass(frozen=True)
class Replicate:
    """What all fractions of a replicate share."""

    encoder: Encoder
    metadata: EncoderMetadata
    store: Store
    question: Question
    labelled: pd.DataFrame
    """One row per labelled image: ``image_id, group, split, fold, row, label, stratum``."""
    targets: Targets
    """Of the rows of ``labelled``."""
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
        targets = self.targets[images["position"]]
        choices = probe.choose(
            self.question.likelihood,
            [stage[images["position"]] for stage in self.features],
            targets,
            self.question.weights(targets[(images["role"] == "train").to_numpy()]),
            folds,
            probe.candidates(len(self.features)),
            config.probe.strengths,
        )
        return Labels(fraction, images, choices, folds)


@dataclass(frozen=True)
class Learnt:
    """A model, and what it says about the rows of ``Replicate.labelled``."""

    model: Classifier | None
    """None of a k-NN probe: its file would hold features of all its training images."""
    metadata: ClassifierMetadata
    logits: Logits
    choice: dict[str, float]
    """What was chosen for it, beside what the metadata say."""
    features: Callable[[Rows], NDArray[np.float32]] | None = None
    """What its linear layer sees of some rows of ``Replicate.labelled``; None without one."""


def learn(encoder: Encoder, store: Store, splits: pd.DataFrame, run: FinetuneRun) -> Finetuned:
    """Fit the probe and fine-tune everything, at every fraction of the labels."""
    replicate = prepare(encoder, store, splits, run)
    models, tables = Models(run.config.keep), []
    learners = {"probe": learn_probe, "full": learn_full, "knn": learn_knn}
    for fraction in run.fractions:
        labels = replicate.labels(fraction)
        for mode in replicate.modes:
            learnt = learners[mode](replicate, labels)
            limits = partial(limits_of, replicate, labels, learnt)
            models.add(learnt.model, learnt.metadata, learnt.choice, limits)
            tables.append(predictions(replicate, learnt))
    return Finetuned(replicate.subsets, pd.concat(tables, ignore_index=True), models.write)


def prepare(
    encoder: Encoder, store: Store, splits: pd.DataFrame, run: FinetuneRun
) -> Replicate:
    """Read labels, draw the subsets, extract the frozen encoder's features."""
    metadata, store = as_seen(encoder, store)
    config = cast(AsksConfig, run.budget.task)
    question = config.build(store.index, splits, f"{run.source}.finetune.task")
    labelled = question.labelled(store.index, split_rows(store, splits, run.seed))
    subsets = question.subsets(labelled, run.fractions, run.config.validation, run.seed)
    subsets = subsets.assign(source=run.source, recipe=run.recipe, seed=run.seed)
    trainable = learns(encoder)
    # An encoder without parameters has no features to pool: every place counts for itself.
    pooling = run.config.probe.pooling if trainable else "places"
    device = choose_device(run.config.device, "finetune.device")
    rows = labelled["row"].to_numpy()
    return Replicate(
        encoder=encoder,
        metadata=metadata,
        store=store,
        question=question,
        labelled=labelled,
        targets=question.targets(labelled["label"]),
        features=extract(encoder, store, rows, pooling, device),
        pooling=pooling,
        subsets=subsets[list(SUBSETS)],
        modes=run.config.modes if trainable else _untrained(run.config.modes),
        run=run,
        device=device,
    )


def learn_probe(replicate: Replicate, labels: Labels) -> Learnt:
    """Fit the linear layer alone, on the stages that held-out images prefer."""
    choice = min(labels.choices, key=lambda one: one.loss)
    head = _fit(replicate, labels, choice)
    seen = probe.select(replicate.features, choice.stages)
    logits = head.logits(seen)
    likelihood = replicate.question.likelihood
    fitted = calibrated(likelihood, choice.logits, choice.targets)
    metadata = _metadata(replicate, labels, "probe", choice.stages, fitted, logits)
    model = build_classifier(replicate.encoder, metadata)
    model.head = head.folded()
    log.info(
        "probe, %.0f %% of the labels: stages %s, C %g, held-out log loss %.3f nats",
        100 * labels.fraction, _counted(choice.stages), choice.strength, choice.loss,
    )  # fmt: skip
    return Learnt(model, metadata, logits, {"strength": choice.strength}, seen.__getitem__)


def learn_knn(replicate: Replicate, labels: Labels) -> Learnt:
    """Let the most similar training images vote, by stages and k that held-out ones prefer."""
    question, config = replicate.question, replicate.run.config.knn
    likelihood, count = question.likelihood, len(question.classes)
    at = labels.images["position"].to_numpy()
    choice = knn.choose(
        likelihood,
        [stage[at] for stage in replicate.features],
        replicate.targets[at],
        count,
        labels.folds,
        probe.candidates(len(replicate.features)),
        config,
    )
    train = labels.part("train")["position"].to_numpy()
    seen, k = probe.select(replicate.features, choice.stages), int(choice.strength)
    shown = likelihood.indicators(replicate.targets[train], count)
    logits = likelihood.logits(knn.vote(seen, seen[train], shown, k, config.temperature))
    fitted = calibrated(likelihood, choice.logits, choice.targets)
    metadata = _metadata(replicate, labels, "knn", choice.stages, fitted, logits)
    log.info(
        "k-NN probe, %.0f %% of the labels: stages %s, k = %d, held-out log loss %.3f nats",
        100 * labels.fraction, _counted(choice.stages), k, choice.loss,
    )  # fmt: skip
    return Learnt(None, metadata, logits, {"neighbours": k})


def learn_full(replicate: Replicate, labels: Labels) -> Learnt:
    """Train everything, all stages under the linear layer; validation chooses the rate."""
    stages = tuple(range(len(replicate.features)))
    choice = next(one for one in labels.choices if one.stages == stages)
    head = _fit(replicate, labels, choice)
    if replicate.run.config.full.head == "fresh":
        head = replace(head, weight=head.weight * 0, bias=head.bias * 0)
    likelihood, tried = replicate.question.likelihood, []
    at = labels.part("validation")["position"].to_numpy()
    for rate, model in _trained(replicate, labels, stages, head):
        logits = predict_logits(
            model, replicate.store, replicate.labelled["row"].to_numpy(), replicate.device
        )
        refuse_infinite(replicate.run, rate, labels.fraction, bool(np.isfinite(logits).all()))
        loss = likelihood.log_loss(logits[at], replicate.targets[at])
        tried.append((loss, rate, model, logits))
    loss, rate, model, logits = min(tried, key=lambda one: one[0])
    fitted = calibrated(likelihood, logits[at], replicate.targets[at])
    model.temperature, _ = fitted
    metadata = _metadata(replicate, labels, "full", stages, fitted, logits)
    log.info(
        "full, %.0f %% of the labels: rate %g (%d tried), held-out log loss %.3f nats",
        100 * labels.fraction, rate, len(tried), loss,
    )  # fmt: skip
    rows = replicate.labelled["row"].to_numpy()

    def features(at: Rows) -> NDArray[np.float32]:
        return predict_features(model, replicate.store, rows[at], replicate.device)

    return Learnt(model, metadata, logits, {"learning_rate": rate}, features)


def limits_of(replicate: Replicate, labels: Labels, learnt: Learnt) -> Limits | None:
    """Return what the model's file says of its limits, by the fraction's held-out images."""
    if learnt.features is None:
        return None
    held_out = labels.part("validation")["position"].to_numpy()
    patients = replicate.labelled["group"].to_numpy(dtype=object)[held_out]
    question = replicate.question
    calibration = calibrate(
        question.likelihood,
        question.classes,
        learnt.logits[held_out],
        replicate.targets[held_out],
        patients,
    )
    train = evenly(labels.part("train")["position"].to_numpy())
    seen = Space.of(learnt.features(train), learnt.features(held_out), patients)
    return Limits(calibration, seen)


def predictions(replicate: Replicate, learnt: Learnt) -> pd.DataFrame:
    """Return the model's rows of ``predictions.parquet``: all validation and test images."""
    asked = replicate.labelled["split"].isin(["validation", "test"]).to_numpy()
    images = replicate.labelled[asked].reset_index(drop=True)
    table = images.rename(columns={"label": "truth"}).assign(
        source=replicate.run.source,
        recipe=replicate.run.recipe,
        seed=replicate.run.seed,
        fraction=learnt.metadata.fraction,
        mode=learnt.metadata.mode,
    )[list(PREDICTIONS)]
    answers = replicate.question.answers(
        learnt.metadata, learnt.logits[asked], replicate.targets[asked]
    )
    return pd.concat([table, answers], axis=1)


def _trained(
    replicate: Replicate, labels: Labels, stages: probe.Stages, head: LinearHead
) -> Iterator[tuple[float, Classifier]]:
    """Train once per learning rate."""
    run, train = replicate.run, labels.part("train")
    targets = replicate.targets[train["position"]]
    classes, features = head.weight.shape
    start = Classifier(
        replicate.encoder,
        stages,
        _pooling_in_full(replicate),
        features,
        classes,
        activation=replicate.question.likelihood.activation,
    )

    def train_at(rate: float, shown: Bar) -> Classifier:
        lesson = Lesson(
            store=replicate.store,
            rows=train["row"].to_numpy(),
            steps=run.budget.steps,
            batch_size=run.budget.batch_size,
            learning_rate=rate,
            seed=run.seed,
            device=replicate.device,
            likelihood=replicate.question.likelihood,
            targets=targets,
            weights=replicate.question.weights(targets),
        )
        return fine_tune(start, head, lesson, run.config.full, shown)

    return at_every_rate(run, f"{labels.fraction:.0%} of the labels", train_at)


def _fit(replicate: Replicate, labels: Labels, choice: probe.Choice) -> LinearHead:
    train = labels.part("train")
    targets = replicate.targets[train["position"]]
    seen = probe.select(replicate.features, choice.stages)[train["position"]]
    question = replicate.question
    weights = question.weights(targets)
    return probe.fit(question.likelihood, seen, targets, weights, choice.strength)


def _metadata(
    replicate: Replicate,
    labels: Labels,
    mode: Mode,
    stages: probe.Stages,
    fitted: tuple[float, int],
    logits: Logits,
) -> ClassifierMetadata:
    """Describe a model; ``fitted`` is its temperature, and on how many images it was fitted."""
    temperature, images = fitted
    question, at = replicate.question, labels.part("validation")["position"].to_numpy()
    metadata = ModelMetadata(
        encoder=replicate.metadata,
        task=replicate.question.name,
        classes=question.classes,
        mode=mode,
        fraction=labels.fraction,
        images=len(labels.part("train")),
        stages=stages,
        pooling=_pooling_in_full(replicate) if mode == "full" else replicate.pooling,
        features=sum(replicate.features[stage].shape[1] for stage in stages),
        temperature=temperature,
        calibrated_on=images,
        validation_log_loss=question.likelihood.log_loss(
            logits[at] / temperature, replicate.targets[at]
        ),
    )
    return question.completed(metadata, logits[at], replicate.targets[at])


def _pooling_in_full(replicate: Replicate) -> str:
    asked = replicate.run.config.full.pooling
    return replicate.pooling if asked == "probe" else asked


def _untrained(modes: tuple[Mode, ...]) -> tuple[Mode, ...]:
    """Return what an encoder without parameters can be asked, the probe in any case."""
    return tuple(mode for mode in modes if mode != "full") or ("probe",)


def _counted(stages: probe.Stages) -> str:
    return " and ".join(str(stage + 1) for stage in stages)
