"""Which labels a column's cells name: all that may be wrong with them is told here."""

import logging
from collections import Counter
from dataclasses import dataclass

import pandas as pd

from maskwise.artefacts.splits import count_folds
from maskwise.combinations import BETWEEN, NONE, terms_of
from maskwise.errors import UserError, hint, listed, shown
from maskwise.wording import count

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cells:
    """How the cells of a column are read: the options of the task."""

    label: str
    labels: tuple[str, ...] | None
    separator: str
    none: str | None


@dataclass(frozen=True)
class ReadCells:
    """What they say."""

    labels: tuple[str, ...]
    shown: pd.Series
    """Of each image: the combination of ``labels`` that it shows, or ``NONE``; missing where it
    was not rated."""


def read_kinds(cells: pd.Series, asked: Cells, where: str) -> dict[str, tuple[str, ...]]:
    """Return the terms of each different cell.

    Raises:
        UserError: if a cell names what ``labels`` does not hold, or says that there is none and
            names one.
    """
    kinds = {cell: terms_of(str(cell), asked.separator) for cell in cells.dropna().unique()}
    if asked.labels is not None:
        _refuse_unknown(kinds, cells.value_counts(), asked, where)
    _refuse_none_with_others(kinds, asked, where)
    return kinds


def read_cells(
    cells: pd.Series, image_ids: pd.Series, splits: pd.DataFrame, asked: Cells, where: str
) -> ReadCells:
    """Read the labels of every image.

    Args:
        cells: of a store's index, missing where an image was not rated.
        image_ids: of the same images.
        splits: which images train, for whatever seed.
        asked: the options.
        where: path of the task in the YAML.

    Raises:
        UserError: as ``read_kinds``; and if a label is shown by no training image, or none is.
    """
    kinds = read_kinds(cells, asked, where)
    trains = image_ids.isin(_training(splits)).to_numpy()
    learnt = {term for cell in cells[trains].dropna().unique() for term in kinds[cell]}
    learnt -= {asked.none}
    labels = tuple(sorted(learnt)) if asked.labels is None else asked.labels
    _refuse_unlearnt(labels, learnt, asked, where)
    if asked.labels is None:
        _tell_passed_over(kinds, cells.value_counts(), labels, asked, where)
    by_kind = {
        cell: BETWEEN.join(name for name in labels if name in terms) or NONE
        for cell, terms in kinds.items()
        if terms
    }
    return ReadCells(labels, cells.map(by_kind))


def _training(splits: pd.DataFrame) -> "pd.Series[str]":
    """Return the images that train, of folds for some seed."""
    if count_folds(splits):
        return splits["image_id"]
    return splits.loc[splits["split"] == "train", "image_id"]


def _refuse_unknown(
    kinds: dict[str, tuple[str, ...]], counts: pd.Series, asked: Cells, where: str
) -> None:
    known = [*(asked.labels or ()), *([] if asked.none is None else [asked.none])]
    images = _images_of(kinds, counts)
    for term in sorted(set(images) - set(known)):
        raise UserError(
            f"{where}.labels: {count(images[term], 'image')} of the label "
            f"{shown(asked.label)} say {shown(term)}, which is none of them; "
            f"{hint(term, known)}"
        )


def _refuse_none_with_others(
    kinds: dict[str, tuple[str, ...]], asked: Cells, where: str
) -> None:
    for cell, terms in kinds.items():
        if asked.none in terms and len(terms) > 1:
            raise UserError(
                f"{where}.none: an image is labelled {shown(cell)}, so that it shows "
                f"{shown(asked.none)} and something; correct the table"
            )


def _refuse_unlearnt(
    labels: tuple[str, ...], learnt: set[str], asked: Cells, where: str
) -> None:
    if not labels:
        raise UserError(
            f"{where}.label: no training image of the label {shown(asked.label)} names "
            "anything; label some, or choose another column"
        )
    for name in labels:
        if name not in learnt:
            raise UserError(
                f"{where}.labels: no training image shows {shown(name)}; take it out, or "
                "change the split of preprocess"
            )
        if BETWEEN in name:
            raise UserError(
                f"{where}.labels: {shown(name)} holds {shown(BETWEEN)}, which stands between "
                "the labels of an image in tables of results; rename it"
            )


def _tell_passed_over(
    kinds: dict[str, tuple[str, ...]],
    counts: pd.Series,
    labels: tuple[str, ...],
    asked: Cells,
    where: str,
) -> None:
    images = _images_of(kinds, counts)
    unknown = sorted(set(images) - {*labels, asked.none})
    if unknown:
        log.warning(
            "%s.labels: no training image shows %s, so that nothing is learnt or scored of it",
            where,
            listed(f"{name!r} ({count(images[name], 'image')})" for name in unknown),
        )


def _images_of(kinds: dict[str, tuple[str, ...]], counts: pd.Series) -> Counter[str]:
    """Return how many images name each term."""
    images: Counter[str] = Counter()
    for cell, terms in kinds.items():
        images.update(dict.fromkeys(terms, int(counts[cell])))
    return images
