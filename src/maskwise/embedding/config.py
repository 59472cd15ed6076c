"""What a run of embed is asked to do: YAML becomes these."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from maskwise.bounds import Positive, Seed, Within
from maskwise.config import parse
from maskwise.errors import UserError, shown
from maskwise.prediction.looking import LookConfig

Projection = Literal["pca", "umap"]
WHAT = ("encoder", "scans", "source")
"""Keys of the block that are no options of ``EmbedConfig``."""


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


def parse_request(block: Any, where: str) -> tuple[Request, EmbedConfig]:
    """Parse the block ``embed``: ``encoder``, ``scans`` or ``source``, and the options."""
    config = parse(EmbedConfig, options_of(block, where), where)
    for key in WHAT:
        value = block.get(key)
        if value is not None and not isinstance(value, str):  # 007 is 7 to YAML
            raise UserError(
                f"{where}.{key}: should be text, but is {shown(value)}; in a file, a name that "
                "looks like a number needs quotation marks"
            )
    encoder, scans, source = (block.get(key) or None for key in WHAT)
    if encoder is None:
        raise UserError(
            f"{where}.encoder: missing; name an encoder's or a model's file: --params "
            f"{where}.encoder=PATH"
        )
    if (scans is None) == (source is None):
        said = "both are set" if scans else "missing"
        raise UserError(
            f"{where}.scans: {said}; name either a folder or table of scans ({where}.scans), "
            f"or a source of the project ({where}.source)"
        )
    return Request(Path(encoder), None if scans is None else Path(scans), source), config


def options_of(block: Any, where: str) -> dict[str, Any]:
    """Return the ``EmbedConfig`` part of the block ``embed``."""
    if not isinstance(block, Mapping):
        raise UserError(f"{where}: should be a block of options, but is {shown(block)}")
    return {key: value for key, value in block.items() if key not in WHAT}
