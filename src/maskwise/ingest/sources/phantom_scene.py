"""How a phantom is drawn: tissue, lesion, shadow, speckle; a generator per patient and view.

Amplitude = layers x texture x lesion x shadow x attenuation x speckle; the picture is its
logarithm, as a scanner shows it. Speckle is Rayleigh: the modulus of a complex Gaussian field
with a finite correlation length (Wagner et al., IEEE Trans. Sonics Ultrasonics 30, 1983).
Lengths are shares of the image's shorter side, places shares of what keeps the lesion inside.
"""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from maskwise.array_types import Floats
from maskwise.seeds import stream

CLASSES = ("normal", "benign", "malignant")
NORMAL, BENIGN, MALIGNANT = range(3)
ANGLES = np.linspace(-np.pi, np.pi, 361)
DYNAMIC_RANGE = 50.0
"""Decibels between black and white."""
_SPECKLE = (0.8, 1.4)
"""Correlation (standard deviation of the kernel) along depth and across, pixels."""
_LOOKS = 2
"""Independent speckle fields averaged in power, as compounding scanners do."""
_BRIGHTNESS = -7.0
"""Decibels on every view, so that tissue is grey and not white."""


@dataclass(frozen=True)
class Lesion:
    """What one patient's lesion is in every view of it."""

    outline: Floats
    """Radius at ``ANGLES``, share of the shorter side."""
    place: tuple[float, float]
    """Down and across, each uniform in [0, 1] of the places that keep the lesion inside."""
    echo: float
    """Amplitude inside over the tissue's; below 1 = darker."""
    behind: float
    """Amplitude behind over the tissue's: a shadow below 1, an enhancement above."""


@dataclass(frozen=True)
class Patient:
    """What all views of one patient share."""

    number: int
    kind: int
    """Position in ``CLASSES``."""
    views: int
    lesion: Lesion | None
    layer_depths: Floats
    layer_echoes: Floats
    """One more than depths."""
    wave: tuple[float, float, float]
    """Of the layers' borders: height, number of periods, phase."""
    gain: float
    """Decibels."""


@dataclass(frozen=True)
class Scene:
    """One view before speckle: arrays ``(H, W)``."""

    tissue: Floats
    """Amplitude without the lesion."""
    lesion: NDArray[np.bool_]
    """Exactly the pixels inside the outline."""
    factor: Floats
    """What the lesion does to the amplitude: ``echo`` inside, ``behind`` below it, else 1."""
    gain: float
    speckle: np.random.Generator


def draw_patient(seed: int, number: int) -> Patient:
    """Draw patient ``number`` of ``seed``, whoever else is drawn."""
    rng = stream(seed, "patient", number)
    kind = number % len(CLASSES)
    layers = int(rng.integers(3, 6))
    return Patient(
        number=number,
        kind=kind,
        views=int(rng.integers(1, 4)),
        lesion=None if kind == NORMAL else _draw_lesion(rng, kind),
        layer_depths=np.sort(rng.uniform(0.05, 0.95, layers - 1)),
        layer_echoes=rng.uniform(0.25, 0.9, layers),
        wave=(rng.uniform(0.0, 0.05), rng.uniform(0.5, 2.0), rng.uniform(0, 2 * np.pi)),
        gain=rng.normal(0.0, 3.0),
    )


def _draw_lesion(rng: np.random.Generator, kind: int) -> Lesion:
    place = (float(rng.uniform()), float(rng.uniform()))
    if kind == BENIGN:
        outline = oval(rng, rng.uniform(0.08, 0.18), rng.uniform(0.55, 0.95))
        return Lesion(outline, place, rng.uniform(0.08, 0.42), rng.uniform(0.9, 1.3))
    outline = oval(rng, rng.uniform(0.07, 0.16), rng.uniform(0.75, 1.2)) * _spicules(rng)
    return Lesion(outline, place, rng.uniform(0.07, 0.38), rng.uniform(0.4, 0.9))


def oval(rng: np.random.Generator, radius: float, flatness: float) -> Floats:
    """Return an ellipse of that mean radius, ``flatness`` its height over its width."""
    across, down = radius / np.sqrt(flatness), radius * np.sqrt(flatness)
    turned = ANGLES - rng.normal(0.0, 0.2)
    return np.asarray(across * down / np.hypot(down * np.cos(turned), across * np.sin(turned)))


def _spicules(rng: np.random.Generator) -> Floats:
    """Return the factor by which spikes lengthen the radius at each angle."""
    count = int(rng.integers(6, 12))
    towards = rng.uniform(-np.pi, np.pi, (count, 1))
    height = rng.uniform(0.2, 0.6, (count, 1))
    sharpness = rng.uniform(20.0, 60.0, (count, 1))
    spikes = height * np.exp(sharpness * (np.cos(ANGLES - towards) - 1.0))
    return np.asarray(0.9 + spikes.sum(axis=0))


def draw_view(patient: Patient, seed: int, view: int, sides: tuple[int, int]) -> Scene:
    """Draw one view: another size, the lesion a little shifted, other texture and speckle."""
    rng = stream(seed, "view", patient.number, view)
    height, width = (int(side) for side in rng.integers(sides[0], sides[1] + 1, 2))
    depth = (np.arange(height) + 0.5)[:, None] / height
    across = (np.arange(width) + 0.5)[None, :] / width
    amplitude, periods, phase = patient.wave
    border = depth + amplitude * np.sin(2 * np.pi * periods * across + phase)
    border = border + rng.normal(0.0, 0.02)
    tissue = patient.layer_echoes[np.searchsorted(patient.layer_depths, border)]
    texture = gaussian_filter(rng.standard_normal((height, width)), 3.0, mode="wrap")
    tissue = tissue * np.exp(0.25 * texture / texture.std())
    tissue = tissue * np.exp(-rng.uniform(0.4, 1.2) * depth) * _distractors(rng, depth, across)
    lesion = np.zeros((height, width), dtype=bool)
    factor = np.ones((height, width))
    if patient.lesion is not None:
        lesion, factor = _place_lesion(patient.lesion, rng, height, width)
    return Scene(tissue, lesion, factor, patient.gain + rng.normal(0.0, 1.0), rng)


def _distractors(rng: np.random.Generator, depth: Floats, across: Floats) -> Floats:
    """Return what darkens without being a lesion: vessels, and a shadow of poor contact."""
    factor = np.ones(np.broadcast_shapes(depth.shape, across.shape))
    for _ in range(int(rng.integers(0, 3))):
        y, x, h, w = rng.uniform([0.0, 0.0, 0.02, 0.04], [1.0, 1.0, 0.05, 0.12])
        factor[((depth - y) / h) ** 2 + ((across - x) / w) ** 2 <= 1.0] *= rng.uniform(0.3, 0.7)
    if rng.uniform() < 0.35:
        x, w = rng.uniform([0.0, 0.05], [1.0, 0.15])
        y = rng.uniform(0.0, 0.7)
        factor *= 1.0 - (
            rng.uniform(0.2, 0.6) * (depth > y) * np.exp(-(((across - x) / w) ** 2))
        )
    return factor


def _place_lesion(
    lesion: Lesion, rng: np.random.Generator, height: int, width: int
) -> tuple[NDArray[np.bool_], Floats]:
    """Return the exact mask ``(H, W)`` and the factor on the amplitude."""
    outline = lesion.outline * min(height, width) * rng.uniform(0.95, 1.05)
    down, across = outline * np.sin(ANGLES), outline * np.cos(ANGLES)
    centre_y = _inside(reflect(lesion.place[0] + rng.normal(0.0, 0.05)), down, height)
    centre_x = _inside(reflect(lesion.place[1] + rng.normal(0.0, 0.05)), across, width)
    y = np.arange(height)[:, None] + 0.5 - centre_y
    x = np.arange(width)[None, :] + 0.5 - centre_x
    radius = np.interp(np.arctan2(y, x), ANGLES, outline)
    mask = np.hypot(y, x) <= radius
    below = np.logical_or.accumulate(mask, axis=0) & ~mask
    factor = np.where(mask, lesion.echo, np.where(below, lesion.behind, 1.0))
    return mask, factor


def _inside(share: float, extent: Floats, side: int) -> float:
    """Return the centre, pixels, at ``share`` of the places that keep the outline inside."""
    low, high = -extent.min(), side - extent.max()
    return float(low + share * (high - low))


def reflect(share: float) -> float:
    """Fold a shifted share back into [0, 1]; what was uniform stays uniform."""
    folded = share % 2.0
    return 2.0 - folded if folded > 1.0 else folded


def render(scene: Scene) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the picture and the mask (0 and 255), both ``(H, W)``."""
    shape = scene.tissue.shape
    field = scene.speckle.standard_normal((2 * _LOOKS, *shape), dtype=np.float32)
    field = gaussian_filter(field, (0.0, *_SPECKLE), mode="wrap")
    power = np.square(field).sum(axis=0)
    amplitude = scene.tissue * scene.factor * np.sqrt(power / power.mean())
    decibels = 20.0 * np.log10(amplitude + 1e-4) + scene.gain + _BRIGHTNESS
    picture = np.clip(255.0 * (1.0 + decibels / DYNAMIC_RANGE), 0, 255).astype(np.uint8)
    return picture, scene.lesion.astype(np.uint8) * np.uint8(255)


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode ``(H, W)``."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
