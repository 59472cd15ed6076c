"""The one record of how images were prepared, and what is done by it.

It stands in a store's ``store.json`` and in the metadata of encoders and models, so that
preprocess, ``predict`` and a script of a user's own prepare images alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from maskwise.bounds import MOST_CHANNELS, Length, Positive, Side, Within
from maskwise.description import choose_from
from maskwise.errors import UserError, cut, shown
from maskwise.preparation.geometry import GEOMETRIES, Geometry, Pad, Resize
from maskwise.preparation.intensity import (
    INTENSITIES,
    Intensity,
    Range,
    Window,
    Windows,
    largest_of,
)
from maskwise.preparation.resampling import resized
from maskwise.wording import count

Mean = Annotated[float, Within(-(10**6), 10**6)]
Largest = Annotated[int, Within(1, 2**64 - 1)]

_LUMINANCE = np.array([299, 587, 114], np.float32) / np.float32(
    1000
)  # ITU-R 601, as Pillow's L
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Preparation:
    """What an image becomes before a network sees it: intensities, size, channels, mean, std.

    Raises:
        ValueError: where figures cannot be right together, or a block is wrong.
    """

    channels: Annotated[int, Within(1, MOST_CHANNELS)]
    """Of the network's image."""
    height: Side
    """Pixels of the network's image."""
    width: Side
    """Pixels of the network's image."""
    geometry: dict[str, Any]
    """Name and options of crop, pad or resize: ``maskwise.preparation.geometry``."""
    intensity: dict[str, Any]
    """Name and options of the normalisation: ``maskwise.preparation.intensity``."""
    mean: Annotated[tuple[Mean, ...], Length(1, MOST_CHANNELS)]
    """A channel; a network sees ``(v - mean) / std`` of intensities v in [0, 1]."""
    std: Annotated[tuple[Positive, ...], Length(1, MOST_CHANNELS)]
    """A channel."""
    modality: str
    """What kind of images these are."""
    ranges: Annotated[tuple[Largest, ...], Length(0, 8)] = ()
    """The largest values of the pixel types that the training images had (255 of 8 bits), where
    intensity `range` divided by them; empty = not known, and any type is taken."""

    fine: Annotated[int, Within(1, 4)] = 1
    """How many times that size an image is brought to and kept at, per side; the network's is
    the mean of so many pixels squared."""
    reading: dict[str, str] = field(default_factory=dict)
    """What was said of how the images' files are read (``maskwise.scans.reading``), where it is
    not the default: ``{"breast": "crop"}``. Whoever reads files must do the same; an array that
    is given to ``prepared`` has been read already."""
    parts: bool = False
    """Whether the images were parts of scans, cut out round what was marked there."""

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            values = getattr(self, name)
            if len(values) != self.channels:
                raise ValueError(
                    f"{name} is {shown(values)} for {count(self.channels, 'channel')}"
                )
        choose_from(GEOMETRIES, self.geometry, "geometry")
        intensity = choose_from(INTENSITIES, self.intensity, "intensity")
        if isinstance(intensity, Windows) and len(intensity.windows) != self.channels:
            raise ValueError(
                f"intensity names {count(len(intensity.windows), 'window')} for "
                f"{count(self.channels, 'channel')}"
            )

    def prepared(self, image: NDArray[Any], modality: str | None = None) -> NDArray[np.float32]:
        """Return an image as the network sees it, ``(C, H, W)``, in training and ever after.

        Args:
            image: raw values ``(h, w)`` or ``(h, w, c)`` of any real type, in the units of the
                files that the network learnt from (Hounsfield units, say, where those were of
                CT). What a masked array masks was not measured: it becomes black, and counts
                in no percentile.
            modality: what the image is, where you know it; refused unless it is the network's.

        Raises:
            UserError: if it is no such image, or is of another modality, channel count or,
                under intensity `range`, pixel type.
        """
        if modality is not None and modality != self.modality:
            raise UserError(
                f"the modality is {cut(str(modality))}, but the network was trained on "
                f"{cut(self.modality)}"
            )
        values, background = _checked(image)
        self.check_like_training(values)
        return self.normalised(self.intensities(values, background))

    def check_like_training(self, image: NDArray[Any]) -> None:
        """Refuse an image that would look unlike those that the network was trained on.

        Raises:
            UserError: if ``image``, ``(h, w)`` or ``(h, w, c)``, has channels that cannot
                become the network's; or if intensity `range` would divide it by another number.
        """
        takes = self.takes
        found = _without_alpha(image, takes).shape[2]
        if found not in (1, takes, 3 if takes == 1 else 1):
            raise UserError(
                f"the image has {count(found, 'channel')}, but the network was trained on "
                f"images of {takes}: give as many, or one"
            )
        if not isinstance(self._intensity, Range):
            return
        largest = largest_of(image.dtype)
        if largest is None:
            raise UserError(
                f"the image holds {image.dtype}, but the network was trained on unsigned "
                "integers under intensity `range`, which divides by the largest value of the "
                f"type: give the values as the training images had them, {self._types}"
            )
        if self.ranges and largest not in self.ranges:
            darker = largest > max(self.ranges)
            looks = "it would be nearly black" if darker else "its greys would mean others"
            raise UserError(
                f"the image holds {_bits(largest)}, but the network was trained on images of "
                f"{self._types} under intensity `range`, which divides by the largest value of "
                f"the type: {looks}; give it in {self._types}"
            )

    def intensities(
        self, image: NDArray[Any], background: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """Return ``(C, H, W)`` intensities in [0, 1] of an image that was read without fault.

        Arguments and errors are those of ``fine_intensities``.
        """
        return averaged(self.fine_intensities(image, background), self.fine)

    def fine_intensities(
        self, image: NDArray[Any], background: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """Return ``(C, H fine, W fine)`` intensities in [0, 1], as a store keeps them.

        ``image`` is ``(h, w)`` or ``(h, w, c)`` of any real type; ``background`` ``(h, w)`` is
        what was not measured: black, and in no percentile.

        Raises:
            UserError: if the image cannot be brought to this form; the caller, who knows it,
                puts the image's name in front.
        """
        raw = _without_alpha(image, self.takes)
        if isinstance(self._intensity, Windows) and raw.shape[2] == 3:
            raw = _grey(raw.astype(np.float32))[:, :, None]
        values = _scaled(raw, self._intensity, background)
        planes = [
            self._geometry.apply(plane, *self.kept, "triangle")
            for plane in _channels(values, self.channels)
        ]
        return np.stack(planes)

    def normalised(
        self, intensities: NDArray[np.float32], out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Return ``(v - mean) / std`` of ``(..., C, H, W)`` intensities, in ``out`` if any."""
        mean, std = self._moments
        images: NDArray[np.float32] = np.subtract(intensities, mean, out=out)
        images /= std
        return images

    def areas(self, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return the share of each pixel of the network that a mask ``(h, w)`` covers."""
        covered = self._mask_geometry.apply(mask.astype(np.float32), *self.kept, "box")
        return averaged(covered, self.fine)

    def mask(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return ``(H, W)`` bool: lesion where at least half of what lies under is."""
        return self.areas(mask) >= 0.5

    def classes(self, classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return ``(H, W)`` class indices: of what lies under, the one with most of it.

        There is a class exactly where ``mask(classes > 0)`` says lesion.
        """
        found = np.unique(classes[classes > 0])
        if not len(found):
            return np.zeros((self.height, self.width), np.uint8)
        areas = np.stack([self.areas(classes == number) for number in found])
        lesion = self.mask(classes > 0)
        return np.where(lesion, found[areas.argmax(axis=0)], 0).astype(np.uint8)

    def restored(
        self, plane: NDArray[np.float32], shape: tuple[int, int]
    ) -> NDArray[np.float32]:
        """Return ``plane`` ``(H, W)`` of a network as ``shape`` ``(h, w)`` of the image.

        In between it is bilinear; where the network did not see the image it is 0.
        """
        if self.fine > 1:
            plane = resized(plane, *self.kept, "triangle")
        return self._geometry.restore(plane, shape)

    @property
    def takes(self) -> int:
        """Channels of a raw image: one where windows make several of it."""
        return 1 if isinstance(self._intensity, Windows) else self.channels

    @property
    def window(self) -> tuple[float, float] | None:
        """Raw values that became intensities 0 and 1; None where each image has its own."""
        intensity = self._intensity
        return (intensity.low, intensity.high) if isinstance(intensity, Window) else None

    def span(self, shape: tuple[int, int]) -> tuple[float, float]:
        """Return how many pixels of an image of ``shape`` one of the network spans, (y, x)."""
        y, x = self._geometry.span(shape, *self.kept)
        return self.fine * y, self.fine * x

    @property
    def kept(self) -> tuple[int, int]:
        """Height and width in pixels that an image is brought to."""
        return self.height * self.fine, self.width * self.fine

    @cached_property
    def _geometry(self) -> Geometry:
        return choose_from(GEOMETRIES, self.geometry, "geometry")

    @cached_property
    def _mask_geometry(self) -> Geometry:
        # Where `edge` repeats the border of an image, there still is no lesion outside it.
        geometry = self._geometry
        if isinstance(geometry, Resize | Pad):
            return replace(geometry, fill="black")
        return geometry

    @cached_property
    def _intensity(self) -> Intensity:
        return choose_from(INTENSITIES, self.intensity, "intensity")

    @property
    def _types(self) -> str:
        """Of the pixels that the network was trained on, in words."""
        return " or ".join(map(_bits, self.ranges)) or "uint8 or uint16"

    @cached_property
    def _moments(self) -> NDArray[np.float32]:
        """Mean and std, each to meet images ``(..., C, H, W)``."""
        return np.array([self.mean, self.std], np.float32)[:, :, None, None]


def averaged(images: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Average ``(..., H factor, W factor)`` over ``factor`` x ``factor`` pixels."""
    if factor == 1:
        return images
    *front, h, w = images.shape
    blocks = images.reshape(*front, h // factor, factor, w // factor, factor)
    means: NDArray[np.float32] = blocks.mean(axis=(-3, -1), dtype=np.float32)
    return means


def upgraded(block: Any) -> Any:
    """Return a block of ``store.json`` or of metadata as it is written now.

    Version 0.1 wrote the entries of ``preparation`` beside the others.
    """
    if not isinstance(block, Mapping) or "preparation" in block:
        return block
    own = {field.name for field in fields(Preparation)}
    preparation = {name: value for name, value in block.items() if name in own}
    others = {name: value for name, value in block.items() if name not in own}
    return {**others, "preparation": preparation}


def _bits(largest: int) -> str:
    return count(largest.bit_length(), "bit")


def _checked(image: Any) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Return the values of an image and what was not measured of it, ``(h, w)``."""
    if not isinstance(image, np.ndarray):
        raise UserError(
            f"image: a {type(image).__name__} was given, but a NumPy array (h, w) or (h, w, c) "
            "is needed: numpy.asarray(image)"
        )
    if image.ndim not in (2, 3) or not image.size:
        raise UserError(f"image: {image.shape} was given, but (h, w) or (h, w, c) is needed")
    if image.dtype.kind not in "buif":
        raise UserError(f"image: it holds {image.dtype}, but real numbers are needed")
    values = np.ma.getdata(image)
    masked: NDArray[np.bool_] = np.ma.getmaskarray(image).reshape(*image.shape[:2], -1)
    background: NDArray[np.bool_] | None = None
    if masked.any():
        background = np.asarray(masked.any(axis=2))
    if values.dtype.kind == "f":
        measured = values if background is None else values[~background]
        # Of NaN nothing is at most anything.
        if measured.size and not np.abs(measured).max() <= _LARGEST:
            raise UserError(
                "image: it holds values that are not finite numbers, or beyond what float32 "
                "can hold; mask what was not measured: numpy.ma.masked_invalid(image)"
            )
    return values, background


def _scaled(
    image: NDArray[Any], scale: Intensity, background: NDArray[np.bool_] | None
) -> NDArray[np.float32]:
    if background is None or not background.any():
        return scale.apply(image)
    measured = ~background
    scaled = scale.apply(image[measured]) if measured.any() else None
    channels = image.shape[2] if scaled is None else scaled.shape[1]
    values = np.zeros((*image.shape[:2], channels), np.float32)
    if scaled is not None:
        values[measured] = scaled
    return values


def _without_alpha(image: NDArray[Any], channels: int) -> NDArray[Any]:
    """Return ``(h, w, c)``; opacity is no intensity, unless all channels are asked for."""
    if image.ndim == 2:
        return image[:, :, None]
    if image.ndim != 3:
        raise UserError(
            f"an array of shape {image.shape} is not an image: (h, w) or (h, w, c) is"
        )
    found = image.shape[2]
    return image if found == channels else image[:, :, : {2: 1, 4: 3}.get(found, found)]


def _channels(values: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """Turn ``(h, w, c)`` into ``channels`` planes ``(channels, h, w)``."""
    found = values.shape[2]
    if found == channels:
        return values.transpose(2, 0, 1)
    if channels == 1 and found == 3:
        return _grey(values)[None]
    if found == 1:
        return np.repeat(values[None, :, :, 0], channels, axis=0)
    raise UserError(
        f"the image has {count(found, 'channel')} and the network takes {channels}: "
        f"set `channels: {found}` or give images of 1 channel"
    )


def _grey(values: NDArray[np.float32]) -> NDArray[np.float32]:
    red, green, blue = values.transpose(2, 0, 1)
    # Equal channels stay what they are, to the bit: most "RGB" scans are grey in fact.
    equal = (red == green) & (green == blue)
    return np.where(equal, red, (values @ _LUMINANCE).astype(np.float32))
