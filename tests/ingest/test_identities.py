"""The key that turns ids of patients into pseudonyms, and that nothing turns them back."""

import hashlib
import hmac
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from maskwise.artefacts.manifest import write_manifest
from maskwise.artefacts.rejects import write_rejects
from maskwise.datasets import JsonDataset
from maskwise.errors import UserError
from maskwise.ingest.identities import read_key
from maskwise.ingest.sources.image_folder import ImageFolderConfig
from maskwise.ingest.sources.phantom import PhantomConfig
from maskwise.ingest.stage import IngestConfig, Ingested, ingest
from maskwise.preprocess.config import PreprocessConfig, SourcePreprocessConfig
from maskwise.preprocess.stage import preprocess
from sources.dicom import save, slice_of
from sources.drawing import scan

PATIENTS = ("007", "007", "042", "113", "150")
EVERY_ID = [f"{number:03d}" for number in range(200)]
"""Ids are short: whoever looks for them tries them all."""


def write_patients(raw: Path) -> Path:
    """Write an image of each of ``PATIENTS``."""
    for number, who in enumerate(PATIENTS):
        pixels = scan(number).astype(np.uint16)
        dataset = slice_of(pixels, PatientID=who, SeriesInstanceUID=f"1.{number}")
        save(dataset, raw / f"{number}.dcm")
    return raw


def run(raw: Path, key: Path, workers: int = 1) -> Ingested:
    source = ImageFolderConfig(layout="flat", duplicate_distance=0)
    config = IngestConfig(workers=workers, identity_key=key)
    return ingest(raw, source, config, "t")


def pseudonyms(raw: Path, key: Path) -> list[str]:
    return list(run(raw, key).manifest["patient"])


# What an attacker finds


def write_artefacts(raw: Path, key: Path, folder: Path) -> None:
    """Write all that ingest and preprocess leave behind."""
    found = run(raw, key)
    write_manifest(found.manifest, folder / "manifest.parquet")
    write_rejects(found.rejects, folder / "rejects.csv")
    JsonDataset(str(folder / "data_summary.json")).save(found.summary)
    (folder / "data_summary.png").write_bytes(found.figure)
    shape = SourcePreprocessConfig(height=16, width=16, label=None)
    made = preprocess(raw, found.manifest, shape, PreprocessConfig(workers=1), "t")
    made.write_store(folder / "store")
    made.splits.to_parquet(folder / "splits.parquet")


def everything_written(folder: Path) -> str:
    """Return all text of all artefacts, tables unpacked."""
    texts = []
    for file in sorted(folder.rglob("*")):
        if file.suffix == ".parquet":
            texts.append(pd.read_parquet(file).to_csv())
        elif file.is_file():
            texts.append(file.read_bytes().decode("latin-1"))
    return "\n".join(texts)


def keys_that_may_be_tried(text: str, raw: Path) -> Iterator[bytes]:
    """Yield every hash in the artefacts, as text and as bytes, and those of the raw files."""
    yield b""
    for word in set(re.findall(r"[0-9a-f]{16,64}", text)):
        yield word.encode()
        yield bytes.fromhex(word[: len(word) // 2 * 2])
    for file in raw.iterdir():
        for content in (file.read_bytes(), file.name.encode()):
            yield hashlib.sha256(content).digest()
            yield hashlib.sha256(content).hexdigest().encode()


def hashes(key: bytes, who: str) -> Iterator[str]:
    for identity in (who.encode(), f"{who}\0".encode()):  # without an issuer, or with none
        yield hmac.new(key, identity, hashlib.sha256).hexdigest()
        yield hashlib.sha256(key + identity).hexdigest()
        yield hashlib.sha256(identity + key).hexdigest()


def test_all_artefacts_and_raw_files_together_do_not_tell_who_a_patient_is(
    tmp_path: Path,
) -> None:
    raw, artefacts = write_patients(tmp_path / "raw"), tmp_path / "artefacts"
    key = tmp_path / "identities.key"
    write_artefacts(raw, key, artefacts)
    text = everything_written(artefacts)
    known = set(pd.read_parquet(artefacts / "manifest.parquet")["patient"])
    assert len(known) == 4
    recovered = [
        who
        for tried in keys_that_may_be_tried(text, raw)
        for who in EVERY_ID
        for found in hashes(tried, who)
        if found[:16] in known
    ]
    assert recovered == []
    # The same search finds them all once it has the key, so it would have found them.
    tried = read_key(key)
    assert {who for who in EVERY_ID for h in hashes(tried, who) if h[:16] in known} == {
        *PATIENTS
    }
    assert key.read_text().strip() not in text


# The key


def test_the_key_is_made_once_for_its_owner_alone_and_kept(tmp_path: Path) -> None:
    raw, key = write_patients(tmp_path / "raw"), tmp_path / "identities.key"
    first = pseudonyms(raw, key)
    made = key.read_bytes()
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(bytes.fromhex(made.decode())) == 32
    assert pseudonyms(raw, key) == first
    assert key.read_bytes() == made
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == [key.name]


def test_images_of_one_patient_share_a_pseudonym_and_others_do_not(tmp_path: Path) -> None:
    found = pseudonyms(write_patients(tmp_path / "raw"), tmp_path / "key")
    assert found[0] == found[1]
    assert len(set(found)) == len(set(PATIENTS))


def test_another_key_gives_other_pseudonyms_and_the_same_groups(tmp_path: Path) -> None:
    raw = write_patients(tmp_path / "raw")
    one, other = (run(raw, tmp_path / name).manifest for name in ("one", "other"))
    assert not {*one["patient"]} & {*other["patient"]}
    assert list(one["group"]) == list(other["group"])


def test_a_key_that_came_from_elsewhere_gives_that_place_s_pseudonyms(tmp_path: Path) -> None:
    raw, here, there = write_patients(tmp_path / "raw"), tmp_path / "here", tmp_path / "there"
    expected = pseudonyms(raw, here)
    there.write_text(here.read_text().strip())  # copied without its last line's end
    there.chmod(0o600)
    assert pseudonyms(raw, there) == expected


def test_whoever_makes_a_new_key_is_told_to_keep_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw = write_patients(tmp_path / "raw")
    run(raw, tmp_path / "key")
    assert "is a new key, with which ids of patients became pseudonyms" in caplog.text
    caplog.clear()
    run(raw, tmp_path / "key")
    assert "pseudonyms" not in caplog.text


def test_two_workers_at_once_make_one_key(tmp_path: Path) -> None:
    command = "import sys, pathlib; from maskwise.ingest.identities import read_key; "
    command += "sys.stdin.readline(); print(read_key(pathlib.Path(sys.argv[1])).hex())"
    makers = [
        subprocess.Popen(
            [sys.executable, "-c", command, str(tmp_path / "key")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for maker in makers:
        assert maker.stdin is not None
        maker.stdin.write("go\n")
        maker.stdin.flush()
    keys = {maker.communicate()[0] for maker in makers}
    assert keys == {(tmp_path / "key").read_text()}


def test_images_without_ids_need_no_key_and_make_none(tmp_path: Path) -> None:
    source, raw = PhantomConfig(images=12), tmp_path / "raw"
    for name, content in source.files():
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        (raw / name).write_bytes(content)
    key = tmp_path / "no such folder" / "identities.key"
    config = IngestConfig(workers=1, identity_key=key)
    assert len(ingest(raw, source, config, "t").manifest) == 12
    assert not key.parent.exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_no_worker_shows_or_keeps_the_key(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, workers: int
) -> None:
    raw, key = write_patients(tmp_path / "raw"), tmp_path / "key"
    found = run(raw, key, workers)
    digits = key.read_text().strip()
    assert digits not in caplog.text + found.manifest.to_csv() + repr(found.summary)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is not a key, which is 64 hexadecimal digits; put the right file back"),
        ("12" * 31, "is not a key, which is 64 hexadecimal digits"),
        ("x" * 64, "is not a key, which is 64 hexadecimal digits"),
        ("ü" * 64, "is not a key, which is 64 hexadecimal digits"),
    ],
)
def test_a_file_that_is_no_key_is_refused_and_left_alone(
    tmp_path: Path, content: str, said: str
) -> None:
    key = tmp_path / "key"
    key.write_text(content, encoding="utf-8")
    key.chmod(0o600)
    with pytest.raises(UserError, match=said):
        run(write_patients(tmp_path / "raw"), key)
    assert key.read_text(encoding="utf-8") == content


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_may_read_is_refused_with_the_remedy(
    tmp_path: Path, mode: int
) -> None:
    key = tmp_path / "key"
    key.write_text("12" * 32)
    key.chmod(mode)
    with pytest.raises(UserError, match=r"others may read the key .*chmod 600 .*key"):
        run(write_patients(tmp_path / "raw"), key)


def test_a_folder_that_is_not_there_is_not_made_for_the_key(tmp_path: Path) -> None:
    key = tmp_path / "unplugged" / "key"
    with pytest.raises(UserError, match=r"No such file or directory.*set ingest\.identity_key"):
        run(write_patients(tmp_path / "raw"), key)


def test_a_folder_that_may_not_be_written_is_told(unprivileged: Path) -> None:
    unprivileged.chmod(0o500)
    with pytest.raises(UserError, match=r"Permission denied.*set ingest\.identity_key"):
        read_key(unprivileged / "key")
    assert os.listdir(unprivileged) == []
