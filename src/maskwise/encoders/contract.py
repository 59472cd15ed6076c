"""What every encoder promises. It needs torch and NumPy only."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from numpy.typing import NDArray
from torch import Tensor, nn

from maskwise.encoders.inputs import check_images, prepared
from maskwise.encoders.metadata import EncoderMetadata
from maskwise.encoders.pooling import POOLINGS, pool
from maskwise.errors import UserError, listed, shown


class Encoder(nn.Module, ABC):
    """Turns images into one feature map per stage, finest first."""

    channels: tuple[int, ...]
    """Channels of each stage's features."""
    strides: tuple[int, ...]
    """Pixels per side that a feature of each stage covers; the last is the total."""
    metadata: EncoderMetadata
    """Of one that was pre-trained or loaded; one that was merely built has none."""
    frozen_parts: int = 0
    """How many of ``parts()`` learn nothing."""
    frozen_statistics: bool = False
    """Whether no batch norm learns the statistics of what it sees."""
    inputs: int
    """Channels of an image."""
    least: int = 1
    """Pixels that each side of an image must have."""
    multiple: int = 1
    """Pixels of which each side of an image must be a multiple."""

    @abstractmethod
    def parts(self) -> list[list[nn.Module]]:
        """Return the stem's modules, then those of each stage, finest first.

        Together they hold every parameter and buffer once, and a part sees nothing but what the
        parts before it answer.
        """

    def layers(self) -> list[list[nn.Module]]:
        """Return what rates that fall layer by layer tell apart: the parts, or finer ones."""
        return self.parts()

    def drop_paths(self, share: float) -> None:
        """Leave out branches in training, more of them the deeper: ``share`` of the last's.

        An encoder without branches that are made for it does nothing.
        """

    def freeze(self, parts: int, statistics: bool = False) -> None:
        """Let the first ``parts`` of ``parts()`` learn nothing, and the others learn.

        Their parameters ask for no gradient, and they stay in eval mode whatever ``train``
        says; with ``statistics`` all batch norms do. A deep copy keeps this; a file does not.
        """
        self.frozen_parts, self.frozen_statistics = parts, statistics
        for position, modules in enumerate(self.parts()):
            for module in modules:
                module.requires_grad_(position >= parts)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set train or eval mode, but leave in eval mode what ``freeze`` said."""
        super().train(mode)
        for modules in self.parts()[: self.frozen_parts] if mode else ():
            for module in modules:
                module.eval()
        for module in self.modules() if mode and self.frozen_statistics else ():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def forward(self, images: Tensor) -> list[Tensor]:
        """``(B, C, H, W)`` to ``[(B, channels[i], H / strides[i], W / strides[i]), ...]``.

        Raises ``UserError`` (``inputs.check_images``) for what is no such batch of images.
        """
        check_images(images, self, self.inputs, self.least, self.multiple)
        return self.features(images)

    @abstractmethod
    def features(self, images: Tensor) -> list[Tensor]:
        """Answer as ``forward``, which has checked ``images``.

        Its course depends on no image, so that ``torch.fx`` can record it: whoever computes
        visible places only goes through the same layers in another way.
        """

    if TYPE_CHECKING:

        def __call__(self, images: Tensor) -> list[Tensor]: ...

    @property
    def width(self) -> int:
        """How many features an image has in ``pooled(images)``."""
        return self.channels[-1]

    def pooled(self, images: Tensor, stage: int = -1, pooling: str = "mean") -> Tensor:
        """Turn normalised images ``(B, C, H, W)`` into features ``(B, width)``.

        They are the mean over the places of the last stage, or of ``stage`` (0 = the finest);
        ``pooling`` is a name that ``maskwise.encoders.pooling.pool`` knows.

        Raises:
            UserError: if there is no such stage or pooling.
        """
        stages = len(self.channels)
        if not isinstance(stage, Integral) or not -stages <= stage < stages:
            raise UserError(
                f"stage is {shown(stage)}, but the encoder has the stages 0 (the finest) to "
                f"{stages - 1}; -1 is the last"
            )
        if pooling not in POOLINGS:
            raise UserError(
                f"pooling: there is no {shown(pooling)}; choose from {listed(POOLINGS)}"
            )
        return self.pooled_stages(images, pooling)[stage]

    def pooled_stages(self, images: Tensor, pooling: str = "mean") -> list[Tensor]:
        """Turn normalised images into features of each stage, ``[(B, F_i), ...]``."""
        return [pool(each, pooling) for each in self(images)]

    def prepare(self, array: NDArray[Any], modality: str | None = None) -> Tensor:
        """Return a raw image ``(h, w)`` or ``(h, w, c)`` as the network takes it.

        Made exactly as those that it was trained on, normalised, ``(1, C, H, W)``, on the
        device of the weights; ``maskwise.preparation.Preparation.prepared`` says more.

        Raises:
            UserError: if it is no such image, or is of another modality or channel count; or
                if the encoder was merely built, and knows of no preparation.
        """
        return prepared(self, self, array, modality)


@dataclass(frozen=True)
class Package:
    """A Python package that brings an architecture's published weights, and no more."""

    distribution: str
    """Its name in the registry of packages."""
    file: str
    """The end of the file's path in it; a state dict."""
    origin: str
    """Who trained on what."""
    licence: str
    """By its name in the list of SPDX."""


@dataclass(frozen=True)
class Adapted:
    """A checkpoint that was published elsewhere, made to fit."""

    tensors: dict[str, Tensor]
    mean: tuple[float, ...] | None = None
    """A channel: these weights expect ``(v - mean) / std`` of intensities v in [0, 1]. None:
    nothing is known, and the mean of the training images is taken."""
    std: tuple[float, ...] | None = None


class EncoderConfig(Protocol):
    """What an encoder's YAML name stands for; a frozen dataclass of plain values."""

    package: ClassVar[Package | None]
    """Where ``weights: package`` finds its weights; None = in no package."""

    def build(self, channels: int) -> Encoder: ...

    def adapt(self, tensors: Mapping[str, Tensor], channels: int) -> Adapted:
        """Rename, fold or drop tensors of a checkpoint published elsewhere, so that it fits.

        Whatever is not known stays, so that the check of the fit names it.
        """
