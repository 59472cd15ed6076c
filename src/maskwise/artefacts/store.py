"""The store: a folder of memory-mapped arrays that NumPy alone can read.

``images.npy`` uint8 or uint16 ``(N, C, H, W)``, or ``(N, C, H fine, W fine)`` where
``preparation.fine`` is above 1; ``masks.npy`` ``(N, H, W)`` where the source
has any: bool, True = lesion, or, where ``store.json`` names ``mask_classes``, uint8, 0 =
background and i = the i-th of them; ``index.parquet`` (``image_id``, ``group``, ``has_mask``,
``scale``, ``offset`` and one column ``label_<name>`` per label, row i = image i);
``store.json``.

``has_mask`` says that somebody outlined the image; the outline may be empty (a normal image).
``detail``, only where ``fine`` is above 1, says how many pixels of its file a pixel of the
network spans, a side: where that is below ``fine``, the file was enlarged. Where it is known,
the index says how large and where an image is: ``spacing_y``, ``spacing_x`` (mm per pixel of
the network), ``volume``, ``slice``, ``spacing_z`` (mm from slice to slice).
Intensity ``v`` of a stored pixel ``p`` is ``p * scale + offset`` in [0, 1]; a network sees
``(v - mean) / std``. ``Preparation`` holds both, and how an image became one.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from maskwise.artefacts.atomic import replacing_folder
from maskwise.description import from_json
from maskwise.errors import UserError
from maskwise.preparation import Preparation, averaged, upgraded
from maskwise.wording import count

Laterality = Literal["free", "fixed"]
"""``fixed`` where left and right mean something: no image is then mirrored in training."""
INDEX_COLUMNS = ("image_id", "group", "has_mask", "scale", "offset")
PLACE_COLUMNS = ("spacing_y", "spacing_x", "volume", "slice", "spacing_z")
"""Those of the index that say where an image lies; only where some image's is known."""


@dataclass(frozen=True)
class StoreHeader:
    """``store.json``: what a network must know of the images."""

    preparation: Preparation
    """Of these images and of those to come; mean and std are of the *training* images."""
    laterality: Laterality
    largest_rounding_error: float
    """Of an intensity in [0, 1], by storing integers."""
    data_hash: str
    """Of pixels, index and split; a model trained on the store names it."""
    fold_mean: tuple[tuple[float, ...], ...] = ()
    """A fold held out, then a channel; empty where the source has no folds."""
    fold_std: tuple[tuple[float, ...], ...] = ()
    mask_classes: tuple[str, ...] = ()
    """Names of the masks' numbers 1, 2, ...; empty: masks are bool."""


@dataclass(frozen=True)
class Store:
    """An opened store; ``images`` and ``masks`` are memory-mapped and read-only."""

    path: Path
    images: NDArray[Any]
    masks: NDArray[Any] | None
    """What is outlined: ``lesions`` says where anything is, whatever its class."""
    index: pd.DataFrame
    header: StoreHeader

    def __len__(self) -> int:
        return len(self.images)

    def rows(self, image_ids: Any) -> NDArray[np.int64]:
        """Return the rows of ``image_ids``, in their order."""
        position = self._ids.get_indexer(pd.Index(image_ids))
        if (position < 0).any():
            absent = ", ".join(np.asarray(image_ids, str)[position < 0][:3])
            raise UserError(
                f"{self.path}: holds no image {absent}; the store and the splits are not from "
                "the same run: run preprocess again"
            )
        rows: NDArray[np.int64] = position.astype(np.int64)
        return rows

    def for_seed(self, seed: int) -> "Store":
        """Return the store with the mean and std of that seed's training images.

        The same store where the source has no folds.
        """
        folds = len(self.header.fold_mean)
        if not folds:
            return self
        mean, std = self.header.fold_mean[seed % folds], self.header.fold_std[seed % folds]
        return self.normalised_by(mean, std)

    def normalised_by(self, mean: tuple[float, ...], std: tuple[float, ...]) -> "Store":
        """Return the store as a network sees it that expects this ``mean`` and ``std``."""
        own = replace(self.header.preparation, mean=mean, std=std)
        return replace(self, header=replace(self.header, preparation=own))

    def lesions(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Gather ``(B, H, W)``: where something is outlined."""
        if self.masks is None:
            raise ValueError(f"{self.path} has no masks")
        return np.asarray(self.masks[rows], dtype=np.bool_)

    def intensities(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Gather ``(B, C, H, W)`` float32 intensities in [0, 1]."""
        return averaged(self.fine_intensities(rows), self.header.preparation.fine)

    def fine_intensities(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Gather ``(B, C, H fine, W fine)`` float32 intensities in [0, 1], as they are kept."""
        pixels: NDArray[np.float32] = self._pixels[rows].astype(np.float32)
        pixels *= self._scale[rows]
        pixels += self._offset[rows]
        return pixels

    def normalised(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Gather ``(B, C, H, W)`` float32 as a network sees them."""
        images = self.intensities(rows)
        return self.header.preparation.normalised(images, out=images)

    def fine_normalised(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Gather ``(B, C, H fine, W fine)`` float32, of which ``normalised`` are the means."""
        images = self.fine_intensities(rows)
        return self.header.preparation.normalised(images, out=images)

    @cached_property
    def _ids(self) -> pd.Index:
        return pd.Index(self.index["image_id"])  # which hashes a million ids once

    @cached_property
    def _pixels(self) -> NDArray[Any]:
        return np.asarray(self.images)  # the same memory; a memmap's gather is slower

    @cached_property
    def _scale(self) -> NDArray[np.float32]:
        return _column(self.index["scale"])

    @cached_property
    def _offset(self) -> NDArray[np.float32]:
        return _column(self.index["offset"])


def _column(values: pd.Series) -> NDArray[np.float32]:
    """Return ``(N, 1, 1, 1)``, to meet images ``(N, C, H, W)``."""
    return np.asarray(values, np.float32)[:, None, None, None]


def open_store(path: Path) -> Store:
    """Open a store read-only, or raise ``UserError`` saying what is missing or inconsistent."""
    try:
        block = json.loads((path / "store.json").read_text(encoding="utf-8"))
        header = from_json(StoreHeader, upgraded(block))
        images = np.load(path / "images.npy", mmap_mode="r", allow_pickle=False)
        index = pd.read_parquet(path / "index.parquet")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{path}: is not a complete store ({error}); run preprocess again"
        ) from None
    masks_path = path / "masks.npy"
    masks = None
    if masks_path.exists():
        masks = np.load(masks_path, mmap_mode="r", allow_pickle=False)
        wanted = "uint8" if header.mask_classes else "bool"
        if masks.dtype != wanted:
            raise UserError(
                f"{path}: masks.npy holds {masks.dtype}, but store.json names "
                f"{count(len(header.mask_classes), 'class', 'classes')}; run preprocess again"
            )
    seen = header.preparation
    expected = (len(index), seen.channels, *seen.kept)
    if images.shape != expected:
        raise UserError(
            f"{path}: images.npy is {images.shape}, but index and header say {expected}; "
            "run preprocess again"
        )
    return Store(path, images, masks, index, header)


def _block(header: StoreHeader) -> dict[str, Any]:
    block = asdict(header)
    if not header.mask_classes:
        del block["mask_classes"]  # a store of lesions is, to the byte, what it always was
    return block


@dataclass(frozen=True)
class StoreWriter:
    """The files of a store in the making: fill the arrays row by row, in any order."""

    images: Path
    """A ``.npy`` to be opened with ``np.load(…, mmap_mode="r+")``."""
    masks: Path | None
    finish: Callable[[pd.DataFrame, StoreHeader], None]
    """Call it once, last."""


@contextmanager
def writing_store(
    path: Path,
    shape: tuple[int, int, int, int],
    dtype: str,
    masks: bool,
    mask_dtype: str = "bool",
    fine: int = 1,
) -> Iterator[StoreWriter]:
    """Yield a new store's writer; it replaces ``path`` when all went well.

    ``shape`` is ``(N, C, H, W)``, of which images are kept ``fine`` times as large;
    ``dtype`` is ``uint8`` or ``uint16``, ``mask_dtype`` ``uint8`` where masks have classes.
    Processes may fill the arrays together.
    """
    with replacing_folder(path) as folder:
        images = folder / "images.npy"
        _reserve(images, (*shape[:2], shape[2] * fine, shape[3] * fine), dtype)
        lesions = folder / "masks.npy" if masks else None
        if lesions is not None:
            _reserve(lesions, (shape[0], *shape[2:]), mask_dtype)

        def finish(index: pd.DataFrame, header: StoreHeader) -> None:
            missing = [name for name in INDEX_COLUMNS if name not in index.columns]
            if missing or len(index) != shape[0]:
                raise ValueError(f"the index lacks {missing} or has not {shape[0]} rows")
            index.to_parquet(folder / "index.parquet", index=False)
            text = json.dumps(_block(header), indent=2, sort_keys=True)
            (folder / "store.json").write_text(text + "\n", encoding="utf-8")

        yield StoreWriter(images, lesions, finish)
        if not (folder / "store.json").exists():
            raise ValueError("finish() was not called")


def _reserve(path: Path, shape: tuple[int, ...], dtype: str) -> None:
    """Make a ``.npy`` of zeros whose blocks are really there.

    Writing into a mapped file with holes on a full disk kills the process (SIGBUS); asked for
    beforehand, the space is either there or an ordinary ``OSError``.
    """
    open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
