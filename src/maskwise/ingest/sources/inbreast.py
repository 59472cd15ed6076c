"""INbreast, 410 digital mammograms of 115 women, in its published layout.

Moreira et al., Academic Radiology 19 (2012) 236-248. ``AllDICOMs/<image>_<patient>_MG_<side>_
<view>_ANON.dcm``, ``AllXML/<image>.xml`` with the outlines, ``INbreast.csv`` with the BI-RADS
assessments, on which the label rests: there is no pathology of most films.
"""

import posixpath
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from maskwise.artefacts.labels import LABEL
from maskwise.artefacts.manifest import REGION
from maskwise.bounds import LARGEST, Within
from maskwise.errors import UserError, hint, listed
from maskwise.ingest.contracts import Listing
from maskwise.ingest.listing import Distance, build_listing
from maskwise.ingest.sources.inbreast_rois import OTHER, Rois, read_rois
from maskwise.scans.folder import other_file
from maskwise.scans.raw import looks_like_image, walk
from maskwise.scans.reading import DEFAULT, Reading
from maskwise.scans.reasons import Reject, RejectedError
from maskwise.scans.tables import column_of, read_rows
from maskwise.wording import count

TABLE, WORKBOOK = "INbreast.csv", "INbreast.xls"
LOW, HIGH = "BI-RADS 1-3", "BI-RADS 4-6"
ASSESSMENTS = {
    **dict.fromkeys(("1", "2", "3"), LOW),
    **dict.fromkeys(("4", "4a", "4b", "4c", "5", "6"), HIGH),
}
"""BI-RADS -> class of the label ``birads_malignant``; no biopsy says the same of most films."""
DENSITIES = ("1", "2", "3", "4")
"""Of the ACR."""
FINDINGS = {
    "Mass": "mass",
    "Micros": "calcification",
    "Distortion": "distortion",
    "Asymmetry": "asymmetry",
}
"""Column that is marked with an X -> finding; a sheet has all of these, or none."""
NO_FINDING = "none"

_FILM = re.compile(
    r"(?P<image>\d+)_(?P<patient>[0-9a-f]+)_MG_(?P<side>[LR])_(?P<view>CC|MLO?)_ANON\.dcm",
    re.ASCII | re.IGNORECASE,
)
_OUTLINES = re.compile(r"(?P<image>\d+)\.xml", re.ASCII | re.IGNORECASE)


class _Film(NamedTuple):
    image: str
    path: str
    patient: str
    side: str
    view: str


@dataclass(frozen=True)
class InbreastConfig:
    """``raw`` is any folder above ``AllDICOMs``, ``AllXML`` and ``INbreast.csv``."""

    images: Literal["films", "lesions"] = "films"
    """``films``: each whole film; ``lesions``: a square round each outline of three points or
    more, labelled as its film and by what it outlines."""
    margin: Annotated[float, Within(0, 10)] = 0.2
    """Of lesions: the square's side is (1 + margin) times the outline's longer side."""
    min_side: Annotated[int, Within(1, LARGEST)] = 64
    """Pixels: no square is smaller."""
    duplicate_distance: Distance = 0
    """Bits, 0 to 16; 0, because films of different women look alike."""
    reading: Reading = DEFAULT
    """How ambiguous files are read."""

    @property
    def modality(self) -> str:
        return "xray"

    def listing(self, raw: Path) -> Listing:
        files, rejects = walk(raw)
        films, outlines, refused = _files(raw, files)
        rejects += refused
        rows, warnings = _table(raw, files)
        known, refused = _labelled(films, rows)
        rejects += refused
        rois, refused = _rois(raw, {image: films[image] for image in known}, outlines)
        rejects += refused
        images = [
            row
            for image in sorted(rois)
            for row in self._rows(films[image], known[image], rois[image])
        ]
        listing = build_listing(images, rejects)
        warnings = [*warnings, *_about(rois)]
        return replace(listing, warnings=tuple(warnings), main_label="birads_malignant")

    def _rows(
        self, film: _Film, labels: Mapping[str, str | None], found: Rois | None
    ) -> Iterator[dict[str, Any]]:
        outlined = [] if found is None else [one for one in found.rois if not one.is_dot]
        dots = [] if found is None else [one for one in found.rois if one.is_dot]
        row = {
            "path": film.path,
            "patient": film.patient,
            **labels,
            "side": film.side,
            "view": film.view,
        }
        if self.images == "films":
            kinds = sorted({one.kind for one in [*outlined, *dots]})
            own = {"outlined": "|".join(kinds) or None, "outlines": len(outlined)}
            yield {**row, **own, "dots": len(dots)}
            return
        for number, one in enumerate(outlined, 1):
            own = {LABEL + "outlined": one.kind, "lesion": number, "points": len(one.points)}
            yield {**row, **own, REGION: one.square(self.margin, self.min_side)}


def _files(
    raw: Path, files: Iterable[str]
) -> tuple[dict[str, _Film], dict[str, str], list[Reject]]:
    """Return image -> film, image -> outlines, and a reject for each other file."""
    films: dict[str, _Film] = {}
    outlines: dict[str, str] = {}
    rejects: list[Reject] = []
    for path in sorted(files, key=lambda path: (path.count("/"), path)):
        name = posixpath.basename(path)
        film, outline = _FILM.fullmatch(name), _OUTLINES.fullmatch(name)
        image = (film or outline or {"image": ""})["image"]
        if image and image in (films if film else outlines):
            rejects.append(Reject(path, "second_copy", f"{image} stands there already"))
        elif film:
            side = {"L": "left", "R": "right"}[film["side"].upper()]
            place = (film["patient"].lower(), side, film["view"].upper())
            films[image] = _Film(image, path, *place)
        elif outline:
            outlines[image] = path
        elif name == TABLE:
            continue
        elif looks_like_image(raw, path):
            detail = "is not called <image>_<patient>_MG_<L or R>_<CC or ML>_ANON.dcm"
            rejects.append(Reject(path, "unknown_place", detail))
        else:
            rejects.append(other_file(path))
    return films, outlines, rejects


def _table(raw: Path, files: Sequence[str]) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Return image -> cells of its row, and what to warn of."""
    named = [path for path in files if posixpath.basename(path) == TABLE]
    if not named:
        raise UserError(_without_table(raw, files))
    table = min(named, key=lambda path: (path.count("/"), path))
    rows = read_rows(raw, table)
    columns = {name: column_of(rows, name, table) for name in ("File Name", "Bi-Rads", "ACR")}
    columns |= _finding_columns(rows.columns, table)
    found: dict[str, dict[str, str]] = {}
    nameless = 0
    for number, cells in zip(rows.index, rows.to_dict("records"), strict=True):
        image = _whole(cells[columns["File Name"]])
        if image is None:
            nameless += 1
            continue
        row = {name: cells[column] for name, column in columns.items()}
        if image in found:
            raise UserError(
                f"{table}, row {number + 1}: the file {image} appears twice; keep one row"
            )
        found[image] = row
    if not found:
        raise UserError(
            f"{table}: its column 'File Name' holds no number of a film; save the workbook's "
            "sheet again"
        )
    said = f"{table}: {count(nameless, 'row')} without the number of a film left out."
    return found, [said] if nameless else []


def _finding_columns(names: Collection[str], table: str) -> dict[str, str]:
    """Return the columns of findings: all of them, or none as in the CSV that circulates."""
    absent = [name for name in FINDINGS if name not in names]
    if absent and len(absent) < len(FINDINGS):
        raise UserError(
            f"{table}: has no column {listed(map(repr, absent))}, but others of the findings; "
            "save the workbook's sheet again, or take the columns of all findings out"
        )
    return {} if absent else {name: name for name in FINDINGS}


def _without_table(raw: Path, files: Iterable[str]) -> str:
    if any(posixpath.basename(path) == WORKBOOK for path in files):
        return (
            f"{WORKBOOK}: is a workbook, which is not read here; save its sheet as CSV, in "
            f"UTF-8, as {TABLE} beside it"
        )
    return f"{TABLE}: is not in {raw}, but holds the BI-RADS assessments; add it"


def _whole(cell: str) -> str | None:
    """Return a number as digits, however a spreadsheet wrote it (22678622.0), or None."""
    try:
        number = Decimal(cell)
    except InvalidOperation:
        return None
    if not number.is_finite() or number != number.to_integral_value() or number < 0:
        return None
    return str(int(number))


def _labelled(
    films: Mapping[str, _Film], rows: Mapping[str, Mapping[str, str]]
) -> tuple[dict[str, dict[str, str | None]], list[Reject]]:
    """Return image -> labels, and a reject for each film or row without the other."""
    known: dict[str, dict[str, str | None]] = {}
    rejects = [
        Reject(f"{image}.dcm", "missing_file", f"{TABLE} names it, but there is no such film")
        for image in rows
        if image not in films
    ]
    for image, film in films.items():
        if image not in rows:
            rejects.append(Reject(film.path, "missing_label", f"{TABLE} does not name it"))
            continue
        labels = _labels(rows[image])
        if isinstance(labels, str):
            rejects.append(Reject(film.path, "unknown_label", f"{TABLE}: {labels}"))
        else:
            known[image] = labels
    return known, rejects


def _labels(cells: Mapping[str, str]) -> dict[str, str | None] | str:
    """Return the labels of a row, or a sentence about what is not known in it."""
    birads, density = cells["Bi-Rads"].lower(), _whole(cells["ACR"]) or cells["ACR"]
    birads = _whole(birads) or birads
    if birads not in ASSESSMENTS:
        return f"Bi-Rads: {birads!r}; {hint(birads, ASSESSMENTS)}"
    if density and density not in DENSITIES:
        return f"ACR: {density!r}; {hint(density, DENSITIES)}"
    labels = {
        LABEL + "birads_malignant": ASSESSMENTS[birads],
        LABEL + "birads": birads,
        LABEL + "density": density or None,
    }
    marks = {column: cells[column] for column in FINDINGS if column in cells}
    for column, mark in marks.items():
        if mark.upper() not in ("", "X"):
            return f"{column}: {mark!r}, where X or nothing should stand"
    if not marks:  # nothing is said of findings, which is not that there is none
        return labels
    marked = sorted(FINDINGS[column] for column, mark in marks.items() if mark)
    return {**labels, LABEL + "findings": "|".join(marked) or NO_FINDING}


def _rois(
    raw: Path, films: Mapping[str, _Film], outlines: Mapping[str, str]
) -> tuple[dict[str, Rois | None], list[Reject]]:
    """Return image -> its outlines, None where it has no file of them: then it is normal."""
    found: dict[str, Rois | None] = {}
    rejects = []
    for image, film in films.items():
        try:
            path = outlines.get(image)
            found[image] = None if path is None else read_rois(raw, path)
        except RejectedError as error:
            detail = f"its outlines, {error.reject.path!r}: {error.reject.detail}"
            rejects.append(Reject(film.path, "damaged_mask", detail))
    for image, path in outlines.items():
        if image not in films:
            detail = f"there is no film {image} that can be taken"
            rejects.append(Reject(path, "mask_without_image", detail))
    return found, rejects


def _about(rois: Mapping[str, Rois | None]) -> Iterator[str]:
    found = [one for one in rois.values() if one is not None]
    skipped = sum(one.skipped for one in found)
    if skipped:
        yield (
            f"{count(skipped, 'outline')} whose points are not as many as the file says, or no "
            "numbers that a film could have, left out."
        )
    names = Counter(one.name for each in found for one in each.rois if one.kind == OTHER)
    if names:
        yield (
            f"{count(sum(names.values()), 'outline')} of a name that is not known "
            f"({listed(map(repr, sorted(names)))}): kept as {OTHER!r}."
        )
