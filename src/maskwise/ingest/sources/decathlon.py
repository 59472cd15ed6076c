"""Any task of the Medical Segmentation Decathlon, slice by slice.

Antonelli et al., Nature Communications 13:4128 (2022).
``dataset.json`` names modalities, labels and files; ``imagesTr`` and ``labelsTr`` hold volumes
and their labels, ``imagesTs`` volumes without. A task of several modalities holds them as the
fourth dimension of each volume.
"""

import json
import posixpath
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import pandas as pd

from maskwise.artefacts.manifest import MOST_MASK_CLASSES
from maskwise.bounds import LARGEST, Within
from maskwise.errors import UserError
from maskwise.ingest.contracts import Listing
from maskwise.ingest.listing import Distance
from maskwise.scans.folder import other_file
from maskwise.scans.pictures import volume_reader
from maskwise.scans.raw import locate, looks_like_image, walk
from maskwise.scans.reading import DEFAULT, Reading
from maskwise.scans.reasons import Reject, RejectedError
from maskwise.scans.volume import VolumeGeometry, frames_of
from maskwise.wording import count

DESCRIPTION = "dataset.json"
_MODALITIES = {
    **dict.fromkeys(("mri", "mr", "flair", "t1w", "t1gd", "t2w", "t2", "adc"), "mr"),
    "ct": "ct",
}
"""What tasks call a modality -> what this project calls it."""
_LARGEST = 2**24
"""Bytes of ``dataset.json``."""


@dataclass(frozen=True)
class _Volume:
    image: str
    label: str | None
    part: str


@dataclass(frozen=True)
class _Task:
    """What ``dataset.json`` says; paths are relative to the raw folder."""

    volumes: tuple[_Volume, ...]
    modalities: tuple[str, ...]
    classes: tuple[str, ...]


@dataclass(frozen=True)
class DecathlonConfig:
    """``raw`` is the task's folder, or one that holds it."""

    task: str | None = None
    """The task's folder in ``raw``, as in ``Task04_Hippocampus``; null: ``raw`` itself, or the
    only folder in it that has a ``dataset.json``."""
    axis: Literal["axial", "coronal", "sagittal"] = "axial"
    """How volumes are sliced."""
    channel: Annotated[int, Within(0, LARGEST)] = 0
    """Which modality of a task that has several, from 0 in the order of ``dataset.json``."""
    test_volumes: Literal["keep", "leave"] = "keep"
    """``keep``: the volumes without labels as well; they are dealt to the parts of a split, and
    to folds, as the others are. ``leave``: labelled volumes only."""
    duplicate_distance: Distance = 0
    """Bits, 0 to 16; slices of different patients look alike, so that a larger one joins
    patients who have nothing in common."""
    reading: Reading = DEFAULT
    """How ambiguous files are read."""

    @property
    def modality(self) -> str:
        return "unknown"  # the listing knows it, from dataset.json

    def listing(self, raw: Path) -> Listing:
        files, rejects = walk(raw)
        folder = self._folder(raw, files)
        task = _read_task(raw, folder)
        if self.channel >= len(task.modalities):
            names = ", ".join(f"{i} {name}" for i, name in enumerate(task.modalities))
            raise UserError(
                f"channel is {self.channel}, but the task has only {names}; choose one of them"
            )
        rows: list[dict[str, Any]] = []
        frames: list[int] = []
        for volume in task.volumes:
            if volume.label is None and self.test_volumes == "leave":
                continue
            try:
                geometry = self._geometry(raw, volume.image, task)
            except RejectedError as error:
                rejects.append(error.reject._replace(path=volume.image))
                continue
            several = len(task.modalities) > 1
            found = frames_of(geometry.shape, self.axis, self.channel if several else None)
            rows.append(self._row(volume, found.start, task.modalities[self.channel]))
            frames.append(len(found))
        modality = task.modalities[self.channel].lower()
        return Listing(
            pd.DataFrame(rows) if rows else pd.DataFrame(columns=["path", "frame", "masks"]),
            (*rejects, *_unlisted(raw, files, folder, task)),
            frames=tuple(frames),
            modality=_MODALITIES.get(modality, modality),
            mask_classes=task.classes,
        )

    def _folder(self, raw: Path, files: list[str]) -> str:
        """Return the task's folder, relative to ``raw``; empty = ``raw`` itself."""
        if self.task is not None:
            folder = posixpath.normpath(self.task).removeprefix(".")
            if posixpath.join(folder, DESCRIPTION) in files:
                return folder
            raise UserError(
                f"task is {self.task!r}, but {raw} has no {self.task}/{DESCRIPTION}"
            )
        found = [path for path in files if PurePosixPath(path).name == DESCRIPTION]
        if DESCRIPTION in found:
            return ""
        if len(found) != 1:
            names = [str(PurePosixPath(path).parent) for path in found]
            raise UserError(
                f"{raw}: holds {len(found)} folders with a {DESCRIPTION} {names}; name the one "
                "to read in the source's option `task`"
            )
        return str(PurePosixPath(found[0]).parent)

    def _geometry(self, raw: Path, path: str, task: _Task) -> VolumeGeometry:
        geometry = volume_reader(raw, path, self.reading).geometry
        meant, found = len(task.modalities), geometry.volumes or 1
        if found != meant:
            named = count(meant, "modality", "modalities")
            detail = f"holds {count(found, 'volume')}, but {DESCRIPTION} names {named}"
            raise RejectedError(path, "dimensions", detail)
        return geometry

    def _row(self, volume: _Volume, frame: int, sequence: str) -> dict[str, Any]:
        return {
            "path": volume.image,
            "frame": frame,
            "patient": PurePosixPath(volume.image).name.split(".")[0],
            "split": None,
            "masks": [] if volume.label is None else [volume.label],
            "part": volume.part,
            "axis": self.axis,
            "sequence": sequence,
        }


def _read_task(raw: Path, folder: str) -> _Task:
    where = posixpath.join(folder, DESCRIPTION)
    try:
        with locate(raw, where).open("rb") as file:
            block = json.loads(file.read(_LARGEST))
        json.dumps(block, ensure_ascii=False).encode()  # half a character cannot be written
        volumes = [
            *(_volume(folder, entry["image"], entry["label"]) for entry in block["training"]),
            *(_volume(folder, _test_path(entry), None) for entry in block.get("test", ())),
        ]
        task = _Task(
            tuple(volumes), _in_order(block["modality"], 0), _in_order(block["labels"], 1)
        )
        if not task.modalities or not task.classes:
            raise ValueError("it names no modality, or no label beside the background")
        if len(set(task.classes)) < len(task.classes):
            raise ValueError("two of its labels have the same name")
    except (
        OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError
    ) as error:  # fmt: skip
        raise UserError(
            f"{where}: is not in the Decathlon's form ({type(error).__name__}: {error}); it "
            'should hold "modality": {"0": "MRI"}, "labels": {"0": "background", "1": ...}, '
            '"training": [{"image": ..., "label": ...}], "test": [...]'
        ) from None
    times = Counter(volume.image for volume in volumes)
    if twice := [path for path, number in times.items() if number > 1]:
        raise UserError(f"{where}: names {twice[0]} twice; keep one")
    return task


def _test_path(entry: Any) -> str:
    return str(entry["image"] if isinstance(entry, dict) else entry)


def _volume(folder: str, image: str, label: str | None) -> _Volume:
    if posixpath.isabs(image) or posixpath.isabs(label or ""):
        raise ValueError("a path is absolute, but should start at dataset.json")
    paths = [posixpath.normpath(posixpath.join(folder, path)) for path in (image, label or "")]
    return _Volume(paths[0], paths[1] if label else None, "training" if label else "test")


def _in_order(names: dict[str, str], first: int) -> tuple[str, ...]:
    """Return the names numbered from ``first`` on; what has a lower number is left out."""
    numbers = sorted(int(number) for number in names)
    if numbers != list(range(len(numbers))) or len(numbers) > MOST_MASK_CLASSES + 1:
        raise ValueError(f"its numbers are {numbers}, but should go from 0 up, one by one")
    return tuple(str(names[str(number)]) for number in numbers[first:])


def _unlisted(raw: Path, files: list[str], folder: str, task: _Task) -> list[Reject]:
    """Return a reject for each file that ``dataset.json`` does not name."""
    named = {volume.image for volume in task.volumes}
    named |= {volume.label for volume in task.volumes if volume.label}
    named.add(posixpath.join(folder, DESCRIPTION))
    detail = f"{DESCRIPTION} does not name it"
    return [
        Reject(path, "missing_label", detail)
        if looks_like_image(raw, path) and path.startswith(posixpath.join(folder, ""))
        else other_file(path)
        for path in files
        if path not in named
    ]
