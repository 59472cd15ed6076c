"""What a table of predictions was made with: a document beside it."""

from typing import Any

from maskwise.artefacts.model import (
    ClassifierMetadata,
    Metadata,
    MultilabelMetadata,
)
from maskwise.encoders.classifier import Classifier
from maskwise.encoders.segmenter import Segmenter
from maskwise.prediction.aggregation import RULES, WORST, Per, Rule
from maskwise.prediction.limits import Told

HASH_DIGITS = 12
"""Of a hash in the table."""


def describe(
    network: Classifier | Segmenter, name: str, told: Told, per: Per | None, rule: Rule
) -> dict[str, Any]:
    """Return what ``predictions.json`` says.

    Args:
        network: that was loaded, with its metadata.
        name: of its file.
        told: what is said of its limits.
        per: what the scans were joined by, or None.
        rule: how, a name in ``RULES``.
    """
    metadata: Metadata = network.metadata
    found: dict[str, Any] = {
        "model": {
            "file": name,
            "sha256": network.sha256,
            "task": metadata.task,
            "classes": list(metadata.classes),
            "mode": metadata.mode,
            "fraction": metadata.fraction,
            "source": metadata.encoder.source,
            "recipe": metadata.encoder.recipe,
            "seed": metadata.encoder.seed,
            "version": metadata.encoder.version,
        },
        "data_hash": metadata.encoder.data_hash,
        "temperature": None,
        "thresholds": None,
        **told.described(),
        "aggregation": None,
    }
    if isinstance(metadata, ClassifierMetadata):
        found["temperature"] = metadata.temperature
    if isinstance(metadata, MultilabelMetadata):
        found["thresholds"] = dict(zip(metadata.classes, metadata.thresholds, strict=True))
    if per is not None:
        found["aggregation"] = {"per": per, "numbers": RULES[rule], "limits": WORST}
    return found
