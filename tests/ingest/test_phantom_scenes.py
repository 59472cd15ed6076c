"""What the generated source promises: uniform places, exact masks, stable prefixes."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from maskwise.config import parse
from maskwise.errors import UserError
from maskwise.ingest.sources.phantom import PhantomConfig
from maskwise.ingest.sources.phantom_scene import (
    BENIGN,
    CLASSES,
    MALIGNANT,
    NORMAL,
    draw_patient,
    draw_view,
    reflect,
    render,
)
from sources import phantom

SIDES = (72, 96)


def test_the_centres_of_lesions_are_uniform_over_the_places_that_keep_them_inside() -> None:
    shares = []
    for number in range(1, 1500):
        if draw_patient(0, number).kind == NORMAL:
            continue
        lesion = draw_view(draw_patient(0, number), 0, 0, SIDES).lesion
        rows, columns = np.flatnonzero(lesion.any(1)), np.flatnonzero(lesion.any(0))
        height, width = lesion.shape
        # The gap above as a share of the gaps above and below; half a pixel keeps 0 out.
        above, left = rows[0] + 0.5, columns[0] + 0.5
        below, right = height - rows[-1] - 0.5, width - columns[-1] - 0.5
        shares.append((above / (above + below), left / (left + right)))
    y, x = np.array(shares).T
    assert stats.kstest(y, "uniform").pvalue > 0.01
    assert stats.kstest(x, "uniform").pvalue > 0.01
    assert abs(np.corrcoef(y, x)[0, 1]) < 0.1


def test_a_shift_folded_back_keeps_a_uniform_place_uniform() -> None:
    rng = np.random.default_rng(0)
    folded = [reflect(u) for u in rng.uniform(size=5000) + rng.normal(0, 0.3, 5000)]
    assert stats.kstest(folded, "uniform").pvalue > 0.01


@pytest.mark.parametrize("kind", [BENIGN, MALIGNANT])
def test_the_mask_is_exactly_where_the_tissue_was_changed(kind: int) -> None:
    for number in range(kind, 90, len(CLASSES)):
        patient = draw_patient(3, number)
        scene = draw_view(patient, 3, 0, SIDES)
        assert patient.lesion is not None
        assert np.array_equal(scene.factor == patient.lesion.echo, scene.lesion)
        below = ~scene.lesion & (scene.factor != 1)
        assert not (below & ~np.logical_or.accumulate(scene.lesion, axis=0)).any()
        assert np.array_equal(render(scene)[1] > 0, scene.lesion)


def test_lesions_lie_wholly_inside() -> None:
    for number in range(1, 300):
        lesion = draw_view(draw_patient(0, number), 0, 1, SIDES).lesion
        outline = np.concatenate([lesion[0], lesion[-1], lesion[:, 0], lesion[:, -1]])
        assert outline.mean() < 0.1  # it may touch a border, and is never cut by it


def test_normals_show_no_lesion_and_the_others_always_do() -> None:
    for number in range(60):
        patient = draw_patient(0, number)
        shown = draw_view(patient, 0, 0, SIDES).lesion.any()
        assert shown == (patient.kind != NORMAL)


def test_malignant_outlines_are_ragged_and_benign_ones_smooth() -> None:
    def raggedness(kind: int) -> list[float]:
        lesions = [draw_patient(0, n).lesion for n in range(kind, 150, len(CLASSES))]
        outlines = [lesion.outline for lesion in lesions if lesion is not None]
        return [float(np.abs(np.diff(line)).sum() / line.mean()) for line in outlines]

    assert max(raggedness(BENIGN)) < np.median(raggedness(MALIGNANT))


def test_sizes_and_contrasts_of_the_two_kinds_overlap() -> None:
    def facts(kind: int) -> np.ndarray:
        lesions = [draw_patient(0, n).lesion for n in range(kind, 600, len(CLASSES))]
        return np.array([(x.outline.mean(), x.echo) for x in lesions if x is not None])

    for benign, malignant in zip(facts(BENIGN).T, facts(MALIGNANT).T, strict=True):
        assert np.quantile(benign, 0.1) < np.median(malignant) < np.quantile(benign, 0.9)


def test_more_images_leave_the_first_ones_as_they_were() -> None:
    few, many = (dict(PhantomConfig(images=n).files()) for n in (12, 30))
    images = [name for name in few if name.endswith(".png")]
    assert len(images) == 24  # images and masks
    assert all(few[name] == many[name] for name in images)


def test_another_seed_is_another_set() -> None:
    first, second = (next(iter(PhantomConfig(images=12, seed=s).files()))[1] for s in (0, 1))
    assert first != second


def test_the_number_of_images_is_the_one_asked_for(tmp_path: Path) -> None:
    config = PhantomConfig(images=13, smallest_side=40, largest_side=44)
    listing = config.listing(phantom.write(tmp_path, config))
    assert len(listing.images) == 13
    assert not listing.rejects
    assert listing.images["patient"].nunique() < 13
    for name, content in config.files():
        if name.endswith(".png"):
            width, height = Image.open(io.BytesIO(content)).size
            assert 40 <= min(width, height) <= max(width, height) <= 44


def test_a_smallest_side_above_the_largest_is_refused() -> None:
    with pytest.raises(UserError, match=r"smallest_side is 90, but .* largest_side, 80"):
        parse(PhantomConfig, {"smallest_side": 90, "largest_side": 80}, "phantom.ingest")
