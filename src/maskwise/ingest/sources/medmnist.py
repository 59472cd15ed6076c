"""Any two-dimensional MedMNIST ``.npz`` (Yang et al., Scientific Data 10:41, 2023).

Arrays ``train_images`` ``(N, H, W)`` or ``(N, H, W, 3)``, ``train_labels`` ``(N, L)``, and the
same for ``val`` and ``test``. An image is addressed as archive and frame; nothing is unpickled.
"""

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskwise.errors import UserError
from maskwise.ingest.contracts import Listing
from maskwise.ingest.listing import Distance
from maskwise.ingest.sources.medmnist_sets import SETS, VOLUMES, named
from maskwise.scans.archive import PARTS, ArchiveReader
from maskwise.scans.folder import other_file
from maskwise.scans.pictures import archive_reader
from maskwise.scans.raw import walk
from maskwise.scans.reading import DEFAULT, Reading
from maskwise.wording import count


@dataclass(frozen=True)
class MedmnistConfig:
    """Labels are numbers in the file; ``classes`` gives them names."""

    file: str | None = None
    """Name of the archive in ``raw``; null: the only one."""
    classes: tuple[str, ...] = ()
    """Names of the classes 0, 1, ... (of the findings, where the labels are several bits per
    image); empty: the published ones where the archive has a published name, else the numbers
    themselves."""
    modality: str = "unknown"
    """``unknown``: that of the set, where the archive has a published name."""
    duplicate_distance: Distance = 4
    """Bits, 0 to 16; groups only report leaks here, because the official split is kept."""
    reading: Reading = DEFAULT
    """How ambiguous files are read."""

    def __post_init__(self) -> None:
        if len(set(self.classes)) < len(self.classes) or "" in self.classes:
            raise ValueError(f"classes should be different names, not {list(self.classes)}")

    def listing(self, raw: Path) -> Listing:
        files, rejects = walk(raw)
        path = self._archive(raw, files)
        known = named(PurePosixPath(path).name)
        if known is not None and known[0] in VOLUMES:
            raise UserError(
                f"{path}: {known[0]} holds volumes; only the two-dimensional sets of MedMNIST "
                f"are read: {', '.join(SETS)}"
            )
        reader = archive_reader(raw, path)
        _check_frames(path, reader, known)
        published = None if known is None else SETS[known[0]]
        classes = self.classes or (published.classes if published else ())
        naming = replace(self, classes=classes)
        parts = [naming._part(path, reader, part) for part in reader.counts]
        images = pd.concat(parts, ignore_index=True)
        images.insert(0, "path", path)
        images.insert(1, "frame", np.arange(len(images)))
        images["patient"] = None
        images["masks"] = [[] for _ in range(len(images))]
        rejects += [other_file(other) for other in files if other != path]
        modality = published.modality if published and self.modality == "unknown" else None
        return Listing(images, tuple(rejects), modality=modality)

    def _archive(self, raw: Path, files: list[str]) -> str:
        found = [path for path in files if path.lower().endswith(".npz")]
        if self.file is not None:
            if self.file not in files:
                raise UserError(f"{self.file}: is not in {raw}; there is {found or 'no .npz'}")
            return self.file
        if len(found) != 1:
            raise UserError(
                f"{raw}: holds {len(found)} .npz files {found}; name the one to read in the "
                "source's option `file`"
            )
        return found[0]

    def _part(self, path: str, reader: ArchiveReader, part: str) -> pd.DataFrame:
        images, labels = reader.counts[part], reader.labels(part)
        if labels is not None and len(labels) != images:
            raise UserError(
                f"{path}: {part} has {count(images, 'image')}, but "
                f"{count(len(labels), 'label')}"
            )
        columns: dict[str, Any] = {"split": [PARTS[part]] * images}
        if labels is None:
            return pd.DataFrame({**columns, "label_diagnosis": [None] * images})
        if labels.shape[1] == 1:
            columns["label_diagnosis"] = self._names(path, labels[:, 0])
            return pd.DataFrame(columns)
        findings = self.classes or tuple(f"finding_{i}" for i in range(labels.shape[1]))
        if len(findings) != labels.shape[1]:
            raise UserError(
                f"{path}: has {labels.shape[1]} findings per image, but `classes` names "
                f"{len(findings)}"
            )
        others = sorted({int(value) for value in np.unique(labels)} - {0, 1})
        if others:
            raise UserError(
                f"{path}: {part}_labels has several columns, which are read as findings that "
                f"are there (1) or not (0), but holds {others[0]}; write one column of classes "
                "or only 0 and 1"
            )
        for finding, values in zip(findings, labels.T, strict=True):
            columns[f"label_{finding}"] = np.where(values > 0, "present", "absent").astype(
                object
            )
        return pd.DataFrame(columns)

    def _names(self, path: str, labels: NDArray[Any]) -> NDArray[np.object_]:
        if not self.classes:
            return labels.astype(np.int64).astype(str).astype(object)
        unknown = sorted({int(label) for label in labels} - set(range(len(self.classes))))
        if unknown:
            raise UserError(
                f"{path}: has the label {unknown[0]}, but `classes` names only 0 to "
                f"{len(self.classes) - 1}: {', '.join(self.classes)}"
            )
        return np.asarray(self.classes, dtype=object)[labels.astype(np.int64)]


def _check_frames(path: str, reader: ArchiveReader, known: tuple[str, int] | None) -> None:
    """Refuse what is no picture, or of another size than the archive's name says."""
    for part, shape in reader.shapes.items():
        if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] != 3):
            raise UserError(
                f"{path}: {part}_images has frames of {shape}; only grey (H, W) and colour "
                "(H, W, 3) are read, not the three-dimensional MedMNIST sets"
            )
        if known is not None and shape[:2] != (known[1], known[1]):
            raise UserError(
                f"{path}: {part}_images has frames of {shape[0]} x {shape[1]} pixels, where "
                f"its name says {known[1]}; rename it, or get it again"
            )
