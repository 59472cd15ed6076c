"""How far an outline lies from the truth: pixels counted, surfaces measured."""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from maskwise.array_types import Floats

FAR = 0.95
"""Quantile of the Hausdorff distance."""

Classes = NDArray[np.uint8]
"""``(N, H, W)`` class indices, 0 = background."""


@dataclass(frozen=True)
class Spacing:
    """How large a pixel is."""

    sides: Floats
    """``(N, 2)``: height and width."""
    unit: str
    """``mm``, or ``px`` where some image's spacing is not known."""


@dataclass(frozen=True)
class Units:
    """What images are parts of."""

    names: NDArray[np.object_]
    """``(N,)``."""
    kind: str
    """``volume`` or ``group``."""
    slices: NDArray[np.int64] | None
    """``(N,)``: which slice of its volume an image is; None where that is not known."""
    apart: Floats
    """``(N,)``: mm between slices; used with ``slices`` only."""


def spacing_of(index: pd.DataFrame) -> Spacing:
    """Read ``spacing_y`` and ``spacing_x`` (mm per stored pixel) off a store's index."""
    columns = ["spacing_y", "spacing_x"]
    if set(columns) <= set(index.columns) and index[columns].notna().all(axis=None):
        return Spacing(index[columns].to_numpy(np.float64), "mm")
    return Spacing(np.ones((len(index), 2)), "px")


def units_of(index: pd.DataFrame) -> Units:
    """Read ``volume``, ``slice`` and ``spacing_z`` (mm) off a store's index, or else ``group``.

    Of volumes where every image is a part of one. A group is a patient, or one picture and its
    duplicates.
    """
    whole = "volume" in index.columns and index["volume"].notna().all()
    kind = "volume" if whole else "group"
    names = index[kind].astype(str).to_numpy(dtype=object)
    stacked = ["volume", "slice", "spacing_z"]
    known = set(stacked) <= set(index.columns) and index[stacked].notna().all(axis=None)
    if not known or spacing_of(index).unit != "mm":
        return Units(names, kind, None, np.ones(len(index)))
    apart = index["spacing_z"].to_numpy(np.float64)
    return Units(names, kind, index["slice"].to_numpy(np.int64), apart)


def count(called: Classes, truths: Classes, names: tuple[str, ...]) -> pd.DataFrame:
    """Count pixels rightly called, wrongly called and missed, one row per image.

    Args:
        called: what a network outlined.
        truths: what somebody outlined.
        names: of the classes; class index 1 is the first.

    Returns:
        ``tp_<class>``, ``fp_<class>``, ``fn_<class>`` of each class.
    """
    columns: dict[str, NDArray[np.int64]] = {}
    for number, name in enumerate(names, start=1):
        found, there = called == number, truths == number
        for kind, pixels in (
            ("tp", found & there),
            ("fp", found & ~there),
            ("fn", ~found & there),
        ):
            columns[f"{kind}_{name}"] = pixels.sum(axis=(1, 2), dtype=np.int64)
    return pd.DataFrame(columns)


def measure(
    called: Classes, truths: Classes, names: tuple[str, ...], units: Units, sides: Floats
) -> pd.DataFrame:
    """Measure how far outlines lie apart, one row per image.

    Args:
        called: what a network outlined, of all images of the units.
        truths: what somebody outlined.
        names: of the classes.
        units: of the same images.
        sides: ``(N, 2)``, height and width of a pixel.

    Returns:
        Of each class, in the unit of ``sides``: ``hd95_<class>`` and ``asd_<class>``, NaN where
        one of the two outlines is empty, and ``unit_…`` of the image's unit.
    """
    columns: dict[str, Floats] = {}
    for number, name in enumerate(names, start=1):
        found = distances(called == number, truths == number, sides)
        columns[f"hd95_{name}"], columns[f"asd_{name}"] = found
    images = pd.DataFrame(columns)
    if units.slices is None:
        return images.join(images.groupby(units.names).transform("mean").add_prefix("unit_"))
    return images.join(_volumes(called, truths, names, units, sides))


def distances(
    found: NDArray[np.bool_], there: NDArray[np.bool_], sides: Floats
) -> tuple[Floats, Floats]:
    """Measure how far two outlines lie apart, image by image; NaN where one is empty.

    An outline is the pixels of a mask that have a neighbour outside, also beyond the image's
    border. The 95 % Hausdorff distance is the larger of two quantiles: of the distances from
    each pixel of one outline to the nearest of the other, and the reverse. The average surface
    distance is the mean of all these distances (MONAI, ``symmetric``).

    Args:
        found: ``(N, H, W)`` or ``(N, D, H, W)``.
        there: of the same shape.
        sides: ``(N, 2)`` or ``(N, 3)``, size of a pixel or voxel along each side.

    Returns:
        Both distances, ``(N,)``.
    """
    far, mean = (np.full(len(found), np.nan) for _ in range(2))
    space = tuple(range(1, found.ndim))
    # Each pair has outlines of its own length, so that there is nothing to do at once.
    for image in np.flatnonzero(found.any(axis=space) & there.any(axis=space)):
        pair = _between(found[image], there[image], tuple(sides[image]))
        far[image] = max(float(np.quantile(one, FAR)) for one in pair)
        mean[image] = float(np.concatenate(pair).mean())
    return far, mean


def _between(
    found: NDArray[np.bool_], there: NDArray[np.bool_], sides: tuple[float, ...]
) -> tuple[Floats, Floats]:
    """Return the distances from one outline to the other, and the reverse."""
    from monai.metrics.utils import get_edge_surface_distance

    with warnings.catch_warnings():
        # MONAI 1.6 calls a function of its own with an argument that it has deprecated.
        warnings.simplefilter("ignore", FutureWarning)
        _, both, _ = get_edge_surface_distance(
            torch.from_numpy(found), torch.from_numpy(there), spacing=sides, symmetric=True
        )
    one, other = (part.double().numpy() for part in both)
    return one, other


def _volumes(
    called: Classes, truths: Classes, names: tuple[str, ...], units: Units, sides: Floats
) -> pd.DataFrame:
    """Return the distances in space of each image's volume, whose slices are numbered."""
    numbers = np.asarray(units.slices)
    columns = [f"unit_{kind}_{name}" for name in names for kind in ("hd95", "asd")]
    table = pd.DataFrame(np.nan, range(len(called)), columns)
    for unit in pd.unique(units.names):
        rows = np.flatnonzero(units.names == unit)
        size = np.array([[units.apart[rows[0]], *sides[rows[0]]]])
        found, there = (_stacked(each[rows], numbers[rows]) for each in (called, truths))
        for number, name in enumerate(names, start=1):
            far, mean = distances(found[None] == number, there[None] == number, size)
            table.loc[rows, [f"unit_hd95_{name}", f"unit_asd_{name}"]] = far[0], mean[0]
    return table


def _stacked(slices: Classes, numbers: NDArray[np.int64]) -> Classes:
    """Return a volume ``(D, H, W)``; slices that are not there show nothing."""
    volume = np.zeros((numbers.max() - numbers.min() + 1, *slices.shape[1:]), np.uint8)
    volume[numbers - numbers.min()] = slices
    return volume
