"""What a run of the stage is asked to do: YAML becomes these."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from maskwise.bounds import Within
from maskwise.prediction.aggregation import Per, Rule
from maskwise.prediction.dicom import DicomOutlines
from maskwise.prediction.looking import LookConfig
from maskwise.request import missing, options, text_at

NAMED = {"model": "a model file", "scans": "a folder or table of scans"}
"""Keys of the block that are no options, and what stands there."""


@dataclass(frozen=True)
class PredictConfig(LookConfig):
    """How scans are found, read and shown."""

    sort_by: str | None = None
    """The class whose probability, or outlined area, orders the page; by default the
    probability of each scan's prediction, class by class, or the area of all outlines."""
    shown: Annotated[int, Within(1, 10_000)] = 200
    """Scans on the page at most; the table holds all."""
    dicom: DicomOutlines = "none"
    """Outlines of DICOM scans as DICOM, too: segmentations, pictures with outlines, or both."""
    embeddings: Path | None = None
    """What embed made of the model's source with the model's own file: the page then shows
    beside each scan the training scans most like it."""
    neighbours: Annotated[int, Within(1, 20)] = 3
    """How many of them."""
    coverage: Annotated[float, Within(0, 1, above=True, below=True)] | None = None
    """Share of the patients of each class whose set of answers is to hold the truth."""
    false_alarms: Annotated[float, Within(0, 1, above=True, below=True)] | None = None
    """Share of the patients like those of training who may be flagged as unlike them; by
    default 0.05, or where fewer than 19 patients were held out 1 / (1 + these)."""
    per: Per | None = None
    """What several scans are joined to one answer of: a ``patient`` or a ``volume``."""
    aggregate: Rule = "mean"
    """How: a name in ``aggregation.RULES``."""
    occlusion: Annotated[int, Within(2, 32)] | None = None
    """Cells along each side of the network's image, which are hidden one after the other."""


parse_options = partial(options, PredictConfig, NAMED)
"""The options of the block ``predict``; which model and which scans, only a run must say."""


def parse_request(block: Any, where: str) -> tuple[Path, Path, PredictConfig]:
    """Parse the block ``predict``: ``model``, ``scans``, and a ``PredictConfig``'s options."""
    config = parse_options(block, where)
    paths = []
    for key, what in NAMED.items():
        path = text_at(block, key, where, what)
        if path is None:
            raise missing(where, key, what)
        paths.append(Path(path))
    return paths[0], paths[1], config
