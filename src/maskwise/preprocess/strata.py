"""By what splits are stratified: classes, or combinations of labels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskwise.array_types import Codes
from maskwise.artefacts.labels import LABEL, label_names
from maskwise.combinations import BETWEEN, pool_rare, shown_by, terms_of
from maskwise.errors import UserError, hint, shown

UNLABELLED = -1


@dataclass(frozen=True)
class Strata:
    """The class of each image."""

    code: Codes
    """``(N,)``, ``UNLABELLED`` where there is none."""
    classes: tuple[str, ...]
    labels: tuple[str, ...] = ()
    """What the classes are combinations of, where an image may have several labels."""
    holds: NDArray[np.bool_] | None = None
    """``(K, L)``, which of the labels a class holds; None where it is one itself."""


@dataclass(frozen=True)
class Groups:
    """What may not be divided, in the order of their names."""

    code: Codes
    """``(N,)``, the group of each image."""
    size: Codes
    """``(G,)``, images."""
    stratum: Codes
    """``(G,)``, the rarest of the group's classes, or ``UNLABELLED``."""
    shows: NDArray[np.bool_]
    """``(G, K)``, whether an image of the group is of the class."""
    strata: Strata

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.strata.classes


def strata_of(
    manifest: pd.DataFrame, label: str | None, where: str, separator: str | None = None
) -> Strata:
    """Return each image's class; of several labels between ``separator``, their combination."""
    if label is None:
        return Strata(np.full(len(manifest), UNLABELLED), ())
    known = label_names(manifest)
    if label not in known:
        raise UserError(
            f"{where}.label: there is no label {shown(label)}; {hint(label, known)}"
        )
    code, names = pd.factorize(manifest[f"{LABEL}{label}"], sort=True)
    strata = Strata(code.astype(np.int64), tuple(map(str, names)))
    return strata if separator is None else _combined(strata, separator)


def _combined(strata: Strata, separator: str) -> Strata:
    """Take classes as combinations of labels; one that names none is unlabelled."""
    named = [terms_of(cell, separator) for cell in strata.classes]
    names = [BETWEEN.join(sorted(terms)) for terms in named]
    labels = tuple(sorted({label for terms in named for label in terms}))
    sets = dict(zip(names, named, strict=True))
    sets.pop("", None)
    place = {name: k for k, name in enumerate(sorted(sets))}
    # The last entry is that of images without a cell.
    renumbered = np.array([place.get(name, UNLABELLED) for name in [*names, ""]], np.int64)
    holds = shown_by([sets[name] for name in place], labels)
    return Strata(renumbered[strata.code], tuple(place), labels, holds)


def group_images(group: pd.Series, strata: Strata) -> Groups:
    """Return the groups of images whose classes are ``strata``."""
    code, names = pd.factorize(group, sort=True)
    classes = len(strata.classes)
    labelled = strata.code[strata.code != UNLABELLED]
    by_rarity = np.argsort(np.bincount(labelled, minlength=classes), kind="stable")
    rank = np.empty(classes + 1, np.int64)
    rank[by_rarity], rank[UNLABELLED] = np.arange(classes), classes
    rarest = np.full(len(names), classes)
    np.minimum.at(rarest, code, rank[strata.code])
    shows = np.zeros((len(names), classes), bool)
    shows[code[strata.code != UNLABELLED], labelled] = True
    return Groups(
        code=code.astype(np.int64),
        size=np.bincount(code, minlength=len(names)),
        stratum=np.append(by_rarity, UNLABELLED)[rarest],
        shows=shows,
        strata=strata,
    )


def pooled(groups: Groups, shares: Sequence[float]) -> tuple[Groups, Groups]:
    """Return the groups with their combinations as classes, rare ones pooled; and with labels.

    A combination is rare if it has too few groups for the smallest part to get one of them.
    """
    strata = groups.strata
    holds = np.zeros((0, 0), bool) if strata.holds is None else strata.holds
    rated: NDArray[np.bool_] = np.asarray(groups.shows.any(axis=1))
    shown_labels = groups.shows.astype(np.float32) @ holds.astype(np.float32) > 0  # (G, L)
    least = math.ceil(1 / min(shares) - 1e-9)
    names = pool_rare(shown_labels[rated], strata.labels, least)
    code, classes = pd.factorize(names, sort=True)
    stratum = np.full(len(rated), UNLABELLED)
    stratum[rated] = code
    shows = stratum[:, None] == np.arange(len(classes))
    pooled = Strata(np.empty(0, np.int64), tuple(map(str, classes)))
    labels = Strata(np.empty(0, np.int64), strata.labels)
    return (
        replace(groups, stratum=stratum, shows=shows, strata=pooled),
        replace(groups, shows=shown_labels, strata=labels),
    )
