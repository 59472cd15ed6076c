"""Images inside ZIP archives: read where they lie, and what hostile archives are told."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from maskwise.scans.pictures import read_frame
from maskwise.scans.raw import looks_like_image, walk_zip
from maskwise.scans.reasons import RejectedError
from sources.drawing import save, scan

INSIDE = "images.zip/CT/a b%0 ü.png"


def write_zip(raw: Path, size: int = 1) -> Path:
    """Write an archive with one picture, and what must not be taken from it."""
    picture = save(scan(1), raw / "a.png")
    with zipfile.ZipFile(raw / "images.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(picture, INSIDE.partition("/")[2])
        archive.writestr("__MACOSX/CT/._a.png", b"\0")
        archive.writestr("../outside.png", b"\0")
        archive.writestr("CT/.hidden.png", b"\0")
        archive.writestr("CT/large.png", bytes(size))
    return raw / "images.zip"


def reason(raw: Path, path: str, max_pixels: int = 10**6) -> tuple[str, str]:
    with pytest.raises(RejectedError) as told:
        read_frame(raw, path, 0, max_pixels)
    return told.value.reject.reason, told.value.reject.detail


def test_a_picture_in_an_archive_is_the_picture_that_was_put_there(tmp_path: Path) -> None:
    write_zip(tmp_path)
    assert looks_like_image(tmp_path, INSIDE)
    data, decoded = read_frame(tmp_path, INSIDE, 0, 10**6)
    assert data == (tmp_path / "a.png").read_bytes()
    assert np.array_equal(decoded.pixels[..., 0], scan(1))


def test_hidden_names_and_names_that_lead_out_are_not_listed(tmp_path: Path) -> None:
    write_zip(tmp_path)
    assert walk_zip(tmp_path, "images.zip") == [INSIDE, "images.zip/CT/large.png"]


def test_a_member_of_more_bytes_than_its_pixels_explain_is_refused_unread(
    tmp_path: Path,
) -> None:
    write_zip(tmp_path, size=3 * 2**20)
    assert reason(tmp_path, "images.zip/CT/large.png", max_pixels=10) == (
        "too_large",
        "more than 1,048,736 bytes",
    )


def test_a_changed_archive_is_read_anew(tmp_path: Path) -> None:
    write_zip(tmp_path)
    read_frame(tmp_path, INSIDE, 0, 10**6)
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        buffer = save(scan(2), tmp_path / "b.png").read_bytes()
        archive.writestr(INSIDE.partition("/")[2], buffer)
    pixels = read_frame(tmp_path, INSIDE, 0, 10**6)[1].pixels
    assert np.array_equal(pixels[..., 0], scan(2))


def test_what_cannot_be_read_out_of_an_archive_is_refused_by_name(tmp_path: Path) -> None:
    archive = write_zip(tmp_path)
    assert reason(tmp_path, "images.zip/none.png")[0] == "missing_file"
    assert reason(tmp_path, "none.zip/none.png")[0] == "missing_file"
    whole = bytearray(archive.read_bytes())
    entry = whole.index(b"PK\x01\x02")
    whole[entry + 8] |= 1  # the flag of an encrypted member, in the archive's directory
    archive.write_bytes(whole)
    assert reason(tmp_path, INSIDE) == (
        "damaged",
        "is encrypted; unpack the archive with its password",
    )
    archive.write_bytes(b"PK\x03\x04" + bytes(50))
    assert reason(tmp_path, INSIDE)[0] == "damaged"


def test_a_folder_may_be_called_like_an_archive(tmp_path: Path) -> None:
    save(scan(3), tmp_path / "x.zip" / "a.png")
    assert np.array_equal(
        read_frame(tmp_path, "x.zip/a.png", 0, 10**6)[1].pixels[..., 0], scan(3)
    )


def test_an_archive_that_leads_out_of_the_raw_folder_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "images.zip").symlink_to(write_zip(tmp_path))
    assert reason(tmp_path / "raw", INSIDE)[0] == "link"
