"""LGG, brain MR slices with outlines of the tumour, in the layout published as ``kaggle_3m``.

Buda, Saha, Mazurowski, Computers in Biology and Medicine 109 (2019) 218-225.
``TCGA_<institution>_<patient>_<date>/<folder's name>_<slice>.tif`` with the channels
pre-contrast, FLAIR and post-contrast, beside it ``..._<slice>_mask.tif``; above the folders
``data.csv``. A sequence that was not made is replaced by FLAIR.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, groupby
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from maskwise.artefacts.labels import LABEL
from maskwise.errors import UserError
from maskwise.ingest.contracts import Listing, MaskLabel
from maskwise.ingest.labels import MISSING, missing_warning, without_missing
from maskwise.ingest.listing import Distance
from maskwise.scans.folder import find_images, pair_masks
from maskwise.scans.pictures import read_image
from maskwise.scans.reading import DEFAULT, Reading
from maskwise.scans.reasons import Reject, RejectedError
from maskwise.scans.tables import column_of, read_rows
from maskwise.workers import Pool

TABLE = "data.csv"
SEQUENCES = ("pre", "flair", "post")
PATIENT = "Patient"
GRADE = "neoplasm_histologic_grade"
GRADES = {"1": "II", "2": "III"}
"""Codes of ``GRADE``: inferred from their order, because the file does not name them."""

_FOLDER = re.compile(r"TCGA_(?P<institution>\w+)_\w+_\d{8}\Z")
_SLICE = re.compile(r"_(\d+)\Z")
_LOOKED_AT = (0.25, 0.5, 0.75)
"""Of a patient's slices: where it is looked whether a sequence is a copy of FLAIR."""
_AT_ONCE = 64
"""Images that are looked at before the next are named."""

Copies = tuple[bool, bool]
"""Whether the first channel repeats FLAIR, and whether the last one does."""


class _Slice(NamedTuple):
    folder: str
    number: int
    path: str
    masks: list[str]


@dataclass(frozen=True)
class LggConfig:
    """``raw`` is the folder of the patients' folders, or one above it."""

    channels: Literal["all", "flair"] = "all"
    """``all``: pre-contrast, FLAIR and post-contrast as three channels; ``flair``: FLAIR
    alone."""
    labels: Mapping[str, str] = field(default_factory=lambda: {"grade": GRADE})
    """Further labels -> column of ``data.csv``, as in ``{gender: gender}``: one value for all
    slices of a patient. ``diagnosis``, tumour or none in the slice, is always there."""
    duplicate_distance: Distance = 0
    """Bits, 0 to 16; slices of different heads look alike, so that a larger one joins patients
    who have nothing in common."""
    reading: Reading = DEFAULT
    """How ambiguous files are read."""

    @property
    def modality(self) -> str:
        return "mr"

    def __post_init__(self) -> None:
        if "diagnosis" in self.labels:
            raise ValueError(
                "labels.diagnosis: is reserved; it says whether a slice shows tumour"
            )

    def listing(self, raw: Path) -> Listing:
        files, rejects = find_images(raw)
        paired, orphans = pair_masks(files, "_mask")
        slices, misplaced = _find_slices(paired)
        slices, copies = _drop_copies(slices)
        tables = [one.path for one in rejects if PurePosixPath(one.path).name == TABLE]
        known, no_label = _read_table(raw, tables, self.labels)
        folders = [list(group) for _, group in groupby(slices, key=lambda one: one.folder)]
        looks = _look(raw, [path for folder in folders for path in _looked_at(folder)])
        rows: list[dict[str, Any]] = []
        for folder in folders:
            replaced = _replaced([looks[path] for path in _looked_at(folder)])
            rows += self._rows(folder, replaced, known)
        images = pd.DataFrame(rows) if rows else pd.DataFrame(columns=["path", "masks"])
        tumour = MaskLabel("diagnosis", "tumour", "no tumour")
        rejects = [one for one in rejects if one.path not in tables]
        return Listing(
            images,
            (*rejects, *orphans, *misplaced, *copies),
            mask_label=tumour,
            warnings=tuple(
                sentence
                for label, counts in no_label.items()
                for sentence in missing_warning(label, counts)
            ),
            no_label=no_label,
        )

    def _rows(
        self,
        slices: list[_Slice],
        replaced: Mapping[str, bool],
        known: Mapping[str, dict[str, Any]],
    ) -> list[dict[str, Any]]:
        """Return one row per slice of one patient; ``slices`` are in order."""
        folder = slices[0].folder
        patient = _patient(folder)
        common = {
            # Behind the only page, the second of its channels (scans/pictures.py).
            "frame": 0 if self.channels == "all" else 1 + SEQUENCES.index("flair"),
            "patient": patient,
            "split": None,
            **{LABEL + label: known.get(patient, {}).get(label) for label in self.labels},
            "volume": folder,
            "institution": patient.split("_")[1],
            **replaced,
        }
        return [
            {
                "path": one.path,
                "masks": one.masks,
                **common,
                "slice": one.number,
                "relative_slice": place / (len(slices) - 1) if len(slices) > 1 else 0.5,
            }
            for place, one in enumerate(slices)
        ]


def _find_slices(paired: Mapping[str, list[str]]) -> tuple[list[_Slice], list[Reject]]:
    """Return the slices with masks by folder and number, and a reject for all other images."""
    slices, rejects = [], []
    for path, masks in paired.items():
        place = PurePosixPath(path)
        number = _SLICE.search(place.stem)
        if number is None or not _FOLDER.match(place.parent.name):
            detail = "is no TCGA_<institution>_<patient>_<date>/..._<slice>.tif"
            rejects.append(Reject(path, "unknown_place", detail))
        elif not masks:
            name = f"{place.stem}_mask{place.suffix}"
            rejects.append(Reject(path, "missing_mask", f"{name!r} is not beside it"))
        else:
            slices.append(_Slice(str(place.parent), int(number[1]), path, masks))
    return sorted(slices), rejects


def _drop_copies(slices: list[_Slice]) -> tuple[list[_Slice], list[Reject]]:
    """Take each patient's folder once: archives of the set hold it again, further down."""
    folders = sorted({one.folder for one in slices}, key=lambda path: (path.count("/"), path))
    first: dict[str, str] = {}
    for folder in folders:
        first.setdefault(PurePosixPath(folder).name, folder)
    taken = set(first.values())
    copies = [
        Reject(
            one.path,
            "second_copy",
            f"the patient stands in {first[PurePosixPath(one.folder).name]!r} already",
        )
        for one in slices
        if one.folder not in taken
    ]
    return [one for one in slices if one.folder in taken], copies


def _patient(folder: str) -> str:
    """Return ``TCGA_CS_4941`` of ``.../TCGA_CS_4941_19960909``, as ``data.csv`` has it."""
    return "_".join(PurePosixPath(folder).name.split("_")[:3])


def _looked_at(slices: list[_Slice]) -> list[str]:
    """Return the images of a patient by which copies are told."""
    return [slices[round(share * (len(slices) - 1))].path for share in _LOOKED_AT]


def _look(raw: Path, paths: list[str]) -> dict[str, Copies | None]:
    """Look at images, in a process that may die of it: then nothing is known of one."""
    with Pool(1) as pool:
        chunks = (paths[start : start + _AT_ONCE] for start in range(0, len(paths), _AT_ONCE))
        found = pool.map(partial(_copies, raw), chunks, lambda path, loss: None)
        return dict(zip(paths, chain.from_iterable(found), strict=True))


def _copies(raw: Path, path: str) -> Copies | None:
    """Tell which channels of an image repeat FLAIR; None where it shows nothing."""
    try:
        pixels = read_image(raw, path)
    except RejectedError:
        return None  # it is rejected with its reason when it is measured
    if pixels.shape[2] != len(SEQUENCES) or np.ptp(pixels[..., 1]) == 0:
        return None
    pre, flair, post = np.moveaxis(pixels, 2, 0)
    return bool((pre == flair).all()), bool((post == flair).all())


def _replaced(looks: Sequence[Copies | None]) -> dict[str, bool]:
    """Tell which sequences are copies of FLAIR, by slices that show something.

    A fact about how the patient was scanned: nothing that may be learnt from.
    """
    shown = [look for look in looks if look is not None]
    pre, post = (bool(shown) and all(one[i] for one in shown) for i in (0, 1))
    return {"pre_replaced": pre, "post_replaced": post}


def _read_table(
    raw: Path, tables: list[str], labels: Mapping[str, str]
) -> tuple[dict[str, dict[str, str | None]], dict[str, dict[str, int]]]:
    """Read the uppermost of ``tables``.

    Returns:
        patient -> label -> value, and label -> word that says that there is none -> patients.
    """
    if not labels:
        return {}, {}
    if not tables:
        raise UserError(
            f"{TABLE}: is not in {raw}, but holds the labels {', '.join(labels)}; add it, or "
            "set the source's option `labels: {}`"
        )
    table = min(tables, key=lambda path: (path.count("/"), path))
    rows = read_rows(raw, table)
    patients = rows[column_of(rows, PATIENT, table)]
    repeated = patients[patients.duplicated()]
    if len(repeated):
        raise UserError(f"{table}: the patient {repeated.iloc[0]!r} appears twice; keep one")
    values, no_label = pd.DataFrame(index=rows.index), {}
    for label, column in labels.items():
        cells = rows[column_of(rows, column, table)]
        values[label], no_label[label] = without_missing(cells, MISSING)
        if column == GRADE:
            values[label] = values[label].replace(GRADES)
    values = values.astype(object).where(values.notna(), None)
    return dict(zip(patients, values.to_dict("records"), strict=True)), no_label
