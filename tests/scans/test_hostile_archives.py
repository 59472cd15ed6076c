"""Archives that were damaged on their way, or made to harm, are refused with one message."""

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from maskwise.ingest.sources.medmnist import MedmnistConfig
from maskwise.scans.pictures import read_image
from maskwise.scans.reasons import RejectedError
from sources.drawing import scan

PICTURES = np.stack([scan(seed, 28, 28) for seed in range(12)])
LABELS = (np.arange(12) % 2).astype(np.uint8)[:, None]


def member(
    shape: object,
    data: bytes = b"",
    kind: str = "|u1",
    version: tuple[int, int] = (1, 0),
    header: str = "{'descr': %r, 'fortran_order': False, 'shape': %r}",
) -> bytes:
    """Return an array's bytes whose header may say anything."""
    text = (header % (kind, shape) if "%" in header else header).encode() + b"\n"
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H", len(text)) + text + data


def archive(
    images: bytes = member(PICTURES.shape, PICTURES.tobytes()),
    labels: bytes = member(LABELS.shape, LABELS.tobytes()),
    compression: int = zipfile.ZIP_DEFLATED,
) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        file.writestr("train_images.npy", images)
        file.writestr("train_labels.npy", labels)
    return buffer.getvalue()


def refusal(raw: Path, content: bytes) -> str:
    """Return why the source refuses the archive as a whole."""
    (raw / "a.npz").write_bytes(content)
    with pytest.raises(RejectedError) as caught:
        MedmnistConfig().listing(raw)
    assert caught.value.reject.reason == "damaged"
    return str(caught.value)


def flipped(content: bytes, inside: int) -> bytes:
    """Change 40 bytes so far behind the images' name."""
    damaged = bytearray(content)
    start = content.find(b"train_images.npy") + len("train_images.npy") + inside
    for place in range(start, start + 40):
        damaged[place] ^= 0xFF
    return bytes(damaged)


@pytest.mark.parametrize(
    "compression",
    [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA],
)
@pytest.mark.parametrize("inside", [0, 200, 1500])
def test_an_archive_with_changed_bytes_is_refused_whatever_its_compression(
    tmp_path: Path, compression: int, inside: int
) -> None:
    assert "a.npz: is no" in refusal(
        tmp_path, flipped(archive(compression=compression), inside)
    )


def test_no_pixel_of_a_damaged_archive_is_taken(tmp_path: Path) -> None:
    damaged = flipped(archive(compression=zipfile.ZIP_STORED), 1500)
    (tmp_path / "a.npz").write_bytes(damaged)
    for frame in (0, 11):
        with pytest.raises(RejectedError, match="is not a readable"):
            read_image(tmp_path, "a.npz", frame)


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    content = bytearray(archive())
    content[6] |= 1
    content[content.find(b"PK\x01\x02") + 8] |= 1
    assert "is not a readable" in refusal(tmp_path, bytes(content))


@pytest.mark.parametrize(
    "images",
    [
        member((12, 28, 28), PICTURES.tobytes(), version=(3, 0)),
        member((12, 28, 28), PICTURES.tobytes(), version=(9, 0)),
        member(0, header="{'descr': ((("),
        member(0, header="(" * 5000),
        member((12, 0, 28)),
        member((12,), bytes(12)),
        member((), bytes(1)),
        member((-12, -28, 28), PICTURES.tobytes()),
        member((10**8, 0, 0)),
        member((12, 28, 28), bytes(9408), kind="|O"),
    ],
    ids=["v3", "v9", "syntax", "deep", "no height", "flat", "scalar", "negative", "many", "O"],
)
def test_images_whose_header_cannot_be_true_are_refused(tmp_path: Path, images: bytes) -> None:
    assert "is not a readable" in refusal(tmp_path, archive(images))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (member((), b"\0"), "has the shape"),
        (member((12, 0)), "has the shape"),
        (member((12, 1), np.full(12, np.nan).tobytes(), "<f8"), "whole numbers"),
        (member((12, 1), np.full(12, np.inf).tobytes(), "<f8"), "whole numbers"),
    ],
)
def test_labels_that_name_no_class_are_refused(
    tmp_path: Path, labels: bytes, said: str
) -> None:
    message = refusal(tmp_path, archive(labels=labels))
    assert "train_labels.npy cannot be read" in message
    assert said in message


def test_more_frames_than_any_archive_holds_are_refused_by_the_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maskwise.scans.archive.MOST_FRAMES", 11)
    assert "has the shape (12, 28, 28)" in refusal(tmp_path, archive())


def test_a_frame_that_an_archive_has_not_is_named_with_how_many_there_are(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.npz").write_bytes(archive())
    with pytest.raises(RejectedError, match=r"has 12 frames, so there is no frame 12 .damaged"):
        read_image(tmp_path, "a.npz", 12)


def test_a_frame_larger_than_asked_for_is_refused_by_the_header(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(archive())
    with pytest.raises(RejectedError, match=r"28 x 28 pixels are more than max_pixels = 783 "):
        read_image(tmp_path, "a.npz", 0, 783)
