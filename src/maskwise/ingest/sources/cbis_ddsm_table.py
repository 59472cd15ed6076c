"""The four tables of CBIS-DDSM: a row is an abnormality in one view.

Headers differ between masses and calcifications, a path in every row ends in a line break
inside its quotation marks, "not rated" is written in several ways, and several terms of one
finding stand in any order with hyphens between them.
"""

import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from maskwise.errors import UserError, hint
from maskwise.ingest.labels import MISSING
from maskwise.scans.reasons import Reject
from maskwise.scans.tables import column_of, read_rows, tidy

SHAPES = (
    "ARCHITECTURAL_DISTORTION",
    "ASYMMETRIC_BREAST_TISSUE",
    "FOCAL_ASYMMETRIC_DENSITY",
    "IRREGULAR",
    "LOBULATED",
    "LYMPH_NODE",
    "OVAL",
    "ROUND",
)
MARGINS = ("CIRCUMSCRIBED", "ILL_DEFINED", "MICROLOBULATED", "OBSCURED", "SPICULATED")
TYPES = (
    "AMORPHOUS",
    "COARSE",
    "DYSTROPHIC",
    "EGGSHELL",
    "FINE_LINEAR_BRANCHING",
    "LARGE_RODLIKE",
    "LUCENT_CENTER",
    "MILK_OF_CALCIUM",
    "PLEOMORPHIC",
    "PUNCTATE",
    "ROUND_AND_REGULAR",
    "SKIN",
    "VASCULAR",
)
DISTRIBUTIONS = ("CLUSTERED", "DIFFUSELY_SCATTERED", "LINEAR", "REGIONAL", "SEGMENTAL")
SAME = {"LUCENT_CENTERED": "LUCENT_CENTER"}
"""A term -> the one that it is another spelling of."""
PATHOLOGIES = {
    "BENIGN": "benign",
    "BENIGN_WITHOUT_CALLBACK": "benign",
    "MALIGNANT": "malignant",
}
BETWEEN = "|"
"""Between the terms of one finding, sorted."""

_PERSON = re.compile(r"P_\d+")
_NOT_RATED = frozenset({"", *(word.casefold() for word in MISSING)})


class Table(NamedTuple):
    """What is the same for all rows of one file."""

    name: str
    kind: str
    """``mass`` or ``calcification``."""
    split: str
    """The official one."""
    density: str
    """Its column of the breast's density, which masses and calcifications spell differently."""
    findings: Mapping[str, tuple[str, tuple[str, ...]]]
    """Label -> column, and the terms that it may hold."""


_MASS = {"shape": ("mass shape", SHAPES), "margins": ("mass margins", MARGINS)}
_CALC = {"type": ("calc type", TYPES), "distribution": ("calc distribution", DISTRIBUTIONS)}
TABLES = (
    Table("mass_case_description_train_set.csv", "mass", "train", "breast_density", _MASS),
    Table("mass_case_description_test_set.csv", "mass", "test", "breast_density", _MASS),
    Table(
        "calc_case_description_train_set.csv",
        "calcification",
        "train",
        "breast density",
        _CALC,
    ),
    Table(
        "calc_case_description_test_set.csv", "calcification", "test", "breast density", _CALC
    ),
)
FINDINGS = (*_MASS, *_CALC)
"""Labels of what is rated of a mass or of a calcification."""


@dataclass(frozen=True)
class Lesion:
    """A row."""

    where: str
    """Table and row, for messages."""
    kind: str
    split: str
    patient: str
    side: str
    view: str
    number: int
    density: str | None
    """1 to 4; None = not rated, which some rows write as 0."""
    birads: str | None
    """0 (incomplete) to 5."""
    pathology: str
    """``benign`` or ``malignant``."""
    pathology_raw: str
    subtlety: int | None
    """1 to 5; None = not rated."""
    findings: Mapping[str, str | None]
    """Label -> its terms, sorted, with ``BETWEEN`` between them; None = not rated."""
    film: str
    """Paths as the table has them."""
    crop: str
    mask: str

    @property
    def film_name(self) -> str:
        """Return what the film's own folder is called, unique to it."""
        return self.film.partition("/")[0]

    @property
    def name(self) -> str:
        """Return what the lesion's own folder is called, unique to it."""
        return self.mask.partition("/")[0]


class Refused(NamedTuple):
    """A row that is not understood, and what it casts doubt on."""

    reject: Reject
    film_name: str
    """Of the film that shows the lesion, as ``Lesion`` has it."""
    patient: str
    split: str


def read_lesions(
    raw: Path, files: Iterable[str]
) -> tuple[list[Lesion], list[Refused], list[str]]:
    """Return the rows of the tables among ``files``, those refused, and the tables absent.

    Raises:
        UserError: if none of the tables is there, or one of them lacks a column.
    """
    lesions: list[Lesion] = []
    refused: list[Refused] = []
    absent = []
    files = list(files)
    for table in TABLES:
        found = [path for path in files if posixpath.basename(path) == table.name]
        if not found:
            absent.append(table.name)
            continue
        path = min(found, key=lambda path: (path.count("/"), path))
        for row in _read(raw, path, table):
            (lesions if isinstance(row, Lesion) else refused).append(row)  # type: ignore[arg-type]
    if len(absent) == len(TABLES):
        raise UserError(
            f"{raw}: holds none of the tables {', '.join(absent)}; put those of the archive's "
            "page beside the images"
        )
    return lesions, refused, absent


def _read(raw: Path, path: str, table: Table) -> Iterable[Lesion | Refused]:
    rows = read_rows(raw, path)
    columns = {
        name: column_of(rows, column, path)
        for name, column in {
            "patient": "patient_id",
            "density": table.density,
            "side": "left or right breast",
            "view": "image view",
            "number": "abnormality id",
            "birads": "assessment",
            "pathology": "pathology",
            "subtlety": "subtlety",
            "film": "image file path",
            "crop": "cropped image file path",
            "mask": "ROI mask file path",
            **{label: column for label, (column, _) in table.findings.items()},
        }.items()
    }
    for number, cells in zip(rows.index, rows.to_dict("records"), strict=True):
        named = {name: cells[column] for name, column in columns.items()}
        row = _lesion(named, table, f"{path}, row {number + 1}")
        if isinstance(row, Reject):
            yield Refused(row, _film_name(named, table), named["patient"], table.split)
        else:
            yield row


def _film_name(cells: Mapping[str, str], table: Table) -> str:
    """Return what a row's film is called, by its own path or by what else the row says."""
    film, crop, mask = (
        _path(cells[name]).partition("/")[0] for name in ("film", "crop", "mask")
    )
    named = film or (mask or crop).rpartition("_")[0]  # a lesion's has its number behind
    if named or not _PERSON.fullmatch(cells["patient"]):
        return named or table.name  # what is no number of a person may be a name
    kind = {"mass": "Mass", "calcification": "Calc"}[table.kind]
    part = {"train": "Training", "test": "Test"}[table.split]
    return f"{kind}-{part}_{cells['patient']}_{cells['side']}_{cells['view']}"


def _lesion(cells: Mapping[str, str], table: Table, where: str) -> Lesion | Reject:
    film, crop, mask = (_path(cells[name]) for name in ("film", "crop", "mask"))
    called = mask.partition("/")[0] or _film_name(cells, table)
    if not film or not mask:
        return Reject(called, "missing_file", f"{where}: a path is blank")
    if not _PERSON.fullmatch(cells["patient"]):
        # Not quoted: it may be a name.
        detail = f"{where}: patient_id should be P_ and digits, as in P_00001"
        return Reject(called, "unknown_label", detail)
    findings: dict[str, str | None] = {}
    for label, (column, known) in table.findings.items():
        terms = _terms(cells[label])
        unknown = sorted(terms - {*known})
        if unknown:
            detail = f"{where}: {column}: {unknown[0]!r}; {hint(unknown[0], known)}"
            return Reject(called, "unknown_label", detail)
        findings[label] = BETWEEN.join(sorted(terms)) or None
    for name, values in (
        ("pathology", [*PATHOLOGIES]),
        ("side", ["LEFT", "RIGHT"]),
        ("view", ["CC", "MLO"]),
        ("density", [*"01234"]),
        ("birads", [*"012345"]),
        ("subtlety", [*"012345"]),
        ("number", [str(number) for number in range(1, 100)]),
    ):
        rated = name in ("density", "birads", "subtlety") and _is_missing(cells[name])
        if cells[name] not in values and not rated:
            detail = f"{where}: {name}: {cells[name]!r}; {hint(cells[name], values)}"
            return Reject(called, "unknown_label", detail)
    return Lesion(
        where=where,
        kind=table.kind,
        split=table.split,
        patient=cells["patient"],
        side=cells["side"].lower(),
        view=cells["view"],
        number=int(cells["number"]),
        density=_rating(cells["density"], "0"),
        birads=_rating(cells["birads"]),
        pathology=PATHOLOGIES[cells["pathology"]],
        pathology_raw=cells["pathology"],
        subtlety=int(_rating(cells["subtlety"], "0") or 0) or None,
        findings=findings,
        film=film,
        crop=crop,
        mask=mask,
    )


def _path(cell: str) -> str:
    return tidy(cell.replace("\\", "/")).removeprefix("./")


def _terms(cell: str) -> set[str]:
    """Return the terms in a cell; their order means nothing, and one may stand twice."""
    if _is_missing(cell):
        return set()
    return {SAME.get(term, term) for term in map(tidy, cell.split("-")) if term}


def _is_missing(cell: str) -> bool:
    return cell.casefold() in _NOT_RATED


def _rating(cell: str, none: str = "") -> str | None:
    return None if _is_missing(cell) or cell == none else cell
