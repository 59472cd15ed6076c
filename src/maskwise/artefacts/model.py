"""``*.safetensors`` of a fine-tuned model: encoder, linear layer, and how to use them.

Needs torch and safetensors only. All or nothing: every tensor is accounted for, or it stops.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from maskwise.artefacts.encoder import (
    EncoderMetadata,
    build_encoder,
    encoder_metadata,
    fill,
    read_tensors,
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
    metadata = model_metadata(blocks["model"])
    encoder = build_encoder(metadata.encoder, str(path))
    model = build_classifier(encoder, metadata)
    log.info("%s: loaded %s", path, fill(model, tensors, str(path)))
    model.eval()
    model.metadata = metadata  # type: ignore[assignment]
    return model


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
    """Build the metadata from its JSON block."""
    values = dict(block)
    values["encoder"] = encoder_metadata(values["encoder"])
    values["classes"], values["stages"] = tuple(values["classes"]), tuple(values["stages"])
    return ModelMetadata(**values)
