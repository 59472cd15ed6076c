"""Which outlined images a fraction may use: as for labels, but other things are needed."""

from collections.abc import Sequence

import pandas as pd

from maskwise.errors import UserError
from maskwise.finetune.lesion.outlines import NOTHING
from maskwise.finetune.subsets import Validation, draw_stratified

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
        seed: of the cell.

    Returns:
        As ``finetune.subsets.draw_stratified``.

    Raises:
        UserError: if a fraction is one group, or shows nothing of a class, or a part has no
            outlined image.
    """
    subsets = draw_stratified(images, fractions, validation, seed)
    train = subsets[subsets["role"] == "train"]
    wanted = _classes(images)
    for fraction, chosen in train.groupby("fraction", sort=False):
        groups = chosen["group"].nunique()
        if groups < LEAST_GROUPS:
            raise UserError(
                f"experiment.fractions: {fraction:g} of the outlined training images are "
                f"{groups} group ({len(chosen)} images), but a fraction needs {LEAST_GROUPS} "
                "or more; take it out, or a larger one"
            )
        lacking = sorted(wanted - _classes(chosen))
        if lacking:
            raise UserError(
                f"experiment.fractions: in {fraction:g} of the outlined training images "
                f"({len(chosen)} of {groups} groups) no {lacking[0]!r} is outlined; take a "
                "larger fraction, or change the split of preprocess"
            )
    return subsets


def _classes(images: pd.DataFrame) -> set[str]:
    """Return the classes that any of the images shows."""
    kinds = set(images["label"]) - {NOTHING}
    return {name for kind in kinds for name in str(kind).split(" + ")}
