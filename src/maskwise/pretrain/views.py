"""Two views of a one-channel medical image, batched (methods.md 6.4: ``medical_1ch``).

Intensities are in [0, 1] here. Everything geometric is one affine map and, where it is on, one
coarse displacement field: one resampling. All decisions follow from one integer seed per image.
"""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from maskwise.bounds import Share, Within
from maskwise.pretrain.augmentation import bell, uniform
from maskwise.pretrain.contracts import Setting
from maskwise.pretrain.splitmix import mix

_DRAWS = 16 + 32
"""Uniform numbers per image: 16 decisions and a 4 x 4 field of displacements in y and x."""
_COARSE = 4
_TAPS = 7


@dataclass(frozen=True)
class ViewsConfig:
    """Strengths; 0 turns an operation off. Colour operations do nothing to one channel."""

    least_area: Annotated[float, Within(0, 1, above=True)] = 0.35
    """Of a crop, as a share of the image; raise it to .5 where lesions are below 5 %."""
    most_area: Annotated[float, Within(0, 1, above=True)] = 1.0
    """Of a crop, likewise; 1 may be the whole image."""
    aspect: Annotated[float, Within(1, 100)] = 4 / 3
    """A crop's sides differ by at most this ratio; 1 keeps it square."""
    rotation: Annotated[float, Within(0, 180)] = 15.0
    """Degrees, at most, each way."""
    brightness: Share = 0.2
    """Added or taken off, at most, of an intensity in [0, 1]."""
    contrast: Annotated[float, Within(0, 10)] = 0.4
    """Factor about the image's mean: 1 - contrast to 1 + contrast."""
    gamma: Annotated[float, Within(0, 10)] = 0.4
    """The exponent's natural logarithm, at most, each way."""
    blur: Annotated[float, Within(0, 64)] = 2.0
    """Standard deviation, at most, in pixels of an image with a side of 224."""
    noise: Annotated[float, Within(0, 10)] = 0.1
    """Standard deviation: of speckle's factor for ultrasound; half of it is added elsewhere."""
    elastic: Share = 0.0
    """Displacement, at most, as a share of the side, of a 4 x 4 field."""

    def __post_init__(self) -> None:
        if self.least_area > self.most_area:
            raise ValueError(
                f"least_area is {self.least_area:g} and most_area {self.most_area:g}, but a "
                "crop's area lies between them"
            )


class Views(nn.Module):
    """Turns normalised images into normalised views, of the image's size or of ``size``."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, config: ViewsConfig, setting: Setting, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__()
        self.config, self.size = config, size
        self.modality = setting.modality
        self.mirror = setting.laterality == "free"
        for name, values in (("mean", setting.mean), ("std", setting.std)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def forward(self, images: Tensor, seeds: Tensor) -> Tensor:
        """Return one view of each of ``images`` ``(B, C, H, W)``; other seeds, another view."""
        draws = uniform(seeds, _DRAWS, "views")
        intensities = (images * self.std + self.mean).clamp(0, 1)
        view = _resample(intensities, self._grid(images, draws))
        view = self._photometric(view, draws)
        view = self._blur(view, draws[:, 9], draws[:, 10])
        view = self._noise(view, draws[:, 11], seeds).clamp(0, 1)
        return (view - self.mean) / self.std

    def _grid(self, images: Tensor, draws: Tensor) -> Tensor:
        """Return where each pixel of a view is taken from, ``(B, H, W, 2)`` in [-1, 1]."""
        config, (b, c, h, w) = self.config, images.shape
        area = config.least_area + (config.most_area - config.least_area) * draws[:, 0]
        ratio = torch.exp((2 * draws[:, 1] - 1) * math.log(config.aspect))
        height, width = (area / ratio).sqrt().clamp(max=1), (area * ratio).sqrt().clamp(max=1)
        angle = (2 * draws[:, 2] - 1) * math.radians(config.rotation)
        flip = torch.where((draws[:, 3] < 0.5) & self.mirror, -1.0, 1.0)
        cos, sin = angle.cos(), angle.sin()
        # The crop's centre keeps an unrotated crop inside the image.
        across = (2 * draws[:, 4] - 1) * (1 - width)
        down = (2 * draws[:, 5] - 1) * (1 - height)
        rows = torch.stack(
            [
                torch.stack([cos * width * flip, -sin * height * h / w, across], 1),
                torch.stack([sin * width * flip * w / h, cos * height, down], 1),
            ],
            dim=1,
        )
        size = (h, w) if self.size is None else self.size
        grid = nn.functional.affine_grid(rows, [b, c, *size], align_corners=False)
        return grid + self._displacement(draws, size) if config.elastic else grid

    def _displacement(self, draws: Tensor, size: tuple[int, int]) -> Tensor:
        field = (
            (2 * draws[:, 16:] - 1).reshape(-1, 2, _COARSE, _COARSE) * 2 * self.config.elastic
        )
        smooth = nn.functional.interpolate(field, size, mode="bicubic", align_corners=True)
        return smooth.permute(0, 2, 3, 1)

    def _photometric(self, view: Tensor, draws: Tensor) -> Tensor:
        config = self.config
        jitter = draws[:, 6] < 0.8
        factor = torch.where(jitter, 1 + config.contrast * (2 * draws[:, 7] - 1), 1.0)
        shift = torch.where(jitter, config.brightness * (2 * draws[:, 8] - 1), 0.0)
        mean = view.mean(dim=(1, 2, 3), keepdim=True)
        view = (view - mean) * _wide(factor) + mean + _wide(shift)
        if not config.gamma:
            return view
        power = torch.exp(config.gamma * (2 * draws[:, 13] - 1))
        power = torch.where(draws[:, 12] < 0.5, power, 1.0)
        # A root has an infinite slope at 0, so the image keeps a little above it.
        return view.clamp(1e-4, 1).pow(_wide(power))

    def _blur(self, view: Tensor, whether: Tensor, strength: Tensor) -> Tensor:
        b, c, h, w = view.shape
        sd = self.config.blur * strength * min(h, w) / 224
        if not self.config.blur:
            return view
        taps = torch.arange(_TAPS, device=view.device) - _TAPS // 2
        kernel = torch.exp(-0.5 * (taps / sd.clamp(min=1e-3)[:, None]).square())
        kernel = torch.where(whether[:, None] < 0.5, kernel, (taps == 0).float())
        kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(c, 0)
        flat = view.reshape(1, b * c, h, w)
        pad = _TAPS // 2
        flat = nn.functional.pad(flat, (pad, pad, pad, pad), mode="reflect")
        flat = nn.functional.conv2d(flat, kernel[:, None, :, None], groups=b * c)
        flat = nn.functional.conv2d(flat, kernel[:, None, None, :], groups=b * c)
        return flat.reshape(b, c, h, w)

    def _noise(self, view: Tensor, whether: Tensor, seeds: Tensor) -> Tensor:
        if not self.config.noise:
            return view
        number = view[0].numel()
        draws = bell(seeds, (2 if self.modality == "mr" else 1) * number, "noise")
        noise = draws.reshape(len(view), -1, *view.shape[1:]) * self.config.noise / 2
        if self.modality == "ultrasound":
            noisy = view * (1 + 2 * noise[:, 0])
        elif self.modality == "mr":
            # Rician: the magnitude of a complex signal with Gaussian noise in both parts.
            noisy = torch.hypot(view + noise[:, 0], noise[:, 1])
        else:
            noisy = view + noise[:, 0]
        return torch.where(_wide(whether) < 0.5, noisy, view)


def view_seeds(seeds: Tensor, number: int) -> Tensor:
    """Return the seeds of view ``number`` (from 0) of each image; its views are strangers."""
    if number < 2:
        return ~seeds if number else seeds  # the hash makes strangers of a complement
    return mix(mix(seeds) + number)


def _resample(images: Tensor, grid: Tensor) -> Tensor:
    return nn.functional.grid_sample(
        images, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )


def _wide(values: Tensor) -> Tensor:
    return values[:, None, None, None]
