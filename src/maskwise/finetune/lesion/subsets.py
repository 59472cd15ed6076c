"""Which outlined images a fraction may use: as for labels, but other things are needed."""

import logging
from collections.abc import Sequence

import pandas as pd

from maskwise.artefacts.outlines import NOTHING
from maskwise.errors import UserError
from maskwise.finetune.subsets import Validation, draw_stratified

log = logging.getLogger(__name__)

LEAST_GROUPS = 2


def draw_outlined(
    images: pd.DataFrame, fractions: Sequence[float], validation: Validation, seed: int
) -> pd.DataFrame:
    """Choose the images of every fraction, stratified by what they show.

    Args:
        images: ``image_id``, ``group``, ``split`` of every outlined image, and as ``label``
            which classes it shows.
        fractions: shares in (0, 1].
        validation: how the validation part shrinks.
        seed: of the replicate.

    Returns:
        As ``finetune.subsets.draw_stratified``, without the fractions that are one group or
        show nothing of a class: of these a warning says why.

    Raises:
        UserError: if no fraction is left, or a part has no outlined image.
    """
    strata = images.assign(stratum=images["label"])
    subsets = draw_stratified(strata, fractions, validation, seed)
    wanted, refused = _classes(images), {}
    for fraction, chosen in subsets[subsets["role"] == "train"].groupby("fraction", sort=False):
        reason = _too_little(chosen, wanted)
        if reason:
            refused[fraction] = f"{fraction:g} of the outlined training images are {reason}"
    if len(refused) == len(fractions):
        raise UserError(
            f"experiment.fractions: {next(iter(refused.values()))}; take a larger fraction, or "
            "change the split of preprocess"
        )
    for sentence in refused.values():
        log.warning("Seed %d leaves a fraction out: %s.", seed, sentence)
    return subsets[~subsets["fraction"].isin(refused)].reset_index(drop=True)


def _too_little(chosen: pd.DataFrame, wanted: set[str]) -> str:
    """Say why the images of a fraction teach nothing, or nothing."""
    groups = chosen["group"].nunique()
    size = f"{groups} group{'s' * (groups != 1)} ({len(chosen)} images)"
    if groups < LEAST_GROUPS:
        return f"{size}, but a fraction needs {LEAST_GROUPS} groups or more"
    lacking = sorted(wanted - _classes(chosen))
    return f"{size}, none of which shows {lacking[0]!r}" if lacking else ""


def _classes(images: pd.DataFrame) -> set[str]:
    """Return the classes that any of the images shows."""
    kinds = set(images["label"]) - {NOTHING}
    return {name for kind in kinds for name in str(kind).split(" + ")}
