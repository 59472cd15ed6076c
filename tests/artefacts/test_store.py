"""The store: what NumPy alone can read, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from maskwise.artefacts.store import Store, StoreHeader, open_store, writing_store
from maskwise.errors import UserError
from preparations import preparation

N, SHAPE = 5, (5, 1, 8, 8)


def header(**changes: Any) -> StoreHeader:
    values: dict[str, Any] = {
        "preparation": preparation(8, mean=(0.25,), std=(0.5,)),
        "laterality": "fixed",
        "largest_rounding_error": 0.001,
        "data_hash": "0" * 64,
    }
    return StoreHeader(**{**values, **changes})


def index() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": [f"i{n}" for n in range(N)],
            "group": "g",
            "has_mask": True,
            "scale": np.linspace(0.001, 0.002, N),
            "offset": np.linspace(0, 0.1, N),
            "label_diagnosis": ["benign", "normal", None, "benign", "normal"],
        }
    )


def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, SHAPE).astype(np.uint8)


def write(path: Path, masks: bool = True, **changes: Any) -> Store:
    with writing_store(path, SHAPE, "uint8", masks) as writer:
        np.load(writer.images, mmap_mode="r+")[:] = pixels()
        if writer.masks:
            np.load(writer.masks, mmap_mode="r+")[2, 3:5] = True
        writer.finish(index(), header(**changes))
    return open_store(path)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    store = write(tmp_path / "store")
    assert np.array_equal(store.images, pixels())
    assert store.masks is not None
    assert store.masks.sum(axis=(1, 2)).tolist() == [0, 0, 16, 0, 0]
    assert store.header == header()
    pd.testing.assert_frame_equal(store.index, index())
    assert len(store) == N


def test_a_store_without_lesions_has_no_masks(tmp_path: Path) -> None:
    assert write(tmp_path / "store", masks=False).masks is None


def write_classes(path: Path, mask_dtype: str = "uint8") -> Store:
    """Write a store whose masks are of two classes."""
    with writing_store(path, SHAPE, "uint8", True, mask_dtype) as writer:
        assert writer.masks is not None
        masks = np.load(writer.masks, mmap_mode="r+")
        masks[2, 3:5], masks[2, 5:6] = 1, 2
        writer.finish(index(), header(mask_classes=("front", "back")))
    return open_store(path)


def test_masks_of_several_classes_are_numbers_and_their_names_are_kept(tmp_path: Path) -> None:
    store = write_classes(tmp_path / "store")
    assert store.header.mask_classes == ("front", "back")
    assert store.masks is not None
    assert store.masks.dtype == np.uint8
    assert [int((store.masks[2] == number).sum()) for number in range(3)] == [40, 16, 8]


def test_a_lesion_is_whatever_is_outlined(tmp_path: Path) -> None:
    rows = np.array([2, 0])
    for store in (write(tmp_path / "lesions"), write_classes(tmp_path / "classes")):
        lesions = store.lesions(rows)
        assert lesions.dtype == np.bool_
        assert store.masks is not None
        assert np.array_equal(lesions, np.asarray(store.masks)[rows] != 0)


def test_a_store_of_lesions_says_nothing_of_classes(tmp_path: Path) -> None:
    write(tmp_path / "store")
    assert "mask_classes" not in (tmp_path / "store" / "store.json").read_text()


@pytest.mark.parametrize("mask_dtype", ["bool", "uint8"])
def test_masks_that_are_not_what_the_header_says_are_refused(
    tmp_path: Path, mask_dtype: str
) -> None:
    write(tmp_path / "store") if mask_dtype == "bool" else write_classes(tmp_path / "store")
    file = tmp_path / "store" / "store.json"
    block = {**json.loads(file.read_text()), "mask_classes": ["front"] * (mask_dtype == "bool")}
    file.write_text(json.dumps(block))
    with pytest.raises(UserError, match=rf"masks\.npy holds {mask_dtype}"):
        open_store(tmp_path / "store")


def test_numpy_alone_can_read_it(tmp_path: Path) -> None:
    write(tmp_path / "store")
    assert np.array_equal(np.load(tmp_path / "store" / "images.npy"), pixels())
    block = json.loads((tmp_path / "store" / "store.json").read_text())
    assert block["preparation"]["mean"] == [0.25]


def test_an_opened_store_cannot_be_written(tmp_path: Path) -> None:
    store = write(tmp_path / "store")
    with pytest.raises(ValueError, match="read-only"):
        store.images[0] = 0


@given(st.lists(st.integers(0, N - 1), min_size=1, max_size=12))
@settings(deadline=None, max_examples=25)
def test_a_batch_is_the_rows_asked_for_scaled_and_normalised(
    tmp_path_factory: pytest.TempPathFactory, chosen: list[int]
) -> None:
    path = tmp_path_factory.getbasetemp() / "gathered"
    store = open_store(path) if path.exists() else write(path)
    batch = store.normalised(np.array(chosen))
    assert batch.dtype == np.float32
    for image, row in zip(batch, chosen, strict=True):
        v = pixels()[row] * index()["scale"][row] + index()["offset"][row]
        assert np.allclose(image, (v - 0.25) / 0.5, atol=1e-6)


def test_rows_are_found_by_image_in_the_order_asked_for(tmp_path: Path) -> None:
    assert write(tmp_path / "store").rows(["i3", "i0"]).tolist() == [3, 0]


def test_an_image_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no image x; .*run preprocess again"):
        write(tmp_path / "store").rows(["i3", "x"])


def test_each_seed_is_normalised_by_the_images_it_trains_on(tmp_path: Path) -> None:
    folds: dict[str, Any] = {
        "fold_mean": ((0.1,), (0.2,), (0.3,)),
        "fold_std": ((1.0,), (2.0,), (3.0,)),
    }
    store = write(tmp_path / "store", **folds)
    own = store.for_seed(4).header.preparation
    assert (own.mean, own.std) == ((0.2,), (2.0,))
    plain = write(tmp_path / "plain")
    assert plain.for_seed(4) is plain


@pytest.mark.parametrize("name", ["images.npy", "index.parquet", "store.json"])
def test_a_store_with_a_file_missing_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path / "store")
    (tmp_path / "store" / name).unlink()
    with pytest.raises(UserError, match="is not a complete store"):
        open_store(tmp_path / "store")


def test_a_store_whose_files_disagree_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "store")
    index().head(3).to_parquet(tmp_path / "store" / "index.parquet")
    with pytest.raises(
        UserError, match=r"images\.npy is \(5, 1, 8, 8\), but .* \(3, 1, 8, 8\)"
    ):
        open_store(tmp_path / "store")


def test_a_store_that_was_not_finished_replaces_nothing(tmp_path: Path) -> None:
    write(tmp_path / "store")
    with (
        pytest.raises(ValueError, match="finish"),
        writing_store(tmp_path / "store", SHAPE, "uint8", masks=False),
    ):
        pass
    assert np.array_equal(open_store(tmp_path / "store").images, pixels())


def test_the_space_is_there_before_the_first_pixel_is_written(tmp_path: Path) -> None:
    # A mapped file with holes would kill the process when the disk fills up under it.
    shape = (64, 1, 64, 64)
    with writing_store(tmp_path / "store", shape, "uint8", masks=True) as writer:
        reserved = [
            path.stat().st_blocks * 512 for path in (writer.images, writer.masks) if path
        ]
        writer.finish(pd.concat([index()] * 13).head(64), header(preparation=preparation(64)))
    assert min(reserved) >= np.prod(shape)
    assert len(reserved) == 2
