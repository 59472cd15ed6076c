"""Pixels and masks out of the raw folder, whatever the format, and nothing from outside it."""

import contextlib
import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from maskwise.errors import UserError
from maskwise.scans.decode import FORMATS
from maskwise.scans.mask_files import read_mask
from maskwise.scans.pictures import read_frame, read_image
from maskwise.scans.raw import check_raw, walk
from maskwise.scans.reasons import RejectedError
from scans.handmade import chunk, png
from sources import medmnist
from sources.drawing import disc, save, save_mask, scan

PICTURE = scan(1, 20, 30)


def reason(raw: Path, path: str, max_pixels: int = 10_000) -> str:
    """Return why ``path`` is refused."""
    with pytest.raises(RejectedError) as caught:
        read_image(raw, path, 0, max_pixels)
    return caught.value.reject.reason


def encoded(format_name: str, picture: NDArray[np.uint8] = PICTURE) -> bytes:
    """Return ``picture`` as the bytes of a file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format_name)
    return buffer.getvalue()


@pytest.mark.parametrize("format_name", [name for name in FORMATS if name != "JPEG"])
def test_a_lossless_format_gives_back_its_pixels(tmp_path: Path, format_name: str) -> None:
    (tmp_path / "image.dat").write_bytes(encoded(format_name))
    assert np.array_equal(read_image(tmp_path, "image.dat")[..., 0], PICTURE)


def test_a_jpeg_named_png_is_read_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(encoded("JPEG"))
    difference = read_image(tmp_path, "image.png")[..., 0].astype(int) - PICTURE
    assert np.abs(difference).mean() < 5


@pytest.mark.parametrize(
    ("mode", "channels"), [("L", 1), ("LA", 1), ("P", 3), ("RGB", 3), ("RGBA", 3), ("1", 1)]
)
def test_every_mode_becomes_one_or_three_channels(
    tmp_path: Path, mode: str, channels: int
) -> None:
    save(PICTURE, tmp_path / "a.png", mode)
    assert read_image(tmp_path, "a.png").shape == (20, 30, channels)


def test_alpha_is_never_a_channel_nor_mixed_in(tmp_path: Path) -> None:
    colour = np.dstack([PICTURE, PICTURE, PICTURE, np.zeros_like(PICTURE)])
    Image.fromarray(colour).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path, "a.png"), colour[..., :3])


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_sixteen_bits_survive(tmp_path: Path, name: str) -> None:
    deep = (PICTURE.astype(np.uint16) << 8) + 7
    Image.fromarray(deep).save(tmp_path / name)
    image = read_image(tmp_path, name)
    assert image.dtype == np.uint16
    assert np.array_equal(image[..., 0], deep)


@pytest.mark.parametrize("channels", [2, 3, 4])
@pytest.mark.parametrize("aside", [b"", chunk(b"gAMA", b"\0\0\xb1\x8f")])
def test_a_png_of_sixteen_bits_keeps_them_in_colour_and_beside_alpha(
    tmp_path: Path, channels: int, aside: bytes
) -> None:
    shape = (20, 30, channels)
    deep = np.random.default_rng(0).integers(0, 65536, shape, dtype=np.uint16)
    (tmp_path / "a.png").write_bytes(png(deep, before=aside))
    expected = deep[..., : 1 if channels == 2 else 3]
    assert np.array_equal(read_image(tmp_path, "a.png"), expected)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_a_png_of_sixteen_bits_cut_off_is_damaged_without_a_word(
    tmp_path: Path, channels: int, capfd: pytest.CaptureFixture[str]
) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (20, 30, channels), dtype=np.uint16)
    (tmp_path / "a.png").write_bytes(png(deep)[:500])
    assert reason(tmp_path, "a.png") == "damaged"
    assert capfd.readouterr().err == ""


def test_a_transparent_colour_of_a_png_is_no_channel(tmp_path: Path) -> None:
    colour = np.dstack([PICTURE] * 3)
    (tmp_path / "a.png").write_bytes(png(colour, before=chunk(b"tRNS", bytes(6))))
    assert np.array_equal(read_image(tmp_path, "a.png"), colour)


@pytest.mark.parametrize("format_name", ["PNG", "MPO"])
def test_of_several_pictures_the_first_is_read_and_that_is_said(
    tmp_path: Path, format_name: str
) -> None:
    first, *others = (Image.fromarray(scan(seed, 20, 30)) for seed in range(3))
    first.save(tmp_path / "a", format_name, save_all=True, append_images=others)
    decoded = read_frame(tmp_path, "a", 0, 10_000)[1]
    assert np.abs(decoded.pixels[..., 0].astype(int) - scan(0, 20, 30)).mean() < 5
    assert [remark.kind for remark in decoded.remarks] == ["further_pictures"]
    assert decoded.format == {"PNG": "PNG", "MPO": "JPEG"}[format_name]


def test_each_page_of_a_tiff_is_a_frame(tmp_path: Path) -> None:
    pages = [Image.fromarray(scan(seed, 20, 30)) for seed in range(3)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    assert np.array_equal(read_image(tmp_path, "stack.tif", 2)[..., 0], scan(2, 20, 30))


def test_behind_its_pages_each_channel_of_a_colour_tiff_is_had_alone(tmp_path: Path) -> None:
    colour = np.dstack([scan(seed, 20, 30) for seed in range(3)])
    Image.fromarray(colour).save(tmp_path / "a.tif")
    for channel in range(3):
        image = read_image(tmp_path, "a.tif", 1 + channel)
        assert np.array_equal(image, colour[..., channel, None])
    with pytest.raises(RejectedError, match="no frame 4"):
        read_image(tmp_path, "a.tif", 4)


@pytest.mark.parametrize("name", ["grey.tif", "colour.png"])
def test_what_has_no_such_channel_has_no_such_frame(tmp_path: Path, name: str) -> None:
    save(PICTURE, tmp_path / name, "RGB" if name == "colour.png" else "L")
    with pytest.raises(RejectedError, match="no frame 1"):
        read_image(tmp_path, name, 1)


@pytest.mark.parametrize("order", [range(22), reversed(range(22))])
def test_frames_of_an_archive_equal_numpys_own_reading(
    tmp_path: Path, order: "range | reversed[int]"
) -> None:
    medmnist.write(tmp_path)
    with np.load(tmp_path / "breastmnist.npz", allow_pickle=False) as arrays:
        frames = np.concatenate([arrays[f"{part}_images"] for part in ("train", "val", "test")])
    for frame in order:
        assert np.array_equal(
            read_image(tmp_path, "breastmnist.npz", frame)[..., 0], frames[frame]
        )


def test_an_archive_that_would_have_to_be_unpickled_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "evil.npz", train_images=np.array([{"a": 1}], dtype=object))
    assert reason(tmp_path, "evil.npz") == "damaged"


def test_an_archive_cut_off_is_refused(tmp_path: Path) -> None:
    medmnist.write(tmp_path)
    whole = (tmp_path / "breastmnist.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    assert reason(tmp_path, "half.npz") == "damaged"


def test_an_empty_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    assert reason(tmp_path, "a.png") == "empty"


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_file_cut_off_in_the_middle_is_damaged(tmp_path: Path, format_name: str) -> None:
    data = encoded(format_name, scan(1, 60, 80))
    (tmp_path / "a").write_bytes(data[: len(data) // 2])
    assert reason(tmp_path, "a") == "damaged"


def test_random_bytes_behind_a_header_are_damaged_and_nothing_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    taken = []
    for format_name in FORMATS:
        data = bytearray(encoded(format_name))
        for trial in range(20):
            data[12:] = rng.bytes(len(data) - 12)
            (tmp_path / f"{trial}").write_bytes(data)
            with contextlib.suppress(RejectedError):  # some noise is a picture of noise
                taken.append(read_image(tmp_path, f"{trial}", 0, 10_000))
    assert len(taken) < 20 * len(FORMATS)
    assert all(pixels.size <= 4 * 10_000 for pixels in taken)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"GIF89a" + b"0" * 200, "GIF"),
        (b"\0" * 128 + b"DICM" + b"0" * 20, "DICOM"),
        (b"PK\x03\x04" + b"0" * 200, "ZIP"),
        (b"hello, this is a text", "none of PNG"),
    ],
)
def test_other_content_under_an_images_name_is_told_apart(
    tmp_path: Path, content: bytes, said: str
) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(RejectedError, match=said):
        read_image(tmp_path, "a.png")


def bomb(width: int, height: int) -> bytes:
    """Return a tiny PNG whose header promises ``width x height`` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000)))


@pytest.mark.parametrize("side", [101, 12_000, 60_000])
def test_a_decompression_bomb_is_refused_by_its_header(tmp_path: Path, side: int) -> None:
    (tmp_path / "bomb.png").write_bytes(bomb(side, side))
    assert reason(tmp_path, "bomb.png", max_pixels=10_000) == "too_large"


def test_an_image_of_exactly_the_limit_is_taken(tmp_path: Path) -> None:
    save(PICTURE, tmp_path / "a.png")
    assert read_image(tmp_path, "a.png", 0, 600).shape == (20, 30, 1)
    assert reason(tmp_path, "a.png", max_pixels=599) == "too_large"


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(2**33)  # sparse: takes no room
    assert reason(tmp_path, "a.png") == "too_large"


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    save(PICTURE, tmp_path / "outside.png")
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "a.png").symlink_to("../outside.png")
    assert reason(raw, "a.png") == "link"
    assert walk(raw)[1][0].reason == "link"


@pytest.mark.parametrize("path", ["../outside.png", "/etc/hostname"])
def test_a_path_out_of_the_folder_is_not_opened(tmp_path: Path, path: str) -> None:
    save(PICTURE, tmp_path / "outside.png")
    (tmp_path / "raw").mkdir()
    assert reason(tmp_path / "raw", path) == "link"


def test_a_link_inside_the_folder_is_followed(tmp_path: Path) -> None:
    save(PICTURE, tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to("a.png")
    assert walk(tmp_path) == (["a.png", "b.png"], [])
    assert np.array_equal(read_image(tmp_path, "b.png")[..., 0], PICTURE)


@pytest.mark.parametrize("target", ["nowhere.png", "folder", "self.png"])
def test_a_link_to_nowhere_to_a_folder_or_to_itself_is_reported(
    tmp_path: Path, target: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "self.png").symlink_to(target)
    files, rejects = walk(tmp_path)
    assert (files, [reject.reason for reject in rejects]) == ([], ["link"])


def test_a_pipe_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    assert walk(tmp_path)[1][0].reason == "not_a_file"
    assert reason(tmp_path, "a.png") == "not_a_file"  # opening it would hang


def test_a_file_without_read_permission_is_unreadable(unprivileged: Path) -> None:
    save(PICTURE, unprivileged / "a.png").chmod(0)
    assert reason(unprivileged, "a.png") == "unreadable"


def test_a_name_too_long_for_the_system_is_unreadable(tmp_path: Path) -> None:
    assert reason(tmp_path, "a" * 300 + ".png") == "unreadable"


def test_a_name_that_is_no_text_is_reported(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.png")).write_bytes(encoded("PNG"))
    assert [(r.path, r.reason) for r in walk(tmp_path)[1]] == [("caf\\udce9.png", "bad_name")]


def test_hidden_files_and_a_desktops_litter_are_passed_over(tmp_path: Path) -> None:
    for name in (".DS_Store", "._a.png", "Thumbs.db", "__MACOSX/a.png", "a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(encoded("PNG"))
    assert walk(tmp_path) == (["a.png"], [])


@pytest.mark.parametrize("made", [False, True])
def test_an_absent_or_empty_folder_stops_with_the_way_on(tmp_path: Path, made: bool) -> None:
    raw = tmp_path / "raw"
    if made:
        raw.mkdir()
        (raw / ".gitkeep").touch()
    with pytest.raises(UserError, match=r"raw: .*(no such folder|is empty); read the docs"):
        check_raw(raw, "read the docs")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_masks_of_every_mode_give_the_same_answer(tmp_path: Path, mode: str) -> None:
    lesion = disc(20, 30)
    save_mask(lesion, tmp_path / "m.png", mode)
    assert np.array_equal(read_mask(tmp_path, ["m.png"]), lesion)


def test_a_mask_of_zeros_and_ones_and_one_of_sixteen_bits_are_masks_too(tmp_path: Path) -> None:
    lesion = disc(20, 30)
    Image.fromarray(lesion.astype(np.uint8)).save(tmp_path / "ones.png")
    Image.fromarray(lesion.astype(np.uint16) * 300).save(tmp_path / "deep.tif")
    for name in ("ones.png", "deep.tif"):
        assert np.array_equal(read_mask(tmp_path, [name]), lesion)


def test_the_noise_round_a_jpeg_mask_is_no_lesion(tmp_path: Path) -> None:
    lesion = disc(20, 30)
    buffer = Image.fromarray(lesion.astype(np.uint8) * np.uint8(255))
    buffer.save(tmp_path / "m.jpg", quality=60)
    assert (read_mask(tmp_path, ["m.jpg"]) != lesion).mean() < 0.01


def test_several_masks_are_united_and_an_overlap_counts_once(tmp_path: Path) -> None:
    first, second = disc(20, 30, x=0.3, r=0.4), disc(20, 30, x=0.6, r=0.4)
    save_mask(first, tmp_path / "a.png")
    save_mask(second, tmp_path / "b.png")
    union = read_mask(tmp_path, ["a.png", "b.png"])
    assert union.sum() < first.sum() + second.sum()
    assert np.array_equal(union, first | second)


def test_two_masks_of_two_sizes_are_refused(tmp_path: Path) -> None:
    save_mask(disc(20, 30), tmp_path / "a.png")
    save_mask(disc(21, 30), tmp_path / "b.png")
    with pytest.raises(
        RejectedError, match=r"b\.png: the mask is 30 x 21 pixels, a\.png 30 x 20"
    ):
        read_mask(tmp_path, ["a.png", "b.png"])
