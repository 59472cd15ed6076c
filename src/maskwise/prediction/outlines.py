"""A model that outlines: of each scan a PNG, and how much of it is what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from maskwise.artefacts.model import SegmenterMetadata
from maskwise.artefacts.outlines import NOTHING, from_png, to_png
from maskwise.encoders.segmenter import Segmenter
from maskwise.palette import GREEN, ORANGE, PURPLE, SKY, VERMILION, YELLOW
from maskwise.prediction.contracts import Answers, Figure, Look
from maskwise.prediction.limits import Told

COLOURS = (SKY, ORANGE, YELLOW, PURPLE, VERMILION, GREEN)
"""Those that stand out from black."""


@dataclass(frozen=True)
class Outlines:
    """Columns ``area_<class>``, shares of what was seen of a scan, and ``outline``, a file."""

    network: Segmenter
    metadata: SegmenterMetadata
    told: Told
    template: ClassVar[str] = "outlines.html.jinja"
    texts: ClassVar[tuple[str, ...]] = ("outline",)

    sets: ClassVar[tuple[str, ...]] = ()

    @property
    def areas(self) -> tuple[str, ...]:
        """Columns of the outlined shares."""
        return tuple(f"area_{name}" for name in self.metadata.classes)

    @property
    def measured(self) -> tuple[str, ...]:
        return (*self.areas, *self.told.worst)

    @property
    def worst(self) -> tuple[str, ...]:
        return self.told.worst

    @property
    def numbers(self) -> tuple[str, ...]:
        return (*self.areas, *self.told.numbers)

    def answer(self, images: Tensor, looks: Sequence[Look], rows: Sequence[int]) -> Answers:
        answers = self.network.probabilities(images).float().cpu().numpy()
        features = None if self.told.limits is None else self.network.encoder.pooled(images)
        table: list[dict[str, str | float]] = []
        files: dict[str, bytes] = {}
        for probabilities, look, row in zip(answers, looks, rows, strict=True):
            if not np.isfinite(probabilities).all():
                table.append({**dict.fromkeys(self.areas, float("nan")), "outline": ""})
                continue
            classes, areas = self._restored(probabilities, look.shape)
            # Paths may hold what no file name can; a row's number cannot.
            name = f"{row:06d}.png"
            files[name] = to_png(classes)
            table.append({**areas, "outline": name})
        measured = pd.DataFrame(table).join(self.told.measured(None, features))
        return Answers(self.judge(measured), files)

    def judge(self, measured: pd.DataFrame) -> pd.DataFrame:
        prediction = [self._kind(row) for row in measured[list(self.areas)].to_numpy()]
        return self.told.flagged(measured.assign(prediction=prediction))

    def order(self, table: pd.DataFrame, sort_by: str | None) -> pd.DataFrame:
        """Order by the area of ``sort_by``, or of all that is outlined: the largest first."""
        columns = list(self.areas) if sort_by is None else [f"area_{sort_by}"]
        areas = table[columns].sum(axis=1)
        return table.loc[areas.sort_values(ascending=False, kind="stable").index]

    def tally(self, predictions: "pd.Series[str]") -> list[tuple[str, int]]:
        """Count what was found, the commonest first."""
        counts = predictions.value_counts()
        return [(str(name), int(number)) for name, number in counts.items()]

    def figures(
        self, row: "pd.Series[float]", files: Mapping[str, bytes]
    ) -> tuple[Figure, ...]:
        classes, seen = from_png(files[str(row["outline"])]), self.metadata.encoder.preparation
        figures = []
        for number, name in enumerate(self.metadata.classes, start=1):
            area = seen.areas(classes == number)
            colour = COLOURS[(number - 1) % len(COLOURS)]
            figures.append(Figure(name, float(row[f"area_{name}"]), trace(area), colour))
        return tuple(figures)

    def _restored(
        self, probabilities: NDArray[np.float32], shape: tuple[int, int]
    ) -> tuple[NDArray[np.uint8], dict[str, float]]:
        """Return the likeliest class of each of the scan's pixels, and each column's area.

        Class by class, because at its own size a scan may be a hundred times what the network
        sees.
        """
        preparation = self.metadata.encoder.preparation
        classes = np.zeros(shape, np.uint8)
        highest, total = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        for number, plane in enumerate(probabilities[1:], start=1):
            chance = preparation.restored(plane, shape)
            total += chance
            classes[chance > highest] = number
            np.maximum(highest, chance, out=highest)
        classes[1 - total >= highest] = 0
        seen = preparation.restored(np.ones_like(probabilities[0]), shape) > 0
        counts = np.bincount(classes.ravel(), minlength=1 + len(self.areas))[1:]
        shares = counts / np.count_nonzero(seen)
        return classes, dict(zip(self.areas, shares.tolist(), strict=True))

    def _kind(self, areas: NDArray[np.float64]) -> str:
        if not np.isfinite(areas).all():
            return ""
        found = zip(self.metadata.classes, areas, strict=True)
        return " + ".join(name for name, area in found if area > 0) or NOTHING


def trace(area: NDArray[np.float32]) -> str:
    """Return the rim of what covers ``area`` of each pixel, ``(H, W)``, as an SVG's path.

    Pixel (y, x) reaches from (x, y) to (x + 1, y + 1).
    """
    from matplotlib.figure import (
        Figure as Drawing,
    )  # late: every run looks at predict's options

    # A mere speck covers less than half of any pixel; it is drawn, too.
    level = min(0.5, float(area.max()) / 2)
    if level == 0:
        return ""
    # Without a border of nothing, the line of what touches the image's would stay open.
    y, x = (np.arange(-1, side + 1) + 0.5 for side in area.shape)
    drawn = Drawing().add_subplot().contour(x, y, np.pad(area, 1), [level])
    rims = [np.asarray(rim) for path in drawn.get_paths() for rim in path.to_polygons()]
    return "".join(f"M{'L'.join(f'{x:.2f} {y:.2f}' for x, y in rim[:-1])}Z" for rim in rims)
