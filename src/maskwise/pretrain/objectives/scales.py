"""Sizes at which an image is drawn, and what finer ones show: options that objectives share.

MIRAM (arXiv 2503.07157); what a scan shows beyond the network's image is ours
(``docs/methods/miram.md``, departure 1).
"""

import logging
from dataclasses import dataclass
from typing import Annotated, Literal

from torch import Tensor, nn

from maskwise.bounds import Length, Within
from maskwise.errors import UserError
from maskwise.pretrain.contracts import Batch, Setting

log = logging.getLogger(__name__)

Weight = Annotated[float, Within(0, 1_000)]
LOW_FRACTION = 0.5
"""Share of training images that hold what a native target shows, below which it is told."""


@dataclass(frozen=True)
class ScalesConfig:
    """The image's own size alone by default."""

    scales: Annotated[tuple[Literal[1, 2, 4], ...], Length(1, 3)] = (1,)
    """Sizes at which the image is drawn, as multiples of its own; the first is 1."""
    loss_weights: Annotated[tuple[Weight, ...], Length(1, 3)] = (1.0,)
    """One per scale."""
    hi_target: Literal["native", "upsampled"] = "native"
    """What scales beyond 1 draw: ``native``, what the scan shows at that size, of which the
    image is the mean (needs ``fine`` in the source's block `preprocess`); ``upsampled``, the
    image itself drawn larger, which holds nothing new, as in MIRAM's release."""
    upsample_mode: Literal["nearest", "bicubic"] = "nearest"
    """Of ``upsampled``."""
    hi_loss_region: Literal["all", "masked"] = "all"
    """Of scales beyond 1: the loss is taken everywhere, as in MIRAM's release, or where the
    image was hidden."""

    def __post_init__(self) -> None:
        if self.scales[0] != 1 or list(self.scales) != sorted({*self.scales}):
            raise ValueError(
                f"scales are {list(self.scales)}, but should begin with 1 and ascend"
            )
        if len(self.loss_weights) != len(self.scales) or not any(self.loss_weights):
            raise ValueError(
                f"loss_weights are {list(self.loss_weights)}, but should hold one number for "
                f"each of the {len(self.scales)} scales, not all 0"
            )
        finer = (self.hi_target, self.upsample_mode, self.hi_loss_region)
        if len(self.scales) == 1 and finer != ("native", "nearest", "all"):
            raise ValueError(
                "hi_target, upsample_mode and hi_loss_region are of scales beyond 1; name some "
                "(scales: [1, 2]), or leave them out"
            )

    @property
    def needs_finer(self) -> bool:
        """Whether images must be kept finer than the network sees them."""
        return len(self.scales) > 1 and self.hi_target == "native"

    def native_fraction(self, setting: Setting) -> float | None:
        """Return the share of images that hold what finer scales draw; None if none does.

        Raises:
            UserError: if the images are not kept as fine as that.
        """
        if not self.needs_finer:
            return None
        finest = self.scales[-1]
        if setting.fine % finest:
            kept = "no finer than" if setting.fine == 1 else f"at {setting.fine} times"
            raise UserError(
                f"objective.hi_target: native, but the source's images are kept {kept} the "
                f"network's size; write fine: {finest} into the source's block `preprocess`, "
                "or choose hi_target: upsampled"
            )
        if setting.detail is None:
            return None
        share = float((setting.detail >= finest).mean())
        if share < LOW_FRACTION:
            log.warning(
                "objective.hi_target: native, but only %.0f %% of the training images' files "
                "have the pixels that scale %d draws; of the others the fine target is the "
                "image drawn larger.",
                100 * share,
                finest,
            )
        return share

    def shown(self, batch: Batch, factor: int) -> Tensor | None:
        """Return what is drawn at a scale, ``(B, C, H factor, W factor)``.

        None where it is what the scan shows, and whoever made the batch has the image alone.
        """
        images, fine = batch.images, batch.fine
        if factor == 1:
            return images
        if self.hi_target == "upsampled":
            return nn.functional.interpolate(
                images, scale_factor=factor, mode=self.upsample_mode
            )
        if fine is None:
            return None
        finer = fine.shape[2] // images.shape[2] // factor
        return nn.functional.avg_pool2d(fine, finer) if finer > 1 else fine
