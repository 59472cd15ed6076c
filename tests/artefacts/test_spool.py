"""Files that wait on the disk until all of a run can be written."""

import tempfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwise.artefacts.spool import Spool
from maskwise.errors import UserError

NAMES = st.sampled_from(["a.png", "b.png", "c.dcm"])


@given(st.lists(st.tuples(NAMES, st.none() | st.binary(max_size=40))))
def test_a_spool_holds_what_a_dictionary_would(steps: list[tuple[str, bytes | None]]) -> None:
    spool, plain = Spool(), dict[str, bytes]()
    for name, content in steps:
        for kept in (spool, plain):
            if content is None:
                kept.pop(name, None)
            else:
                kept[name] = content
        assert list(spool.items()) == list(plain.items())


def test_what_waits_is_neither_in_memory_nor_under_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spool, megabyte = Spool(), 2**20
    tracemalloc.start()
    try:
        for number in range(16):
            spool[f"{number}"] = bytes([number]) * megabyte
        assert tracemalloc.get_traced_memory()[1] < 4 * megabyte
    finally:
        tracemalloc.stop()
    assert list(tmp_path.iterdir()) == []
    assert all(content == bytes([int(name)]) * megabyte for name, content in spool.items())


def test_a_temporary_folder_that_may_not_be_written_or_is_full_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spool = Spool()
    with Path("/dev/full").open("wb", buffering=0) as full:
        monkeypatch.setattr(spool, "_file", full)
        with pytest.raises(UserError, match="a temporary file: the disk is full"):
            spool["a"] = b"content"
    assert len(spool) == 0
