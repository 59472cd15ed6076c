"""Options of embed."""

from dataclasses import dataclass
from typing import Annotated, Literal

from maskwise.bounds import Positive, Seed, Within
from maskwise.prediction.looking import LookConfig

Projection = Literal["pca", "umap"]


@dataclass(frozen=True)
class EmbedConfig(LookConfig):
    """How scans are found and read, what is taken of the encoder, and how it is shown."""

    patient: str | None = None
    """The table's column of patients; by default `patient`, if there is one."""
    stage: Annotated[int, Within(-64, 63)] = -1
    """Whose features are taken: 0 is the encoder's finest stage, -1 its last."""
    pooling: Literal["mean", "mean_max", "class"] = "mean"
    """What becomes of a stage's places: their mean, mean and maximum side by side, or the class
    token of a transformer."""
    map: Projection = "pca"
    """How features become places of the map: the two principal components, or UMAP."""
    colour_by: str | None = None
    """The column that colours the map; by default that of `label`, else `split` or `folder`."""
    label: str | None = None
    """The column of classes that neighbours are asked about; by default there is no score."""
    neighbours: Annotated[int, Within(1, 10_000)] = 20
    """How many of other patients vote on each scan."""
    temperature: Positive = 0.07
    """A neighbour of the cosine similarity s counts exp(s / temperature)."""
    draws: Annotated[int, Within(99, 100_000)] = 999
    """Draws of patients behind the interval."""
    seed: Seed = 0
    """Of those draws, and of UMAP."""
