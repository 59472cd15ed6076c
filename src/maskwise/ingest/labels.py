"""Labels that say that there is none, and labels that say the same in other letters."""

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from typing import Literal

import pandas as pd

from maskwise.artefacts.labels import LABEL, label_columns
from maskwise.scans.tables import tidy
from maskwise.wording import count

MISSING = ("NA", "N/A", "N.A.", "#N/A", "<NA>", "NaN", "None", "null", "?", ".")
"""What programs write where there is no label; upper or lower case, blank cells besides."""

Alike = Literal["keep", "join"]
"""What becomes of classes whose names differ in spelling only."""

_NUMBER = re.compile(r"[+-]?\d{1,30}([.,]\d{0,30})?")
_BLANK = re.compile(r"(?<!\d)\s+|\s+(?!\d)")
_DASHES = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"))


def without_missing(
    cells: pd.Series, missing: Iterable[str | int], classes: Collection[str] = ()
) -> tuple[pd.Series, dict[str, int]]:
    """Return labels with null where there is none, and how often each word said so.

    Args:
        cells: text; a blank cell is the empty string.
        missing: the words, upper or lower case.
        classes: values that are labels whatever ``missing`` says.
    """
    words = {"", *(tidy(str(word)).casefold() for word in missing)}
    none = cells.str.casefold().isin(list(words)) & ~cells.isin(list(classes))
    counts = cells[none].value_counts(sort=False)
    return cells.mask(none, None), {str(word): int(n) for word, n in counts.items()}


def missing_warning(label: str, counts: Mapping[str, int]) -> list[str]:
    """Return a sentence where words, and not blanks alone, said that there is no label."""
    if not set(counts) - {""}:
        return []
    words = ", ".join(
        f"{word!r} ({count})" if word else f"blank ({count})" for word, count in counts.items()
    )
    return [
        f"{label}: {count(sum(counts.values()), 'row')} counted as unlabelled, for saying "
        f"{words}; the source's options `missing` and `classes` keep a word that is a class."
    ]


def alike(counts: Mapping[str, int]) -> list[dict[str, int]]:
    """Return the sets of names that differ in nothing but spelling, each with its counts.

    That is in upper and lower case, blanks, dashes, the Unicode form of a letter, or the way
    a number is written (``0``, ``0.0``, ``00``).
    """
    sets: dict[str | Decimal, dict[str, int]] = {}
    for name, rows in counts.items():
        sets.setdefault(_spoken(name), {})[name] = rows
    return [names for names in sets.values() if len(names) > 1]


def alike_labels(images: pd.DataFrame) -> dict[str, list[dict[str, int]]]:
    """Return, by label, the classes of ``images`` that differ in spelling only."""
    found = {
        column.removeprefix(LABEL): alike(_counts(images[column]))
        for column in label_columns(images)
    }
    return {label: sets for label, sets in found.items() if sets}


def alike_warnings(found: Mapping[str, list[dict[str, int]]]) -> list[str]:
    """Return a sentence for each set of ``alike_labels``."""
    return [
        f"{label}: {_listed(names)} differ only in spelling, and yet are {len(names)} classes; "
        "if they are one, correct the names, or set `alike: join` (table, image_folder)."
        for label, sets in found.items()
        for names in sets
    ]


def labels_that_differ(
    images: pd.DataFrame, main: str | None
) -> tuple[pd.DataFrame, list[str]]:
    """Take labels beside ``main`` of which there is one class for no labels, and say so.

    They are kept as columns of their own. Part of a set may hold one class of one of them, and
    is no less use for the others. Without ``main``, nothing is changed.
    """
    if main is None:
        return images, []
    single = [
        name
        for name in label_columns(images)
        if name != LABEL + main and images[name].nunique() == 1
    ]
    sentences = [
        f"{name.removeprefix(LABEL)}: all that have it are {images[name].dropna().iloc[0]!r}, "
        "so that it is a column of the manifest, but no label."
        for name in single
    ]
    return images.rename(columns={name: name.removeprefix(LABEL) for name in single}), sentences


def join_alike(
    cells: pd.Series, label: str, known: Iterable[str] = ()
) -> tuple[pd.Series, list[str]]:
    """Give classes that differ in spelling only one name, and a sentence that says so.

    It is the name in ``known``, or else the commonest, of equals the first. Names of ``known``
    are never joined with each other.
    """
    known = list(known)
    counts = {**dict.fromkeys(known, 0), **_counts(cells)}
    names: dict[str, str] = {}
    sentences = []
    for found in alike(counts):
        chosen = [name for name in found if name in known]
        if len(chosen) > 1:
            continue
        name = chosen[0] if chosen else max(found, key=lambda one: found[one])
        names.update(dict.fromkeys(found, name))
        sentences.append(f"{label}: {_listed(found)} are joined as {name!r}.")
    return cells.replace(names), sentences


def _counts(cells: pd.Series) -> dict[str, int]:
    counts = cells.dropna().value_counts(sort=False)
    return {str(name): int(count) for name, count in counts.items()}


def _listed(names: Mapping[str, int]) -> str:
    *first, last = (f"{name!r} ({count})" for name, count in names.items())
    return f"{', '.join(first)} and {last}"


def _spoken(name: str) -> str | Decimal:
    """Return what two names have in common that are read out alike."""
    text = tidy(unicodedata.normalize("NFKC", name)).translate(_DASHES)
    if _NUMBER.fullmatch(text):
        return Decimal(text.replace(",", "."))
    return _BLANK.sub("", unicodedata.normalize("NFKC", text.casefold()))
