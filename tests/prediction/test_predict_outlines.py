"""A trained segmenter over scans that nobody labelled."""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from finetune.patches import MEAN, STD
from maskwise import load_model
from maskwise.artefacts.model import SegmenterMetadata
from maskwise.prediction.outlines import trace
from maskwise.prediction.page import write_area
from maskwise.prediction.stage import PredictConfig, Predicted, predict
from prediction.drawn import draw, shown
from prediction.models import SEGMENTER, SIDE, save_segmenter, save_stubborn, seeing
from preparations import preparation
from sources.dicom import save as save_dicom
from sources.dicom import slice_of

CROP = {"name": "crop"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_segmenter(tmp_path / "best.safetensors")


def probabilities(model: Path, pixels: NDArray[np.uint8]) -> torch.Tensor:
    """Return what the model says of a scan, ``(1, 3, SIDE, SIDE)``."""
    network: Any = load_model(model)
    seen = preparation(SIDE).intensities(pixels)
    with torch.inference_mode():
        answer = network.probabilities(torch.from_numpy((seen - MEAN) / STD)[None])
    assert isinstance(answer, torch.Tensor)
    return answer


def outline_of(result: Predicted, path: str, frame: int = 0) -> NDArray[np.uint8]:
    """Return the pixels of a scan's PNG file."""
    table = result.table
    (row,) = table[(table["path"] == path) & (table["frame"] == frame)].itertuples()
    with Image.open(io.BytesIO(result.outlines[row.outline])) as image:
        assert (image.format, image.mode) == ("PNG", "L")
        return np.asarray(image)


def lines(page: str) -> list[list[NDArray[np.float64]]]:
    """Return the closed lines of each picture's outlines, as corners ``(n, 2)``: x, y."""
    drawn = []
    for card in page.split('<div class="seen">')[1:]:
        paths = re.findall(r'<path class="line" d="(.+?)"', card.partition("</div>")[0])
        rims = [rim for path in paths for rim in re.findall(r"M([^Z]+)Z", path)]
        drawn.append(
            [np.array([point.split() for point in rim.split("L")], float) for rim in rims]
        )
    return drawn


def test_every_scan_has_an_outline_and_the_share_of_each_class(
    model: Path, scans: Path
) -> None:
    result = predict(model, scans, PredictConfig())
    assert list(result.table.columns) == [
        "path", "frame", "prediction", "area_mass", "area_cyst", "outline",
        "model", "data_hash", "refused",
    ]  # fmt: skip
    assert len(result.outlines) == 6
    for row in result.table.itertuples():
        expected = probabilities(model, np.asarray(Image.open(scans / row.path)))[0].argmax(0)
        assert np.array_equal(outline_of(result, row.path), expected)
        shares = [float((expected == number).float().mean()) for number in (1, 2)]
        assert [row.area_mass, row.area_cyst] == pytest.approx(shares)


def test_the_prediction_names_what_is_outlined(model: Path, scans: Path) -> None:
    table = predict(model, scans, PredictConfig()).table
    named = {(True, True): "mass + cyst", (True, False): "mass", (False, True): "cyst"}
    for row in table.itertuples():
        assert row.prediction == named[row.area_mass > 0, row.area_cyst > 0]
    assert "mass + cyst" in set(table["prediction"])


@pytest.mark.parametrize(
    ("answer", "prediction", "areas"),
    [(0, "no lesion", [0, 0]), (1, "mass", [1, 0]), (2, "cyst", [0, 1])],
)
def test_a_scan_that_is_all_one_class_says_so(
    tmp_path: Path, scans: Path, answer: int, prediction: str, areas: list[int]
) -> None:
    model = save_stubborn(tmp_path / "all.safetensors", answer)
    result = predict(model, scans, PredictConfig())
    assert set(result.table["prediction"]) == {prediction}
    assert result.table[["area_mass", "area_cyst"]].drop_duplicates().values.tolist() == [areas]
    assert (outline_of(result, "scan 0 50%.png") == answer).all()


@pytest.mark.parametrize("shape", [(3 * SIDE, 2 * SIDE), (SIDE + 5, 4 * SIDE - 1)])
def test_an_outline_has_its_scan_s_own_size(
    model: Path, tmp_path: Path, shape: tuple[int, int]
) -> None:
    pixels = draw(tmp_path / "scans/a.png", shape)
    result = predict(model, tmp_path / "scans", PredictConfig())
    found = outline_of(result, "a.png")
    expected = torch.nn.functional.interpolate(
        probabilities(model, pixels), shape, mode="bilinear"
    )
    assert np.array_equal(found, expected[0].argmax(0))
    assert result.table["area_cyst"][0] == pytest.approx((found == 2).mean())


@pytest.mark.parametrize(
    ("geometry", "shape", "seen"),
    [
        (CROP, (SIDE, 3 * SIDE), (slice(None), slice(SIDE, 2 * SIDE))),
        ({"name": "pad", "larger": "crop"}, (SIDE + 3, 5), (slice(1, SIDE + 1), slice(None))),
    ],
)
def test_what_the_model_did_not_see_is_background_and_counts_for_nothing(
    tmp_path: Path,
    geometry: dict[str, Any],
    shape: tuple[int, int],
    seen: tuple[slice, slice],
) -> None:
    draw(tmp_path / "scans/a.png", shape)
    model = save_stubborn(tmp_path / "all.safetensors", 2, seeing(geometry))
    result = predict(model, tmp_path / "scans", PredictConfig())
    expected = np.zeros(shape, np.uint8)
    expected[seen] = 2
    assert np.array_equal(outline_of(result, "a.png"), expected)
    assert result.table["area_cyst"].tolist() == [1]


def test_each_frame_of_a_file_has_an_outline_of_its_own(model: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE), dtype=np.uint8)
    save_dicom(slice_of(pixels), tmp_path / "scans/a.dcm")
    result = predict(model, tmp_path / "scans", PredictConfig())
    assert result.table["outline"].nunique() == len(result.outlines) == 3
    for frame in range(3):
        expected = probabilities(model, pixels[frame])[0].argmax(0)
        assert np.array_equal(outline_of(result, "a.dcm", frame), expected)


def test_no_scan_s_name_makes_a_file_s_name(model: Path, tmp_path: Path) -> None:
    names = ["a_b.png", "a/b.png", "a\\b.png", "ä \n%2F.png", f"{'long' * 50}.png"]
    for seed, name in enumerate(names):
        draw(tmp_path / "scans" / name, seed=seed)
    result = predict(model, tmp_path / "scans", PredictConfig())
    assert sorted(result.table["outline"]) == sorted(result.outlines)
    assert all(re.fullmatch(r"\d{6}\.png", name) for name in result.outlines)
    for seed, name in enumerate(names):
        pixels = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
        expected = probabilities(model, pixels)[0].argmax(0)
        assert np.array_equal(outline_of(result, name), expected)


def test_what_was_refused_has_no_outline(model: Path, scans: Path) -> None:
    draw(scans / "a doppler.png", (SIDE, SIDE, 3))
    (scans / "notes.txt").write_text("nothing to see")
    result = predict(model, scans, PredictConfig())
    table = result.table.set_index("path")
    assert table.loc[["a doppler.png", "notes.txt"], "outline"].tolist() == ["", ""]
    assert set(result.outlines) == set(table["outline"]) - {""}
    pixels = np.asarray(Image.open(scans / "scan 0 50%.png"))
    expected = probabilities(model, pixels)[0].argmax(0)
    assert np.array_equal(outline_of(result, "scan 0 50%.png"), expected)


def test_outlines_are_those_of_many_scans_in_several_batches(
    model: Path, tmp_path: Path
) -> None:
    for i in range(70):  # more than the model looks at together
        draw(tmp_path / "scans" / f"{i:02d}.png", seed=i)
    result = predict(model, tmp_path / "scans", PredictConfig(shown=1))
    assert len(result.outlines) == 70
    for i in (0, 63, 64, 69):
        pixels = np.asarray(Image.open(tmp_path / "scans" / f"{i:02d}.png"))
        expected = probabilities(model, pixels)[0].argmax(0)
        assert np.array_equal(outline_of(result, f"{i:02d}.png"), expected)


def test_the_largest_outlined_area_comes_first(model: Path, scans: Path) -> None:
    result = predict(model, scans, PredictConfig(), names=True)
    table = result.table.assign(area=result.table["area_mass"] + result.table["area_cyst"])
    expected = table.sort_values("area", ascending=False, kind="stable")["path"]
    assert shown(result.page) == [int(path.split("scan ")[1][0]) for path in expected]
    assert "The largest outlined area comes first" in " ".join(result.page.split())


def test_the_page_speaks_of_areas_and_not_of_chances(model: Path, scans: Path) -> None:
    page = " ".join(predict(model, scans, PredictConfig(sort_by="cyst")).page.split())
    assert "120 outlined ultrasound images" in page
    assert "0 background, 1 mass, 2 cyst" in page
    assert "The largest outlined area of “cyst” comes first" in page
    assert "calibrated" not in page
    assert "A probability" not in page
    assert "<meter" not in page


def test_the_page_counts_what_was_found_and_not_what_was_refused(
    tmp_path: Path, scans: Path
) -> None:
    draw(scans / "doppler.png", (SIDE, SIDE, 3))
    model = save_stubborn(tmp_path / "all.safetensors", answer=0)
    page = predict(model, scans, PredictConfig()).page
    assert "Predicted: no lesion (6). 1 file has no prediction" in page
    assert lines(page) == [[]] * 6


@pytest.mark.parametrize(
    ("area", "written"),
    [(1, "100.0 %"), (0.1234, "12.3 %"), (0.001, "0.1 %"), (1e-9, "< 0.1 %"), (0, "0 %")],
)
def test_only_where_nothing_is_outlined_an_area_is_nothing(area: float, written: str) -> None:
    assert write_area(area) == written


@pytest.mark.parametrize(
    ("described", "shape", "left", "right"),
    [
        (seeing({"name": "resize"}), (SIDE, 2 * SIDE), 0, SIDE),
        (seeing({"name": "resize"}, width=3 * SIDE), (SIDE, 2 * SIDE), 0, 3 * SIDE),
        (seeing(CROP), (2 * SIDE, 3 * SIDE), 0, SIDE),
        # Of 16 columns the scan fills 8, with 4 beside it on either side.
        (seeing({"name": "resize", "aspect": "keep"}), (2 * SIDE, SIDE), 4, 12),
    ],
)
def test_the_line_runs_round_what_is_outlined_in_the_picture_that_the_model_saw(
    tmp_path: Path, described: SegmenterMetadata, shape: tuple[int, int], left: int, right: int
) -> None:
    draw(tmp_path / "scans/a.png", shape)
    model = save_stubborn(tmp_path / "all.safetensors", 1, described)
    (drawn,) = lines(predict(model, tmp_path / "scans", PredictConfig()).page)
    (rim,) = drawn
    assert rim.min(axis=0).tolist() == [left, 0]
    assert rim.max(axis=0).tolist() == [right, SIDE]


def test_two_places_are_two_lines_in_the_colour_of_their_class(
    model: Path, scans: Path
) -> None:
    result = predict(model, scans, PredictConfig(shown=1))
    (drawn,) = lines(result.page)
    assert len(drawn) > 2
    keys = re.findall(r'class="key" style="border-color: (#\w+)"></span>(\w+)', result.page)
    colours = re.findall(r'<path class="line" d="[^"]+" stroke="(#\w+)"', result.page)
    assert [name for _, name in keys] == list(SEGMENTER.classes)
    assert colours == [colour for colour, _ in keys]
    assert len(set(colours)) == 2


def test_a_speck_that_covers_less_than_half_of_a_pixel_is_drawn_where_it_is() -> None:
    area = np.zeros((SIDE, SIDE), np.float32)
    area[5, 10] = 0.1
    points = np.array([point.split() for point in trace(area).strip("MZ").split("L")], float)
    # Half-way to the centres of the four pixels beside it.
    assert sorted(points.tolist()) == [[10, 5.5], [10.5, 5], [10.5, 6], [11, 5.5]]


def test_a_lesion_at_the_image_s_border_has_a_closed_line() -> None:
    area = np.zeros((4, 4), np.float32)
    area[0, 0] = 1
    assert trace(area).count("Z") == 1
    assert trace(area).count("L") == 3
