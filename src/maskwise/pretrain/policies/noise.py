"""Hide what filtered noise says, cut at an exact ratio (ColorMAE, Hinojosa et al., ECCV 2024).

Masks have the texture of their noise and nothing of the image. The release ships its noise maps
and not the filters; these are ours: ``docs/methods/noise.md``, departure 1.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Generator, Tensor

from maskwise.bounds import PartShare, Within
from maskwise.masks import Grid, highest
from maskwise.pretrain.contracts import Setting
from maskwise.pretrain.policies.cells import hidden_cells
from maskwise.pretrain.policies.unlearnt import Unlearnt

Colour = Literal["red", "blue", "green", "purple", "white"]

MAPS = 256
"""Noise maps, made once per run."""
SIDE = 64
"""Cells of a map, one side; it is a torus, so no place of it is a border."""

Cells = Annotated[float, Within(0, SIDE, above=True)]


@dataclass(frozen=True)
class NoiseConfig:
    """Green by default, which the paper recommends."""

    colour: Colour = "green"
    """``red`` keeps low frequencies, ``blue`` high ones, ``green`` a band, ``purple`` all but
    that band; ``white`` filters nothing and is ``random_cells``."""
    ratio: PartShare = 0.5
    """Share of the cells that is hidden, to the nearest cell."""
    sd: Cells = 1.0
    """Cells: standard deviation of the Gaussian of red, and of blue, which is the rest."""
    band: tuple[Cells, Cells] = (0.5, 2.0)
    """Cells: the two Gaussians whose difference is green; purple is the rest."""

    def __post_init__(self) -> None:
        if not self.band[0] < self.band[1]:
            raise ValueError(f"band is {list(self.band)}, but should be two rising numbers")

    def build(self, setting: Setting) -> "Noise":
        """Make the noise maps from a seed out of torch's global generator."""
        number = hidden_cells(self.ratio, setting.grid)
        seed = int(torch.randint(2**62, ()))
        side = max(SIDE, *setting.grid)
        white = torch.randn(MAPS, side, side, generator=Generator().manual_seed(seed))
        return Noise(coloured(white, self), number)


class Noise(Unlearnt):
    """Cuts a window out of a noise map for each image, and hides its lowest cells."""

    stack: Tensor

    def __init__(self, stack: Tensor, number: int) -> None:
        super().__init__()
        self.number = number
        self.register_buffer("stack", stack)

    def choose_masks(self, images: Tensor, grid: Grid, generator: Generator) -> Tensor:
        draws = torch.rand(len(images), 5, generator=generator, device=generator.device)
        # The strongest values stay visible, as in the release; noise is symmetric.
        values = windows(self.stack, draws.T.to(self.stack.device), grid)
        return highest(-values.flatten(1), self.number, grid).to(images.device)


def coloured(white: Tensor, config: NoiseConfig) -> Tensor:
    """Filter ``white`` noise ``(N, T, T)`` on a torus; mean 0 and deviation 1 per map."""
    low, (fine, coarse) = config.sd, config.band
    if config.colour == "white":
        made = white
    elif config.colour == "red":
        made = blurred(white, low)
    elif config.colour == "blue":
        made = white - blurred(white, low)
    elif config.colour == "green":
        made = blurred(white, fine) - blurred(white, coarse)
    else:
        made = white - (blurred(white, fine) - blurred(white, coarse))
    spread, mean = torch.std_mean(made, dim=(1, 2), keepdim=True)
    return (made - mean) / spread


def blurred(maps: Tensor, sd: float) -> Tensor:
    """Blur ``maps`` ``(N, T, T)`` with a Gaussian of ``sd`` cells that goes round the torus."""
    side = maps.shape[-1]
    vertical = torch.fft.fftfreq(side)[:, None]
    horizontal = torch.fft.rfftfreq(side)
    # The Fourier transform of a Gaussian: exp(-2 pi^2 sd^2 f^2), f in cycles per cell.
    response = torch.exp(-2 * (torch.pi * sd) ** 2 * (vertical**2 + horizontal**2))
    made: Tensor = torch.fft.irfft2(torch.fft.rfft2(maps) * response, s=(side, side))
    return made


def windows(stack: Tensor, draws: Tensor, grid: Grid) -> Tensor:
    """Cut ``(B, gh, gw)`` out of maps ``(N, T, T)``, each image its own, flipped or not.

    ``draws`` ``(5, B)`` uniform in [0, 1): the map, the window's top and left, the two flips.
    """
    number, side = stack.shape[:2]
    chosen = (draws[0] * number).long()
    rows, columns = (
        _along(first, flip, cells, side)
        for first, flip, cells in zip(draws[1:3], draws[3:5], grid, strict=True)
    )
    return stack[chosen[:, None, None], rows[:, :, None], columns[:, None, :]]


def _along(first: Tensor, flip: Tensor, cells: int, side: int) -> Tensor:
    """Return the places ``(B, cells)`` of a window along one axis of the torus."""
    steps = torch.arange(cells, device=first.device)
    steps = torch.where(flip[:, None] < 0.5, steps, steps.flip(0))
    return ((first[:, None] * side).long() + steps) % side
