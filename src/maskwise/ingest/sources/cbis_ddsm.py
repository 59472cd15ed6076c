"""CBIS-DDSM, scanned mammograms with outlined masses and calcifications, as TCIA publishes it.

Lee et al., Scientific Data 4:170177 (2017). Four tables, one row per abnormality and view;
DICOM films, crops and masks, one folder per film and one per lesion. A lesion becomes a square
round its mask, out of the film and with all its bits, or each film one image.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

from maskwise.artefacts.labels import LABEL
from maskwise.artefacts.manifest import REGION
from maskwise.bounds import Within
from maskwise.errors import listed
from maskwise.ingest.contracts import Listing
from maskwise.ingest.listing import Distance, build_listing
from maskwise.ingest.sources.cbis_ddsm_files import (
    METADATA,
    Box,
    Found,
    Index,
    OnMaskSize,
    Task,
    index_files,
    look,
    look_at_film,
)
from maskwise.ingest.sources.cbis_ddsm_table import (
    FINDINGS,
    TABLES,
    Lesion,
    Refused,
    read_lesions,
)
from maskwise.scans.folder import other_file
from maskwise.scans.raw import looks_like_image, walk
from maskwise.scans.reading import DEFAULT, Reading
from maskwise.scans.reasons import Reject
from maskwise.scans.region import Pad, Region
from maskwise.wording import count
from maskwise.workers import Pool, workers_for

_AT_ONCE = 16
"""Lesions that a worker looks at before the next are named."""
_NAMED = 40
"""Persons that a sentence names."""


@dataclass(frozen=True)
class CbisDdsmConfig:
    """``raw`` is any folder above the tables and the folders of films and lesions."""

    images: Literal["lesions", "films"] = "lesions"
    """``lesions``: a square round each mask; ``films``: each whole film, labelled by the worst
    that it shows."""
    margin: Annotated[float, Within(0, 10)] = 0.0
    """Of lesions: the square's side is (1 + margin) times the longer side of the mask's box; 0
    as the authors of MIRAM cut it."""
    pad: Pad = "clipped"
    """Where a square that reaches beyond its film is filled up: ``clipped``, there, so that the
    lesion stays in the middle; ``symmetric``, half at either side and one pixel more, as the
    authors of MIRAM did."""
    on_mask_size: OnMaskSize = "resize"
    """What becomes of a mask of another size than its film, in the same proportions: it is
    ``resize``d by its nearest pixels, or ``reject``ed with its lesion."""
    split: Literal["official", "corrected"] = "official"
    """``official``: as published, where 31 persons train for one kind of lesion and test the
    other; ``corrected``: whoever stands in any test table is tested."""
    duplicate_distance: Distance = 0
    """Bits, 0 to 16; 0, because lesions of different women look alike."""
    reading: Reading = DEFAULT
    """How ambiguous files are read; ``breast`` and ``chest_wall`` apply to the whole film, out
    of which a lesion is cut."""

    @property
    def modality(self) -> str:
        return "xray"

    def listing(self, raw: Path) -> Listing:
        files, rejects = walk(raw)
        lesions, refused, absent = read_lesions(raw, files)
        rejects += [one.reject for one in refused]
        names = {name for one in lesions for name in (one.film_name, one.name)}
        index = index_files(raw, files, names)
        rejects += _others(raw, files)
        lesions = self._split(lesions, refused)
        crossings = self._crossings(lesions)
        taken, repeated = _once(lesions)
        if self.images == "films":
            # A film of which one lesion is not understood may show anything.
            doubtful = {one.film_name for one in refused}
            doubtful |= {one.film_name for one in _without(lesions, taken)}
            rows, unseen, warnings = _films(raw, taken, index, doubtful)
        else:
            rows, unseen, warnings = self._lesions(raw, taken, index)
        listing = build_listing(
            sorted(rows, key=lambda row: str(row["path"])), [*rejects, *repeated, *unseen]
        )
        warnings = [*_incomplete(absent), *crossings, *warnings]
        return replace(listing, warnings=tuple(warnings), main_label="pathology")

    def _split(self, lesions: Sequence[Lesion], refused: Sequence[Refused]) -> list[Lesion]:
        if self.split == "official":
            return list(lesions)
        tested = {one.patient for one in lesions if one.split == "test"}
        tested |= {one.patient for one in refused if one.split == "test"}
        return [replace(one, split="test") if one.patient in tested else one for one in lesions]

    def _crossings(self, lesions: Sequence[Lesion]) -> Iterator[str]:
        parts: dict[str, set[str]] = {}
        for one in lesions:
            parts.setdefault(one.patient, set()).add(one.split)
        crossing = sorted(patient for patient, found in parts.items() if len(found) > 1)
        if crossing:
            yield (
                f"{count(len(crossing), 'person')} of the official split in a training "
                f"table and in a test table ({listed(crossing, _NAMED)}); `split: corrected` "
                "in ingest tests them."
            )

    def _lesions(
        self, raw: Path, lesions: Sequence[Lesion], index: Index
    ) -> tuple[list[dict[str, Any]], list[Reject], list[str]]:
        tasks = [Task(one, index.film_of(one), index.lesions_of(one)) for one in lesions]
        answers = _answers(partial(look, raw, self.on_mask_size), tasks)
        found = [
            (one, at) for one, at in zip(lesions, answers, strict=True) if isinstance(at, Found)
        ]
        rejects = [at for at in answers if isinstance(at, Reject)]
        found, shared = _apart(found)
        rows = [self._row(one, at) for one, at in found]
        return rows, [*rejects, *shared], list(_about_masks([at for _, at in found]))

    def _row(self, lesion: Lesion, found: Found) -> dict[str, Any]:
        return {
            "path": found.film,
            # A mask of another size fits no image of the film.
            "masks": [] if found.resized else [found.mask],
            "patient": lesion.patient,
            "split": lesion.split,
            **_labels([lesion]),
            **{LABEL + label: lesion.findings.get(label) for label in FINDINGS},
            LABEL + "birads": lesion.birads,
            "lesion": lesion.number,
            "subtlety": lesion.subtlety,
            "mask_resized": found.resized,
            "mask_parts": found.parts,
            REGION: self._region(found.box, found.shape),
        }

    def _region(self, box: Box, film: tuple[int, int]) -> Region:
        side = max(box.bottom - box.top, box.right - box.left) + 1
        side = math.ceil(side * (1 + self.margin))
        if self.pad == "clipped":
            top, left = (first + last + 1 - side for first, last in (box[:2], box[2:]))
            return Region(top // 2, left // 2, side, side)
        top, height = _as_published(box.top, box.bottom, side, film[0])
        left, width = _as_published(box.left, box.right, side, film[1])
        return Region(top, left, height, width, pad="symmetric")


def _as_published(first: int, last: int, side: int, film: int) -> tuple[int, int]:
    """Return start and length of a square's side as the authors of MIRAM cut it.

    From ``int(c - side / 2)`` to ``int(c + side / 2)``, both of them included, unless the film
    ends before: their padding counts one pixel too few.
    """
    end = int((first + last) / 2 + side / 2)
    return end - side, side + (end < film)


def _labels(lesions: Sequence[Lesion]) -> dict[str, Any]:
    """Return the labels of a lesion, or of a film with several: the worst of them."""
    first = lesions[0]
    pathology = max(one.pathology for one in lesions)  # benign, malignant
    worst = [one for one in lesions if one.pathology == pathology]
    kinds = "|".join(sorted({one.kind for one in worst}))
    return {
        LABEL + "pathology": pathology,
        LABEL + "finding": f"{pathology} {kinds}",
        LABEL + "density": first.density,
        "pathology_raw": "|".join(sorted({one.pathology_raw for one in lesions})),
        "kind": "|".join(sorted({one.kind for one in lesions})),
        "side": first.side,
        "view": first.view,
    }


def _films(
    raw: Path, lesions: Sequence[Lesion], index: Index, doubtful: Collection[str]
) -> tuple[list[dict[str, Any]], list[Reject], list[str]]:
    films: dict[str, list[Lesion]] = {}
    for one in lesions:
        if one.film_name not in doubtful:
            films.setdefault(one.film_name, []).append(one)
    tasks = [Task(found[0], index.film_of(found[0]), ()) for found in films.values()]
    answers = _answers(partial(look_at_film, raw), tasks)
    rows = [
        {
            "path": path,
            "patient": found[0].patient,
            "split": found[0].split,
            **_labels(found),
            LABEL + "birads": max((one.birads for one in found if one.birads), default=None),
            "lesions": len(found),
        }
        for found, path in zip(films.values(), answers, strict=True)
        if isinstance(path, str)
    ]
    return rows, [one for one in answers if isinstance(one, Reject)], []


def _answers(work: Any, tasks: Sequence[Task]) -> list[Any]:
    """Answer tasks in processes that may die of a file."""
    with Pool(workers_for(len(tasks), None)) as pool:
        chunks = (tasks[start : start + _AT_ONCE] for start in range(0, len(tasks), _AT_ONCE))
        found = pool.map(
            work,
            chunks,
            lambda task, loss: Reject(task.lesion.name, loss.reason, loss.detail),
        )
        return list(chain.from_iterable(found))


def _once(lesions: Iterable[Lesion]) -> tuple[list[Lesion], list[Reject]]:
    """Take each lesion's row once; rows of one lesion that differ are all refused."""
    rows: dict[str, list[Lesion]] = {}
    for one in lesions:
        rows.setdefault(one.name, []).append(one)
    taken, rejects = [], []
    for name, found in rows.items():
        if all(replace(one, where=found[0].where) == found[0] for one in found):
            taken.append(found[0])
            rejects += [
                Reject(name, "repeated_row", f"{one.where}: same as {found[0].where}")
                for one in found[1:]
            ]
        else:
            places = listed(one.where for one in found)
            rejects.append(Reject(name, "contradictory_rows", f"{places} differ"))
    return taken, rejects


def _without(lesions: Iterable[Lesion], taken: Iterable[Lesion]) -> list[Lesion]:
    """Return the rows of lesions that are not among ``taken``."""
    names = {one.name for one in taken}
    return [one for one in lesions if one.name not in names]


def _apart(
    found: Sequence[tuple[Lesion, Found]],
) -> tuple[list[tuple[Lesion, Found]], list[Reject]]:
    """Refuse lesions of one film whose masks outline the same: one file stands for both."""
    boxes = Counter((at.film, at.box) for _, at in found)
    masks = Counter(at.mask for _, at in found)
    kept, rejects = [], []
    for one, at in found:
        if boxes[at.film, at.box] == 1 and masks[at.mask] == 1:
            kept.append((one, at))
            continue
        detail = (
            f"{one.where}: its mask, {at.mask!r}, outlines what that of another lesion does"
        )
        rejects.append(Reject(one.name, "shared_mask", detail))
    return kept, rejects


def _others(raw: Path, files: Iterable[str]) -> Iterator[Reject]:
    tables = {table.name for table in TABLES} | {METADATA}
    for path in files:
        if path.rpartition("/")[2] not in tables and not looks_like_image(raw, path):
            yield other_file(path)


def _incomplete(absent: Sequence[str]) -> Iterator[str]:
    if absent:
        yield f"{listed(absent)}: not there, so that their lesions are left out."


def _about_masks(found: Sequence[Found]) -> Iterator[str]:
    resized = sum(one.resized for one in found)
    if resized:
        yield (
            f"{count(resized, 'lesion')} with a mask of another size than the film: boxed by "
            "the nearest pixels, and without an outline (column mask_resized)."
        )
    several = sum(one.parts > 1 for one in found)
    if several:
        yield (
            f"{count(several, 'lesion')} with a mask of several pieces: the box is round all "
            "of them (column mask_parts)."
        )
