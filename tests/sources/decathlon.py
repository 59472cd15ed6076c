"""A task of the Decathlon in miniature: its folders, names and description."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sources.volume import write as write_volume

SHAPE = (10, 12, 8)
"""Voxels: right, anterior, superior."""
SPACING = (1.5, 2.0, 3.0)
LABELLED = ("toy_001", "toy_002", "toy_003")
TEST = ("toy_010",)


def volume(seed: int, shape: tuple[int, ...] = SHAPE) -> NDArray[np.int16]:
    """Return the voxels of a volume of its own."""
    return np.random.default_rng(seed).integers(0, 1000, shape).astype(np.int16)


def labels() -> NDArray[np.uint8]:
    """Return two structures that lie side by side in the middle slices."""
    outlines = np.zeros(SHAPE, np.uint8)
    outlines[2:6, 3:9, 2:6] = 1
    outlines[6:8, 3:9, 2:6] = 2
    return outlines


def write(raw: Path, modalities: tuple[str, ...] = ("MRI",), **changes: Any) -> Path:
    """Write ``dataset.json`` and volumes; ``changes`` are entries of ``dataset.json``."""
    shape = SHAPE if len(modalities) == 1 else (*SHAPE, len(modalities))
    for seed, name in enumerate((*LABELLED, *TEST)):
        part = "imagesTr" if name in LABELLED else "imagesTs"
        write_volume(raw / part / f"{name}.nii.gz", volume(seed, shape), spacing=SPACING)
        if name in LABELLED:
            write_volume(raw / "labelsTr" / f"{name}.nii.gz", labels(), spacing=SPACING)
    description = {
        "name": "Toy",
        "tensorImageSize": f"{len(shape)}D",
        "modality": {str(number): name for number, name in enumerate(modalities)},
        "labels": {"0": "background", "1": "Front", "2": "Back"},
        "training": [
            {"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"}
            for n in LABELLED
        ],
        "test": [f"./imagesTs/{n}.nii.gz" for n in TEST],
        **changes,
    }
    (raw / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    return raw
