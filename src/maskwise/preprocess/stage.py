"""Preprocess: manifest in, store and splits out."""

import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskwise.artefacts.labels import label_columns
from maskwise.artefacts.manifest import (
    MASK_CLASSES,
    READING,
    REGION,
    mask_classes,
    reading_of,
    regions_of,
)
from maskwise.artefacts.splits import THINNED, count_folds, split_of_fold
from maskwise.artefacts.store import PLACE_COLUMNS, StoreHeader, writing_store
from maskwise.errors import UserError
from maskwise.preparation import Preparation
from maskwise.preprocess.config import PreprocessConfig, SourcePreprocessConfig
from maskwise.preprocess.fill import CHUNK, Filled, Job, Task, fill
from maskwise.preprocess.splits import make_splits
from maskwise.preprocess.thinning import thinned
from maskwise.progress import bar, note, planning
from maskwise.scans.objects import in_turn
from maskwise.scans.reading import choices_for_images
from maskwise.wording import count
from maskwise.workers import Pool, workers_for

log = logging.getLogger(__name__)

NEEDED = ("image_id", "group", "path", "frame", "sha256", "masks", "bits")
"""Columns of the manifest that the store is made of, beside the labels."""
OPTIONAL = ("width", "height", *PLACE_COLUMNS, MASK_CLASSES, READING, REGION)
"""Columns that it is made of where they are there."""
ROWS = 4096
"""Rows of a table hashed at once."""


@dataclass(frozen=True)
class Preprocessed:
    """The stage's outputs."""

    write_store: Callable[[Path], None]
    """Decodes all images into a store at the path; nothing is kept in memory."""
    splits: pd.DataFrame


def preprocess(
    raw: Path,
    manifest: pd.DataFrame,
    source: SourcePreprocessConfig,
    config: PreprocessConfig,
    source_name: str,
) -> Preprocessed:
    """Split the images, and return the function that writes their store.

    Raises:
        UserError: if the images cannot be split as asked for, or (by ``write_store``) if one of
            them cannot be read any more or the disk is full.
    """
    where = f"{source_name}.preprocess"
    if manifest.empty:
        raise UserError(
            f"{where}: the manifest of {source_name} holds no image; look at rejects.csv"
        )
    splits = make_splits(manifest, source, where)
    if source.thin is not None:
        splits[THINNED] = thinned(manifest, splits, source.thin, where)
    counts = splits["split"].value_counts()
    log.info(
        "%s: %s in %s: %s",
        source_name,
        count(len(splits), "image"),
        count(splits["group"].nunique(), "group"),
        ", ".join(
            f"{counts[name]} {name}"
            for name in ("train", "validation", "test")
            if name in counts
        ),
    )

    # The store is written when the node has returned and nobody else holds the other columns.
    known = [name for name in OPTIONAL if name in manifest.columns]
    needed = manifest[[*NEEDED, *label_columns(manifest), *known]]

    def write_store(path: Path) -> None:
        _write_store(raw, needed, splits, _Settings(source, config, source_name), path)

    return Preprocessed(write_store, splits)


@dataclass(frozen=True)
class _Settings:
    source: SourcePreprocessConfig
    config: PreprocessConfig
    name: str


@dataclass
class _Account:
    """What is known of the images filled so far; a few numbers per image."""

    scale: list[NDArray[np.float64]] = field(default_factory=list)
    offset: list[NDArray[np.float64]] = field(default_factory=list)
    sums: list[NDArray[np.float64]] = field(default_factory=list)
    squares: list[NDArray[np.float64]] = field(default_factory=list)
    largest: list[NDArray[np.uint64]] = field(default_factory=list)
    rounding_error: float = 0.0
    lost_lesions: int = 0
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def add(self, filled: Filled) -> None:
        self.scale.append(filled.scale)
        self.offset.append(filled.offset)
        self.sums.append(filled.sums)
        self.squares.append(filled.squares)
        self.largest.append(filled.largest)
        self.rounding_error = max(self.rounding_error, filled.rounding_error)
        self.lost_lesions += filled.lost_lesions
        self.digest.update(filled.digests)

    def moments(self, rows: NDArray[np.bool_]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and std per channel over all pixels of ``rows`` ``(N,)``."""
        mean = np.concatenate(self.sums)[rows].mean(axis=0)
        square = np.concatenate(self.squares)[rows].mean(axis=0)
        std = np.sqrt(np.maximum(square - mean**2, 0.0))
        # Images of one grey level only: there is nothing to scale.
        std = np.where(std > 1e-6, std, 1.0)
        return tuple(map(float, mean)), tuple(map(float, std))

    def ranges(self, rows: NDArray[np.bool_]) -> tuple[int, ...]:
        """Return the largest values of the pixel types of ``rows`` ``(N,)``, ascending."""
        return tuple(map(int, np.unique(np.concatenate(self.largest)[rows])))


def _write_store(
    raw: Path, manifest: pd.DataFrame, splits: pd.DataFrame, settings: _Settings, path: Path
) -> None:
    source, config = settings.source, settings.config
    bits = manifest["bits"].fillna(64).to_numpy()
    dtype = (
        config.dtype if config.dtype != "auto" else ("uint8" if bits.max() <= 8 else "uint16")
    )
    shape = (len(manifest), source.channels, source.height, source.width)
    has_mask = manifest["masks"].map(len).to_numpy() > 0
    account, start, reading = _Account(), time.perf_counter(), reading_of(manifest)
    classes = mask_classes(manifest)
    mask_dtype = "uint8" if classes else "bool"
    masks = bool(has_mask.any())
    with writing_store(path, shape, dtype, masks, mask_dtype, source.fine) as writer:
        job = Job(
            raw=raw,
            images=writer.images,
            masks=writer.masks,
            preparation=replace(
                source.preparation(),
                reading=choices_for_images(reading),
                parts=any(region is not None for region in regions_of(manifest)),
            ),
            max_pixels=config.max_pixels,
            classes=len(classes),
            reading=reading,
        )
        tasks = _tasks(manifest, bits > 8)
        pool = Pool(workers_for(len(manifest), config.workers), config.seconds_per_file)
        chunks = -(-len(manifest) // CHUNK)
        # A plan of its own: these are not optimiser steps of the whole run.
        shown = bar("preprocess", settings.name, chunks, CHUNK, images=len(manifest))
        with planning(chunks), shown as progress, pool:
            answers = in_turn(
                raw,
                tasks,
                lambda task: (task.path, *task.masks),
                lambda brought: fill(job, brought, pool),
            )
            for filled in answers:
                account.add(filled)
                progress.step()
        index = _index(manifest, has_mask, account)
        if source.fine > 1:
            index["detail"] = _detail(manifest, job.preparation)
        header = _header(job, index, splits, source, account)
        places = _places(manifest, job)
        writer.finish(index.join(places), replace(header, mask_classes=classes))
    note(images_per_second=round(len(manifest) / (time.perf_counter() - start), 1))
    _report(settings.name, len(manifest), dtype, account)


def _tasks(manifest: pd.DataFrame, deep: NDArray[np.bool_]) -> Iterator[list[Task]]:
    columns = ("path", "frame", "sha256", "masks")
    for first in range(0, len(manifest), ROWS):  # a few columns at a time, or it is slow
        rows = manifest.iloc[first : first + ROWS]
        cells = [rows[name].tolist() for name in columns]
        tasks = [
            Task(row, path, frame, sha256, list(masks), bool(deep[row]), region)
            for row, path, frame, sha256, masks, region in zip(
                range(first, first + len(rows)), *cells, regions_of(rows), strict=True
            )
        ]
        yield from (tasks[start : start + CHUNK] for start in range(0, len(tasks), CHUNK))


def _index(
    manifest: pd.DataFrame, has_mask: NDArray[np.bool_], account: _Account
) -> pd.DataFrame:
    columns = ["image_id", "group", *label_columns(manifest)]
    index = manifest[columns].reset_index(drop=True)
    index.insert(2, "has_mask", has_mask)
    index.insert(3, "scale", np.concatenate(account.scale))
    index.insert(4, "offset", np.concatenate(account.offset))
    return index


def _detail(manifest: pd.DataFrame, preparation: Preparation) -> NDArray[np.float64]:
    """Return how many pixels of its file a pixel of the network spans, for each image."""
    sizes = list(zip(manifest["height"], manifest["width"], strict=True))
    spans = {size: min(preparation.span(size)) for size in {*sizes}}
    return np.array([spans[size] for size in sizes])


def _places(manifest: pd.DataFrame, job: Job) -> pd.DataFrame:
    """Return what is known of where images lie, spacing in mm per stored pixel.

    No part of the data hash: nothing that is learnt depends on it.
    """
    known = [
        name
        for name in PLACE_COLUMNS
        if name in manifest.columns and manifest[name].notna().any()
    ]
    places = manifest[known].reset_index(drop=True)
    if {"spacing_y", "spacing_x"} & {*known}:
        sizes = list(zip(manifest["height"], manifest["width"], strict=True))
        spans = {size: job.preparation.span(size) for size in {*sizes}}
        for axis, name in enumerate(("spacing_y", "spacing_x")):
            if name in places:
                places[name] *= [spans[size][axis] for size in sizes]
    return places


def _header(
    job: Job,
    index: pd.DataFrame,
    splits: pd.DataFrame,
    source: SourcePreprocessConfig,
    account: _Account,
) -> StoreHeader:
    """Describe the store; mean, std and ranges are those of the training images.

    With folds each image trains for some seed, so ranges are those of all.
    """
    folds = count_folds(splits)
    trains = (splits["split"] == "train").to_numpy()
    mean, std = account.moments(trains)
    ranges: tuple[int, ...] = ()
    if job.preparation.intensity["name"] == "range":  # no other one asks for the type
        ranges = account.ranges(trains | bool(folds))
    fold = splits["fold"].to_numpy()
    by_fold = [
        account.moments(split_of_fold(fold, folds, seed) == "train") for seed in range(folds)
    ]
    for table in (index, splits):
        for first in range(0, len(table), ROWS):
            rows = table.iloc[first : first + ROWS]
            account.digest.update(rows.to_csv(index=False).encode())
    return StoreHeader(
        preparation=replace(job.preparation, mean=mean, std=std, ranges=ranges),
        laterality=source.laterality,
        largest_rounding_error=account.rounding_error,
        data_hash=account.digest.hexdigest(),
        fold_mean=tuple(mean for mean, _ in by_fold),
        fold_std=tuple(std for _, std in by_fold),
    )


def _report(name: str, images: int, dtype: str, account: _Account) -> None:
    log.info(
        "%s: %s stored as %s; the largest rounding error is %.2g of the intensity range",
        name,
        count(images, "image"),
        dtype,
        account.rounding_error,
    )
    if account.lost_lesions:
        log.warning(
            "%s: in %s the lesion is gone after the geometry (cropped away, or smaller than "
            "half a pixel), as if there had been none",
            name,
            count(account.lost_lesions, "image"),
        )
