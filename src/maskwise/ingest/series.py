"""Slices of a DICOM series in order of their place in the patient, or the reason why not.

Neither file names nor instance numbers can be relied on: what orders slices is how far along
their common normal each lies, and what spaces them is the distance between those positions, not
the slice thickness.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskwise.wording import count

SAME_PLACE = 0.01
"""Millimetres under which two slices lie at one place."""
SHEARED = 0.5
"""Millimetres by which slices may lie beside one another, where pixels have no size."""
UNEVEN = 0.02
"""Of the usual distance: how much another may differ from it, rounded positions allowed for."""
_WHOLE = 0.1
"""How far a gap may be from a whole number of distances to be one that lacks slices."""
_PARALLEL = 0.9999
"""Cosine between two normals: 0.8 degrees."""

Why = tuple[str, str]
"""Reason and detail."""


@dataclass(frozen=True)
class Ordered:
    """Of the images that were handed in, by their index."""

    slices: pd.DataFrame
    """``volume``, ``slice`` (from 0), ``slices``, ``spacing_z`` of those that are slices of a
    volume."""
    refused: dict[int, Why]


def order_series(images: pd.DataFrame) -> Ordered:
    """Order the series in ``images``, one row per image of a DICOM file.

    Columns: ``holder`` (its folder, or of a file of many frames the file), ``series``,
    ``normal`` (a vector or None), ``position`` (mm), ``height``, ``width``, ``rescaled``
    (whether the file says what its numbers stand for). A series of one image, or without
    positions, is none of a volume.
    """
    slices: list[pd.DataFrame] = []
    refused: dict[int, Why] = {}
    for _, folder in images.groupby("holder", sort=True):
        series = [rows for _, rows in folder.groupby("series", sort=True, dropna=False)]
        volumes = [rows for rows in series if len(rows) > 1 and rows["position"].notna().any()]
        if volumes and len(series) > 1:
            detail = f"{len(series)} series lie in one folder"
            refused |= dict.fromkeys(folder.index, ("several_series", detail))
            continue
        for rows in volumes:
            why = _what_is_wrong(rows)
            if why is None:
                slices.append(_in_order(rows))
            else:
                refused |= dict.fromkeys(rows.index, why)
    return Ordered(pd.concat(slices) if slices else pd.DataFrame(), refused)


def shear_of(rows: pd.DataFrame) -> str:
    """Return how far the slices of a volume lie beside one another, in words, or nothing.

    With a tilted gantry the table moves along another line than the slices' normal. ``rows``
    are the volume's, with ``normal``, ``origin`` (where a slice's first pixel lies, mm) and
    ``spacing`` (the smaller side of a pixel, mm). Half a pixel is no shear.
    """
    normal = np.array(rows["normal"].iloc[0])
    steps = np.array(rows["origin"].tolist()) - rows["origin"].iloc[0]
    along = steps @ normal
    beside = np.linalg.norm(steps - along[:, None] * normal, axis=1)
    pixel = float(rows["spacing"].iloc[0])
    farthest = int(beside.argmax())
    if beside[farthest] <= (pixel / 2 if pixel > 0 else SHEARED):
        return ""
    angle = np.degrees(np.arctan2(beside[farthest], abs(along[farthest])))
    return f"up to {beside[farthest]:.3g} mm aside, {angle:.3g} degrees"


def _in_order(rows: pd.DataFrame) -> pd.DataFrame:
    position = rows["position"].to_numpy(np.float64)
    return pd.DataFrame(
        {
            "volume": f"{rows['holder'].iloc[0]}#{rows['series'].iloc[0]}",
            "slice": position.argsort(kind="stable").argsort(),
            "slices": len(rows),
            "spacing_z": float(np.ptp(position)) / (len(rows) - 1),
        },
        index=rows.index,
    )


def _what_is_wrong(rows: pd.DataFrame) -> Why | None:
    """Return why the rows of one series are not a volume, or None."""
    unplaced = int(rows["position"].isna().sum())
    if unplaced:
        return "uneven_slices", f"{unplaced} of {len(rows)} slices do not say where they lie"
    sizes = rows[["width", "height"]].drop_duplicates()
    if len(sizes) > 1:
        said = " and ".join(f"{width} x {height}" for width, height in sizes.to_numpy()[:2])
        return "uneven_slices", f"its slices have {said} pixels"
    scaled = int(rows["rescaled"].sum())
    if 0 < scaled < len(rows):
        detail = (
            f"{len(rows) - scaled} of {len(rows)} slices lack the RescaleSlope and "
            "RescaleIntercept that the others have"
        )
        return "uneven_slices", detail
    normals = np.array(rows["normal"].tolist())
    if (normals @ normals[0]).min() < _PARALLEL:
        return "uneven_slices", "its slices are not parallel"
    return _what_gaps_say(np.diff(np.sort(rows["position"].to_numpy(np.float64))))


def _what_gaps_say(gaps: NDArray[np.float64]) -> Why | None:
    repeated = int((gaps < SAME_PLACE).sum())
    if repeated:
        detail = f"{repeated} of {len(gaps) + 1} slices lie where another does"
        return "repeated_slice", detail
    usual = float(np.median(gaps))
    whole = np.rint(gaps / usual)
    lacking = (whole > 1) & (np.abs(gaps / usual - whole) < _WHOLE)
    if lacking.any() and _even(gaps[~lacking], usual):
        missing = count(int((whole[lacking] - 1).sum()), "missing slice")
        detail = f"{missing}: {usual:.4g} mm apart, but once {gaps.max():.4g}"
        return "missing_slice", detail
    if not _even(gaps, usual):
        return "uneven_slices", f"its slices lie {gaps.min():.4g} to {gaps.max():.4g} mm apart"
    return None


def _even(gaps: NDArray[np.float64], usual: float) -> bool:
    return bool((np.abs(gaps - usual) <= max(SAME_PLACE, UNEVEN * usual)).all())
