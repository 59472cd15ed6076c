"""A folder of images: one subfolder per class, split folders above, or flat and unlabelled."""

import logging
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from maskwise.errors import UserError
from maskwise.ingest.contracts import Listing
from maskwise.ingest.labels import Alike, join_alike
from maskwise.ingest.listing import Distance, build_listing, canonical_split
from maskwise.scans.folder import find_images, pair_masks
from maskwise.scans.reading import DEFAULT, Reading
from maskwise.scans.reasons import Reject

log = logging.getLogger(__name__)

DIAGNOSIS = "label_diagnosis"


@dataclass(frozen=True)
class ImageFolderConfig:
    """Read the images at any depth below ``raw``."""

    layout: Literal["classes", "splits", "flat"] = "classes"
    """``classes``: the first folder is the class; ``splits``: the first is the official split
    (train, val, test) and the second the class; ``flat``: no labels."""
    alike: Alike = "keep"
    """``join``: class folders whose names differ only in case, blanks, Unicode form or the way
    a number is written are one class; ``keep``: they are warned of."""
    modality: str = "unknown"
    mask_suffix: str | None = None
    """``_mask``: ``a_mask.png`` and ``a_mask_1.png`` are masks of ``a.png``; null: no masks."""
    patient: str | None = None
    """Regular expression searched in the relative path; its first group is the patient. Null:
    a DICOM file's own, hashed, else unknown."""
    dicom: Literal["series", "files"] = "series"
    """``series``: DICOM files of one folder and one series are the slices of a volume, ordered
    by place, and refused where slices are missing, repeated or uneven, or where two series
    share the folder; ``files``: every file by itself, whatever lies beside it."""
    duplicate_distance: Distance = 4
    """Bits, 0 to 16 (head CT: 2, because unrelated slices look alike there)."""
    reading: Reading = DEFAULT
    """How ambiguous files are read."""

    def __post_init__(self) -> None:
        if self.mask_suffix == "":
            raise ValueError("mask_suffix is empty, so that every file would be a mask")
        if self.patient is not None:
            try:
                groups = re.compile(self.patient).groups
            except re.error as error:
                raise ValueError(f"patient is not a regular expression ({error})") from None
            if not groups:
                raise ValueError("patient needs a group, as in '(p[0-9]+)_'")

    def listing(self, raw: Path) -> Listing:
        """List the images; raise ``UserError`` where ``patient`` fits no path."""
        files, rejects = find_images(raw)
        images: dict[str, list[str]] = {path: [] for path in files}
        if self.mask_suffix is not None:
            images, orphans = pair_masks(files, self.mask_suffix)
            rejects += orphans
        self._check_patients(images)
        rows = []
        for path, masks in images.items():
            place = self._place(path)
            if isinstance(place, Reject):
                rejects.append(place)
            else:
                rows.append({"path": path, "masks": masks, "patient": self._who(path), **place})
        listing = build_listing(rows, rejects)
        warnings: list[str] = []
        if self.alike == "join" and DIAGNOSIS in listing.images:
            listing.images[DIAGNOSIS], warnings = join_alike(
                listing.images[DIAGNOSIS], "diagnosis"
            )
        return replace(listing, series=self.dicom == "series", warnings=tuple(warnings))

    def _place(self, path: str) -> dict[str, str] | Reject:
        """Read split and class off the folders of ``path``."""
        folders = PurePosixPath(path).parts[:-1]
        if self.layout == "flat":
            return {}
        if self.layout == "classes":
            if not folders:
                detail = "is in no class folder; for unlabelled images set `layout: flat`"
                return Reject(path, "missing_label", detail)
            return {DIAGNOSIS: folders[0]}
        if len(folders) < 2:
            return Reject(path, "missing_label", "is not in <split>/<class>/")
        split = canonical_split(folders[0])
        if split is None:
            detail = f"the folder {folders[0]!r} is not one of train, val, test"
            return Reject(path, "unknown_split", detail)
        return {"split": split, DIAGNOSIS: folders[1]}

    def _check_patients(self, paths: Collection[str]) -> None:
        """Refuse a pattern that fits nothing: patients would stand on both sides of a split."""
        nameless = [path for path in paths if self.patient and self._who(path) is None]
        if not nameless:
            return
        found = (
            f"the pattern {self.patient!r} fits {len(paths) - len(nameless)} of {len(paths)} "
            f"paths; not, for one, {nameless[0]!r}"
        )
        if len(nameless) == len(paths):
            raise UserError(
                f"ingest.patient: {found}; correct it, or set `patient: null` where no path "
                "names the patient"
            )
        log.warning(
            "ingest.patient: %s; each of these images counts as a patient of its own", found
        )

    def _who(self, path: str) -> str | None:
        match = re.search(self.patient, path) if self.patient else None
        return match[1] if match else None
