"""What the columns of a table say: which names files, patients, masks, parts, labels."""

import posixpath
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import pandas as pd

from maskwise.errors import UserError, hint, listed
from maskwise.fingerprint.names import MASK_FOLDERS, MOST_CLASSES
from maskwise.ingest.listing import canonical_split
from maskwise.ingest.sources.table import BETWEEN_MASKS

NAMES_FILES = 0.5
"""Share of a table's rows that must name a file for it to be a table of scans."""
LEAST_IN_A_CLASS = 2
_NUMBER = r"[_ -]?(id|name|number|no|nr)"
_PATIENTS = (
    re.compile(rf"(?i)((patient|subject|person|pat)({_NUMBER})?|mrn)\Z"),
    re.compile(rf"(?i)case{_NUMBER}\Z"),
    re.compile(r"(?i)case\Z"),
)
"""How columns of patients are called; the surest first."""
_SPLIT = re.compile(r"(?i)(split|set|subset|part|partition|fold|usage|dataset)\Z")
_LABEL = re.compile(
    r"(?i)(diagnos[ie]s|label|class|target|outcome|pathology|finding|findings|severity|"
    r"disease|category|dx|y)\Z"
)
_NO_LABEL = re.compile(
    r"(?i)(sex|gender|age|race|ethnicity|site|centre|center|institution|hospital|scanner|"
    r"device|manufacturer|vendor|view|side|laterality|date|year|modality|width|height|x|y0|x0|"
    r"size|index|slice|frame|.*path|.*file)\Z"
)
"""Columns that tell where and how: subgroups, and not what is to be learnt."""
_IDENTITY = re.compile(
    r"(?i:(sur|fore|first|middle|last|given|family|full)?[_ -]?name|.*birth.*|"
    r"(.*[^a-z])?(dob|mrn|[pu]?id)|"
    r"(image|img|scan|study|series|exam|visit|record|accession|lesion|sample)id)\Z"
    r"|.*[a-z]U?I[Dd]\Z"
)
"""Columns that tell who: PatientID and surname, but neither thyroid nor COVID."""
_TEMPLATE = re.compile(r"[^{}\[\].:!]+\Z")
"""Names of columns that a template can hold."""


@dataclass(frozen=True)
class Columns:
    """Columns by what they say, as ``TableConfig`` takes them."""

    path: str
    """A column, or a template of one."""
    named: int
    """Rows that name a file."""
    elsewhere: int = 0
    """Rows that fit files of several folders, of which ``path`` takes one."""
    patient: str | None = None
    patients: tuple[str, ...] = ()
    """Further columns that are called like one of patients."""
    masks: str | None = None
    split: str | None = None
    label: str | None = None
    others: tuple[str, ...] = ()
    """Further columns that could be a label."""
    classes: Mapping[str, int] = field(default_factory=dict)


def columns_of(
    rows: pd.DataFrame, files: Collection[str], name: str, label: str | None = None
) -> Columns | None:
    """Return what the columns say, or None where none of them names files.

    Args:
        rows: The table, all text.
        files: Paths of images, relative to the folder that the table's paths begin at.
        name: Of the table, for messages.
        label: The column that a person named.

    Raises:
        UserError: if there is no column ``label``.
    """
    paths = _paths(rows, _without_masks(files))
    if paths is None:
        return None
    rest = [name for name in rows.columns if name != paths.column]
    masks = next((each for each in rest if _names_masks(rows[each], files)), None)
    rest = [each for each in rest if each != masks]
    split = next((each for each in rest if _is_split(rows, each)), None)
    patients = _called_like_patients(rest)
    rest = [each for each in rest if each not in (split, *patients)]
    candidates = [each for each in rest if _is_label(rows[each]) and not _is_no_label(each)]
    if label is not None and label not in rows.columns:
        raise UserError(f"--label: {name} has no column {label!r}; {hint(label, rest)}")
    called = [each for each in candidates if _LABEL.match(each)]
    chosen = label or next(iter([*called, *candidates]), None)
    counts = {} if chosen is None else rows[chosen][rows[chosen] != ""].value_counts()
    return Columns(
        path=paths.path,
        named=paths.named,
        elsewhere=paths.elsewhere,
        patient=next(iter(patients), None),
        patients=tuple(patients[1:]),
        masks=masks,
        split=split,
        label=chosen,
        others=tuple(each for each in candidates if each != chosen),
        classes={str(value): int(number) for value, number in sorted(dict(counts).items())},
    )


def advice(rows: pd.DataFrame, name: str, raw: str) -> str:
    """Say why a table is of no use, and what to do."""
    return (
        f"no column of {name} names files in {raw} (its columns: "
        f"{listed(map(str, rows.columns))}); give it a column of paths, relative to the folder "
        "that it lies in"
    )


class _Paths(NamedTuple):
    named: int
    """Rows that name a file."""
    path: str
    """A column, or a template of one."""
    column: str
    elsewhere: int = 0
    """Rows that fit files of further folders."""


def _without_masks(files: Collection[str]) -> list[str]:
    """Leave out what lies in a folder of masks and is called like a file that does not."""
    scans = {_stem(path) for path in files if not _below_masks(path)}
    return [path for path in files if not (_below_masks(path) and _stem(path) in scans)]


def _below_masks(path: str) -> bool:
    return not MASK_FOLDERS.isdisjoint(path.lower().split("/")[:-1])


def _called_like_patients(columns: Sequence[str]) -> list[str]:
    """Return the columns that are called like one of patients, the surest first."""
    called = [each for kind in _PATIENTS for each in columns if kind.match(each)]
    return list(dict.fromkeys(called))


def _is_no_label(column: str) -> bool:
    return bool(_NO_LABEL.match(column) or _IDENTITY.match(column))


def _paths(rows: pd.DataFrame, files: Collection[str]) -> _Paths | None:
    """Return the column or template of paths that leads the most rows to a file."""
    known = set(files)
    found: list[_Paths] = []
    for column in rows.columns:
        cells = [str(cell).replace("\\", "/").removeprefix("./") for cell in rows[column]]
        named = sum(cell in known for cell in cells)
        if named:
            found.append(_Paths(named, column, column))
        elif _TEMPLATE.match(column):
            found += _templates(column, cells, files)
    best = max(found, key=lambda one: one.named, default=None)
    return None if best is None or best.named < NAMES_FILES * len(rows) else best


def _templates(column: str, cells: Sequence[str], files: Collection[str]) -> Iterable[_Paths]:
    """Yield templates that lead from a cell to a file: a folder, zeros, a suffix are added.

    Of files in several folders the first is taken, and it is counted how often.
    """
    by_stem: dict[str, list[str]] = {}
    by_name: dict[str, list[str]] = {}
    for path in sorted(files):
        by_stem.setdefault(_stem(path), []).append(path)
        by_name.setdefault(posixpath.basename(path), []).append(path)
    widths = {len(stem) for stem in by_stem if stem.isdigit()}
    forms = ["", *(f":0>{width}" for width in sorted(widths))]
    for form in forms:
        filled = [format(cell, form[1:]) if form and cell.isdigit() else cell for cell in cells]
        for table, whole in ((by_stem, False), (by_name, True)):
            hits = [table[cell] for cell in filled if cell in table]
            ends = {(posixpath.dirname(hit[0]), _suffix(hit[0])) for hit in hits}
            if len({end[0] for end in ends}) != 1 or (not whole and len(ends) != 1):
                continue  # one template cannot name several folders, or suffixes
            folder, suffix = next(iter(ends))
            start = f"{folder}/" if folder else ""
            end = "" if whole else suffix
            if "{" in start or not hits:
                continue
            elsewhere = sum(len({posixpath.dirname(path) for path in hit}) > 1 for hit in hits)
            yield _Paths(len(hits), f"{start}{{{column}{form}}}{end}", column, elsewhere)


def _stem(path: str) -> str:
    name = posixpath.basename(path)
    return name.removesuffix(_suffix(path))


def _suffix(path: str) -> str:
    lower = path.lower()
    return path[-len(".nii.gz") :] if lower.endswith(".nii.gz") else posixpath.splitext(path)[1]


def _names_masks(cells: pd.Series, files: Collection[str]) -> bool:
    known = set(files)
    given = [cell for cell in cells if cell]
    named = [all(part.strip() in known for part in cell.split(BETWEEN_MASKS)) for cell in given]
    return bool(given) and sum(named) >= NAMES_FILES * len(given)


def _is_split(rows: pd.DataFrame, column: str) -> bool:
    if not _SPLIT.match(column):
        return False
    given = set(rows[column]) - {""}
    return len(given) > 1 and all(canonical_split(cell) for cell in given)


def _is_label(cells: pd.Series) -> bool:
    """Tell whether a column has a few classes, each of several rows."""
    counts = cells[cells != ""].value_counts()
    if not 2 <= len(counts) <= MOST_CLASSES:
        return False
    fractions = any(re.fullmatch(r"-?\d+\.\d*[1-9]\d*", str(value)) for value in counts.index)
    return not fractions and int(counts.min()) >= LEAST_IN_A_CLASS
