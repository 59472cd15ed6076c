"""What viewers show is what is read: the orientation of JPEG, PNG and TIFF, image and mask."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from maskwise.ingest.sources.image_folder import ImageFolderConfig
from maskwise.ingest.stage import IngestConfig, Ingested, ingest
from maskwise.prediction.scans import find_scans
from maskwise.scans.mask_files import read_mask
from maskwise.scans.pictures import read_frame, read_image
from maskwise.workers import Pool
from scans.handmade import Order, chunk, exif, jpeg_with, png, tiff
from sources.drawing import disc, scan

PLACES: dict[int, Callable[[int, int, int, int], tuple[int, int]]] = {
    1: lambda y, x, h, w: (y, x),
    2: lambda y, x, h, w: (y, w - 1 - x),
    3: lambda y, x, h, w: (h - 1 - y, w - 1 - x),
    4: lambda y, x, h, w: (h - 1 - y, x),
    5: lambda y, x, h, w: (x, y),
    6: lambda y, x, h, w: (x, h - 1 - y),
    7: lambda y, x, h, w: (w - 1 - x, h - 1 - y),
    8: lambda y, x, h, w: (w - 1 - x, y),
}
"""Orientation -> where the EXIF standard has the stored pixel (y, x) of (h, w) shown: row 0 and
column 0 of 6, for one, are the visual right-hand side and the visual top."""


def shown(stored: NDArray[np.generic], orientation: int) -> NDArray[np.generic]:
    """Return ``stored`` as viewers show it, pixel by pixel."""
    height, width = stored.shape[:2]
    size = (height, width) if orientation < 5 else (width, height)
    picture = np.zeros(size + stored.shape[2:], stored.dtype)
    for y in range(height):
        for x in range(width):
            picture[PLACES[orientation](y, x, height, width)] = stored[y, x]
    return picture


def jpeg(picture: NDArray[np.uint8], block: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=95)
    return jpeg_with(block, buffer.getvalue())


@pytest.mark.parametrize("orientation", PLACES)
def test_a_jpeg_is_turned_as_viewers_turn_it(tmp_path: Path, orientation: int) -> None:
    blocks = np.array([[40, 90, 140], [170, 200, 230]], np.uint8)
    picture = np.kron(blocks, np.ones((8, 8), np.uint8))
    (tmp_path / "a.jpg").write_bytes(jpeg(picture, exif(orientation)))
    image = read_image(tmp_path, "a.jpg")[..., 0].astype(int)
    expected = shown(picture, orientation).astype(int)
    assert image.shape == expected.shape
    assert np.abs(image - expected).max() <= 2


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("orientation", PLACES)
def test_a_png_is_turned_wherever_its_exif_stands(
    tmp_path: Path, orientation: int, behind: bool
) -> None:
    picture = scan(0, 5, 7)
    block = chunk(b"eXIf", exif(orientation))
    content = png(picture, behind=block) if behind else png(picture, before=block)
    (tmp_path / "a.png").write_bytes(content)
    assert np.array_equal(read_image(tmp_path, "a.png")[..., 0], shown(picture, orientation))


@pytest.mark.parametrize("orientation", PLACES)
def test_a_png_of_sixteen_bits_with_alpha_is_turned(tmp_path: Path, orientation: int) -> None:
    picture = np.random.default_rng(0).integers(0, 65536, (5, 7, 2), dtype=np.uint16)
    block = chunk(b"eXIf", exif(orientation))
    (tmp_path / "a.png").write_bytes(png(picture, before=block))
    image = read_image(tmp_path, "a.png")
    assert np.array_equal(image, shown(picture[..., :1], orientation))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("orientation", PLACES)
def test_a_tiff_of_sixteen_bits_is_turned(
    tmp_path: Path, orientation: int, order: Order
) -> None:
    picture = np.random.default_rng(0).integers(0, 65536, (5, 7), dtype=np.uint16)
    content = tiff([picture], order=order, tags={274: orientation})
    (tmp_path / "a.tif").write_bytes(content)
    assert np.array_equal(read_image(tmp_path, "a.tif")[..., 0], shown(picture, orientation))


@pytest.mark.parametrize(
    "block", [exif(0), exif(9), b"no EXIF at all", b"II*\0\xff\xff\xff\xff"]
)
@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_an_orientation_that_cannot_be_told_turns_nothing(
    tmp_path: Path, kind: str, block: bytes
) -> None:
    picture = scan(0, 8, 16)
    content = (
        jpeg(picture, block) if kind == "jpg" else png(picture, before=chunk(b"eXIf", block))
    )
    (tmp_path / "a").write_bytes(content)
    assert read_image(tmp_path, "a").shape == (8, 16, 1)


@pytest.mark.parametrize(
    "content",
    [
        png(scan(0, 8, 16), before=chunk(b"eXIf", exif(9))),
        png(scan(0, 8, 16), before=chunk(b"eXIf", b"no EXIF at all")),
        tiff([scan(0, 8, 16)], tags={274: 9}),
    ],
)
def test_of_an_orientation_that_cannot_be_told_is_warned(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "a").write_bytes(content)
    decoded = read_frame(tmp_path, "a", 0, 10_000)[1]
    assert [remark.kind for remark in decoded.remarks] == ["orientation"]


def test_a_palette_mask_is_turned_with_its_indices(tmp_path: Path) -> None:
    lesion = disc(5, 7, 0.3, 0.3, 0.3)
    block = chunk(b"eXIf", exif(6))
    palette = bytes([255, 255, 255, 200, 0, 0])
    (tmp_path / "m.png").write_bytes(png(lesion.astype(np.uint8), block, palette=palette))
    assert np.array_equal(read_mask(tmp_path, ["m.png"]), shown(lesion, 6))


def ingested(raw: Path) -> Ingested:
    source = ImageFolderConfig(layout="flat", mask_suffix="_mask", modality="other")
    return ingest(raw, source, IngestConfig(max_reject_share=1.0, workers=1), "t")


@pytest.fixture
def turned_pair(tmp_path: Path) -> Path:
    """A JPEG stored on its side, and a mask drawn on what viewers show of it."""
    bright = disc(64, 48, 0.25, 0.5, 0.15)
    picture = np.where(bright, 230, 40).astype(np.uint8)
    (tmp_path / "a.jpg").write_bytes(jpeg(np.rot90(picture), exif(6)))
    (tmp_path / "a_mask.png").write_bytes(png(bright.astype(np.uint8)))
    (tmp_path / "b.png").write_bytes(png(scan(1, 64, 48)))
    return tmp_path


def test_a_mask_drawn_on_what_viewers_show_lies_on_its_lesion(turned_pair: Path) -> None:
    rows = ingested(turned_pair).manifest.set_index("path")
    assert tuple(rows.loc["a.jpg", ["width", "height"]]) == (48, 64)
    image = read_image(turned_pair, "a.jpg")[..., 0]
    mask = read_mask(turned_pair, ["a_mask.png"])
    assert image[mask].mean() > 200
    assert image[~mask].mean() < 60


def test_a_mask_turned_otherwise_than_its_image_is_refused_with_the_reason(
    turned_pair: Path,
) -> None:
    block = chunk(b"eXIf", exif(8))
    (turned_pair / "b_mask.png").write_bytes(png(disc(64, 48).astype(np.uint8), block))
    rejects = ingested(turned_pair).rejects
    assert list(rejects["reason"]) == ["mask_size"]
    assert "a quarter turn apart" in rejects["detail"].iloc[0]


def test_predict_finds_the_same_turned_picture(turned_pair: Path) -> None:
    with Pool(1) as pool:
        found = find_scans(turned_pair, "path", None, pool)
    (scan_,) = [one for one in found.scans if one.path == "a.jpg"]
    assert read_image(found.root, scan_.path, scan_.frame).shape == (64, 48, 1)
