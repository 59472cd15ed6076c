"""Small models with random weights, one of each kind, as finetune would leave them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from finetune.patches import SMALL, metadata, small_encoder
from maskwise.artefacts.model import (
    Metadata,
    ModelMetadata,
    MultilabelMetadata,
    SegmenterMetadata,
    build_classifier,
    build_segmenter,
    write_model,
)
from maskwise.encoders.classifier import Classifier
from maskwise.encoders.metadata import EncoderMetadata
from maskwise.limits.conformal import Calibration
from maskwise.limits.record import Limits
from maskwise.limits.typical import Space

SIDE = 16
"""Of the images that they take, pixels."""
CLASSIFIER = ModelMetadata(
    encoder=metadata("context_cnn", dict(SMALL["context_cnn"]), SIDE),
    task="diagnosis",
    classes=("benign", "malignant"),
    mode="full",
    fraction=1.0,
    images=120,
    stages=(0, 1),
    pooling="mean",
    features=24,
    temperature=2.0,
    calibrated_on=120,
    validation_log_loss=0.5,
)
MULTILABEL = MultilabelMetadata(
    encoder=metadata("context_cnn", dict(SMALL["context_cnn"]), SIDE),
    task="multilabel",
    classes=("ill-defined", "obscured", "round"),
    mode="full",
    fraction=1.0,
    images=120,
    stages=(0, 1),
    pooling="mean",
    features=24,
    temperature=2.0,
    calibrated_on=120,
    validation_log_loss=0.5,
    thresholds=(0.3, 0.5, 0.7),
    threshold_rule="As it was chosen.",
)
SEGMENTER = SegmenterMetadata(
    encoder=metadata("context_cnn", dict(SMALL["context_cnn"]), SIDE),
    task="lesion",
    classes=("mass", "cyst"),
    mode="full",
    fraction=1.0,
    images=120,
    validation_loss=0.5,
)


def random_classifier(described: ModelMetadata, channels: int = 1) -> Classifier:
    """Build a classifier of two classes with a random head."""
    torch.manual_seed(0)
    encoder = small_encoder(channels=channels)
    return Classifier(encoder, (0, 1), "mean", 24, 2, described.temperature)


def limits(features: int, answers: tuple[str, ...], patients: int = 40) -> Limits:
    """Make limits of random held-out patients; none of a calibration without answers."""
    generator = np.random.default_rng(0)
    scores = tuple(np.sort(generator.uniform(0, 1, patients)) for _ in answers)
    learnt, held_out = generator.normal(size=(2, max(patients, 8), features))
    names = np.array([f"patient {n}" for n in range(len(held_out))], dtype=object)
    space = Space.of(learnt, held_out[:patients], names[:patients])
    return Limits(Calibration(answers, scores) if answers else None, space)


def save_classifier(
    described: ModelMetadata, path: Path, channels: int = 1, limits: Limits | None = None
) -> Path:
    """Write a classifier of two classes whose answers differ from scan to scan."""
    classifier = random_classifier(described, channels)
    with torch.no_grad():
        classifier.head.weight.mul_(20)  # type: ignore[operator]
    write_model(classifier, described, path, limits)
    return path


def save_multilabel(
    path: Path, described: MultilabelMetadata = MULTILABEL, limits: Limits | None = None
) -> Path:
    """Write a classifier of three labels whose answers differ from scan to scan."""
    torch.manual_seed(0)
    classifier = build_classifier(small_encoder(), described)
    with torch.no_grad():
        classifier.head.weight.mul_(20)  # type: ignore[operator]
    write_model(classifier, described, path, limits)
    return path


def save_segmenter(path: Path, limits: Limits | None = None) -> Path:
    """Write a segmenter that outlines something of every class in noise."""
    torch.manual_seed(0)
    segmenter = build_segmenter(small_encoder(), SEGMENTER)
    last: Any = segmenter.decoder.head[0]
    with torch.no_grad():
        last.weight.mul_(20)
    write_model(segmenter, SEGMENTER, path, limits)
    return path


def seeing(geometry: dict[str, Any], width: int = SIDE) -> SegmenterMetadata:
    """Describe a segmenter that sees scans otherwise, ``SIDE`` pixels high."""
    return replace(SEGMENTER, encoder=seen_by(SEGMENTER, geometry=geometry, width=width))


def seen_by(described: Metadata, **changes: Any) -> EncoderMetadata:
    """Return what a model says of its encoder, images being prepared otherwise."""
    preparation = replace(described.encoder.preparation, **changes)
    return replace(described.encoder, preparation=preparation)


def save_stubborn(path: Path, answer: int, described: SegmenterMetadata = SEGMENTER) -> Path:
    """Write a segmenter that calls each pixel of every scan ``answer``."""
    segmenter = build_segmenter(small_encoder(), described)
    last: Any = segmenter.decoder.head[0]
    each = len(last.bias) // (1 + len(described.classes))
    with torch.no_grad():
        last.weight.zero_()
        last.bias.zero_()
        last.bias[each * answer : each * (answer + 1)] = 10
    write_model(segmenter, described, path)
    return path


SAVED: dict[str, Callable[[Path], Path]] = {
    "model": lambda path: save_classifier(CLASSIFIER, path),
    "multilabel": save_multilabel,
    "segmenter": save_segmenter,
}
"""Block of the metadata -> what writes such a model."""
