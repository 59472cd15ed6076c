"""Which subgroup an image belongs to: by a column of the manifest, or its lesion's size."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from maskwise.artefacts.labels import LABEL, column_meant
from maskwise.artefacts.store import Store
from maskwise.errors import UserError, hint, shown
from maskwise.evaluate.referee.config import LESION_SIZE, NAMING, Referee

UNKNOWN = "not recorded"
NO_LESION = "no lesion"
NOT_OUTLINED = "not outlined"
MOST = 20
"""Groups of one column: with more, each holds too few to say anything, or they are names."""
_YEARS = r"^\s*0*(\d{1,3})Y\s*$"
"""DICOM's way to write an age in years."""


@dataclass(frozen=True)
class Column:
    """One way to part the images."""

    name: str
    title: str
    """With a unit where it has one."""
    groups: pd.Series
    """``image_id`` -> name of the group."""
    order: tuple[str, ...]
    """Names, as they should stand."""


def read_columns(
    asked: Referee, manifest: pd.DataFrame, store: Store, source: str
) -> list[Column]:
    """Return the columns that the options name, read for all images.

    Raises:
        UserError: naming the option that does not fit the images.
    """
    return [_read(name, asked, manifest, store, source) for name in asked.subgroups]


def known_columns(columns: Iterable[str]) -> list[str]:
    """Return what of a manifest's columns may part its images, labels without their prefix."""
    return [str(name).removeprefix(LABEL) for name in columns if name not in NAMING]


def _read(
    name: str, asked: Referee, manifest: pd.DataFrame, store: Store, source: str
) -> Column:
    where = f"evaluate.referee.{source}"
    if name == LESION_SIZE:
        return _lesion_size(asked, store, where)
    column = column_meant(name, manifest)
    if column is None:
        known = [*known_columns(manifest.columns), LESION_SIZE]
        raise UserError(
            f"{where}.subgroups: the manifest has no column {shown(name)}; {hint(name, known)}"
        )
    values = manifest.set_index("image_id")[column]
    if name in asked.bands:
        return _banded(name, name, _numbers(values), asked.bands[name])
    groups = values.map(_text)
    order = sorted(set(groups) - {UNKNOWN}, key=_naturally)
    if len(order) > MOST:
        raise UserError(
            f"{where}.subgroups: {name} holds {len(order):,} different values, more than "
            f"{MOST} groups; if they are numbers, say where to cut them ({where}.bands.{name}: "
            "[40, 60]), else name a column with fewer values"
        )
    return Column(name, name, groups, tuple(order))


def _text(value: object) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return UNKNOWN
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip() or UNKNOWN


def _naturally(text: str) -> tuple[float, str]:
    """Let 9 stand before 10."""
    try:
        return float(text), text
    except ValueError:
        return float("inf"), text


def _numbers(values: pd.Series) -> pd.Series:
    """Return numbers, NaN where a cell is none; ``045Y`` is 45."""
    if not pd.api.types.is_numeric_dtype(values):
        values = values.astype("str").str.replace(_YEARS, r"\1", regex=True)
    return pd.to_numeric(values, errors="coerce").astype(float)


def _banded(name: str, title: str, numbers: pd.Series, cuts: Sequence[float]) -> Column:
    names = _names(cuts)
    places = np.searchsorted(np.asarray(cuts, float), numbers.to_numpy(float), side="right")
    groups = pd.Series(np.asarray(names, object)[places], numbers.index, dtype=object)
    return Column(name, title, groups.mask(numbers.isna(), UNKNOWN), names)


def _names(cuts: Sequence[float]) -> tuple[str, ...]:
    """Name the bands: a number that is a cut belongs to the band above it."""
    texts = [f"{cut:g}" for cut in cuts]
    between = [f"{low} to below {high}" for low, high in pairwise(texts)]
    return (f"below {texts[0]}", *between, f"{texts[-1]} or more")


def _lesion_size(asked: Referee, store: Store, where: str) -> Column:
    if store.masks is None:
        raise UserError(
            f"{where}.subgroups: {LESION_SIZE} needs outlines, and this source has none; "
            "remove it"
        )
    index = store.index
    area = np.array([np.count_nonzero(mask) for mask in store.masks], float)
    unit, spacing = "px", np.ones(len(index))
    if {"spacing_y", "spacing_x"} <= set(index) and index["spacing_y"].notna().any():
        unit, spacing = "mm", (index["spacing_y"] * index["spacing_x"]).to_numpy(float)
    size = pd.Series(2 * np.sqrt(area * spacing / np.pi), pd.Index(index["image_id"]))
    drawn = size[(area > 0) & size.notna().to_numpy()]
    if LESION_SIZE not in asked.bands:
        spread = (
            f"they measure {drawn.min():.3g} to {drawn.max():.3g} {unit} across, half of them "
            f"below {drawn.median():.3g}"
            if len(drawn)
            else "no image shows any"
        )
        raise UserError(
            f"{where}.bands.{LESION_SIZE}: missing; say where to cut the sizes, as in [10, 20] "
            f"({spread})"
        )
    column = _banded(LESION_SIZE, f"lesion size ({unit})", size, asked.bands[LESION_SIZE])
    groups = column.groups.mask(area == 0, NO_LESION)
    groups = groups.mask(~index["has_mask"].to_numpy(bool), NOT_OUTLINED)
    return Column(LESION_SIZE, column.title, groups, (*column.order, NO_LESION, NOT_OUTLINED))
