"""Fine structure on a phantom: calcifications in clusters, and margins of three kinds.

Calcifications and spicules are one or two pixels wide, so that an image of half the size holds
little of them; an obscured margin fades over more. All are drawn apart from the diagnosis, and
from one another.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from maskwise.array_types import Floats
from maskwise.ingest.sources.phantom_scene import ANGLES, Patient, Scene, oval
from maskwise.seeds import stream

FINDINGS = ("calcifications", "circumscribed", "obscured", "spiculated")
NONE = "no_finding"
"""What is written of an image that shows none of them."""
SEPARATOR = "|"
_SPECKS = (6, 14)
"""Of a cluster, from and below."""
_BRIGHT = (6.0, 12.0)
"""Amplitude of a calcification over that of what it lies in."""
_DARKER = 10.0
"""Decibels off every view, so that specks in bright tissue are not lost in white."""
_HAZE = 0.06
"""Standard deviation of the blur at an obscured margin, share of the shorter side."""


@dataclass(frozen=True)
class Detail:
    """What all views of one patient show."""

    spiculated: bool
    """Else circumscribed; of a patient with a lesion."""
    obscured: bool
    """Whether a part of the margin fades."""
    calcified: bool
    outline: Floats
    """Radius at ``ANGLES``, share of the shorter side; of a patient with a lesion."""

    def findings(self, lesion: bool) -> str:
        """Return what an image shows, as a cell of the table."""
        margins = {"circumscribed": not self.spiculated, "spiculated": self.spiculated}
        shown = {"calcifications": self.calcified, "obscured": lesion and self.obscured}
        shown |= {name: lesion and there for name, there in margins.items()}
        return SEPARATOR.join(name for name in FINDINGS if shown[name]) or NONE


def draw_detail(seed: int, number: int) -> Detail:
    """Draw what patient ``number`` of ``seed`` shows beside the diagnosis."""
    rng = stream(seed, "detail", number)
    spiculated, obscured, calcified = rng.uniform(size=3) < (0.5, 0.35, 0.5)
    outline = oval(rng, rng.uniform(0.08, 0.18), rng.uniform(0.6, 1.1))
    return Detail(
        spiculated=bool(spiculated),
        obscured=bool(obscured),
        calcified=bool(calcified),
        outline=outline * _needles(rng) if spiculated else outline,
    )


def _needles(rng: np.random.Generator) -> Floats:
    """Return the factor by which many thin spikes lengthen the radius at each angle."""
    count = int(rng.integers(14, 22))
    towards = rng.uniform(-np.pi, np.pi, (count, 1))
    height = rng.uniform(0.3, 0.7, (count, 1))
    sharpness = rng.uniform(300.0, 900.0, (count, 1))
    spikes = height * np.exp(sharpness * (np.cos(ANGLES - towards) - 1.0))
    return np.asarray(0.95 + spikes.max(axis=0))


def with_margin(patient: Patient, detail: Detail) -> Patient:
    """Return the patient with a lesion, if any, of that margin in every view."""
    lesion = patient.lesion
    if lesion is None:
        return patient
    return replace(patient, lesion=replace(lesion, outline=detail.outline))


def with_detail(scene: Scene, patient: Patient, detail: Detail, seed: int, view: int) -> Scene:
    """Return the view with its margin obscured and its calcifications strewn."""
    rng = stream(seed, "detail", patient.number, view)
    factor = scene.factor
    if detail.obscured and patient.lesion is not None:
        factor = _obscured(factor, scene.lesion, rng)
    if detail.calcified:
        factor = factor * _cluster(scene.lesion, rng)
    return replace(scene, factor=factor, gain=scene.gain - _DARKER)


def _obscured(factor: Floats, lesion: NDArray[np.bool_], rng: np.random.Generator) -> Floats:
    """Blur the lesion's edge in a sector about its middle."""
    height, width = factor.shape
    rows, columns = lesion.nonzero()
    towards, half = rng.uniform(-np.pi, np.pi), rng.uniform(0.6, 1.2)
    y, x = np.ogrid[:height, :width]
    angle = np.arctan2(y - rows.mean(), x - columns.mean())
    inside = np.abs((angle - towards + np.pi) % (2 * np.pi) - np.pi) < half
    faded = gaussian_filter(factor, _HAZE * min(height, width), mode="nearest")
    return np.where(inside, faded, factor)


def _cluster(lesion: NDArray[np.bool_], rng: np.random.Generator) -> Floats:
    """Return the factor of bright specks of one or two pixels, near one another."""
    height, width = lesion.shape
    side = min(height, width)
    number = int(rng.integers(*_SPECKS))
    spread = rng.uniform(0.04, 0.07) * side
    middle = rng.uniform(0.15, 0.85, 2) * (height, width)
    if lesion.any():
        within = np.argwhere(lesion)
        middle = within[rng.integers(len(within))].astype(np.float64)
    places = middle + rng.normal(0.0, spread, (number, 2))
    bright, long = rng.uniform(*_BRIGHT, number), rng.uniform(size=number) < 0.5
    factor = np.ones((height, width))
    for (row, column), amplitude, two in zip(places, bright, long, strict=True):
        y = int(np.clip(row, 0, height - 1))
        x = int(np.clip(column, 0, width - 2))
        factor[y, x : x + 1 + int(two)] = amplitude
    return factor
