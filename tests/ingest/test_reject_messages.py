"""Every reason for leaving a file out, in the words that its row of ``rejects.csv`` has."""

import os
import re
import struct
import zlib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from maskwise.config import choose
from maskwise.ingest.measure import Job, Task, measure
from maskwise.ingest.sources import SOURCES
from maskwise.ingest.sources.image_folder import ImageFolderConfig
from maskwise.ingest.stage import IngestConfig, ingest
from sources.drawing import disc, save, save_mask, scan

RAISE = r"; raise ingest\.max_pixels \(to 89,478,485 at most\) or make the file smaller"

Spoil = Callable[[Path], object]
Details = dict[tuple[str, str], list[str]]
"""``(path, reason)`` of the rejects -> their details."""


def large(path: Path) -> None:
    save(scan(9, 100, 101), path)


def long(path: Path) -> None:
    path.write_bytes(save(scan(9), path).read_bytes() + bytes(2**21))


def bomb(path: Path) -> None:
    """Write a picture of 10 gigapixels, as its header says."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data))
            + kind
            + data
            + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")))


def cut(path: Path) -> None:
    whole = save(scan(9), path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def masked(spoil: Spoil) -> Spoil:
    """Return what writes an image, and beside it a mask that is spoilt."""

    def write(path: Path) -> None:
        save(scan(9), path)
        spoil(save_mask(disc(48, 64), path.with_name(f"{path.stem}_mask.png")))

    return write


IN_A_FOLDER: dict[str, tuple[str, Spoil, str]] = {
    "a/notes.txt": (
        "other_file",
        lambda path: path.write_text("x"),
        "neither suffix nor content of an image",
    ),
    "a/text.png": (
        "not_an_image",
        lambda path: path.write_text("x"),
        "its content is none of PNG, JPEG, .*",
    ),
    "a/gif.png": (
        "not_an_image",
        lambda path: path.write_bytes(b"GIF89a"),
        "its content is GIF; export it as PNG or TIFF",
    ),
    "a/empty.png": ("empty", lambda path: path.touch(), "the file has 0 bytes"),
    "a/truncated.png": (
        "damaged",
        cut,
        "cannot be decoded: the file ends early; copy it again",
    ),
    "a/large.png": (
        "too_large",
        large,
        f"101 x 100 pixels are more than max_pixels = 10,000{RAISE}",
    ),
    "a/long.png": (
        "too_large",
        long,
        rf"more than 1,208,576 bytes \(by max_pixels = 10,000\){RAISE}",
    ),
    "a/bomb.png": ("too_large", bomb, f"more than 10,000 pixels{RAISE}"),
    "a/pipe.png": ("not_a_file", os.mkfifo, "is not a regular file"),
    "a/out.png": (
        "link",
        lambda path: path.symlink_to("/etc/hostname"),
        "leads out of the raw folder",
    ),
    "a/folder.png": ("link", lambda path: path.symlink_to("../b"), "leads to a folder"),
    "a/broken.png": ("link", lambda path: path.symlink_to("no.png"), "leads nowhere"),
    r"a/Gr\udcf6\udcdfe.png": (
        "bad_name",
        lambda path: (path.parent / os.fsdecode(b"Gr\xf6\xdfe.png")).touch(),
        "the name is not valid UTF-8; rename the file",
    ),
    "stray.png": (
        "missing_label",
        lambda path: save(scan(9), path),
        "is in no class folder.*",
    ),
    "a/alone_mask.png": (
        "mask_without_image",
        lambda path: save_mask(disc(48, 64), path),
        "there is no image 'alone' beside it",
    ),
    "a/unmasked.png": (
        "damaged_mask",
        masked(lambda mask: mask.write_bytes(b"")),
        "the mask 'a/unmasked_mask.png': the file has 0 bytes",
    ),
    "a/small.png": (
        "mask_size",
        masked(lambda mask: save_mask(disc(24, 32), mask)),
        "the mask 'a/small_mask.png' is 32 x 24 pixels, the image 64 x 48",
    ),
}
"""Path of the file -> reason, how it came about, what is said (a regular expression)."""

TABLE = """path,d,part,mask
good.png,benign,train,
other.png,malignant,train,
torn.png,benign,train,
torn.png,malignant,train,
absent.png,benign,train,
unmasked.png,benign,train,m.png
label.png,begnin,train,
split.png,benign,trian,
twice.png,benign,train,
twice.png,benign,train,
"""
IN_A_TABLE = {
    "absent.png": ("missing_file", "there is no such file"),
    "unmasked.png": ("missing_mask", "the mask 'm.png': there is no such file"),
    "label.png": ("unknown_label", r"row 7: diagnosis: 'begnin'; did you mean 'benign'\?"),
    "split.png": ("unknown_split", "row 8: 'trian'; say train, val or test"),
    "twice.png": ("repeated_row", "row 10: same as row 9"),
    "torn.png": ("contradictory_rows", "row 3: rows 3, 4 differ in label_diagnosis"),
    "unnamed.png": (
        "missing_label",
        "labels.csv does not name it; to take it unlabelled set `unlisted: keep`",
    ),
}


def rejects(raw: Path, name: str, **options: Any) -> Details:
    source = choose(SOURCES, {"name": name, **options}, "t.ingest")
    config = IngestConfig(max_reject_share=1.0, max_pixels=10_000, workers=1)
    table: pd.DataFrame = ingest(raw, source, config, "t").rejects
    details: Details = defaultdict(list)
    for row in table.itertuples():
        details[str(row.path), str(row.reason)].append(str(row.detail))
    return details


def two_classes(raw: Path) -> None:
    for number in range(2):
        save(scan(number), raw / "a" / f"{number}.png")
        save(scan(50 + number), raw / "b" / f"{number}.png")


@pytest.fixture(scope="module")
def of_the_folder(tmp_path_factory: pytest.TempPathFactory) -> Details:
    raw = tmp_path_factory.mktemp("folder")
    two_classes(raw)
    for path, (_, spoil, _) in IN_A_FOLDER.items():
        spoil(raw / path)
    return rejects(raw, "image_folder", mask_suffix="_mask")


@pytest.fixture(scope="module")
def of_the_table(tmp_path_factory: pytest.TempPathFactory) -> Details:
    raw = tmp_path_factory.mktemp("table")
    (raw / "labels.csv").write_text(TABLE, encoding="utf-8")
    names = {line.split(",")[0] for line in TABLE.splitlines()[1:]} - {"absent.png"}
    for seed, name in enumerate(sorted(names | {"unnamed.png"})):
        save(scan(seed), raw / name)
    return rejects(
        raw,
        "table",
        labels={"diagnosis": "d"},
        classes={"diagnosis": {"benign": "benign", "malignant": "malignant"}},
        split="part",
        masks="mask",
    )


@pytest.mark.parametrize("path", IN_A_FOLDER)
def test_a_file_that_is_left_out_is_named_with_what_is_wrong(
    of_the_folder: Details, path: str
) -> None:
    reason, _, said = IN_A_FOLDER[path]
    (detail,) = of_the_folder[path, reason]
    assert re.fullmatch(said, detail)


@pytest.mark.parametrize("path", IN_A_TABLE)
def test_a_row_that_is_left_out_is_named_with_what_is_wrong(
    of_the_table: Details, path: str
) -> None:
    reason, said = IN_A_TABLE[path]
    assert re.fullmatch(said, of_the_table[path, reason][0])


def test_what_may_not_be_read_is_named_in_the_system_s_words(unprivileged: Path) -> None:
    two_classes(unprivileged)
    locked = unprivileged / "locked"
    save(scan(9), locked / "x.png")
    (unprivileged / "a/0.png").chmod(0)
    locked.chmod(0)
    listed = ImageFolderConfig().listing(unprivileged).rejects
    # In this process: only it has lost the power to read everything.
    measured = measure(Job(unprivileged, 10**6, Path("key")), Task(0, "a/0.png", 0, ()))
    locked.chmod(0o700)  # so that it can be removed
    assert [*listed, *measured.rejects] == [
        ("locked", "unreadable", "cannot be listed (Permission denied)"),
        ("a/0.png", "unreadable", "Permission denied"),
    ]
