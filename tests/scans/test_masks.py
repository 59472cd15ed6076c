"""Which pixels of a mask are lesion: soft edges, palettes, alpha, colour, JPEG."""

import io
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import JPEGBaseline8Bit

from maskwise.ingest.sources.image_folder import ImageFolderConfig
from maskwise.ingest.stage import IngestConfig, Ingested, ingest
from maskwise.scans.mask_files import read_classes, read_lesion, read_mask
from maskwise.scans.reading import Reading
from maskwise.scans.reasons import RejectedError
from scans.handmade import png, tiff
from sources.dicom import compressed
from sources.drawing import disc, scan

LESION = disc(20, 30)
WHITE, BLACK, RED, GREEN = (255, 255, 255), (0, 0, 0), (200, 0, 0), (0, 90, 0)


def soft(top: int = 255) -> NDArray[np.uint8]:
    """Return a disc whose edge falls off over several pixels."""
    rows, columns = np.mgrid[:20, :30]
    away = np.hypot(rows - 9.5, columns - 14.5)
    fading: NDArray[np.float64] = np.clip((8 - away) / 6 * top, 0, top)
    return fading.round().astype(np.uint8)


def remarked(raw: Path, name: str, reading: Reading | None = None) -> list[str]:
    """Return the kinds of what was decided about a mask."""
    found = read_lesion(raw, [name], reading=reading or Reading())
    return [remark.kind for remark in found.remarks]


def written(dataset: pydicom.Dataset) -> bytes:
    """Return a dataset as the content of a file."""
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def paletted(indices: NDArray[np.generic], *colours: tuple[int, int, int]) -> bytes:
    return png(indices.astype(np.uint8), palette=bytes(sum(colours, ())))


@pytest.mark.parametrize("top", [255, 100, 9])
def test_a_soft_edge_is_cut_at_half_of_the_maximum_and_warned_of(
    tmp_path: Path, top: int
) -> None:
    (tmp_path / "m.png").write_bytes(png(soft(top)))
    assert np.array_equal(read_mask(tmp_path, ["m.png"]), soft(top) * 2.0 >= top)
    assert remarked(tmp_path, "m.png") == ["mask_levels"]


def test_whatever_is_not_black_can_be_asked_for(tmp_path: Path) -> None:
    (tmp_path / "m.png").write_bytes(png(soft()))
    reading = Reading(mask_threshold="any")
    assert np.array_equal(read_mask(tmp_path, ["m.png"], reading=reading), soft() > 0)
    assert remarked(tmp_path, "m.png", reading) == []


@pytest.mark.parametrize(
    "content",
    [
        png(soft().astype(np.uint16) * 257),
        tiff([soft().astype(np.float32) / 255]),
        tiff([255 - soft()], photometric=0),
        png(np.dstack([soft(), soft() // 3, soft() * 0])),
    ],
    ids=["16 bits", "floating point", "white is zero", "colour"],
)
def test_a_soft_edge_of_any_depth_is_cut_at_the_same_place(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "m").write_bytes(content)
    assert np.array_equal(read_mask(tmp_path, ["m"]), soft() >= 127.5)
    assert remarked(tmp_path, "m") == ["mask_levels"]


@pytest.mark.parametrize("level", [1, 3, 128, 255])
def test_black_and_one_other_level_are_plain(tmp_path: Path, level: int) -> None:
    (tmp_path / "m.png").write_bytes(png(LESION * np.uint8(level)))
    assert np.array_equal(read_mask(tmp_path, ["m.png"]), LESION)
    assert remarked(tmp_path, "m.png") == []


def test_white_saved_as_a_signed_number_is_still_lesion(tmp_path: Path) -> None:
    (tmp_path / "m.tif").write_bytes(tiff([LESION * np.int8(-1)]))
    assert np.array_equal(read_mask(tmp_path, ["m.tif"]), LESION)


def test_of_two_levels_that_are_both_not_black_the_brighter_is_the_lesion(
    tmp_path: Path,
) -> None:
    (tmp_path / "m.png").write_bytes(png(LESION * np.uint8(1) + np.uint8(1)))
    assert np.array_equal(read_mask(tmp_path, ["m.png"]), LESION)
    assert remarked(tmp_path, "m.png") == ["mask_levels"]


@pytest.mark.parametrize("lesion", [WHITE, RED, GREEN])
def test_a_mask_that_is_black_nowhere_is_all_lesion_and_warned_of(
    tmp_path: Path, lesion: tuple[int, int, int]
) -> None:
    drawing = np.where(LESION[..., None], lesion, WHITE).astype(np.uint8)
    (tmp_path / "m.png").write_bytes(png(drawing))
    assert read_mask(tmp_path, ["m.png"]).all()
    (remark,) = read_lesion(tmp_path, ["m.png"]).remarks
    assert remark.kind == "full_mask"
    assert "white" in remark.detail


def test_an_empty_mask_is_empty_and_plain(tmp_path: Path) -> None:
    (tmp_path / "m.png").write_bytes(png(np.zeros((4, 4), np.uint8)))
    assert not read_mask(tmp_path, ["m.png"]).any()
    assert remarked(tmp_path, "m.png") == []


@pytest.mark.parametrize("top", [255, 60])
def test_a_jpeg_mask_is_cut_at_half_of_its_own_maximum(tmp_path: Path, top: int) -> None:
    blocks = np.kron(np.array([[0, 1, 0], [0, 0, 1]], np.uint8), np.ones((8, 8), np.uint8))
    Image.fromarray(blocks * np.uint8(top)).save(tmp_path / "m.jpg", quality=40)
    assert np.array_equal(read_mask(tmp_path, ["m.jpg"]), blocks > 0)


NOISE = np.random.default_rng(0).integers(0, 9, (40, 40), dtype=np.uint8)


def compressed_tiff(compression: str, **options: Any) -> bytes:
    """Return ``NOISE`` in colours, in a TIFF; by default nothing is lost."""
    file, colours = io.BytesIO(), np.repeat(NOISE[..., None], 3, axis=2)
    tifffile.imwrite(file, colours, photometric="rgb", compression=compression, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.tif", compressed_tiff("jpeg", compressionargs={"level": 95})),
        ("m.tif", compressed_tiff("webp", compressionargs={"level": 95, "lossless": False})),
        (
            "m.tif",
            compressed_tiff("jpeg2000", compressionargs={"level": 40, "reversible": False}),
        ),
        (
            "m.dcm",
            written(compressed(NOISE, [imagecodecs.jpeg8_encode(NOISE)], JPEGBaseline8Bit)),
        ),
    ],
    # The DICOM file holds an identifier that is drawn anew in every process.
    ids=["jpeg", "webp", "jpeg2000", "dicom"],
)
def test_the_noise_of_a_black_mask_that_lost_by_compression_is_no_lesion(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    assert not read_mask(tmp_path, [name]).any()
    assert remarked(tmp_path, name) == ["mask_levels"]


def test_the_noise_of_a_black_jpeg_is_no_lesion(tmp_path: Path) -> None:
    Image.fromarray(NOISE).save(tmp_path / "m.jpg", quality=95)
    assert not read_mask(tmp_path, ["m.jpg"]).any()
    assert remarked(tmp_path, "m.jpg") == ["mask_levels"]


@pytest.mark.parametrize("compression", ["webp", "jpeg2000", "zlib"])
def test_a_dark_mask_that_lost_nothing_is_a_lesion(tmp_path: Path, compression: str) -> None:
    (tmp_path / "m.tif").write_bytes(compressed_tiff(compression))
    assert read_mask(tmp_path, ["m.tif"]).any()


@pytest.mark.parametrize("lesion", [RED, GREEN, BLACK])
def test_of_a_palette_index_zero_is_the_background_even_where_it_is_white(
    tmp_path: Path, lesion: tuple[int, int, int]
) -> None:
    (tmp_path / "m.png").write_bytes(paletted(LESION, WHITE, lesion))
    assert np.array_equal(read_mask(tmp_path, ["m.png"]), LESION)
    (remark,) = read_lesion(tmp_path, ["m.png"]).remarks
    assert remark.kind == "palette_mask"
    assert "white" in remark.detail


def test_a_palette_that_opens_with_black_is_plain(tmp_path: Path) -> None:
    indices = LESION + disc(20, 30, 0.5, 0.5, 0.1)
    (tmp_path / "m.png").write_bytes(paletted(LESION * 1 + indices, BLACK, RED, GREEN))
    assert np.array_equal(read_mask(tmp_path, ["m.png"]), LESION)
    assert remarked(tmp_path, "m.png") == []


def test_where_no_pixel_has_index_zero_black_is_the_background(tmp_path: Path) -> None:
    content = paletted(np.where(LESION, 2, 1), WHITE, BLACK, RED)
    (tmp_path / "m.png").write_bytes(content)
    assert np.array_equal(read_mask(tmp_path, ["m.png"]), LESION)
    assert remarked(tmp_path, "m.png") == []


def test_a_class_that_its_palette_draws_black_is_lesion_and_warned_of(tmp_path: Path) -> None:
    (tmp_path / "m.png").write_bytes(paletted(LESION, BLACK, BLACK))
    assert np.array_equal(read_mask(tmp_path, ["m.png"]), LESION)
    assert remarked(tmp_path, "m.png") == ["palette_mask"]


def test_a_palette_can_be_read_by_its_colours(tmp_path: Path) -> None:
    content = paletted(~LESION, RED, BLACK)
    (tmp_path / "m.png").write_bytes(content)
    reading = Reading(mask_palette="colour")
    assert np.array_equal(read_mask(tmp_path, ["m.png"], reading=reading), LESION)


def test_a_palette_of_greys_is_a_grey_mask(tmp_path: Path) -> None:
    greys = [(level, level, level) for level in range(255, -1, -1)]
    (tmp_path / "m.png").write_bytes(paletted(255 - soft(), *greys))
    assert np.array_equal(read_mask(tmp_path, ["m.png"]), soft() >= 127.5)
    assert remarked(tmp_path, "m.png") == ["mask_levels"]


@pytest.mark.parametrize("shade", [0, 255])
def test_a_mask_of_one_colour_is_what_its_alpha_draws(tmp_path: Path, shade: int) -> None:
    colour = np.full((20, 30, 3), shade, np.uint8)
    drawn = np.dstack([colour, LESION * np.uint8(255)])
    (tmp_path / "m.png").write_bytes(png(drawn))
    assert np.array_equal(read_mask(tmp_path, ["m.png"]), LESION)
    assert remarked(tmp_path, "m.png") == ["alpha_mask"]


def test_the_alpha_of_a_mask_that_has_colours_is_never_looked_at(tmp_path: Path) -> None:
    drawn = np.dstack([LESION * np.uint8(255)] * 3 + [np.full((20, 30), 9, np.uint8)])
    (tmp_path / "m.png").write_bytes(png(drawn))
    assert np.array_equal(read_mask(tmp_path, ["m.png"]), LESION)
    assert remarked(tmp_path, "m.png") == []


def test_a_mask_that_holds_no_numbers_is_refused(tmp_path: Path) -> None:
    values = np.where(LESION, 1, np.nan).astype(np.float32)
    (tmp_path / "m.tif").write_bytes(tiff([values]))
    with pytest.raises(RejectedError, match="holds NaN"):
        read_mask(tmp_path, ["m.tif"])


def test_a_stack_of_masks_has_one_for_each_page_and_lacks_no_page_silently(
    tmp_path: Path,
) -> None:
    pages = [disc(20, 30, r=r) for r in (0.1, 0.3)]
    (tmp_path / "m.tif").write_bytes(tiff([page.astype(np.uint8) for page in pages]))
    for frame, page in enumerate(pages):
        assert np.array_equal(read_mask(tmp_path, ["m.tif"], frame), page)
    with pytest.raises(RejectedError, match="no frame 2"):
        read_mask(tmp_path, ["m.tif"], 2)


def test_the_classes_of_a_palette_are_its_indices(tmp_path: Path) -> None:
    classes = np.arange(12, dtype=np.uint8).reshape(3, 4) % 3
    (tmp_path / "m.png").write_bytes(paletted(classes, WHITE, RED, GREEN))
    assert np.array_equal(read_classes(tmp_path, ["m.png"]), classes)


def ingested(raw: Path, reading: Reading | None = None) -> Ingested:
    """Ingest a folder of one image and its mask, and one without."""
    source = ImageFolderConfig(
        layout="flat", mask_suffix="_mask", modality="other", reading=reading or Reading()
    )
    (raw / "a.png").write_bytes(png(scan(0, 20, 30)))
    (raw / "b.png").write_bytes(png(scan(1, 20, 30)))
    return ingest(raw, source, IngestConfig(workers=1), "t")


def test_ingest_warns_of_a_soft_mask_by_name_and_names_the_option(tmp_path: Path) -> None:
    (tmp_path / "a_mask.png").write_bytes(png(soft()))
    result = ingested(tmp_path)
    (warning,) = result.summary["warnings"]
    assert "'a_mask.png'" in warning
    assert "reading.mask_threshold" in warning
    share = result.manifest.set_index("path").loc["a.png", "lesion_share"]
    assert share == (soft() >= 127.5).mean()


def test_what_was_said_of_masks_holds_in_ingest(tmp_path: Path) -> None:
    (tmp_path / "a_mask.png").write_bytes(png(soft()))
    result = ingested(tmp_path, Reading(mask_threshold="any"))
    share = result.manifest.set_index("path").loc["a.png", "lesion_share"]
    assert share == (soft() > 0).mean()
    assert result.summary["warnings"] == []


def test_a_damaged_first_page_costs_no_other_page(tmp_path: Path) -> None:
    pages = [scan(seed, 20, 30) for seed in range(2, 5)]
    content = bytearray(tiff(pages))
    field = content.index(b"\x03\x01\x04\x00")  # the first page's compression
    content[field + 8] = 99
    (tmp_path / "stack.tif").write_bytes(bytes(content))
    source = ImageFolderConfig(layout="flat", modality="other")
    result = ingest(tmp_path, source, IngestConfig(max_reject_share=1.0, workers=1), "t")
    assert list(result.manifest["frame"]) == [1, 2]
    assert list(result.rejects["detail"].str.startswith("frame 0: ")) == [True]
