"""Files of public bug reports, rebuilt small, against values computed without the project.

They lie beside the real images; `expected.json` there says what each of them holds.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from maskwise.config import choose
from maskwise.errors import UserError
from maskwise.ingest.sources import SOURCES
from maskwise.ingest.stage import IngestConfig, Ingested, ingest
from maskwise.prediction.scans import find_scans
from maskwise.scans.decode import Decoded
from maskwise.scans.mask_files import read_classes, read_mask
from maskwise.scans.pictures import read_frame, read_image
from maskwise.scans.reading import DEFAULT, Reading
from maskwise.scans.reasons import RejectedError
from maskwise.workers import Pool
from preparations import preparation
from shared import SHARED

CASES = SHARED.parent / "cases"
NO_CASES = "needs real images: there is no {} (set MASKWISE_SHARED)"
MAX_PIXELS = 10**7
OPTIONS: dict[str, dict[str, Any]] = {
    "qform and pixdim are right": {"reading": {"affine": "qform"}},
    "sform is right": {"reading": {"affine": "sform"}},
    "NaN is background": {"reading": {"nan": "background"}},
    "join them": {"alike": "join"},
}
"""What `expected.json` asks for in words -> the option of a source that does it."""

Entry = dict[str, Any]


def entries(*kinds: str) -> list[Any]:
    """Return the cases that are read as one of ``kinds``; one stands for all where absent."""
    path = CASES / "expected.json"
    if not path.exists():
        skip = pytest.mark.skip(reason=NO_CASES.format(CASES))
        return [pytest.param("", {}, id="the cases", marks=skip)]
    cases = json.loads(path.read_text(encoding="utf-8"))["cases"]
    expanded = []
    for name, entry in cases.items():
        if entry["read_as"] not in kinds:
            continue
        expanded.append(pytest.param(name, entry, id=name))
        for other in entry.get("with_option", []):
            options = {**entry["options"], **OPTIONS[other["what"]]}
            asked = {**entry, **other, "options": options}
            asked.pop("warnings", None)  # which is of what was not asked for
            expanded.append(pytest.param(name, asked, id=f"{name}: {other['what']}"))
    return expanded


def array(name: str) -> NDArray[Any]:
    """Return one of the expected arrays."""
    return np.asarray(np.load(CASES / name))


def says(text: str, names: list[list[str]]) -> bool:
    """Tell whether one word at least of each list stands in ``text``."""
    return all(any(word.lower() in text.lower() for word in words) for words in names)


def reading_of(entry: Entry) -> Reading:
    """Return how the files of a case are read."""
    return Reading(**entry.get("options", {}).get("reading", {}))


def run(raw: Path, entry: Entry) -> Ingested:
    """Ingest the folder of a case as its options say."""
    options = dict(entry["options"])
    share = options.pop("max_reject_share", 1.0)
    source = choose(SOURCES, {"name": options.pop("source"), **options}, "case.ingest")
    return ingest(raw, source, IngestConfig(max_reject_share=share, workers=1), "case")


def equal(found: NDArray[Any], name: str, entry: Entry, where: NDArray[Any] | None) -> bool:
    """Compare all pixels, or those of ``where``, with an expected array."""
    wanted = array(name)
    assert found.shape == wanted.shape
    if where is not None:
        found, wanted = found[where], wanted[where]
    tolerance = entry.get("relative_tolerance", 0)
    return bool(np.allclose(found, wanted, rtol=tolerance, atol=0))


# One file


@pytest.mark.parametrize(("name", "entry"), entries("image"))
def test_an_image_holds_what_was_written_into_it_or_is_refused(name: str, entry: Entry) -> None:
    path = CASES / name
    if entry["outcome"] == "refused":
        with pytest.raises(RejectedError) as refused:
            read_frame(path.parent, path.name, 0, MAX_PIXELS)
        assert says(str(refused.value), entry["names"])
        return
    decoded = read_frame(path.parent, path.name, 0, MAX_PIXELS)[1]
    assert decoded.pixels.shape[2] == 1
    measured = None
    if "background" in entry:
        measured = ~array(entry["background"])
        assert decoded.background is not None
        assert np.array_equal(~decoded.background, measured)
    pixels = decoded.pixels[..., 0]
    assert equal(pixels, entry["pixels"], entry, measured) or (
        "or_pixels" in entry and equal(pixels, entry["or_pixels"], entry, measured)
    )
    if measured is not None:
        assert (pixels[~measured] == pixels[measured].min()).all()
    if "display" in entry:
        shown = _shown(decoded)
        values = array(entry["display"])
        inside = np.ones(shown.shape, bool) if measured is None else measured
        order = values[inside].argsort(kind="stable")
        assert (np.diff(shown[inside][order]) >= -1e-6).all()


@pytest.mark.parametrize(("name", "entry"), entries("image"))
def test_ingest_takes_or_refuses_an_image_with_the_same_words(
    name: str, entry: Entry, tmp_path: Path
) -> None:
    for copy in ("a", "b"):
        shutil.copy(CASES / name, tmp_path / f"{copy}{Path(name).suffix}")
    whole = {"options": {"source": "image_folder", "layout": "flat"}}
    if entry["outcome"] == "refused":
        with pytest.raises(UserError) as refused:
            run(tmp_path, whole)
        assert says(str(refused.value), entry["names"])
        return
    row = run(tmp_path, whole).manifest.iloc[0]
    for statistic in ("min", "max", "mean"):
        wanted = [
            entry[key][statistic] for key in ("statistics", "or_statistics") if key in entry
        ]
        assert not wanted or any(
            row[f"intensity_{statistic}"] == pytest.approx(value) for value in wanted
        )


@pytest.mark.parametrize(("name", "entry"), entries("pages"))
def test_all_pages_of_a_file_are_read(name: str, entry: Entry) -> None:
    path = CASES / name
    first = read_frame(path.parent, path.name, 0, MAX_PIXELS)[1]
    assert first.frames == entry["frames"]
    pages = [read_image(path.parent, path.name, frame)[..., 0] for frame in range(first.frames)]
    assert np.array_equal(np.stack(pages), array(entry["pages"]))


def test_a_file_whose_decoder_panics_costs_itself_only(tmp_path: Path) -> None:
    panic = CASES / "files/dicom/rle_panic.dcm"
    if not panic.exists():
        pytest.skip(NO_CASES.format(CASES))
    for file in sorted((CASES / "files/dicom/issuer/a").iterdir()):
        shutil.copy(file, tmp_path)
    shutil.copy(panic, tmp_path)
    options = {"source": "image_folder", "layout": "flat", "dicom": "files"}
    result = run(tmp_path, {"options": options})
    assert list(result.rejects["path"]) == [panic.name]
    assert len(result.manifest) == 4


# Folders, tasks and tables


@pytest.mark.parametrize(("name", "entry"), entries("folder", "task", "table"))
def test_a_folder_is_read_as_it_is_meant_or_refused(name: str, entry: Entry) -> None:
    raw = CASES / name if entry["read_as"] != "table" else (CASES / name).parent
    if entry["outcome"] == "refused":
        with pytest.raises(UserError) as refused:
            run(raw, entry)
        assert says(str(refused.value), entry["names"])
        return
    result = run(raw, entry)
    _check_rows(result, entry)
    _check_labels(result, entry)
    for warning in entry.get("warnings", []):
        assert any(says(said, warning) for said in result.summary["warnings"])
    for word, count in entry.get("counted", {}).items():
        assert result.summary["no_label"]["diagnosis"][word] == count
    for axis, spacing in entry.get("spacing_mm", {}).items():
        assert result.manifest[f"spacing_{axis}"].to_numpy() == pytest.approx(spacing)
    _check_pixels(raw, result.manifest, entry)
    _check_masks(raw, result.manifest, entry)


@pytest.mark.parametrize(("name", "entry"), entries("scans"))
def test_predict_finds_the_scans_that_a_table_names(name: str, entry: Entry) -> None:
    with Pool(1) as pool:
        found = find_scans(CASES / name, "path", None, pool)
    assert [scan.path for scan in found.scans] == entry["scans"]
    for scan in found.scans:
        assert read_image(found.root, scan.path).size


def test_predict_looks_at_images_only() -> None:
    if not CASES.exists():
        pytest.skip(NO_CASES.format(CASES))
    with Pool(1) as pool:
        found = find_scans(CASES / "files/dicom/study_one_folder", "path", None, pool)
    readable = {scan.path for scan in found.scans if _is_readable(found.root, scan.path)}
    assert len(readable) == 16
    assert all("ct_" in path for path in readable)


def _is_readable(root: Path, path: str) -> bool:
    try:
        read_frame(root, path, 0, MAX_PIXELS)
    except RejectedError:
        return False
    return True


def _shown(decoded: Decoded) -> NDArray[np.float32]:
    """Return the intensities ``(H, W)`` that a network gets, at the image's own size."""
    height, width = decoded.pixels.shape[:2]
    as_it_is = preparation(
        geometry={"name": "pad"},
        intensity={"name": "percentile", "low": 0, "high": 100},
        height=height,
        width=width,
    )
    return np.asarray(as_it_is.intensities(decoded.pixels, decoded.background)[0])


def _check_rows(result: Ingested, entry: Entry) -> None:
    if "rows" in entry:
        assert sorted(result.manifest["path"]) == entry["rows"]
    rejects = result.rejects.set_index("path")
    counted = {path for path in rejects.index if rejects.at[path, "reason"] != "other_file"}
    if "rejected" in entry:
        assert counted == set(entry["rejected"])
        for path, names in entry["rejected"].items():
            row = rejects.loc[path]
            assert says(f"{row['reason']} {row['detail']}", names)
    if "groups" in entry:
        found = [sorted(paths) for _, paths in result.manifest.groupby("group")["path"]]
        assert sorted(found) == entry["groups"]


def _check_labels(result: Ingested, entry: Entry) -> None:
    columns = [name for name in result.manifest if str(name).startswith("label_")]
    if "labels" in entry:
        counts = result.manifest[columns[0]].value_counts()
        if "labels_counts" not in entry:
            assert counts.to_dict() == entry["labels"]
    if "labels_counts" in entry:
        assert sorted(result.manifest[columns[0]].value_counts()) == entry["labels_counts"]
    if "unlabelled" in entry:
        assert int(result.manifest[columns[0]].isna().sum()) == entry["unlabelled"]


def _check_pixels(raw: Path, manifest: pd.DataFrame, entry: Entry) -> None:
    for path, wanted in entry.get("pixels", {}).items():
        images = [_image(raw, row, entry) for row in _slices(manifest, path)]
        pixels = np.stack([image.pixels[..., 0] for image in images])
        pixels = pixels if array(wanted).ndim == 3 else pixels[0]
        measured = None
        if "background" in entry:
            measured = ~array(entry["background"][path])
            hidden = [image.background for image in images]
            shape = pixels.shape[1:]
            stacked = [np.zeros(shape, bool) if h is None else h for h in hidden]
            assert np.array_equal(np.stack(stacked), ~measured)
            for statistic, value in entry["statistics"][path].items():
                assert getattr(pixels[measured], statistic)() == pytest.approx(value)
        assert equal(pixels, wanted, entry, measured)


def _check_masks(raw: Path, manifest: pd.DataFrame, entry: Entry) -> None:
    reading = reading_of(entry)
    for path, wanted in entry.get("masks", {}).items():
        (row,) = _slices(manifest, path)
        mask = read_mask(raw, row.masks, 0, MAX_PIXELS, reading)
        assert np.array_equal(mask, array(wanted))
        if "lesion_share" in entry:
            assert row.lesion_share == pytest.approx(entry["lesion_share"][path], abs=1e-6)
    for path, wanted in entry.get("classes", {}).items():
        rows = _slices(manifest, path)
        found = [read_classes(raw, row.masks, row.frame, MAX_PIXELS, reading) for row in rows]
        assert np.array_equal(np.stack(found), array(wanted))


def _slices(manifest: pd.DataFrame, path: str) -> list[Any]:
    rows = manifest[manifest["path"] == path].sort_values("frame")
    assert len(rows)
    return list(rows.itertuples(index=False))


def _image(raw: Path, row: Any, entry: Entry) -> Decoded:
    reading = reading_of(entry) if entry.get("options") else DEFAULT
    return read_frame(raw, row.path, row.frame, MAX_PIXELS, reading)[1]
