"""What a run of embed is asked to do: YAML becomes these."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from maskwise.bounds import Positive, Seed, Within
from maskwise.errors import UserError
from maskwise.prediction.looking import LookConfig
from maskwise.request import missing, options, text_at

Projection = Literal["pca", "umap"]
NAMED = ("encoder", "scans", "source")
"""Keys of the block that are no options."""


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


@dataclass(frozen=True)
class Request:
    """What is to be embedded."""

    encoder: Path
    scans: Path | None
    source: str | None
    """A source of the project, whose prepared images are taken instead of ``scans``."""


parse_options = partial(options, EmbedConfig, NAMED)
"""The options of the block ``embed``; which encoder and which scans, only a run must say."""


def parse_request(block: Any, where: str) -> tuple[Request, EmbedConfig]:
    """Parse the block ``embed``: ``encoder``, ``scans`` or ``source``, and the options."""
    config = parse_options(block, where)
    encoder, scans, source = (text_at(block, key, where) for key in NAMED)
    if encoder is None:
        raise missing(where, "encoder", "an encoder's or a model's file")
    if (scans is None) == (source is None):
        said = "both are set" if scans else "missing"
        raise UserError(
            f"{where}.scans: {said}; name either a folder or table of scans ({where}.scans), "
            f"or a source of the project ({where}.source)"
        )
    return Request(Path(encoder), None if scans is None else Path(scans), source), config
