"""What a referee's page is asked for, source by source."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Literal

from maskwise.bounds import Length, PartShare, Within

Goals = Annotated[tuple[PartShare, ...], Length(0, 10)]
Cuts = Annotated[tuple[Annotated[float, Within(-(10**9), 10**9)], ...], Length(1, 20)]

NAMING = (
    "image_id",
    "path",
    "patient",
    "group",
    "masks",
    "sha256",
    "phash",
    "volume",
    "region",
)
"""Columns of the manifest whose values name an image or a person, and so are no subgroup."""
LESION_SIZE = "lesion_size"
"""Not a column: the diameter of a disc as large as what is outlined."""


@dataclass(frozen=True)
class Referee:
    """One source's entry under ``evaluate.referee``; the defaults hold for all others."""

    recipe: str | None = None
    """Whose figures these are; by default that of the first primary comparison, or else, and
    where it was not run, the recipe with the best leading metric on validation images."""
    mode: Literal["probe", "full", "knn"] | None = None
    """Of ``finetune.modes``; by default as the recipe."""
    fraction: Annotated[float, Within(0, 1, above=True)] | None = None
    """Share of the labels; by default that of the primary comparison, or else the largest."""
    specificity: Goals = (0.9, 0.95)
    """Fixed specificities: the threshold with the highest sensitivity on validation images."""
    sensitivity: Goals = (0.9, 0.95)
    """Fixed sensitivities: the threshold with the highest specificity on validation images."""
    prevalence: Mapping[str, PartShare] = field(default_factory=dict)
    """Class -> how common it is where the network is to be used, for PPV and NPV there."""
    bins: Annotated[int, Within(2, 100)] = 10
    """Of equal width, of a class's reliability diagram and its calibration error."""
    benefit: Goals = (0.05, 0.1, 0.2, 0.3, 0.5)
    """Threshold probabilities at which net benefit stands in a table."""
    subgroups: Annotated[tuple[str, ...], Length(0, 20)] = ()
    """Columns of the manifest (of a label, its name alone), or ``lesion_size``."""
    bands: Mapping[str, Cuts] = field(default_factory=dict)
    """Column of numbers -> where to cut it: ``age: [40, 60]`` makes three bands."""
    smallest: Annotated[int, Within(2, 10_000)] = 10
    """Test groups (patients) below which a subgroup gets its numbers and no figure."""
    errors: Annotated[int, Within(0, 100)] = 12
    """The most confident errors that are shown."""

    def __post_init__(self) -> None:
        for name, cuts in self.bands.items():
            if name not in self.subgroups:
                raise ValueError(f"bands.{name}: is not among the subgroups; add it there")
            if any(low >= high for low, high in pairwise(cuts)):
                raise ValueError(f"bands.{name}: should rise, as in [40, 60]")
        for name in self.subgroups:
            if name in NAMING:
                raise ValueError(
                    f"subgroups: {name} names images or persons one by one, which are no "
                    "subgroups; name a column that many of them share"
                )
        if len(set(self.subgroups)) < len(self.subgroups):
            raise ValueError("subgroups: a column appears twice")
