"""One raw image as a network's intensities: used alike by preprocess and predict.

``to_network(image, geometry, intensity, channels, height, width, background)`` takes the
decoded image ``(h, w)`` or ``(h, w, c)`` of any real dtype and the two blocks as ``store.json``
and an encoder's metadata hold them (``{"name": "resize", "aspect": "stretch", …}``), and
returns float32 ``(channels, height, width)`` in [0, 1]. ``mask_to_network(mask, geometry,
height, width)`` brings a lesion mask to the same places, ``classes_to_network`` one of several
classes. A network then sees ``(v - mean) / std``. ``from_network(plane, geometry, shape)``
brings what it says of each pixel back to the image's own places.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskwise.config import choose
from maskwise.errors import UserError
from maskwise.scans.geometry import GEOMETRIES, Geometry
from maskwise.scans.intensity import INTENSITIES, Intensity

_LUMINANCE = np.array([299, 587, 114], np.float32) / np.float32(
    1000
)  # ITU-R 601, as Pillow's L


def to_network(
    image: NDArray[Any],
    geometry: Mapping[str, Any],
    intensity: Mapping[str, Any],
    channels: int,
    height: int,
    width: int,
    background: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Return ``(channels, height, width)`` float32 intensities in [0, 1].

    ``background`` ``(h, w)`` is what was not measured: black, and in no percentile.

    Raises:
        UserError: if a block is wrong, or the image cannot be brought to this form; the
            caller, who knows it, puts the image's name in front.
    """
    shape = _geometry(json.dumps(geometry, sort_keys=True))
    scale = _intensity(json.dumps(intensity, sort_keys=True))
    values = _normalised(_without_alpha(image, channels), scale, background)
    planes = [
        shape.apply(plane, height, width, Image.Resampling.BILINEAR)
        for plane in _channels(values, channels)
    ]
    return np.stack(planes)


def mask_to_network(
    mask: NDArray[np.bool_], geometry: Mapping[str, Any], height: int, width: int
) -> NDArray[np.bool_]:
    """Return ``(height, width)`` bool: lesion where at least half of what lies under is."""
    return area_to_network(mask, geometry, height, width) >= 0.5


def area_to_network(
    mask: NDArray[np.bool_], geometry: Mapping[str, Any], height: int, width: int
) -> NDArray[np.float32]:
    """Return the share of each pixel of the network that the mask covers."""
    # Where `edge` repeats the border of an image, there still is no lesion outside it.
    block = {**geometry, "fill": "black"} if "fill" in geometry else geometry
    shape = _geometry(json.dumps(block, sort_keys=True))
    return shape.apply(mask.astype(np.float32), height, width, Image.Resampling.BOX)


def classes_to_network(
    classes: NDArray[np.uint8], geometry: Mapping[str, Any], height: int, width: int
) -> NDArray[np.uint8]:
    """Return ``(height, width)`` class indices: of what lies under, the one with most of it.

    There is a class exactly where ``mask_to_network(classes > 0, ...)`` says lesion.
    """
    shown = np.unique(classes[classes > 0])
    if not len(shown):
        return np.zeros((height, width), np.uint8)
    areas = np.stack(
        [area_to_network(classes == number, geometry, height, width) for number in shown]
    )
    lesion = mask_to_network(classes > 0, geometry, height, width)
    return np.where(lesion, shown[areas.argmax(axis=0)], 0).astype(np.uint8)


def from_network(
    plane: NDArray[np.float32], geometry: Mapping[str, Any], shape: tuple[int, int]
) -> NDArray[np.float32]:
    """Return ``plane`` ``(height, width)`` of a network as ``shape`` ``(h, w)`` of the image.

    In between it is bilinear; where the network did not see the image it is 0.
    """
    return _geometry(json.dumps(geometry, sort_keys=True)).restore(plane, shape)


def pixel_span(
    geometry: Mapping[str, Any], shape: tuple[int, int], height: int, width: int
) -> tuple[float, float]:
    """Return how many pixels of an image of ``shape`` one of the network's spans, (y, x)."""
    return _geometry(json.dumps(geometry, sort_keys=True)).span(shape, height, width)


def complete_block(choices: Mapping[str, type[Any]], block: Any, where: str) -> dict[str, Any]:
    """Check a block and write its defaults out, so that an artefact says all it stands for."""
    parsed = choose(choices, block, where)
    return {"name": block["name"], **asdict(parsed)}


@lru_cache(maxsize=64)
def _geometry(block: str) -> Geometry:
    geometry: Geometry = choose(GEOMETRIES, json.loads(block), "geometry")
    return geometry


@lru_cache(maxsize=64)
def _intensity(block: str) -> Intensity:
    intensity: Intensity = choose(INTENSITIES, json.loads(block), "intensity")
    return intensity


def _normalised(
    image: NDArray[Any], scale: Intensity, background: NDArray[np.bool_] | None
) -> NDArray[np.float32]:
    if background is None or not background.any():
        return scale.apply(image)
    values = np.zeros(image.shape, np.float32)
    measured = ~background
    if measured.any():
        values[measured] = scale.apply(image[measured])
    return values


def _without_alpha(image: NDArray[Any], channels: int) -> NDArray[Any]:
    """Return ``(h, w, c)``; opacity is no intensity, unless all channels are asked for."""
    if image.ndim == 2:
        return image[:, :, None]
    if image.ndim != 3:
        raise UserError(f"an array of shape {image.shape} is no image: (h, w) or (h, w, c) is")
    found = image.shape[2]
    return image if found == channels else image[:, :, : {2: 1, 4: 3}.get(found, found)]


def _channels(values: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """Turn ``(h, w, c)`` into ``channels`` planes ``(channels, h, w)``."""
    found = values.shape[2]
    if found == channels:
        return np.moveaxis(values, 2, 0)
    if channels == 1 and found == 3:
        return _grey(values)[None]
    if found == 1:
        return np.repeat(values[None, :, :, 0], channels, axis=0)
    raise UserError(
        f"the image has {found} channels and the network takes {channels}: "
        f"set `channels: {found}` or give images of 1 channel"
    )


def _grey(values: NDArray[np.float32]) -> NDArray[np.float32]:
    red, green, blue = np.moveaxis(values, 2, 0)
    # Equal channels stay what they are, to the bit: most "RGB" scans are grey in fact.
    equal = (red == green) & (green == blue)
    return np.where(equal, red, (values @ _LUMINANCE).astype(np.float32))
