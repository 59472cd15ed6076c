"""Images that an exported graph is held against torch with, and the verdict."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from maskwise.description import choose_from
from maskwise.errors import UserError
from maskwise.exporting.answers import Answers, Network, answered
from maskwise.exporting.prepared import divisor
from maskwise.preparation import Preparation
from maskwise.preparation.geometry import GEOMETRIES, Pad
from maskwise.preparation.intensity import INTENSITIES, Range, Window, Windows
from maskwise.seeds import stream
from maskwise.wording import count

TOLERANCE = 1e-4
LEAST_SCALE = 0.01
"""Differences are shares of an answer's largest value, or of this where all are smaller."""
Runs = Callable[[NDArray[np.float32]], Sequence[NDArray[Any]]]
"""An exported graph: its input ``(B, c, h, w)`` to its answers."""


@dataclass(frozen=True)
class Check:
    """How near an exported graph comes to torch."""

    images: int
    largest_difference: float
    """Of all answers to all images, as a share of the answer's largest value."""
    tolerance: float


def check(
    runs: Runs,
    network: Network,
    preparation: Preparation,
    images: Sequence[NDArray[Any]],
    tolerance: float,
    inside: bool,
    where: str,
) -> Check:
    """Hold a graph against torch over raw images; torch sees them prepared by NumPy.

    Args:
        runs: the graph.
        network: what it was made of.
        preparation: of the network's images.
        images: raw, each of a size of its own. The first is also shown beside its mirror
            images, as a batch of three.
        tolerance: the largest difference that passes.
        inside: whether the graph prepares images itself.
        where: what messages begin with.

    Raises:
        UserError: if the two differ by more, or torch's own answer is not finite.
    """
    module, largest = Answers(network), 0.0
    first = images[0]
    batches = [[each] for each in images]
    batches.append([first, np.flip(first, 0).copy(), np.flip(first, 1).copy()])
    for number, batch in enumerate(batches):
        seen = np.stack([preparation.prepared(each) for each in batch])
        expected = answered(module, torch.from_numpy(seen), network)
        raw = np.concatenate([as_input(each, preparation, where) for each in batch])
        found = runs(raw if inside else seen)
        for (name, ours), theirs in zip(expected.items(), found, strict=True):
            if not np.isfinite(ours).all():
                raise UserError(
                    f"{where}: torch's own answer `{name}` to image {number + 1} is not "
                    "finite; take another model, or leave the image out"
                )
            scale = max(float(np.abs(ours).max()), LEAST_SCALE)
            difference = float(np.abs(ours - theirs).max()) / scale
            largest = max(largest, difference) if difference == difference else np.inf
            if not difference <= tolerance:
                raise UserError(
                    f"{where}: not written, because `{name}` differs from torch's by "
                    f"{difference:.2g} of its largest value, and tolerance is {tolerance:g}; "
                    "raise it if that is near enough"
                )
    return Check(len(images), largest, tolerance)


def as_input(
    image: NDArray[Any], preparation: Preparation, where: str = "images"
) -> NDArray[np.float32]:
    """Return a raw image ``(h, w)`` or ``(h, w, c)`` as a graph that prepares takes it.

    Raises:
        UserError: if it has channels that become the network's outside the graph.
    """
    if np.ma.is_masked(image):
        raise UserError(
            f"{where}: an image to check with has pixels that were not measured, which a graph "
            "cannot be told; leave it out"
        )
    planes = image[:, :, None] if image.ndim == 2 else image
    takes = preparation.takes
    if planes.shape[2] != takes and takes == 1 and (planes == planes[:, :, :1]).all():
        planes = planes[:, :, :1]  # most "RGB" scans hold one channel three times
    if planes.shape[2] == 1:
        planes = planes.repeat(takes, axis=2)
    if planes.shape[2] != takes:
        raise UserError(
            f"{where}: an image to check with has {count(planes.shape[2], 'channel')}, the "
            f"graph takes {takes}; give images of {takes}, or none"
        )
    values = planes.transpose(2, 0, 1)[None].astype(np.float32)
    if preparation.intensity["name"] == "range" and divisor(preparation) == 1:
        values /= np.float32(np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1)
    return values


def draw(preparation: Preparation) -> list[NDArray[Any]]:
    """Draw images for a check: noise over slopes, of four sizes."""
    generator = stream(0, "export")
    h, w = preparation.height, preparation.width
    sizes = [(2 * h + 3, w + 5), (h, w), (h - h // 3, 3 * w + 1), (h + 1, w)]
    if isinstance(choose_from(GEOMETRIES, preparation.geometry, "geometry"), Pad):
        sizes = [(h, w), (h - h // 3, w), (h, w - w // 5), (h - 1, w)]
    channels = preparation.takes
    drawn = []
    for number, (rows, columns) in enumerate(sizes):
        slope = np.linspace(0, 1, rows)[:, None, None] * np.linspace(0.2, 1, columns)[:, None]
        noise = generator.uniform(0, 1, (rows, columns, channels))
        drawn.append(_in_units(0.6 * slope + 0.4 * noise * (number < 3), preparation))
    return drawn


def _in_units(values: NDArray[np.float64], preparation: Preparation) -> NDArray[Any]:
    """Turn values in [0, 1] into raw ones that the network may meet."""
    intensity = choose_from(INTENSITIES, preparation.intensity, "intensity")
    if isinstance(intensity, Range):
        largest = preparation.ranges[0] if preparation.ranges else 255
        kind = bool if largest == 1 else np.min_scalar_type(largest)
        return (values * largest).round().astype(kind)
    if isinstance(intensity, Window):
        ends = [(intensity.low, intensity.high)]
    elif isinstance(intensity, Windows):
        ends = [(at - width / 2, at + width / 2) for at, width in intensity.windows]
    else:
        ends = [(-200.0, 1800.0)]
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    beyond = 0.1 * (high - low)
    return (low - beyond + values * (high - low + 2 * beyond)).astype(np.float32)


def described(found: Check) -> Mapping[str, Any]:
    """Return the verdict for a file's metadata."""
    return {
        "images": found.images,
        "largest_difference": float(f"{found.largest_difference:.2g}"),
        "tolerance": found.tolerance,
    }
