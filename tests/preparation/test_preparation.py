"""One raw image as a network's intensities, and its mask with it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from maskwise.errors import UserError
from maskwise.preparation.geometry import GEOMETRIES
from maskwise.preparation.intensity import DEFAULTS, INTENSITIES
from preparations import RANGE, STRETCH, preparation, shaped

PAD = {"name": "pad"}
OPTIONS: dict[str, dict[str, Any]] = {
    "window": {"low": 10, "high": 200},
    "windows": {"windows": [[100, 180]]},
}


def seen(
    image: NDArray[Any],
    geometry: dict[str, Any],
    intensity: dict[str, Any],
    channels: int,
    height: int,
    width: int,
) -> NDArray[np.float32]:
    options: dict[str, Any] = {"geometry": geometry, "intensity": intensity}
    prepare = preparation(channels=channels, height=height, width=width, **options)
    return prepare.intensities(image)


def noise(*shape: int, dtype: str = "uint8") -> NDArray[Any]:
    return np.random.default_rng(0).integers(0, 256, shape).astype(dtype)


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("intensity", INTENSITIES)
@pytest.mark.parametrize("shape", [(20, 30), (24, 16), (9, 7, 3), (16, 24, 1)])
def test_every_geometry_and_normalisation_gives_the_size_asked_for_in_range(
    geometry: str, intensity: str, shape: tuple[int, ...]
) -> None:
    larger = {"larger": "crop"} if geometry == "pad" else {}
    blocks = {"name": geometry, **larger}, {"name": intensity, **OPTIONS.get(intensity, {})}
    image = seen(noise(*shape), *blocks, channels=1, height=16, width=24)
    assert image.shape == (1, 16, 24)
    assert image.dtype == np.float32
    assert 0 <= image.min() <= image.max() <= 1


def test_each_window_is_a_channel_by_its_centre_and_width() -> None:
    hounsfield = np.array([[-1350, -600, 150], [-160, 40, 240]], np.int16)
    blocks = PAD, {"name": "windows", "windows": [[-600, 1500], [40, 400]]}
    lung, soft = seen(hounsfield, *blocks, channels=2, height=8, width=8)
    # Padded to the middle of 8 x 8: rows 3 and 4, columns 2 to 4.
    assert lung[3, 2:5].tolist() == pytest.approx([0, 0.5, 1])
    assert lung[4, 2:5].tolist() == pytest.approx([1190 / 1500, 1390 / 1500, 1])
    assert soft[3, 2:5].tolist() == pytest.approx([0, 0, 310 / 400])
    assert soft[4, 2:5].tolist() == pytest.approx([0, 0.5, 1])


def test_windows_agree_with_windows_one_by_one_where_a_part_was_not_measured() -> None:
    image = noise(12, 12, dtype="int16")
    background = image < 60
    both = {"name": "windows", "windows": [[100, 180], [50, 40]]}
    two = preparation(channels=2, intensity=both).intensities(image, background)
    for channel, (low, high) in zip(two, [(10, 190), (30, 70)], strict=True):
        alone = preparation(intensity={"name": "window", "low": low, "high": high})
        assert np.array_equal(channel, alone.intensities(image, background)[0])


def test_windows_of_another_number_than_channels_are_refused() -> None:
    block = {"name": "windows", "windows": [[-600, 1500], [40, 400]]}
    with pytest.raises(ValueError, match="intensity names 2 windows for 1 channel"):
        preparation(intensity=block)
    with pytest.raises(ValueError, match=r"40, 0 \(centre, width\) has no width"):
        preparation(intensity={"name": "windows", "windows": [[40, 0]]})


def test_an_rgb_image_that_is_grey_in_fact_keeps_its_grey_levels_to_the_bit() -> None:
    grey = noise(16, 16)
    colour = np.repeat(grey[:, :, None], 3, axis=2)
    as_grey, as_colour = (seen(i, PAD, RANGE, 1, 16, 16) for i in (grey, colour))
    assert np.array_equal(as_grey, as_colour)
    assert np.array_equal(as_grey[0] * 255, grey)


def test_colour_becomes_the_luminance_that_pillow_computes() -> None:
    colour = noise(16, 16, 3)
    ours = seen(colour, PAD, RANGE, 1, 16, 16)[0] * 255
    pillow = np.asarray(Image.fromarray(colour).convert("L"), np.float32)
    assert np.abs(ours - pillow).max() <= 1


@pytest.mark.parametrize("channels", [1, 3])
def test_opacity_is_no_intensity(channels: int) -> None:
    colour = noise(16, 16, channels)
    opaque = np.concatenate([colour, np.full((16, 16, 1), 7, np.uint8)], axis=2)
    with_alpha = seen(opaque, PAD, RANGE, channels, 16, 16)
    assert np.array_equal(with_alpha, seen(colour, PAD, RANGE, channels, 16, 16))


def test_a_grey_image_fills_all_channels_that_are_asked_for() -> None:
    image = seen(noise(16, 16), PAD, RANGE, 3, 16, 16)
    assert image.shape == (3, 16, 16)
    assert np.array_equal(image[0], image[2])


def test_three_sequences_stay_three_channels() -> None:
    sequences = noise(16, 16, 3)
    image = seen(sequences, PAD, RANGE, 3, 16, 16)
    assert np.array_equal(image[1] * 255, sequences[:, :, 1])


def test_channels_that_do_not_fit_are_refused_with_the_remedy() -> None:
    with pytest.raises(UserError, match="the image has 5 channels and the network takes 3"):
        seen(noise(16, 16, 5), PAD, RANGE, 3, 16, 16)


def test_stretch_uses_the_whole_image_and_keep_keeps_its_shape() -> None:
    # White, 8 x 32 pixels: kept, it is a band of a quarter of a square.
    white = np.full((8, 32), 255, np.uint8)
    stretched = seen(white, STRETCH, RANGE, 1, 16, 16)
    kept = seen(white, {"name": "resize", "aspect": "keep"}, RANGE, 1, 16, 16)
    assert (stretched == 1).all()
    assert kept[0, 6:10].min() == 1
    assert kept.sum() == 4 * 16


def test_what_keep_leaves_free_can_repeat_the_border() -> None:
    white = np.full((8, 32), 255, np.uint8)
    block = {"name": "resize", "aspect": "keep", "fill": "edge"}
    assert (seen(white, block, RANGE, 1, 16, 16) == 1).all()


def test_crop_takes_the_centre_of_the_longer_side() -> None:
    image = np.zeros((16, 48), np.uint8)
    image[:, 16:32] = 255
    assert (seen(image, {"name": "crop"}, RANGE, 1, 16, 16) == 1).all()


def test_pad_puts_the_untouched_pixels_in_the_middle() -> None:
    small = noise(28, 28)
    image = seen(small, PAD, RANGE, 1, 32, 32)[0] * 255
    assert np.array_equal(image[2:30, 2:30], small)
    assert image[:2].max() == 0


def test_pad_refuses_a_larger_image_unless_it_may_crop() -> None:
    with pytest.raises(UserError, match=r"20 x 30 pixels .* fit into 16 x 32.*larger: crop"):
        seen(noise(20, 30), PAD, RANGE, 1, 16, 32)
    block = {"name": "pad", "larger": "crop"}
    image = seen(noise(20, 30), block, RANGE, 1, 16, 32)[0] * 255
    assert np.array_equal(image[:, 1:31], noise(20, 30)[2:18])


@pytest.mark.parametrize(
    "block",
    [
        {"name": "resize"},
        {"name": "resize", "aspect": "keep"},
        {"name": "crop"},
        {"name": "pad", "larger": "crop"},
    ],
)
def test_a_mask_keeps_to_the_place_of_its_lesion(block: dict[str, Any]) -> None:
    lesion = np.zeros((40, 60), bool)
    lesion[10:25, 22:40] = True
    image = seen(lesion.astype(np.uint8) * 255, block, RANGE, 1, 32, 32)[0] >= 0.5
    mask = shaped(block, 32, 32).mask(lesion)
    corners = [(np.argwhere(a).min(axis=0), np.argwhere(a).max(axis=0)) for a in (image, mask)]
    # The two filters round a border that cuts a pixel each in its own way.
    assert np.abs(np.subtract(corners[0], corners[1])).max() <= 1


def test_a_pixel_is_lesion_where_half_its_area_is() -> None:
    lesion = np.zeros((4, 4), bool)
    lesion[0, 0:2] = True  # half of the first of four pixels
    lesion[3, 3] = True  # a quarter of the last
    assert shaped(STRETCH, 2, 2).mask(lesion).tolist() == [[True, False], [False, False]]


def test_a_repeated_border_is_no_lesion() -> None:
    mask = shaped({"name": "pad", "fill": "edge"}, 8, 8).mask(np.ones((4, 4), bool))
    assert mask.sum() == 16


CLASSES = np.array(
    [
        [1, 1, 2, 2, 0, 0, 3, 3],
        [1, 2, 2, 2, 0, 0, 0, 0],
        [0, 1, 0, 0, 1, 2, 3, 0],
        [0, 0, 0, 0, 3, 3, 3, 0],
    ],
    np.uint8,
)


def test_of_the_classes_under_a_pixel_the_one_with_most_stands_where_half_is_covered() -> None:
    # Quarters of each pixel, from the left: 3 of 1 and 1 of 2; all 2; none; half 3; then a
    # quarter of 1; none; 1, 2, 3 and 3; half 3, another number would be a sum or a mean.
    found = shaped(STRETCH, 2, 4).classes(CLASSES)
    assert found.dtype == np.uint8
    assert found.tolist() == [[1, 2, 0, 3], [0, 0, 3, 3]]


@given(
    seed=st.integers(0, 2**16),
    shape=st.tuples(st.integers(3, 24), st.integers(3, 24)),
    block=st.sampled_from(
        [
            STRETCH,
            {"name": "resize", "aspect": "keep"},
            {"name": "crop"},
            {"name": "pad", "larger": "crop"},
        ]
    ),
)
@settings(max_examples=60, deadline=None)
def test_some_class_is_where_the_lesion_is_and_only_classes_that_were_there(
    seed: int, shape: tuple[int, int], block: dict[str, Any]
) -> None:
    rng = np.random.default_rng(seed)
    coarse = rng.choice([0, 0, 2, 5, 200], (shape[0] // 3 + 1, shape[1] // 3 + 1))
    classes = np.kron(coarse, np.ones((3, 3)))[: shape[0], : shape[1]].astype(np.uint8)
    found = shaped(block, 8, 8).classes(classes)
    assert np.array_equal(found > 0, shaped(block, 8, 8).mask(classes > 0))
    assert set(np.unique(found)) <= set(np.unique(classes)) | {0}


def test_classes_that_nothing_scales_come_through_untouched() -> None:
    assert np.array_equal(shaped(PAD, 4, 8).classes(CLASSES), CLASSES)


@pytest.mark.parametrize(
    ("block", "span"),
    [
        (STRETCH, (100 / 50, 300 / 60)),
        ({"name": "resize", "aspect": "keep"}, (5.0, 5.0)),  # 300 columns become 60
        ({"name": "crop"}, (2.0, 2.0)),  # 100 rows become 50
        ({"name": "pad", "larger": "crop"}, (1.0, 1.0)),
    ],
)
def test_a_pixel_spans_as_many_of_the_raw_image_as_it_was_scaled(
    block: dict[str, Any], span: tuple[float, float]
) -> None:
    assert shaped(block, 50, 60).span((100, 300)) == pytest.approx(span)


def test_range_divides_by_what_the_type_can_hold() -> None:
    deep = np.full((8, 8), 65535, np.uint16)
    assert (seen(deep, PAD, RANGE, 1, 8, 8) == 1).all()
    assert (seen(deep == 65535, PAD, RANGE, 1, 8, 8) == 1).all()


def test_range_refuses_what_has_no_largest_value() -> None:
    with pytest.raises(UserError, match="holds float32: take `percentile`"):
        seen(np.zeros((8, 8), np.float32), PAD, RANGE, 1, 8, 8)


def test_window_maps_its_two_ends_and_clips() -> None:
    hounsfield = np.array([[-1000.0, -160.0], [40.0, 240.0]])
    block = {"name": "window", "low": -160, "high": 240}
    assert seen(hounsfield, PAD, block, 1, 2, 2)[0].tolist() == [[0, 0], [0.5, 1]]


def test_percentile_maps_the_images_own_ends_and_clips_what_lies_outside() -> None:
    ramp = np.arange(101, dtype=np.int32).reshape(1, 101)
    block = {"name": "percentile", "low": 10, "high": 90}
    image = seen(ramp, PAD, block, 1, 1, 101)[0, 0]
    assert image[[10, 50, 90]].tolist() == pytest.approx([0, 0.5, 1])
    assert (image[0], image[100]) == (0, 1)


def test_a_flat_image_is_black_and_not_nan() -> None:
    flat = np.full((8, 8), 9, np.uint8)
    assert (seen(flat, PAD, {"name": "percentile"}, 1, 8, 8) == 0).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -3e38])
def test_an_image_whose_values_cannot_be_scaled_is_refused_and_not_black(value: float) -> None:
    image = np.full((8, 8), 3e38, np.float32)
    image[0] = value
    with pytest.raises(UserError, match="not finite numbers, or too far apart to be scaled"):
        seen(image, PAD, {"name": "percentile", "low": 12.0}, 1, 8, 8)


@pytest.mark.parametrize(
    ("geometry", "intensity", "message"),
    [
        ({"name": "resise"}, RANGE, "geometry.name: .* mean 'resize'"),
        ({"name": "resize", "aspekt": "keep"}, RANGE, "geometry.aspekt: .* mean 'aspect'"),
        (PAD, {"name": "window", "low": 2, "high": 1}, "but must lie below high"),
        (PAD, {"name": "window", "low": -1e308, "high": 1e308}, r"intensity.low: is -1e\+308"),
        (PAD, {"name": "percentile", "low": 99.9}, "99.9, but must lie below high, 99.5"),
    ],
)
def test_a_wrong_block_names_the_key(geometry: Any, intensity: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        preparation(geometry=geometry, intensity=intensity)


def test_every_modality_has_a_normalisation() -> None:
    assert set(DEFAULTS) == {"ultrasound", "mr", "ct", "xray", "other"}
    assert all(block["name"] in INTENSITIES for block in DEFAULTS.values())
