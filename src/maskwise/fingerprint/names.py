"""What paths say of an image: its class, its mask, its patient."""

import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from maskwise.scans.folder import pair_masks

MASK_SUFFIXES = (
    "_mask", "_Mask", "-mask", "_seg", "_segmentation", "_Segmentation", "_gt", "_lesion",
    "_label", "_labels", "_roi",
)  # fmt: skip
MASK_FOLDERS = frozenset(
    {"mask", "masks", "label", "labels", "labelstr", "annotation", "annotations", "gt"}
    | {"ground_truth", "groundtruth", "segmentation", "segmentations", "seg", "rois"}
)
"""Names of folders that hold outlines and no scans, in small letters."""
IMAGE_FOLDERS = frozenset({"image", "images", "img", "imgs", "imagestr", "scans", "pictures"})
NEARLY_ALL = 0.95
"""Share of the paths that must bear a rule out; the others are said to be exceptions."""
MOST_CLASSES = 30
"""More folders than that are patients rather than classes."""
_PATIENTS = (
    r"(TCGA[-_][A-Z0-9]{2}[-_][A-Z0-9]{4})",
    r"(LIDC-IDRI-\d{4})",
    r"(sub-[A-Za-z0-9]+)",
    r"((?:[Pp]atient|PATIENT|[Ss]ubject|[Cc]ase)[ _-]?\d+)",
    r"(?:^|[/_ -])([Pp]\d{2,})(?=[/_. -])",
    r"(\d+(?:\.\d+){5,})(?=\.mhd|[/_])",
)
"""How published sets write a patient, or the series of one, into a path; the surest first."""
_NUMBERED = re.compile(r"(?P<class>[A-Za-z][A-Za-z _-]*?)[ _.-]*\(?\d+\)?\Z")
_LIKE_A_PATIENT = re.compile(r".*\d{2,}")


@dataclass(frozen=True)
class Patients:
    """A pattern, as ``ImageFolderConfig.patient`` takes it, and whom it finds."""

    pattern: str
    found: int
    missed: int
    """Paths that it does not fit."""


def mask_suffix(paths: Sequence[str]) -> tuple[str, int] | None:
    """Return the suffix that most masks beside images have, and how many images have one."""
    best: tuple[str, int] | None = None
    for suffix in MASK_SUFFIXES:
        if not any(suffix in posixpath.basename(path) for path in paths):
            continue
        images, orphans = pair_masks(paths, suffix)
        masked = sum(bool(masks) for masks in images.values())
        if masked > max(len(orphans), 0 if best is None else best[1]):
            best = suffix, masked
    return best


def patients_in(paths: Sequence[str]) -> Patients | None:
    """Return the pattern that names several patients in nearly all paths, if one does."""
    for pattern in _PATIENTS:
        who = [match[1] for path in paths if (match := re.search(pattern, path))]
        if len(who) >= NEARLY_ALL * len(paths) and len(set(who)) > 1:
            return Patients(pattern, len(set(who)), len(paths) - len(who))
    return None


def shared_beginnings(paths: Collection[str]) -> tuple[int, str] | None:
    """Return in how many sets ``a_1.png, a_2.png`` files fall, and one of them, if in several.

    Such a set may be one patient's, or a class, or a mere prefix: nobody but a person knows.
    """
    sets: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        folder, name = posixpath.split(path)
        match = re.match(r"(.+?)[_-]\d+\.\w+\Z", name)
        sets[f"{folder}/{match[1]}" if match else path].append(name)
    several = {start: names for start, names in sets.items() if len(names) > 1}
    if len(sets) < 3 or len(several) < len(sets) / 2:
        return None
    return len(sets), sorted(next(iter(several.values())))[0]


def classes_in_names(paths: Iterable[str]) -> dict[str, int]:
    """Return the words that file names begin with, and how often, where they are few.

    ``benign (1).png, malignant_2.png`` say benign and malignant; empty where all names begin
    alike, or with words of their own.
    """
    paths = list(paths)
    stems = [posixpath.splitext(posixpath.basename(path))[0] for path in paths]
    words = [match["class"].strip(" _-") for stem in stems if (match := _NUMBERED.match(stem))]
    counts = Counter(words)
    few = 2 <= len(counts) <= MOST_CLASSES and min(counts.values()) > 1
    if not few or len(words) < NEARLY_ALL * len(paths) or len(paths) < 3 * len(counts):
        return {}
    return dict(sorted(counts.items()))


def look_like_patients(folders: Collection[str]) -> bool:
    """Tell whether folders are rather patients than classes: many, or numbered by hundreds."""
    if len(folders) > MOST_CLASSES:
        return True
    numbered = sum(bool(_LIKE_A_PATIENT.match(name)) for name in folders)
    return len(folders) > 2 and numbered >= NEARLY_ALL * len(folders)
