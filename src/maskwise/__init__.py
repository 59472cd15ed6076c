"""Maskwise: self-supervised pre-training for medical images that learns where to mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from maskwise.encoders.classifier import Classifier
    from maskwise.encoders.contract import Encoder
    from maskwise.encoders.segmenter import Segmenter

__all__ = ["__version__", "load_encoder", "load_model"]
__version__ = "0.1.0"


def load_encoder(path: str | Path) -> Encoder:
    """Return the pre-trained encoder in ``path``; see ``maskwise.artefacts.encoder``."""
    # torch takes seconds to import, and `kedro --help` imports this package.
    from maskwise.artefacts.encoder import load_encoder

    return load_encoder(path)


def load_model(path: str | Path) -> Classifier | Segmenter:
    """Return the fine-tuned model in ``path``; see ``maskwise.artefacts.model``."""
    from maskwise.artefacts.model import load_model

    return load_model(path)
