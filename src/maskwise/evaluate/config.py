"""The options of evaluate."""

from dataclasses import dataclass
from typing import Annotated, Literal

from maskwise.bounds import Seed, Within
from maskwise.errors import shown

EmptyMasks = Literal["one", "skip", "zero"]


@dataclass(frozen=True)
class EvaluateConfig:
    """The block ``evaluate``."""

    draws: Annotated[int, Within(199, 1_000_000)] = 10_000
    """Bootstrap draws; a 95 % interval needs 199."""
    seed: Seed = 0
    """Of the bootstrap."""
    weigh: Literal["group", "image"] = "group"
    """What counts once: a ``group`` (its images share the weight 1, so a duplicated image or a
    patient with many images counts no more than another), or every ``image``."""
    calibration_bins: Annotated[int, Within(2, 1_000)] = 15
    """Bins of equal width of the calibration error."""
    empty_masks: EmptyMasks = "one"
    """What Dice and IoU are where neither truth nor prediction outlines anything: 1, left out
    of the mean, or 0. Where one of the two does they are 0."""
    against: str = "scratch"
    """Recipe that every other one is compared with."""
    except_recipes: tuple[str, ...] = ("imagenet",)
    """Recipes not compared with ``against``, for they have another encoder; see ``pairs``."""
    pairs: tuple[tuple[str, str], ...] = ()
    """Further comparisons, recipe minus other; those with an absent recipe are passed over."""
    test: Literal["bootstrap", "sign_flip"] = "bootstrap"
    """Where p comes from: the draws of the interval, or all sign flips of the seeds'
    differences (8 to 16 seeds)."""

    def __post_init__(self) -> None:
        for recipe, other in self.pairs:
            if recipe == other:
                raise ValueError(f"pairs: {shown(recipe)} stands against itself")
