"""Small changes to training images that no diagnosis depends on."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from maskwise.artefacts.store import Laterality
from maskwise.bounds import Within


@dataclass(frozen=True)
class Augmentation:
    """Drawn anew for every image at every step.

    Images are never turned upside down: in ultrasound the shadow lies below the lesion.
    """

    shift: Annotated[float, Within(0, 0.5)] = 0.06
    """Largest shift along each side, as a share of it; what is uncovered repeats the border."""
    flip: bool = True
    """Swap left and right in half of the images; not done where laterality is ``fixed``."""


@dataclass(frozen=True)
class Moves:
    """Where every pixel of a batch comes from: pictures and their masks move alike."""

    rows: Tensor
    """``(B, H)``."""
    columns: Tensor
    """``(B, W)``."""

    def apply(self, pictures: Tensor) -> Tensor:
        """Move ``(B, C, H, W)``; values are copied, none is mixed with its neighbours."""
        image = torch.arange(len(pictures), device=pictures.device)
        # Advanced indices round a slice put the sliced axis last: (B, H, W, C).
        rows, columns = self.rows[:, :, None], self.columns[:, None, :]
        return pictures[image[:, None, None], :, rows, columns].permute(0, 3, 1, 2)


def draw_moves(
    images: Tensor, config: Augmentation, laterality: Laterality, generator: np.random.Generator
) -> Moves:
    """Draw a shift and a flip for each of ``images`` ``(B, C, H, W)``.

    Args:
        images: normalised.
        config: how far.
        laterality: of the source; ``fixed``: no image is flipped.
        generator: draws the same numbers whatever the options and the size of the images.
    """
    b, _, h, w = images.shape
    draws = torch.from_numpy(generator.random((3, b), dtype=np.float32)).to(images.device)
    down, right = (_pixels(draws[axis], config.shift, size) for axis, size in ((0, h), (1, w)))
    flipped = (draws[2] < 0.5) & (config.flip and laterality == "free")
    rows = (torch.arange(h, device=images.device) - down[:, None]).clamp(0, h - 1)  # (B, H)
    columns = (torch.arange(w, device=images.device) - right[:, None]).clamp(0, w - 1)
    return Moves(rows, torch.where(flipped[:, None], columns.flip(1), columns))


def _pixels(draws: Tensor, shift: float, size: int) -> Tensor:
    """Turn draws in [0, 1) into whole pixels from -round(shift size) to round(shift size)."""
    most = round(shift * size)
    return torch.floor(draws * (2 * most + 1)).long() - most
