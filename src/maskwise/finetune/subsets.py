"""Which labels a fraction may use: stratified, whole groups, nested.

One order of the groups per seed; a fraction is a prefix of it, in validation with the first
group of a class that the prefix lacks. The order depends on the split and the seed alone, so
all recipes share it.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from maskwise.errors import UserError, listed
from maskwise.seeds import stream
from maskwise.wording import count

log = logging.getLogger(__name__)

Validation = Literal["subset", "full"]
COLUMNS = ("fraction", "image_id", "group", "role", "label")


def draw_subsets(
    labelled: pd.DataFrame, fractions: Sequence[float], validation: Validation, seed: int
) -> pd.DataFrame:
    """Choose the images of every fraction; each shows every class, in training and validation.

    Where a fraction's validation images would lack a class, the first group of it in the seed's
    order is added to them, and nothing else, so that subsets stay nested.
    A class that the whole validation part lacks is warned of.

    Arguments and answer are otherwise those of ``draw_stratified``.

    Raises:
        UserError: if a fraction lacks a class, or a part has no labelled image.
    """
    short = shortage(labelled, fractions, seed)
    if short is not None:
        raise UserError(short.sentence)
    never = set(labelled["label"]) - set(_part(labelled, "validation")["label"])
    if never:
        log.warning(
            "Seed %d: no validation image is of the class %s, so probabilities of networks "
            "that are judged by these images are not calibrated: their temperature stays 1.",
            seed,
            listed(sorted(map(repr, never))),
        )
    return draw_stratified(labelled, fractions, validation, seed, every_class=True)


@dataclass(frozen=True)
class Shortage:
    """A class that a fraction of the training labels lacks."""

    needed: float
    """The share of the images with which that class begins; infinite where it never does."""
    sentence: str
    """What is refused, and what to do."""


def shortage(labelled: pd.DataFrame, fractions: Sequence[float], seed: int) -> Shortage | None:
    """Return which class one of the ``fractions`` lacks, None where each shows every class.

    Arguments are those of ``draw_stratified``.

    Raises:
        UserError: if a part has no labelled image.
    """
    images, _ = _part(labelled, "train"), _part(labelled, "validation")
    order = group_order(images, stream(seed, "subsets", "train"))
    wanted = set(labelled["label"])
    found = (_lacking(images, order, wanted, fraction, seed) for fraction in fractions)
    return next((short for short in found if short is not None), None)


def draw_stratified(
    labelled: pd.DataFrame,
    fractions: Sequence[float],
    validation: Validation,
    seed: int,
    *,
    every_class: bool = False,
) -> pd.DataFrame:
    """Choose the images of every fraction.

    A fraction is the shortest run of whole groups that holds that share of the images, of the
    training part and, with ``validation: subset``, of the validation part as well: whoever has
    few labels has few to choose models with. ``full`` takes the whole validation part, as the
    published protocols do.

    Args:
        labelled: ``image_id``, ``group``, ``split``, ``label`` of every labelled image, and its
            ``stratum``: what the shares are kept of, as the class.
        fractions: shares in (0, 1].
        validation: how the validation part shrinks.
        seed: of the replicate.
        every_class: whether validation images take one group of each label at least.

    Returns:
        One row per image and fraction, columns ``COLUMNS``.

    Raises:
        UserError: if a part has no labelled image.
    """
    parts = []
    for split in ("train", "validation"):
        images = _part(labelled, split)
        order = group_order(images, stream(seed, "subsets", split))
        for fraction in fractions:
            share = 1.0 if split == "validation" and validation == "full" else fraction
            groups = _prefix(images, order, share)
            if split == "validation" and every_class:
                groups = [*groups, *_first_of_each(images, order)]
            chosen = images[images["group"].isin(groups)]
            parts.append(chosen.assign(fraction=fraction, role=split))
    subsets = pd.concat(parts, ignore_index=True)[list(COLUMNS)]
    _tell(subsets)
    return subsets


def _part(labelled: pd.DataFrame, split: str) -> pd.DataFrame:
    images = labelled[labelled["split"] == split]
    if images.empty:
        raise UserError(
            f"finetune: the {split} part has no labelled image; "
            "change the split of preprocess, or label some"
        )
    # Sorted first: the order must not depend on the order of the rows.
    return images.sort_values(["group", "image_id"]).reset_index(drop=True)


def group_order(images: pd.DataFrame, generator: np.random.Generator) -> list[str]:
    """Order the groups at random so that every prefix has the strata's shares.

    In a prefix of k groups a stratum with the share s of all groups has s k of them, give or
    take less than one: Tijdeman's solution of the chairman assignment problem (Discrete
    Mathematics 32, 1980). A group's stratum is the commonest among its images.
    """
    strata = group_strata(images)
    queues = {
        name: list(generator.permutation(strata.index[strata == name].to_numpy(dtype=object)))
        for name in sorted(strata.unique())
    }
    if len(queues) == 1:
        return [str(group) for group in next(iter(queues.values()))]
    share = {name: len(queue) / len(strata) for name, queue in queues.items()}
    slack = 1 / (2 * len(queues) - 2)
    order: list[str] = []
    taken = dict.fromkeys(queues, 0)
    for k in range(1, len(strata) + 1):
        # How far each stratum lags behind its share, were the k-th group not of it.
        lag = {name: share[name] * k - taken[name] for name in queues}
        ready = [n for n in queues if lag[n] >= slack - 1e-9 and taken[n] < len(queues[n])]
        chosen = min(ready, key=lambda name: (1 - slack - lag[name]) / share[name])
        order.append(str(queues[chosen][taken[chosen]]))
        taken[chosen] += 1
    return order


def group_strata(images: pd.DataFrame) -> "pd.Series[str]":
    """Return the commonest stratum of each group; of equally common ones the first by name."""
    counts = images.groupby(["group", "stratum"], sort=True).size().reset_index(name="n")
    counts = counts.sort_values(["group", "n", "stratum"], ascending=[True, False, True])
    return counts.drop_duplicates("group").set_index("group")["stratum"].astype(str)


def _prefix(images: pd.DataFrame, order: list[str], share: float) -> list[str]:
    reached = images["group"].value_counts().reindex(order).cumsum().to_numpy()
    # The tolerance keeps 0.1 x 30 from asking for a fourth image.
    enough = int(np.searchsorted(reached, share * len(images) - 1e-6))
    return order[: enough + 1]


def _first_of_each(images: pd.DataFrame, order: list[str]) -> list[str]:
    """Return the first group in the order that shows each class."""
    place = images["group"].map({group: place for place, group in enumerate(order)})
    return [order[first] for first in place.groupby(images["label"]).min()]


def _lacking(
    images: pd.DataFrame, order: list[str], wanted: set[str], fraction: float, seed: int
) -> Shortage | None:
    """Return what a fraction of the training part lacks of the classes ``wanted``."""
    chosen = images[images["group"].isin(_prefix(images, order, fraction))]
    lacking = sorted(wanted - set(chosen["label"]))
    if not lacking:
        return None
    place = images["group"].map({group: place for place, group in enumerate(order)})
    first = place.groupby(images["label"]).min().reindex(lacking)
    absent = list(first.index[first.isna()])
    if absent:
        return Shortage(
            np.inf,
            f"finetune: no training image is of the class {absent[0]!r}; change the split of "
            "preprocess, or take the class out of the source",
        )
    name = first.idxmax()  # with it every other class is there as well
    groups = set(images.loc[images["label"] == name, "group"])
    needed = float((place <= first[name]).mean())
    return Shortage(
        needed,
        f"experiment.fractions: {fraction:g} of the training labels are "
        f"{count(chosen['group'].nunique(), 'group')} ({count(len(chosen), 'image')}), none of "
        "them of the class "
        f"{name!r}, which has {len(groups)} of {len(order)} groups; the smallest fraction that "
        f"holds every class begins near {np.ceil(needed * 1000) / 1000:g} for seed {seed}",
    )


def _tell(subsets: pd.DataFrame) -> None:
    for (fraction, role), part in subsets.groupby(["fraction", "role"], sort=False):
        counts = part.groupby("label")["group"].agg(["size", "nunique"])
        shown = ", ".join(
            f"{n} {row['size']} ({row['nunique']})" for n, row in counts.iterrows()
        )
        log.info(
            "%.0f %% of the labels, %s: %s of %s; images (groups) per class: %s",
            100 * fraction,
            role,
            count(len(part), "image"),
            count(part["group"].nunique(), "group"),
            shown,
        )
