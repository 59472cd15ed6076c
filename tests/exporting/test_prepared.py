"""Preparation as a graph holds it, against the one of NumPy that training sees."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from maskwise.exporting.check import as_input, draw
from maskwise.exporting.prepared import Prepares
from maskwise.preparation import Preparation
from maskwise.preparation.geometry import GEOMETRIES
from maskwise.preparation.intensity import INTENSITIES
from preparations import preparation

GEOMETRY: dict[str, list[dict[str, Any]]] = {
    "resize": [{}, {"aspect": "keep"}, {"aspect": "keep", "fill": "edge"}],
    "crop": [{}],
    "pad": [{"larger": "crop"}, {"larger": "crop", "fill": "edge"}],
}
INTENSITY: dict[str, dict[str, Any]] = {
    "range": {},
    "window": {"low": -160.0, "high": 240.0},
    "windows": {"windows": ((-600.0, 1500.0), (40.0, 400.0))},
    "percentile": {"low": 2.0, "high": 97.5},
}
NEAR = 2e-6
"""Rounding of float32, which sums of some hundred weights may add up."""


def test_every_geometry_and_intensity_is_among_those_that_are_tried() -> None:
    assert set(GEOMETRY) == set(GEOMETRIES)
    assert set(INTENSITY) == set(INTENSITIES)


def of(intensity: str, geometry: dict[str, Any], **changes: Any) -> Preparation:
    channels = 2 if intensity == "windows" else 1
    return preparation(
        channels=channels,
        intensity={"name": intensity, **INTENSITY[intensity]},
        geometry=geometry,
        ranges=(255,) if intensity == "range" else (),
        mean=(0.3, 0.6)[:channels],
        std=(0.2, 0.7)[:channels],
        **changes,
    )


def raw(intensity: str, h: int, w: int, seed: int) -> NDArray[Any]:
    generator = np.random.default_rng(seed)
    if intensity == "range":
        return generator.integers(0, 256, (h, w)).astype(np.uint8)
    return generator.normal(0, 400, (h, w)).astype(np.float32)


def gap(seen: Preparation, image: NDArray[Any]) -> float:
    """Return the largest difference of the two ways, in units of intensity."""
    with torch.inference_mode():
        found = Prepares(seen)(torch.from_numpy(as_input(image, seen)))[0].numpy()
    expected = seen.prepared(image)
    assert found.shape == expected.shape
    return float(np.abs((found - expected) * np.array(seen.std)[:, None, None]).max())


@settings(max_examples=25, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("intensity", sorted(INTENSITY))
@pytest.mark.parametrize("name", sorted(GEOMETRY))
def test_an_image_of_any_size_is_prepared_as_in_training(
    name: str, intensity: str, data: st.DataObject
) -> None:
    geometry = {"name": name, **data.draw(st.sampled_from(GEOMETRY[name]))}
    h, w = data.draw(st.tuples(*[st.integers(1, 70)] * 2))
    fine = data.draw(st.sampled_from([1, 2]))
    height, width = data.draw(st.sampled_from([(16, 16), (8, 24), (21, 9)]))
    seen = of(intensity, geometry, fine=fine, height=height, width=width)
    assert gap(seen, raw(intensity, h, w, data.draw(st.integers(0, 99)))) < NEAR


def test_a_flat_image_is_black_under_percentiles() -> None:
    seen = of("percentile", {"name": "resize"})
    assert gap(seen, np.full((5, 7), 12.5, np.float32)) < NEAR


def test_an_image_as_large_as_a_film_is_prepared_as_in_training() -> None:
    seen = of("percentile", {"name": "resize", "aspect": "keep"}, height=96, width=64)
    assert gap(seen, raw("percentile", 1900, 1203, 0)) < NEAR


@pytest.mark.parametrize("intensity", sorted(INTENSITY))
def test_the_images_that_are_drawn_reach_both_ends_of_what_is_seen(intensity: str) -> None:
    seen = of(intensity, {"name": "resize"})
    drawn = draw(seen)
    assert len({image.shape for image in drawn}) == len(drawn) == 4
    intensities = np.concatenate([seen.intensities(image).ravel() for image in drawn])
    assert intensities.min() < 0.1
    assert intensities.max() > 0.8
