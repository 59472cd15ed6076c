"""The options of evaluate."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Literal

from maskwise.bounds import Seed, Within
from maskwise.errors import shown
from maskwise.evaluate.referee.config import Referee

EmptyMasks = Literal["one", "skip", "zero"]


Pair = tuple[str, str]
"""Recipe, other: what is asked is recipe minus other."""
MOST = 3
"""Primary comparisons: a family so small that correcting for it leaves something to be seen."""


@dataclass(frozen=True)
class Primary:
    """What a study is to answer, named before a test image is read."""

    comparisons: tuple[Pair, ...]
    """One to three: the family of Holm's correction, and what the page says first."""
    mode: Literal["probe", "full", "knn"]
    """Of ``finetune.modes``."""
    fraction: Annotated[float, Within(0, 1, above=True)]
    """Share of the labels."""
    written: date
    """The day on which this was written down; the page says it. A day that is still to come is
    warned of."""
    metric: str | None = None
    """By default the task's leading one."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.comparisons) <= MOST:
            raise ValueError(
                f"comparisons are {len(self.comparisons)}, should be 1 to {MOST}; the others "
                "are printed all the same, without a p"
            )
        for pair in self.comparisons:
            if pair[0] == pair[1]:
                raise ValueError(f"comparisons: {pair[0]!r} is compared with itself")
        if len({frozenset(pair) for pair in self.comparisons}) < len(self.comparisons):
            raise ValueError("comparisons: a pair appears twice")
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction is {self.fraction}, should lie in (0, 1]")


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
    coverage: Annotated[float, Within(0, 1, above=True, below=True)] = 0.9
    """Share of the patients of each class whose set of answers is to hold the truth."""
    empty_masks: EmptyMasks = "one"
    """What Dice and IoU are where neither truth nor prediction outlines anything: 1, left out
    of the mean, or 0. Where one of the two does they are 0."""
    against: str = "scratch"
    """Recipe that every other one is compared with."""
    except_recipes: tuple[str, ...] = (
        "imagenet",
        "scratch_lite0",
        "imagenet_lite0",
        "simclr_continued",
        "simclr_continued_random_cells",
        "simclr_continued_foreground",
        "simclr_continued_spare",
        "simclr_continued_spare_variance",
        "simclr_continued_spare_shuffled",
        "moco_v2_continued",
        "byol_continued",
        "swav_continued",
        "features_continued",
        "spark_continued",
        "basic_unet",
        "scratch_resnet18",
        "spark_resnet18",
        "moco_v2_resnet18",
        "byol_resnet18",
        "swav_resnet18",
        "moco_v2_release_resnet18",
        "byol_release_resnet18",
        "swav_release_resnet18",
        "scratch_vit",
        "mae",
        "miram",
        "miram_upsampled",
        "miram_a3c",
        "miram_release",
    )
    """Recipes not compared with ``against``, because they have another encoder; see
    ``pairs``."""
    pairs: tuple[Pair, ...] = ()
    """Further comparisons, recipe minus other; those with an absent recipe are ignored."""
    primary: Mapping[str, Primary] = field(default_factory=dict)
    """Source -> its primary comparisons. They alone get a p; all else is exploration."""
    referee: Mapping[str, Referee] = field(default_factory=dict)
    """Source -> what its page for referees is asked for; see ``evaluate.referee``."""
    test: Literal["bootstrap", "sign_flip"] = "bootstrap"
    """Where p comes from: the draws of the interval, or all sign flips of the seeds'
    differences (8 to 16 seeds, no folds)."""

    def __post_init__(self) -> None:
        for recipe, other in self.pairs:
            if recipe == other:
                raise ValueError(f"pairs: {shown(recipe)} is compared with itself")
