"""The options of evaluate."""

from dataclasses import dataclass
from typing import Literal

EmptyMasks = Literal["one", "skip", "zero"]


@dataclass(frozen=True)
class EvaluateConfig:
    """The block ``evaluate``."""

    draws: int = 10_000
    """Bootstrap draws, at least 199."""
    seed: int = 0
    """Of the bootstrap."""
    weigh: Literal["group", "image"] = "group"
    """What counts once: a ``group`` (its images share the weight 1, so a duplicated image or a
    patient with many images counts no more than another), or every ``image``."""
    calibration_bins: int = 15
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
        if self.draws < 199:
            raise ValueError(f"draws is {self.draws}, but a 95 % interval needs 199 or more")
        if self.calibration_bins < 2:
            raise ValueError(
                f"calibration_bins is {self.calibration_bins}, should be 2 or more"
            )
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}, should be 0 or more")
        for recipe, other in self.pairs:
            if recipe == other:
                raise ValueError(f"pairs: {recipe!r} stands against itself")
