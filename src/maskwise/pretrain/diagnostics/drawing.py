"""One moment of training in pictures: what is hidden of the probe, and what is drawn there."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from maskwise.masks import to_pixels
from maskwise.pretrain.contracts import Objective, Policy
from maskwise.pretrain.diagnostics.agreement import agree
from maskwise.pretrain.diagnostics.fill import masked_error, smooth_fill
from maskwise.pretrain.diagnostics.probe import Probe

DRAWN, TRIED, SHOWN = 64, 32, 12
"""At most so many images are reconstructed, hidden at random, kept to be shown."""


@dataclass(frozen=True)
class Frame:
    """One moment of training; arrays are empty where a recipe has no such thing."""

    masks: NDArray[np.bool_]
    """``(P, gh, gw)`` of the gallery's images."""
    maps: NDArray[np.float16]
    """``(P, ph, pw)``."""
    reconstructions: NDArray[np.uint8]
    """``(P, H, W)``: the image with the network's answer where it was hidden."""
    errors: dict[str, float] = field(default_factory=dict)
    """``error``, ``error_mean_image``, ``error_smooth_fill``: over hidden pixels; and
    ``error_correlation`` of a policy's map."""
    map_box: tuple[int, int] = (0, 0)
    """Of the maps: see ``PlaceMap``; 0 without maps."""
    map_stride: int = 0
    probe_masks: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    """``(M, ceil(gh * gw / 8))``: packed, of all images of the probe."""


def draw(
    probe: Probe, policy: Policy[Any], objective: Objective, generator: Generator
) -> Frame:
    """Reconstruct some probe images behind the masks that ``policy`` chooses now.

    With the generator of ``measure`` these are the masks that were measured. The
    objective runs in eval mode and is left in train mode.
    """
    images, everywhere = probe.images[:DRAWN], probe.masks(policy, generator)
    masks = everywhere[:DRAWN]
    with torch.no_grad():
        maps = policy.maps(images, probe.grid)
        objective.train(False)
        outcome = objective(probe.batch(len(images)), masks)
        agreement = {}
        if maps is not None and _differ(outcome.error_map):
            tried = probe.batch(min(TRIED, len(images)))
            agreement = agree(maps, objective, tried, probe.grid, generator)
        objective.train(True)
    shown = masks[:SHOWN].cpu().numpy()
    packed = np.packbits(everywhere.flatten(1).cpu().numpy(), axis=1)
    frame = Frame(shown, np.zeros(0, np.float16), np.zeros(0, np.uint8), probe_masks=packed)
    if maps is not None:
        values = maps.values[:SHOWN].cpu().numpy().astype(np.float16)
        frame = replace(frame, maps=values, map_box=maps.box, map_stride=maps.stride)
    if outcome.residual is None:
        return replace(frame, errors=agreement)
    hidden = to_pixels(masks, *images.shape[2:])
    answer = torch.where(hidden, images + outcome.residual.to(images.dtype), images)
    return replace(
        frame,
        reconstructions=probe.grey(answer[:SHOWN]),
        errors=_errors(probe, images, answer, hidden) | agreement,
    )


def _errors(probe: Probe, images: Tensor, answer: Tensor, hidden: Tensor) -> dict[str, float]:
    if not bool(hidden.any()):
        return {}
    return {
        "error": masked_error(answer, images, hidden),
        "error_mean_image": masked_error(probe.mean_image[None], images, hidden),
        "error_smooth_fill": masked_error(smooth_fill(images, hidden), images, hidden),
    }


def _differ(errors: Tensor) -> bool:
    """Return whether ``errors`` ``(B, gh, gw)``, NaN where visible, tell cells apart at all."""
    seen = ~errors.isnan()
    highest = errors.masked_fill(~seen, -torch.inf).amax((1, 2))
    lowest = errors.masked_fill(~seen, torch.inf).amin((1, 2))
    return bool((highest > lowest).any())
