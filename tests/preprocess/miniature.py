"""A small raw folder and its manifest, as ingest would have written it."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from maskwise.preprocess.config import SourcePreprocessConfig

CLASSES = ("benign", "malignant", "normal")


def source(**options: Any) -> SourcePreprocessConfig:
    """Return a source's block for labelled ultrasound of 16 x 16 pixels."""
    block = {"height": 16, "width": 16, "modality": "ultrasound", "label": "diagnosis"}
    return SourcePreprocessConfig(**{**block, **options})


def manifest_of(
    groups: Sequence[str], labels: Sequence[str | None], **columns: Any
) -> pd.DataFrame:
    """Return a manifest of images that nobody reads."""
    n = len(groups)
    table = {
        "image_id": [f"i{i:05d}" for i in range(n)],
        "path": [f"{i:05d}.png" for i in range(n)],
        "frame": 0,
        "patient": None,
        "group": groups,
        "split": None,
        "masks": [[] for _ in range(n)],
        "bits": 8,
        "label_diagnosis": labels,
    }
    return pd.DataFrame({**table, **columns})


def pixels_of(i: int, dtype: Any = np.uint8) -> NDArray[Any]:
    """Return image ``i``, 20 x 30 pixels; each has a mean of its own."""
    most = np.iinfo(dtype).max // 2
    noise = np.random.default_rng(i).integers(0, most, (20, 30))
    return (noise + (i % 7) * (most // 10)).astype(dtype)


def write_raw(raw: Path, images: int = 24, dtype: Any = np.uint8) -> pd.DataFrame:
    """Write PNGs, two of a patient, those of lesions with a mask; return the manifest."""
    raw.mkdir(parents=True, exist_ok=True)
    labels = [CLASSES[(i // 2) % 3] for i in range(images)]
    masks: list[list[str]] = []
    for i, label in enumerate(labels):
        Image.fromarray(pixels_of(i, dtype)).save(raw / f"{i:05d}.png")
        masks.append([f"{i:05d}_mask.png", f"{i:05d}_mask_1.png"] if label != "normal" else [])
        for number, name in enumerate(masks[-1]):
            lesion = np.zeros((20, 30), np.uint8)
            lesion[5:15, 3 + 12 * number : 13 + 12 * number] = 255
            Image.fromarray(lesion).save(raw / name)
    groups = [f"p{i // 2:04d}" for i in range(images)]
    bits = 8 * np.dtype(dtype).itemsize
    manifest = manifest_of(groups, list(labels), masks=masks, patient=groups, bits=bits)
    return looked_at_again(raw, manifest)


def looked_at_again(raw: Path, manifest: pd.DataFrame) -> pd.DataFrame:
    """Return the manifest with the hashes of the files as they are now."""
    hashes = [hashlib.sha256((raw / path).read_bytes()) for path in manifest["path"]]
    return manifest.assign(sha256=[each.hexdigest() for each in hashes])
