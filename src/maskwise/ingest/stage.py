"""Raw files to manifest, rejects and a summary of the data, in one pass over the pixels."""

import logging
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from maskwise.artefacts.labels import LABEL, label_columns
from maskwise.artefacts.manifest import COLUMNS, READING, REGION, check_manifest, reading_text
from maskwise.artefacts.rejects import rejects_table
from maskwise.errors import UserError
from maskwise.ingest import contradictions as against
from maskwise.ingest.audit import audit, slice_audit
from maskwise.ingest.config import IngestConfig
from maskwise.ingest.contracts import Listing, SourceConfig
from maskwise.ingest.figure import draw
from maskwise.ingest.groups import Groups, group_images
from maskwise.ingest.joining import join
from maskwise.ingest.labels import alike_labels, alike_warnings, labels_that_differ
from maskwise.ingest.listing import MEASURED
from maskwise.ingest.measure import Job, Measured, Task, lost, measure
from maskwise.ingest.overlap import MaskComparison
from maskwise.ingest.summary import describe, describe_rejects, describe_remarks, plain, warn
from maskwise.progress import bar, note, planning
from maskwise.scans.decode import PIXEL_LIMIT
from maskwise.scans.objects import in_turn
from maskwise.scans.raw import check_raw
from maskwise.scans.reading import DEFAULT
from maskwise.scans.reasons import UNCOUNTED, Reject
from maskwise.wording import count
from maskwise.workers import Pool, workers_for

__all__ = ["IngestConfig", "Ingested", "ingest"]

log = logging.getLogger(__name__)

CHUNK = 64
"""Images that a worker takes at once."""


@dataclass(frozen=True)
class Ingested:
    """What the stage leaves behind."""

    manifest: pd.DataFrame
    rejects: pd.DataFrame
    summary: dict[str, Any]
    figure: bytes
    """PNG."""


def ingest(raw: Path, source: SourceConfig, config: IngestConfig, source_name: str) -> Ingested:
    """Read the raw folder of a source.

    Raises:
        UserError: if the folder is absent or empty, no image is left, more than
            ``max_reject_share`` of the images were rejected, or a label has one class only.
    """
    check_raw(
        raw,
        "docs/sources.md says where to get the data; `kedro run --pipelines "
        f"{source_name} --params raw_root=FOLDER` reads them from another folder",
    )
    listing = source.listing(raw)
    modality = listing.modality or source.modality
    job = Job(
        raw,
        config.max_pixels,
        config.identity_key.expanduser().absolute(),
        source.reading,
        modality,
    )
    measured, refused = _measure(job, listing, config, source_name)
    refused += listing.rejects
    _refuse_too_many(len(measured), rejects_table(refused), config, source_name)
    joined = join(listing, measured, modality, source_name)
    images, rejects = joined.images, rejects_table([*refused, *joined.rejects])
    _refuse_too_many(len(images), rejects, config, source_name)
    images, single = labels_that_differ(images, listing.main_label)
    _refuse_one_class(images, source_name)
    groups = group_images(images, source.duplicate_distance)
    images["group"] = groups.group
    if source.reading != DEFAULT:
        images[READING] = reading_text(source.reading)
    comparison = MaskComparison(raw, config.max_pixels, config.mask_agreement, source.reading)
    summary = _summarise(images, groups, source.duplicate_distance, comparison)
    summary["remarks"] = describe_remarks(joined.remarks)
    summary["source"] = source_name
    summary["rejects"] = describe_rejects(rejects, len(images))
    summary["no_label"] = listing.no_label
    summary["alike_labels"] = alike_labels(images)
    summary["warnings"] = [
        *listing.warnings,
        *joined.warnings,
        *single,
        *alike_warnings(summary["alike_labels"]),
        *warn(summary),
    ]
    summary = plain(summary)
    manifest = _manifest(images)
    check_manifest(manifest, f"manifest of {source_name}")
    figure = draw(images, summary, f"{source_name}: {count(len(images), 'image')}")
    _log(source_name, summary)
    return Ingested(manifest, rejects, summary, figure)


def _measure(
    job: Job, listing: Listing, config: IngestConfig, source_name: str
) -> tuple[list[Measured], list[Reject]]:
    chunks = list(_chunks(_tasks(listing)))
    listed = sum(task.frames for chunk in chunks for task in chunk)
    workers = min(workers_for(listed, config.workers), max(1, len(chunks)))
    had_key = os.path.exists(job.key_file)
    work = partial(measure, job)
    measured: list[Measured] = []
    rejects: list[Reject] = []
    start = time.perf_counter()
    images = max(CHUNK, -(-listed // max(1, len(chunks))))
    shown = bar("ingest", source_name, len(chunks), images, images=listed)
    # A plan of its own: these are not optimiser steps of the whole run.
    pool = Pool(workers, config.seconds_per_file)
    with planning(len(chunks)), shown as progress, pool:
        answers = in_turn(
            job.raw,
            chunks,
            lambda task: (task.path, *task.masks),
            lambda brought: pool.map(work, brought, lost),
        )
        for chunk in answers:
            for found in chunk:
                measured += found.measured
                rejects += map(_advise, found.rejects)
            progress.step()
    if not had_key and os.path.exists(job.key_file):
        log.warning(
            "%s: is a new key, with which ids of patients became pseudonyms; keep it, because "
            "without it no later run gives the same ones",
            config.identity_key,
        )
    seconds = time.perf_counter() - start
    note(images_per_second=round(listed / max(seconds, 1e-9), 1))
    return measured, rejects


def _tasks(listing: Listing) -> Iterator[Task]:
    listed, classes = listing.images, len(listing.mask_classes)
    frames = listing.frames or (1,) * len(listed)
    parts = listed[REGION] if REGION in listed else [None] * len(listed)
    columns = (listed[name].tolist() for name in ("path", "frame", "masks"))
    rows = zip(*columns, frames, parts, strict=True)
    for row, (path, frame, masks, images, part) in enumerate(rows):
        yield Task(row, path, frame, tuple(masks), images, classes, part)


def _chunks(tasks: Iterable[Task]) -> Iterator[list[Task]]:
    """Deal tasks into chunks of about ``CHUNK`` images; a volume is one worker's alone."""
    chunk: list[Task] = []
    images = 0
    for task in tasks:
        chunk.append(task)
        images += task.frames
        if images >= CHUNK:
            yield chunk
            chunk, images = [], 0
    if chunk:
        yield chunk


def _refuse_too_many(
    kept: int, rejects: pd.DataFrame, config: IngestConfig, source_name: str
) -> None:
    counted = rejects[~rejects["reason"].isin(list(UNCOUNTED))]
    share = len(counted) / max(1, kept + len(counted))
    if kept and share <= config.max_reject_share:
        return
    lines = list(_commonest(counted if len(counted) else rejects))
    if not kept:
        start = f"ingest of {source_name}: no image could be taken"
    else:
        start = (
            f"ingest of {source_name}: {len(counted)} of {kept + len(counted)} images "
            f"({share:.0%}) were rejected, more than max_reject_share = "
            f"{config.max_reject_share:.0%}"
        )
    remedy = (
        "correct the files, or the options of the source (docs/sources.md explains the reasons)"
    )
    raise UserError("\n  ".join([f"{start}; {remedy}", *lines]))


def _advise(reject: Reject) -> Reject:
    """Name the option that turned away what is too large."""
    if reject.reason != "too_large":
        return reject
    advice = f"raise ingest.max_pixels (to {PIXEL_LIMIT:,} at most) or make the file smaller"
    return reject._replace(detail=f"{reject.detail}; {advice}")


def _commonest(rejects: pd.DataFrame) -> Iterator[str]:
    counts = rejects["reason"].value_counts(sort=True)
    for reason, files in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:5]:
        first = rejects[rejects["reason"] == reason].iloc[0]
        yield f"{files} x {reason}, as {first['path']!r}: {first['detail']}"


def _refuse_one_class(images: pd.DataFrame, source_name: str) -> None:
    for column in label_columns(images):
        classes = images[column].dropna().unique()
        if len(classes) == 1:
            raise UserError(
                f"ingest of {source_name}: all labelled images have one {column!r}, "
                f"{classes[0]!r}, so there is nothing to tell apart; point the source at the "
                "folder or table with all classes, or read the images without this label"
            )


def _summarise(
    images: pd.DataFrame, groups: Groups, distance: int, comparison: MaskComparison
) -> dict[str, Any]:
    summary = describe(images, groups)
    label_sets, labels = against.label_contradictions(images, groups)
    summary["duplicates"]["distance"] = distance
    summary["duplicates"]["pairs_with_other_labels"] = against.crossing_pairs(
        images, groups, distance
    )
    summary["contradictions"] = {
        "label_sets": label_sets,
        "labels": labels,
        "masks": against.mask_contradictions(images, groups, distance, comparison),
    }
    summary["official_split_leaks"] = against.split_leaks(images)
    summary["file_facts_audit"] = {
        column.removeprefix(LABEL): audit(images, column) for column in label_columns(images)
    }
    by_slice = {
        column.removeprefix(LABEL): slice_audit(images, column)
        for column in label_columns(images)
    }
    summary["slice_number_audit"] = {
        label: found for label, found in by_slice.items() if found is not None
    }
    return summary


def _manifest(images: pd.DataFrame) -> pd.DataFrame:
    labels = label_columns(images)
    own = [name for name in images.columns if name not in {*COLUMNS, *labels, *MEASURED}]
    manifest = images[[*COLUMNS[:6], *labels, *COLUMNS[6:], *MEASURED, *own]].copy()
    for name in ("patient", "split", *labels):
        manifest[name] = manifest[name].astype("str")
    return manifest


def _log(source_name: str, summary: dict[str, Any]) -> None:
    for sentence in summary["warnings"]:
        log.warning("%s: %s", source_name, sentence)
    rejects = summary["rejects"]
    reasons = ", ".join(
        f"{entry['files']} {reason}" for reason, entry in rejects["by_reason"].items()
    )
    log.log(
        logging.WARNING if rejects["total"] else logging.INFO,
        "ingest of %s: %s in %s; %s rejected%s",
        source_name,
        count(summary["images"], "image"),
        count(summary["groups"], "group"),
        count(rejects["total"], "file"),
        f" ({reasons}; rejects.csv beside the manifest names them)" if reasons else "",
    )
