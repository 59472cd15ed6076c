"""TIFF: its numbers as they were meant, its pages, and what it must not get away with."""

import io
import itertools
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from tifffile import TiffPage

from maskwise.scans.pictures import frames_in, read_frame, read_image
from maskwise.scans.reasons import Reject, RejectedError
from scans.handmade import Order, tiff
from sources.drawing import scan

NUMBERS = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8")


def numbers(kind: str, shape: tuple[int, int] = (9, 14)) -> NDArray[Any]:
    """Return numbers over the whole range of a type, its two ends among them."""
    rng = np.random.default_rng(0)
    dtype = np.dtype(kind)
    if dtype.kind == "f":
        return rng.normal(0, 1000, shape).astype(dtype)
    ends = np.iinfo(dtype)
    found = rng.integers(ends.min, ends.max, shape, dtype=dtype, endpoint=True)
    found[0, :2] = ends.min, ends.max
    return found


def written(folder: Path, content: bytes) -> Path:
    """Write ``content`` as ``a.tif`` and return the folder."""
    (folder / "a.tif").write_bytes(content)
    return folder


def refusal(folder: Path, frame: int = 0, max_pixels: int = 10_000) -> Reject:
    """Return why ``a.tif`` is refused."""
    with pytest.raises(RejectedError) as caught:
        read_image(folder, "a.tif", frame, max_pixels)
    return caught.value.reject


@pytest.mark.parametrize(("kind", "order"), [*itertools.product(NUMBERS, "<>")])
def test_numbers_of_every_type_and_byte_order_are_those_that_were_written(
    tmp_path: Path, kind: str, order: Order
) -> None:
    values = numbers(kind)
    image = read_image(written(tmp_path, tiff([values], order=order)), "a.tif")
    assert image.dtype == values.dtype
    assert np.array_equal(image[..., 0], values)


@pytest.mark.parametrize(("kind", "order"), [*itertools.product(("u1", "u2", "u4"), "<>")])
def test_white_is_zero_is_turned_within_the_bits_of_a_sample(
    tmp_path: Path, kind: str, order: Order
) -> None:
    values = numbers(kind)
    written(tmp_path, tiff([values], photometric=0, order=order))
    largest = 256**values.dtype.itemsize - 1
    expected = [[largest - int(value) for value in row] for row in values]
    assert read_image(tmp_path, "a.tif")[..., 0].tolist() == expected


@pytest.mark.parametrize("kind", ["i2", "f4"])
def test_white_is_zero_of_numbers_without_a_white_is_refused_by_name(
    tmp_path: Path, kind: str
) -> None:
    written(tmp_path, tiff([numbers(kind)], photometric=0))
    assert refusal(tmp_path).reason == "unsupported"
    assert "WhiteIsZero" in refusal(tmp_path).detail


def test_a_tiff_that_does_not_say_what_white_is_is_refused(tmp_path: Path) -> None:
    written(tmp_path, tiff([numbers("u1")], tags={262: None}))
    assert "PhotometricInterpretation" in refusal(tmp_path).detail


@pytest.mark.parametrize("white_is_zero", [False, True])
@pytest.mark.parametrize(("bits", "factor"), [(1, 255), (2, 85), (4, 17), (12, 1)])
def test_packed_samples_are_stretched_to_eight_bits_or_kept_where_they_are_more(
    tmp_path: Path, bits: int, factor: int, white_is_zero: bool
) -> None:
    values = np.random.default_rng(0).integers(0, 2**bits, (9, 14), dtype=np.uint16)
    stored = values.astype(bool if bits == 1 else np.uint8 if bits < 8 else np.uint16)
    photometric = "miniswhite" if white_is_zero else "minisblack"
    depth: dict[str, Any] = {} if bits == 1 else {"bitspersample": bits}
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric=photometric, **depth)
    expected = (2**bits - 1 - values if white_is_zero else values) * factor
    decoded = read_frame(tmp_path, "a.tif", 0, 10_000)[1]
    assert np.array_equal(decoded.pixels[..., 0], expected)
    assert decoded.bits == bits


@pytest.mark.parametrize("layout", ["together", "apart", "tiles"])
@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_colour_keeps_its_bits_however_its_planes_lie(
    tmp_path: Path, layout: str, kind: str
) -> None:
    colour = np.random.default_rng(0).integers(0, np.iinfo(kind).max, (40, 50, 3)).astype(kind)
    stored = np.moveaxis(colour, 2, 0) if layout == "apart" else colour
    hows: dict[str, dict[str, Any]] = {
        "together": {"compression": "lzw", "predictor": True},
        "apart": {"planarconfig": "separate"},
        "tiles": {"tile": (16, 32), "compression": "deflate"},
    }
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", **hows[layout])
    assert np.array_equal(read_image(tmp_path, "a.tif"), colour)


@pytest.mark.parametrize("scale", [257, 1])
def test_a_palette_becomes_its_colours_also_where_it_was_filled_with_eight_bits(
    tmp_path: Path, scale: int
) -> None:
    palette = np.random.default_rng(0).integers(0, 256, (3, 256), dtype=np.uint16)
    indices = numbers("u1")
    colours = palette * np.uint16(scale)
    tifffile.imwrite(tmp_path / "a.tif", indices, photometric="palette", colormap=colours)
    decoded = read_frame(tmp_path, "a.tif", 0, 10_000)[1]
    expected = [[[int(palette[c, i]) for c in range(3)] for i in row] for row in indices]
    assert decoded.pixels.tolist() == expected
    assert decoded.indices is not None
    assert np.array_equal(decoded.indices, indices)


def test_a_big_tiff_is_read(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", numbers("u2"), bigtiff=True, photometric="minisblack")
    assert np.array_equal(read_image(tmp_path, "a.tif")[..., 0], numbers("u2"))


@pytest.mark.parametrize("kind", ["jpeg", "tiff_adobe_deflate", "packbits"])
def test_compressed_colour_is_what_another_library_makes_of_it(
    tmp_path: Path, kind: str
) -> None:
    colour = np.dstack([scan(seed, 40, 50) for seed in range(3)])
    Image.fromarray(colour).save(tmp_path / "a.tif", compression=kind)
    with Image.open(tmp_path / "a.tif") as image:
        assert np.array_equal(read_image(tmp_path, "a.tif"), np.asarray(image))


def test_a_fax_is_black_and_white(tmp_path: Path) -> None:
    drawn = scan(0, 40, 50) > 128
    Image.fromarray(drawn).save(tmp_path / "a.tif", compression="group4")
    assert np.array_equal(read_image(tmp_path, "a.tif")[..., 0], np.where(drawn, 255, 0))


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    inks = np.array([[[255, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 255]]], np.uint8)
    Image.fromarray(inks, "CMYK").save(tmp_path / "a.tif")
    assert read_image(tmp_path, "a.tif").tolist() == [[[0, 255, 255], [255] * 3, [0] * 3]]


@pytest.mark.parametrize(("declared", "remarks"), [("unassalpha", 0), ("unspecified", 1)])
def test_a_sample_beside_colour_is_left_out_with_a_remark_unless_it_is_alpha(
    tmp_path: Path, declared: str, remarks: int
) -> None:
    colour = np.random.default_rng(0).integers(0, 256, (9, 14, 4), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", colour, photometric="rgb", extrasamples=[declared])
    decoded = read_frame(tmp_path, "a.tif", 0, 10_000)[1]
    assert np.array_equal(decoded.pixels, colour[..., :3])
    assert [remark.kind for remark in decoded.remarks] == ["further_samples"] * remarks


def write_volume(path: Path, stack: NDArray[np.uint16]) -> None:
    tifffile.imwrite(path, stack, volumetric=True, photometric="minisblack")


def write_channels(path: Path, stack: NDArray[np.uint16]) -> None:
    channels = np.moveaxis(stack, 0, 2)
    tifffile.imwrite(path, channels, photometric="minisblack", planarconfig="contig")


def write_complex(path: Path, stack: NDArray[np.uint16]) -> None:
    tifffile.imwrite(path, stack[0].astype(np.complex64))


def write_lab(path: Path, stack: NDArray[np.uint16]) -> None:
    colour = Image.fromarray(stack[:3].astype(np.uint8).transpose(1, 2, 0).copy(), "LAB")
    colour.save(path)


def write_compressed_channels(path: Path, stack: NDArray[np.uint16]) -> None:
    channels = np.moveaxis(stack, 0, -1)
    options: dict[str, Any] = {"photometric": "minisblack", "planarconfig": "contig"}
    tifffile.imwrite(path, channels, compression="jpeg2000", **options)


def write_slide(path: Path, stack: NDArray[np.uint16]) -> None:
    tifffile.imwrite(path, stack[0], description="Aperio Image Library v1", metadata=None)


@pytest.mark.parametrize(
    "write",
    [
        write_volume,
        write_channels,
        write_compressed_channels,
        write_complex,
        write_lab,
        write_slide,
    ],
)
def test_a_kind_of_image_that_is_not_read_is_refused_by_name(
    tmp_path: Path, write: Any
) -> None:
    write(tmp_path / "a.tif", np.zeros((5, 16, 16), np.uint16))
    assert refusal(tmp_path).reason == "unsupported"


def test_a_compression_that_is_not_read_is_named(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", numbers("u1"), compression="lerc")
    assert (refusal(tmp_path).reason, "LERC" in refusal(tmp_path).detail) == (
        "no_decoder",
        True,
    )


def test_each_of_many_pages_is_parsed_as_often_as_each_of_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[int] = []
    parse = TiffPage.__init__

    def counting(page: TiffPage, *args: Any, **options: Any) -> None:
        parsed.append(1)
        parse(page, *args, **options)

    monkeypatch.setattr(TiffPage, "__init__", counting)
    each = {}
    for count in (10, 40):
        name = f"{count}.tif"
        pages = [np.full((2, 2), page, np.uint16) for page in range(count)]
        (tmp_path / name).write_bytes(tiff(pages))
        parsed.clear()
        read = [int(read_image(tmp_path, name, page)[0, 0, 0]) for page in range(count)]
        assert read == list(range(count))
        each[count] = len(parsed) / count
    assert each[40] <= each[10]


def test_the_bytes_of_a_page_are_its_own_and_of_an_only_page_the_files(tmp_path: Path) -> None:
    pages = [numbers("u2"), numbers("u2") // 2]
    content = tiff(pages)
    written(tmp_path, content)
    assert read_frame(tmp_path, "a.tif", 1, 10_000)[0] == pages[1].tobytes()
    (tmp_path / "b.tif").write_bytes(tiff(pages[:1]))
    assert read_frame(tmp_path, "b.tif", 0, 10_000)[0] == tiff(pages[:1])


def test_pages_may_differ_in_size_and_type(tmp_path: Path) -> None:
    pages = [numbers("u1", (3, 4)), numbers("f4", (7, 2))]
    written(tmp_path, tiff(pages))
    for frame, page in enumerate(pages):
        assert np.array_equal(read_image(tmp_path, "a.tif", frame)[..., 0], page)


@pytest.mark.parametrize("subfile", [1, 4])
def test_smaller_copies_and_masks_of_a_page_are_no_frames_and_that_is_said(
    tmp_path: Path, subfile: int
) -> None:
    aside = numbers("u1")[::2, ::2]
    pages = [numbers("u1"), aside > 9 if subfile == 4 else aside, numbers("u1")[::-1]]
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for page, kind in zip(pages, (0, subfile, 0), strict=True):
            writer.write(page, subfiletype=kind, photometric="minisblack", metadata=None)
    assert frames_in(tmp_path, "a.tif") == 2
    decoded = read_frame(tmp_path, "a.tif", 1, 10_000)[1]
    assert np.array_equal(decoded.pixels[..., 0], pages[2])
    assert [remark.kind for remark in decoded.remarks] == ["further_pictures"]


def test_levels_of_a_pyramid_in_sub_directories_are_no_frames(tmp_path: Path) -> None:
    whole = numbers("u1", (32, 32))
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(whole, subifds=1, photometric="minisblack")
        writer.write(whole[::2, ::2], subfiletype=1, photometric="minisblack")
    decoded = read_frame(tmp_path, "a.tif", 0, 10_000)[1]
    assert (decoded.frames, decoded.pixels.shape) == (1, (32, 32, 1))


def test_a_file_of_nothing_but_smaller_copies_is_refused(tmp_path: Path) -> None:
    written(tmp_path, tiff([numbers("u1")], tags={254: 1}))
    assert refusal(tmp_path).reason == "unsupported"


def write_stack(path: Path, stack: NDArray[np.uint16], imagej: bool) -> None:
    """Write all planes behind one directory."""
    with tifffile.TiffWriter(path, imagej=imagej) as writer:
        writer.write(stack, photometric="minisblack", truncate=True)


@pytest.mark.parametrize("imagej", [False, True])
def test_all_planes_behind_one_directory_are_frames(tmp_path: Path, imagej: bool) -> None:
    stack = np.random.default_rng(0).integers(0, 65536, (5, 9, 14), dtype=np.uint16)
    write_stack(tmp_path / "a.tif", stack, imagej)
    assert frames_in(tmp_path, "a.tif") == 5
    for frame, plane in enumerate(stack):
        assert np.array_equal(read_image(tmp_path, "a.tif", frame)[..., 0], plane)
    assert "no frame 5" in refusal(tmp_path, 5).detail


@pytest.mark.parametrize("imagej", [False, True])
def test_planes_that_are_promised_and_not_there_are_damage(
    tmp_path: Path, imagej: bool
) -> None:
    write_stack(tmp_path / "a.tif", np.ones((5, 90, 140), np.uint16), imagej)
    whole = (tmp_path / "a.tif").read_bytes()
    written(tmp_path, whole[: len(whole) // 2])
    assert (refusal(tmp_path).reason, "promises 5" in refusal(tmp_path).detail) == (
        "damaged",
        True,
    )


@pytest.mark.parametrize("last", [8, 10**6])
def test_a_chain_of_pages_that_is_a_circle_or_leads_nowhere_is_damaged(
    tmp_path: Path, last: int
) -> None:
    pages = [np.zeros((2, 2), np.uint8)] * 150
    content = bytearray(tiff(pages, last=last))
    if last == 8:  # back to a page behind the hundredth
        offset = 4
        for _ in range(120):
            (offset,) = struct.unpack_from("<I", content, offset)
            (tags,) = struct.unpack_from("<H", content, offset)
            back, offset = offset, offset + 2 + 12 * tags
        struct.pack_into("<I", content, len(content) - 4, back)
    written(tmp_path, bytes(content))
    assert refusal(tmp_path).reason == "damaged"


@pytest.mark.parametrize("tag", [273, 279])
def test_a_strip_that_is_not_there_is_damage_and_not_black(tmp_path: Path, tag: int) -> None:
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer, numbers("u1", (40, 40)), compression="deflate", photometric="minisblack"
    )
    content = bytearray(buffer.getvalue())
    (directory,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, directory)
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        if struct.unpack_from("<H", content, entry)[0] == tag:
            struct.pack_into("<I", content, entry + 8, 0)
    written(tmp_path, bytes(content))
    assert refusal(tmp_path).reason == "damaged"


@pytest.mark.parametrize("side", [101, 60_000, 2**31 - 1])
@pytest.mark.parametrize("tags", [(256, 257), (322, 323)])
def test_a_page_or_tile_that_claims_terabytes_is_refused_before_it_is_made(
    tmp_path: Path, tags: tuple[int, int], side: int
) -> None:
    side = side if tags == (256, 257) or side > 101 else 3000
    written(tmp_path, tiff([np.zeros((4, 4), np.uint16)], tags=dict.fromkeys(tags, side)))
    assert refusal(tmp_path).reason == "too_large"


def test_a_jpeg_inside_that_claims_another_size_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(scan(0, 16, 16)).save(buffer, "JPEG")
    content = bytearray(buffer.getvalue())
    start = content.index(b"\xff\xc0") + 5
    struct.pack_into(">HH", content, start, 65_000, 65_000)
    strip = np.frombuffer(bytes(content), np.uint8)[None]
    written(tmp_path, tiff([strip], tags={256: 16, 257: 16, 259: 7, 278: 16}))
    assert "65000 x 65000" in refusal(tmp_path).detail


def test_a_tiff_says_nothing_on_its_own(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    written(tmp_path, tiff([numbers("u1")], tags={273: 10**8, 274: 77}, last=10**8))
    refusal(tmp_path)
    assert (capfd.readouterr().err, caplog.records) == ("", [])


def test_a_tiff_of_many_pages_under_another_name_is_read_page_by_page(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(tiff([numbers("u1"), numbers("u1")[::-1]]))
    assert np.array_equal(read_image(tmp_path, "a.png", 1)[..., 0], numbers("u1")[::-1])
