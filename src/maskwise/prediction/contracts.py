"""What a kind of model is to the stage: answers for the table, their order, cards for the page.

A kind is one file: ``classes`` (what a scan shows), ``labels`` (the same, several at once) and
``outlines`` (where it shows it).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # a process that only reads scans must not wait for either
    import pandas as pd
    from torch import Tensor


@dataclass(frozen=True)
class Scan:
    """One image to look at."""

    path: str
    """Relative to the root."""
    frame: int
    modality: str | None
    """As the table says, or None."""


@dataclass(frozen=True)
class Look:
    """A scan that was not refused."""

    intensities: NDArray[np.float32]
    """What the network sees, before it is normalised: ``(C, H, W)`` in [0, 1]."""
    shape: tuple[int, int]
    """Height and width of the scan itself, pixels."""


class Refused(NamedTuple):
    """Why there is no prediction for a scan or file."""

    detail: str
    """For the table, which names files anyway."""
    nameless: str
    """For a page that must not: nothing in it comes from a file, a name or a table's cell."""


@dataclass(frozen=True)
class Answers:
    """What a model says about some scans."""

    table: "pd.DataFrame"
    """One row per scan: ``prediction`` ("" where the answer is not finite), and the columns
    that the kind names."""
    files: Mapping[str, bytes]
    """What goes into the folder of outlines, by file name."""


@dataclass(frozen=True)
class Figure:
    """What a card says about one class."""

    name: str
    share: float
    """Between 0 and 1."""
    line: str = ""
    """Path of an SVG in pixels of the network's image; "" where nothing is drawn."""
    colour: str = ""
    called: bool = False
    """Whether it is in the prediction, where each class is decided on by itself."""


@dataclass(frozen=True)
class Neighbour:
    """A training scan beside a prediction."""

    label: str
    """What it shows; "" where nobody said."""
    similarity: float
    """Cosine of the angle between its features and the scan's: 1 = the same."""
    picture: str
    """Data URI, out of the store: as the encoder saw it in training."""


@dataclass(frozen=True)
class Card:
    """One scan on the page."""

    name: str
    prediction: str
    figures: tuple[Figure, ...]
    picture: str
    """Data URI of what the model saw."""
    neighbours: tuple[Neighbour, ...] = ()
    """The training scans most like it, the nearest first."""


class ModelKind(Protocol):
    """One kind of model, around a network that is loaded."""

    @property
    def template(self) -> str:
        """Name of the page's template."""

    @property
    def numbers(self) -> tuple[str, ...]:
        """Columns of the table that are NaN where a scan was refused."""

    @property
    def texts(self) -> tuple[str, ...]:
        """Columns behind those, empty where a scan was refused."""

    def answer(self, images: "Tensor", looks: Sequence[Look], rows: Sequence[int]) -> Answers:
        """Look at normalised images ``(B, C, H, W)``; ``rows`` are theirs in the table."""

    def order(self, table: "pd.DataFrame", sort_by: str | None) -> "pd.DataFrame":
        """Order predictions for the page: by the class ``sort_by``, or the kind's own way."""

    def tally(self, predictions: "pd.Series[str]") -> list[tuple[str, int]]:
        """Count each prediction, in the order in which a reader expects them."""

    def figures(
        self, row: "pd.Series[float]", files: Mapping[str, bytes]
    ) -> tuple[Figure, ...]:
        """Return what the card of one row says; ``files`` are those of all scans."""
