"""Fine structure of phantoms: told by the table, one for a patient, gone at half the size."""

import io
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import label, maximum_filter

from maskwise.ingest.sources.phantom import PhantomConfig
from maskwise.ingest.sources.phantom_detail import (
    FINDINGS,
    NONE,
    draw_detail,
    with_detail,
    with_margin,
)
from maskwise.ingest.sources.phantom_scene import draw_patient, draw_view


@cache
def files() -> dict[str, bytes]:
    return dict(PhantomConfig(60, 0, 96, 112, "fine").files())


def rows() -> list[list[str]]:
    return [line.split(",") for line in files()["phantom.csv"].decode().split("\n")[1:-1]]


def test_every_image_says_what_it_shows_and_views_of_a_patient_say_the_same() -> None:
    said: dict[str, set[str]] = {}
    for _, diagnosis, patient, _, findings in rows():
        shown = findings.split("|")
        assert shown == [NONE] or (set(shown) <= {*FINDINGS} and shown == sorted(shown))
        margins = {"circumscribed", "spiculated"} & {*shown}
        assert len(margins) == (diagnosis != "normal")
        said.setdefault(patient, set()).add(findings)
    assert all(len(each) == 1 for each in said.values())


def test_findings_are_drawn_apart_from_the_diagnosis_and_from_one_another() -> None:
    details = [draw_detail(0, number) for number in range(2_000)]
    for share, name in ((0.5, "spiculated"), (0.35, "obscured"), (0.5, "calcified")):
        assert np.mean([getattr(each, name) for each in details]) == pytest.approx(
            share, abs=0.03
        )
    pairs = Counter((each.spiculated, each.calcified) for each in details)
    assert min(pairs.values()) > 430
    assert max(pairs.values()) < 570


def test_it_is_read_back_as_a_label_beside_the_diagnosis(tmp_path: Path) -> None:
    config = PhantomConfig(12, 0, 64, 72, "fine")
    for name, content in config.files():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(content)
    images = config.listing(tmp_path).images
    assert {"label_diagnosis", "label_findings"} <= {*images.columns}
    assert images["label_findings"].notna().all()  # `none` would be read as not rated


def test_a_plain_phantom_is_what_it_was() -> None:
    plain = dict(PhantomConfig(12).files())
    assert b"findings" not in plain["phantom.csv"]
    fine = dict(PhantomConfig(12, structure="fine").files())
    assert plain.keys() == fine.keys()
    assert plain["images/p000001_0.png"] != fine["images/p000001_0.png"]


def test_calcifications_are_specks_of_one_or_two_pixels_in_a_cluster() -> None:
    numbers = [number for number in range(60) if draw_detail(0, number).calcified]
    for number in numbers:
        detail = replace(draw_detail(0, number), obscured=False)
        patient = draw_patient(0, number)
        scene = draw_view(with_margin(patient, detail), 0, 0, (128, 128))
        factor = with_detail(scene, patient, detail, 0, 0).factor
        bright = factor > 3 * np.minimum(scene.factor, 1.0)
        assert 2 <= bright.sum() <= 28
        places = np.argwhere(bright)
        assert np.abs(places - places.mean(0)).max() < 0.35 * 128
        pieces, count = label(bright)
        assert max(Counter(pieces[pieces > 0].tolist()).values()) <= 2 * count


def test_at_half_the_size_little_of_a_speck_is_left() -> None:
    contrasts = []
    for name, _, _, _, findings in rows():
        if "calcifications" not in findings:
            continue
        pixels = np.asarray(Image.open(io.BytesIO(files()[name])), float)
        half = pixels[: len(pixels) // 2 * 2, : pixels.shape[1] // 2 * 2]
        half = half.reshape(len(half) // 2, 2, -1, 2).mean((1, 3))
        contrasts.append(
            [(maximum_filter(each, 3) - each.mean()).max() for each in (pixels, half)]
        )
    native, coarse = np.mean(contrasts, axis=0)
    assert native > 1.3 * coarse
