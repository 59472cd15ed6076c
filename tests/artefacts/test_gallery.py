"""The gallery's file."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from maskwise.artefacts.arrays import write_arrays
from maskwise.artefacts.gallery import Gallery, read_gallery
from maskwise.errors import UserError
from report.synthetic import gallery


def test_a_gallery_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = gallery("dqn", 0)
    write_arrays(written, tmp_path / "gallery.npz")
    read = read_gallery(tmp_path / "gallery.npz")
    for name in (field.name for field in fields(Gallery)):
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name))


def test_a_gallery_of_another_version_is_refused_with_the_remedy(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "gallery.npz", epochs=np.arange(3))
    with pytest.raises(UserError, match=r"has no .*map_box and no map_stride.*run pretrain"):
        read_gallery(tmp_path / "gallery.npz")


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_a_damaged_gallery_is_named_with_the_remedy(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "gallery.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"gallery\.npz: cannot be read .*run pretrain again"):
        read_gallery(tmp_path / "gallery.npz")
