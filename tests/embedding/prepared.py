"""A source of 24 images of 12 groups, as ingest and preprocess leave it."""

from pathlib import Path

import pandas as pd

from finetune.patches import write_patches
from maskwise.artefacts.manifest import write_manifest
from maskwise.artefacts.prepared import PreparedSources
from maskwise.artefacts.splits import write_splits
from maskwise.artefacts.store import Store


def prepare(root: Path, name: str = "patches") -> tuple[PreparedSources, Store, pd.DataFrame]:
    """Write the source ``name`` below ``root``; return it opened, with its splits."""
    folder = root / name
    folder.mkdir(parents=True)
    store, splits = write_patches(folder / "store", {"benign": 6, "malignant": 6})
    write_splits(splits, folder / "splits.parquet")
    rows = store.index[["image_id", "group", "label_diagnosis"]]
    manifest = rows.sample(frac=1, random_state=0).assign(
        path=lambda table: "images/" + table["image_id"] + ".png",
        frame=0,
        patient=lambda table: table["group"].str.replace("g_", "patient "),
        split=None,
        masks=[[] for _ in range(len(rows))],
        width=16,
        height=16,
        channels=1,
        bits=8,
        spacing_y=float("nan"),
        spacing_x=float("nan"),
        modality="ultrasound",
        sha256="0" * 64,
        phash="0" * 16,
    )
    write_manifest(manifest, folder / "manifest.parquet")
    sources = PreparedSources(
        str(root / "{source}/store"),
        str(root / "{source}/splits.parquet"),
        str(root / "{source}/manifest.parquet"),
    )
    return sources, store, splits
