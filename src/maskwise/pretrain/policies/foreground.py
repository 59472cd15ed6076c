"""Hide cells at random among those that show something (SubFore, arXiv 2509.07534).

Where a scan has a black surround, cells at random waste half of a mask on it. This control
hides where there is tissue and knows nothing else. Departures by number in
``docs/methods/foreground.md``.
"""

import logging
import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Generator, Tensor

from maskwise.bounds import PartShare, Share, Within, WordOr
from maskwise.errors import UserError
from maskwise.masks import Grid, cell_means, highest
from maskwise.pretrain.contracts import Setting
from maskwise.pretrain.policies.cells import hidden_cells, uniform
from maskwise.pretrain.policies.unlearnt import Unlearnt

ROUNDING = 1e-6
"""Of a share of a cell's pixels, which are whole numbers."""
DARK = 0.1
"""Mean intensity of a surround, at most. Below Otsu's threshold MR of the head has .05, breast
ultrasound, which has no surround, .17."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ForegroundConfig:
    """Half of the cells by default, above the threshold that the training images suggest."""

    ratio: PartShare = 0.5
    """Share of the cells that is hidden, to the nearest cell."""
    threshold: Annotated[Literal["otsu"] | Share, WordOr("otsu", Within(0, 1))] = "otsu"
    """Intensity in [0, 1] above which a pixel shows something; ``otsu``: the one that parts the
    training images' pixels best in two (Otsu 1979)."""
    hu: Annotated[float, Within(-(10**6), 10**6)] | None = None
    """The same in Hounsfield units, in place of ``threshold``, for CT under a window."""
    share: Annotated[float, Within(0, 1, above=True)] = 0.5
    """Of a cell's pixels that must lie above it for the cell to count."""

    def __post_init__(self) -> None:
        if self.hu is not None and self.threshold != "otsu":
            raise ValueError("hu and threshold say the same twice; leave one of them out")

    def build(self, setting: Setting) -> "Foreground":
        number = hidden_cells(self.ratio, setting.grid)
        return Foreground(number, self._intensity(setting), self.share, setting)

    def _intensity(self, setting: Setting) -> float:
        """Return the threshold as an intensity in [0, 1]."""
        if self.hu is not None:
            return _in_window(self.hu, setting)
        if self.threshold != "otsu":
            return float(self.threshold)
        if setting.histogram is None:
            raise ValueError("histogram is None, but Otsu's threshold is chosen from it")
        counts = setting.histogram()
        threshold = otsu(counts)
        below = mean_below(counts, threshold)
        if below > DARK:
            log.warning(
                "policy foreground: these images have no dark surround. What lies below Otsu's "
                "threshold of %.2f has a mean of %.2f, so that dark tissue is parted from "
                "bright and the mask follows brightness; if that is not meant, say which "
                "intensity tissue has at least (policy.threshold)",
                threshold,
                below,
            )
        return threshold


class Foreground(Unlearnt):
    """Exactly ``number`` cells: of the foreground while there are any, then of the rest."""

    def __init__(self, number: int, threshold: float, share: float, setting: Setting) -> None:
        super().__init__()
        self.number, self.threshold, self.share = number, threshold, share
        for name, values in (("mean", setting.mean), ("std", setting.std)):
            wide = torch.tensor(values)[:, None, None]
            self.register_buffer(name, wide, persistent=False)

    mean: Tensor
    std: Tensor

    def foreground(self, images: Tensor, grid: Grid) -> Tensor:
        """Return bool ``(B, gh, gw)``: whether a cell of ``images`` ``(B, C, H, W)`` counts."""
        grey = (images * self.std + self.mean).mean(dim=1, keepdim=True)
        pixels = images.shape[2] * images.shape[3] / (grid[0] * grid[1])
        least = math.ceil(self.share * pixels - ROUNDING)
        above = cell_means((grey > self.threshold).double(), grid) * pixels
        return above.round() >= least

    def choose_masks(self, images: Tensor, grid: Grid, generator: Generator) -> Tensor:
        lots = uniform(images, grid, generator)
        return highest(lots + self.foreground(images, grid).flatten(1), self.number, grid)


def _in_window(hu: float, setting: Setting) -> float:
    """Return the intensity that a window makes of Hounsfield units."""
    if setting.modality != "ct" or setting.window is None:
        raise UserError(
            "policy.hu: needs CT whose preprocess says `intensity: {name: window, low: …, "
            "high: …}`, because nothing else tells which grey level stands for how many HU; "
            "use threshold"
        )
    low, high = setting.window
    if not low <= hu < high:
        raise UserError(
            f"policy.hu: is {hu:g}, but the images show {low:g} to {high:g} HU only, so that "
            "all of an image or nothing would lie above it; choose one in between"
        )
    return (hu - low) / (high - low)


def mean_below(counts: Tensor, threshold: float) -> float:
    """Return the mean intensity of what a histogram ``(BINS,)`` has below the threshold."""
    centres = (torch.arange(len(counts), dtype=torch.float64) + 0.5) / len(counts)
    dark = counts.double() * (centres < threshold)
    return float((dark * centres).sum() / dark.sum().clamp(min=1))


def otsu(counts: Tensor) -> float:
    """Return the intensity that parts a histogram ``(BINS,)`` best (Otsu 1979, equation 18).

    That is where the variance between the two classes is greatest; where several thresholds are
    as good, as in a gap between two peaks, their middle.
    """
    bins = len(counts)
    shares = counts.double() / counts.double().sum().clamp(min=1)
    centres = (torch.arange(bins, dtype=torch.float64) + 0.5) / bins
    below = shares.cumsum(0)[:-1]
    mean_below = (shares * centres).cumsum(0)[:-1]
    mean = (shares * centres).sum()
    spread = (mean * below - mean_below).square() / (below * (1 - below)).clamp(min=1e-12)
    best = (spread >= spread.max() * (1 - 1e-9)).nonzero()[:, 0].double()
    return float((best.mean() + 1) / bins)
