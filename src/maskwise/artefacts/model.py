"""``*.safetensors`` of a fine-tuned model: encoder, linear layer, and how to use them.

Needs torch and safetensors only. All or nothing: every tensor is accounted for, or it stops.
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from maskwise.artefacts.description import from_json
from maskwise.artefacts.encoder import (
    EncoderMetadata,
    account,
    build_encoder,
    encoder_metadata,
    read_tensors,
    rebuild,
    usable,
    write_tensors,
)
from maskwise.encoders.classifier import Classifier
from maskwise.errors import UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelMetadata:
    """What a user of the model must know."""

    encoder: EncoderMetadata
    """Architecture, image size, preprocessing, source, recipe and seed."""
    task: str
    """Name in ``maskwise.finetune.tasks.TASKS``."""
    classes: tuple[str, ...]
    """In the order of the model's outputs."""
    mode: str
    """``probe`` (the encoder as pre-trained) or ``full`` (fine-tuned as a whole)."""
    fraction: float
    """Share of the training labels that the model saw."""
    images: int
    """Number of labelled training images that the model saw."""
    stages: tuple[int, ...]
    """Whose pooled features the linear layer sees, finest first."""
    pooling: str
    """Name that ``maskwise.encoders.classifier.pool`` knows."""
    features: int
    """How many pooled features the linear layer sees."""
    temperature: float
    """By which logits are divided before the softmax; fitted on held-out labels."""
    validation_log_loss: float
    """Of the calibrated probabilities on the validation images of that fraction, in nats."""

    def check(self) -> None:
        """Raise ``ValueError`` where a figure cannot be right."""
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"temperature is {self.temperature}, but should be above 0")
        if not self.classes or len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes is {list(self.classes)}, not different names")


def write_model(model: nn.Module, metadata: ModelMetadata, path: Path) -> None:
    """Write the model's parameters and buffers with their metadata."""
    write_tensors(model.state_dict(), {"model": asdict(metadata)}, path)


def load_model(path: str | Path) -> Classifier:
    """Return the model in ``path``, in eval mode, its ``metadata`` an attribute.

    Its forward takes normalised images ``(B, C, H, W)`` and returns logits ``(B, classes)``;
    ``probabilities(images)`` returns calibrated probabilities.

    Raises:
        UserError: if the file is no model, or a tensor is missing, unexpected or misshapen.
    """
    path = Path(path)
    tensors, blocks = read_tensors(path)
    if "model" not in blocks:
        found = "an encoder: use maskwise.load_encoder" if "encoder" in blocks else "no model"
        raise UserError(f"{path}: holds {found}")
    with usable(path):
        metadata = model_metadata(blocks["model"])
        model = rebuild(lambda: _build(metadata, str(path)), tensors, str(path))
        seen = metadata.encoder
        with torch.inference_mode():
            model(torch.zeros(1, seen.channels, seen.height, seen.width))
    log.info("%s: loaded %s", path, account(model))
    model.metadata = metadata  # type: ignore[assignment]
    return model


def _build(metadata: ModelMetadata, where: str) -> Classifier:
    return build_classifier(build_encoder(metadata.encoder, where), metadata)


def build_classifier(encoder: nn.Module, metadata: ModelMetadata) -> Classifier:
    """Build the model that ``metadata`` describes around ``encoder``, its head fresh."""
    return Classifier(
        encoder,
        metadata.stages,
        metadata.pooling,
        metadata.features,
        len(metadata.classes),
        metadata.temperature,
    )


def model_metadata(block: Mapping[str, Any]) -> ModelMetadata:
    """Build the metadata from its JSON block; ``ValueError`` where it is wrong."""
    metadata = from_json(ModelMetadata, block)
    metadata.check()
    return replace(metadata, encoder=encoder_metadata(block["encoder"]))
