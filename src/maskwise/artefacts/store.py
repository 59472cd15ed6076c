"""The store: a folder of memory-mapped arrays that NumPy alone can read.

``images.npy`` uint8 or uint16 ``(N, C, H, W)``; ``masks.npy`` bool ``(N, H, W)``, True = lesion,
where the source has any; ``index.parquet`` (``image_id``, ``group``, ``has_mask``, ``scale``,
``offset`` and one column ``label_<name>`` a label, row i = image i); ``store.json``.

Intensity ``v`` of a stored pixel ``p`` is ``p * scale + offset`` in [0, 1]; a network sees
``(v - mean) / std``.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from maskwise.artefacts.atomic import replacing_folder
from maskwise.errors import UserError

INDEX_COLUMNS = ("image_id", "group", "has_mask", "scale", "offset")


@dataclass(frozen=True)
class StoreHeader:
    """``store.json``: what a network must know of the images."""

    channels: int
    height: int
    width: int
    mean: tuple[float, ...]
    """A channel, of the intensities of the *training* images."""
    std: tuple[float, ...]
    modality: str
    intensity: dict[str, Any]
    """Name and options of the intensity normalisation, for images to come."""
    geometry: dict[str, Any]
    """Name and options of crop, pad or resize, for images to come."""
    largest_rounding_error: float
    """Of an intensity in [0, 1], by storing integers."""
    data_hash: str
    """Of pixels, index and split; a model trained on the store names it."""


@dataclass(frozen=True)
class Store:
    """An opened store; ``images`` and ``masks`` are memory-mapped and read-only."""

    path: Path
    images: NDArray[Any]
    masks: NDArray[np.bool_] | None
    index: pd.DataFrame
    header: StoreHeader

    def __len__(self) -> int:
        return len(self.images)

    def rows(self, image_ids: Any) -> NDArray[np.int64]:
        """Return the rows of ``image_ids``, in their order."""
        position = pd.Index(self.index["image_id"]).get_indexer(pd.Index(image_ids))
        if (position < 0).any():
            absent = list(np.asarray(image_ids)[position < 0][:3])
            raise UserError(
                f"{self.path}: holds no image {absent}; the store and the splits are not of the "
                "same run: run preprocess again"
            )
        return position.astype(np.int64)

    def intensities(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Gather ``(B, C, H, W)`` float32 intensities in [0, 1]."""
        pixels = self.images[rows].astype(np.float32)
        scale = self.index["scale"].to_numpy(np.float32)[rows]
        offset = self.index["offset"].to_numpy(np.float32)[rows]
        return pixels * scale[:, None, None, None] + offset[:, None, None, None]

    def normalised(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Gather ``(B, C, H, W)`` float32 as a network sees them."""
        mean = np.asarray(self.header.mean, np.float32)[:, None, None]
        std = np.asarray(self.header.std, np.float32)[:, None, None]
        return (self.intensities(rows) - mean) / std


def open_store(path: Path) -> Store:
    """Open a store read-only, or raise ``UserError`` saying what is missing or inconsistent."""
    try:
        raw = json.loads((path / "store.json").read_text(encoding="utf-8"))
        raw["mean"], raw["std"] = tuple(raw["mean"]), tuple(raw["std"])
        header = StoreHeader(**raw)
        images = np.load(path / "images.npy", mmap_mode="r", allow_pickle=False)
        index = pd.read_parquet(path / "index.parquet")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path}: is no complete store ({error}); run preprocess again") from None
    masks_path = path / "masks.npy"
    masks = np.load(masks_path, mmap_mode="r", allow_pickle=False) if masks_path.exists() else None
    expected = (len(index), header.channels, header.height, header.width)
    if images.shape != expected:
        raise UserError(
            f"{path}: images.npy is {images.shape}, but index and header say {expected}; "
            "run preprocess again"
        )
    return Store(path, images, masks, index, header)


@dataclass
class StoreWriter:
    """Arrays to fill, row by row, in any order."""

    images: NDArray[Any]
    masks: NDArray[np.bool_] | None
    finish: Callable[[pd.DataFrame, StoreHeader], None]
    """Call it once, last."""


@contextmanager
def writing_store(
    path: Path, shape: tuple[int, int, int, int], dtype: type[np.unsignedinteger[Any]], masks: bool
) -> Iterator[StoreWriter]:
    """Yield the memory-mapped arrays of a new store that replaces ``path`` when all went well."""
    with replacing_folder(path) as folder:
        images = open_memmap(folder / "images.npy", mode="w+", dtype=dtype, shape=shape)
        lesions = (
            open_memmap(folder / "masks.npy", mode="w+", dtype=np.bool_, shape=(shape[0], *shape[2:]))
            if masks
            else None
        )

        def finish(index: pd.DataFrame, header: StoreHeader) -> None:
            missing = [name for name in INDEX_COLUMNS if name not in index.columns]
            if missing or len(index) != shape[0]:
                raise ValueError(f"the index lacks {missing} or has not {shape[0]} rows")
            for array in (images, lesions):
                if array is not None:
                    array.flush()
            index.to_parquet(folder / "index.parquet", index=False)
            text = json.dumps(asdict(header), indent=2, sort_keys=True)
            (folder / "store.json").write_text(text + "\n", encoding="utf-8")

        yield StoreWriter(images, lesions, finish)
        if not (folder / "store.json").exists():
            raise ValueError("finish() was not called")
