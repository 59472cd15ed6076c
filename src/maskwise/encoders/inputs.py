"""What a network can see: other images are refused in a sentence of ours, not by torch."""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from maskwise.encoders.metadata import EncoderMetadata
from maskwise.errors import UserError


def prepared(
    encoder: nn.Module, module: nn.Module, array: NDArray[Any], modality: str | None
) -> Tensor:
    """Return a raw image as ``module`` takes it, ``(1, C, H, W)``, on its device.

    Prepared as ``encoder``, which is or is in ``module``, has learnt to see images.
    """
    metadata = vars(encoder).get("metadata")
    if not isinstance(metadata, EncoderMetadata):
        raise UserError(
            "encoder.metadata: missing, so that nothing is known about the images that it "
            "takes; load one with maskwise.load_encoder or load_model"
        )
    image = torch.from_numpy(metadata.preparation.prepared(array, modality))[None]
    weight = next(module.parameters(), None)
    return image if weight is None else image.to(weight.device, weight.dtype)


def check_images(
    images: Tensor,
    module: nn.Module,
    channels: int | None = None,
    least: int = 1,
    multiple: int = 1,
) -> None:
    """Raise ``UserError`` unless ``module`` can see ``images``.

    Args:
        images: should be ``(B, C, H, W)``, of the type and on the device of the weights.
        module: whose weights these are; it may have none.
        channels: how many of them it takes; None = it leaves that to another.
        least: pixels that each side must have.
        multiple: pixels of which each side must be a multiple.
    """
    if not isinstance(images, Tensor):
        given = type(images).__name__
        raise UserError(f"images: a {given} was given, but a torch tensor is needed")
    shape = tuple(images.shape)
    if images.ndim != 4:
        advice = "; add the batch's axis with images[None]" if images.ndim == 3 else ""
        raise UserError(f"images: {shape} was given, but (B, C, H, W) is needed{advice}")
    if channels is not None and shape[1] != channels:
        raise UserError(
            f"images: {shape[1]} channels were given, {shape}, but the network takes {channels}"
        )
    if min(shape[2:]) < least:
        raise UserError(
            f"images: {shape[2]} x {shape[3]} pixels were given, but the network needs "
            f"{least} or more per side"
        )
    if any(side % multiple for side in shape[2:]):
        raise UserError(
            f"images: {shape[2]} x {shape[3]} pixels were given, but the network cuts them "
            f"into patches of {multiple} x {multiple}; give sides that are multiples of "
            f"{multiple}"
        )
    _check_type(images, module)


def _check_type(images: Tensor, module: nn.Module) -> None:
    weight = next(module.parameters(), None)
    if not images.is_floating_point():
        raise UserError(
            f"images: {images.dtype} was given, but floating-point numbers are needed: "
            "(v - mean) / std of intensities v in [0, 1], as torch.float32"
        )
    if weight is None:
        return
    if weight.device != images.device:
        raise UserError(
            f"images: they are on {images.device}, but the network is on {weight.device}; "
            f"move them with images.to({str(weight.device)!r})"
        )
    if weight.dtype != images.dtype and not torch.is_autocast_enabled(images.device.type):
        raise UserError(
            f"images: {images.dtype} was given, but the network computes in {weight.dtype}; "
            f"turn them into it with images.to({weight.dtype})"
        )
