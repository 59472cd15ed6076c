"""DICOM through `image_folder` and `table`: series in order or refused, no name gets out."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskwise.artefacts.manifest import write_manifest
from maskwise.artefacts.rejects import write_rejects
from maskwise.config import choose
from maskwise.ingest.series import order_series
from maskwise.ingest.sources import SOURCES
from maskwise.ingest.stage import IngestConfig, Ingested, ingest
from scans.samples import FOLDER, copy, facts, names
from sources.dicom import ID, NAME, save, slice_of, write_series
from sources.drawing import save as save_png
from sources.drawing import scan

SERIES = facts("dicom_series")


def run(raw: Path, name: str = "image_folder", **options: Any) -> Ingested:
    """Ingest ``raw``, by default a flat folder."""
    options = {"layout": "flat", **options} if name == "image_folder" else options
    source = choose(SOURCES, {"name": name, "duplicate_distance": 0, **options}, "t.ingest")
    return ingest(raw, source, IngestConfig(max_reject_share=1.0, workers=1), "t")


def reasons(result: Ingested) -> set[str]:
    """Return why files were refused."""
    return set(result.rejects["reason"])


# What is known of the real series


@pytest.mark.parametrize("name", names("dicom_series"))
def test_a_real_series_is_ordered_and_spaced_by_its_positions(
    shared_data: Path, tmp_path: Path, name: str
) -> None:
    folder, said = f"dicom_series/{name}", SERIES[name]
    for file in (shared_data / FOLDER / folder).iterdir():
        copy(shared_data, f"{folder}/{file.name}", tmp_path / "series" / file.name)
    result = run(tmp_path)
    manifest = result.manifest
    assert result.rejects.empty
    assert len(manifest) == said["files"]
    assert list(manifest["slice"]) == list(range(said["files"]))
    assert Path(manifest["path"].iloc[0]).name == said["first_by_position"]
    assert Path(manifest["path"].iloc[-1]).name == said["last_by_position"]
    assert (sorted(manifest["path"]) == list(manifest["path"])) is said[
        "order_by_name_is_order_by_position"
    ]
    first = manifest.iloc[0]
    assert [first["height"], first["width"]] == said["rows_cols"]
    assert [first["spacing_y"], first["spacing_x"]] == pytest.approx(said["pixel_spacing"])
    low, high = said["spacing_between_positions"]
    assert low - 1e-3 <= first["spacing_z"] <= high + 1e-3
    assert manifest["intensity_max"].max() == said["max"]
    assert manifest["volume"].nunique() == said["series_uids"]
    assert manifest["patient"].nunique() == 1


# Order


def test_slices_stand_in_order_of_their_place_whatever_the_files_are_called(
    tmp_path: Path,
) -> None:
    write_series(tmp_path / "a", [13.0, 0.0, 6.5, 19.5])
    manifest = run(tmp_path).manifest
    assert list(manifest["path"]) == ["a/001.dcm", "a/002.dcm", "a/000.dcm", "a/003.dcm"]
    assert list(manifest["slice"]) == [0, 1, 2, 3]
    assert list(manifest["relative_slice"]) == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert manifest["spacing_z"].to_numpy() == pytest.approx(6.5)  # the thickness says 5
    assert (manifest["spacing_y"].iloc[0], manifest["spacing_x"].iloc[0]) == (1.5, 1.25)


def test_two_series_in_two_folders_keep_their_own_order(tmp_path: Path) -> None:
    write_series(tmp_path / "b", [2.0, 0.0, 1.0], uid="1.1")
    write_series(tmp_path / "a", [0.0, 4.0, 2.0], uid="1.2")
    manifest = run(tmp_path).manifest
    assert [path[0] for path in manifest["path"]] == list("aaabbb")
    assert list(manifest["slice"]) == [0, 1, 2, 0, 1, 2]
    assert manifest["volume"].nunique() == 2
    assert list(manifest["spacing_z"]) == pytest.approx([2, 2, 2, 1, 1, 1])


@given(
    order=st.permutations(range(6)),
    spacing=st.floats(0.3, 20),
    start=st.floats(-900, 900),
    rounding=st.floats(-0.004, 0.004),
)
@settings(max_examples=60, deadline=None)
def test_even_slices_are_ordered_and_spaced_from_any_order(
    order: list[int], spacing: float, start: float, rounding: float
) -> None:
    position = [start + spacing * number for number in order]
    position[0] += rounding
    ordered = order_series(table(position))
    assert not ordered.refused
    assert list(ordered.slices["slice"]) == order
    assert ordered.slices["spacing_z"].iloc[0] == pytest.approx(spacing, abs=0.002)


def table(position: list[float], **columns: Any) -> pd.DataFrame:
    """Return slices of one series at ``position``."""
    values: dict[str, Any] = {
        "holder": "a",
        "series": "1",
        "normal": [(0.0, 0.0, 1.0)] * len(position),
        "position": position,
        "height": 10,
        "width": 10,
        "rescaled": True,
        **columns,
    }
    return pd.DataFrame(values, index=range(7, 7 + len(position)))


@pytest.mark.parametrize(
    ("position", "reason", "said"),
    [
        ([0, 5, 5, 10], "repeated_slice", "1 of 4 slices lie where another does"),
        ([0, 5, 10, 20, 25], "missing_slice", "1 missing slice: 5 mm apart, but once 10"),
        ([0, 5, 10, 15, 35, 40], "missing_slice", "3 missing slices"),
        ([0, 5, 10, 17, 22], "uneven_slices", "lie 5 to 7 mm apart"),
        ([0, 1, 3, 6, 10], "uneven_slices", "lie 1 to 4 mm apart"),
        ([0, 5, float("nan"), 10], "uneven_slices", "1 of 4 slices do not say where they lie"),
    ],
)
def test_a_series_that_is_no_even_stack_is_refused_whole(
    position: list[float], reason: str, said: str
) -> None:
    ordered = order_series(table(position))
    assert ordered.slices.empty
    assert set(ordered.refused) == set(range(7, 7 + len(position)))
    (why,) = set(ordered.refused.values())
    assert why[0] == reason
    assert said in why[1]


def test_slices_that_are_not_parallel_or_differ_in_size_are_no_volume() -> None:
    tilted = [(0.0, 0.0, 1.0), (0.0, 0.0, 1.0), (0.0, 0.1, 0.995)]
    for columns, said in (
        ({"normal": tilted}, "not parallel"),
        ({"width": [10, 10, 12]}, "10 x 10 and 12 x 10 pixels"),
    ):
        (why,) = set(order_series(table([0, 1, 2], **columns)).refused.values())
        assert why[0] == "uneven_slices"
        assert said in why[1]


def test_two_series_in_one_folder_are_refused_where_one_is_a_volume(tmp_path: Path) -> None:
    write_series(tmp_path / "a", [0.0, 1.0, 2.0], uid="1.1")
    save(slice_of(scan(9).astype(np.uint16), SeriesInstanceUID="1.2"), tmp_path / "a" / "z.dcm")
    save_png(scan(3), tmp_path / "other.png")
    result = run(tmp_path)
    assert reasons(result) == {"several_series"}
    assert len(result.rejects) == 4
    assert list(result.manifest["path"]) == ["other.png"]


def test_a_folder_of_single_images_of_many_series_is_a_folder_of_images(
    tmp_path: Path,
) -> None:
    for number in range(3):
        dataset = slice_of(scan(number).astype(np.uint16), SeriesInstanceUID=f"1.{number}")
        dataset.ImagePositionPatient = [0, 0, number]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        save(dataset, tmp_path / f"{number}.dcm")
    result = run(tmp_path)
    assert result.rejects.empty
    assert len(result.manifest) == 3
    assert "slice" not in result.manifest


def test_images_of_one_series_that_lie_nowhere_are_no_volume(tmp_path: Path) -> None:
    for number in range(3):
        save(slice_of(scan(number).astype(np.uint16)), tmp_path / f"{number}.dcm")
    assert len(run(tmp_path).manifest) == 3


def test_with_files_every_file_stands_for_itself(tmp_path: Path) -> None:
    write_series(tmp_path / "a", [0.0, 5.0, 5.0, 7.0], uid="1.1")
    write_series(tmp_path / "a", [0.0, 1.0], uid="1.2")
    assert reasons(run(tmp_path, dicom="files")) == set()
    manifest = run(tmp_path, dicom="files").manifest
    assert len(manifest) == 4
    assert "slice" not in manifest


def test_a_table_may_name_dicom_files_and_its_patients_win(tmp_path: Path) -> None:
    write_series(tmp_path / "a", [0.0, 1.0, 2.0])
    rows = "path,who,d\n" + "".join(f"a/00{n}.dcm,p{n},{n % 2}\n" for n in range(3))
    (tmp_path / "labels.csv").write_text(rows, encoding="utf-8")
    manifest = run(tmp_path, "table", labels={"d": "d"}, patient="who").manifest
    assert list(manifest["patient"]) == ["p0", "p1", "p2"]
    assert list(manifest["spacing_y"]) == [1.5] * 3
    assert "slice" not in manifest


def test_slices_of_a_volume_stay_together_though_nobody_says_whose_they_are(
    tmp_path: Path,
) -> None:
    write_series(tmp_path / "a", [0.0, 1.0, 2.0], uid="1.1", PatientID="")
    write_series(tmp_path / "b", [0.0, 1.0, 2.0], uid="1.2", PatientID="")
    for number, file in enumerate(sorted((tmp_path / "b").iterdir())):
        dataset = pydicom.dcmread(file)
        dataset.PixelData = scan(50 + number).astype(np.uint16).tobytes()
        save(dataset, file)
    manifest = run(tmp_path).manifest
    assert manifest["patient"].isna().all()
    assert manifest.groupby("volume")["group"].nunique().tolist() == [1, 1]
    assert manifest["group"].nunique() == 2


# Frames


def test_each_frame_of_a_dicom_file_is_a_row_of_one_group(tmp_path: Path) -> None:
    stack = np.stack([scan(seed) for seed in range(3)]).astype(np.uint16)
    save(slice_of(stack, PatientID=""), tmp_path / "cine.dcm")
    manifest = run(tmp_path).manifest
    assert list(manifest["frame"]) == [0, 1, 2]
    assert manifest["sha256"].nunique() == 3
    assert manifest["group"].nunique() == 1
    assert manifest["patient"].isna().all()


def test_reports_and_indices_among_the_images_cost_nothing(
    shared_data: Path, tmp_path: Path
) -> None:
    write_series(tmp_path / "a", [0.0, 1.0])
    copy(shared_data, "dicom/test-SR.dcm", tmp_path / "a" / "report.dcm")
    result = run(tmp_path)
    assert reasons(result) == {"no_pixels"}
    assert result.summary["rejects"]["counted"] == 0
    assert len(result.manifest) == 2


def test_dicom_without_a_suffix_is_no_wrong_suffix(tmp_path: Path) -> None:
    (file,) = write_series(tmp_path, [0.0])
    file.rename(tmp_path / "IM0001")
    save_png(scan(1), tmp_path / "a.png").rename(tmp_path / "a.dcm")
    assert run(tmp_path).summary["wrong_suffix"]["examples"] == ["a.dcm is PNG"]


# Patients


def test_no_name_or_id_of_a_patient_gets_out_of_ingest(
    shared_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    out.mkdir()
    for name in SERIES:
        for file in (shared_data / FOLDER / "dicom_series" / name).iterdir():
            copy(shared_data, f"dicom_series/{name}/{file.name}", raw / name / file.name)
    write_series(raw / "uneven", [0.0, 1.0, 3.0], uid="1.9")
    write_series(raw / "twice", [0.0, 0.0], uid="1.8")
    whole = save(slice_of(scan(0).astype(np.uint16)), raw / "single" / "whole.dcm").read_bytes()
    (raw / "single" / "cut.dcm").write_bytes(whole[:-100])
    rng = np.random.default_rng(0)
    for number in range(20):  # headers that pydicom complains about
        broken = bytearray(whole)
        for place in rng.integers(132, 900, 4):
            broken[place] = rng.integers(256)
        (raw / "single" / f"{number}.dcm").write_bytes(broken)
    with caplog.at_level(logging.DEBUG):
        result = run(raw, dicom="series")
    write_manifest(result.manifest, out / "manifest.parquet")
    write_rejects(result.rejects, out / "rejects.csv")
    (out / "data_summary.json").write_text(json.dumps(result.summary), encoding="utf-8")
    (out / "figure.png").write_bytes(result.figure)
    assert {"uneven_slices", "repeated_slice", "damaged"} <= reasons(result)
    written = b"".join(file.read_bytes() for file in sorted(out.iterdir()))
    shown = result.manifest.to_csv() + result.rejects.to_csv() + caplog.text
    everything = written + shown.encode()
    for secret in (*NAME.split("^"), ID, "PGBM", "1.2.3.4"):
        assert secret.encode() not in everything


def test_a_series_of_which_some_slices_do_not_say_what_they_hold_is_none() -> None:
    ordered = order_series(table([0, 1, 2], rescaled=[True, False, True]))
    assert len(ordered.refused) == 3
    assert "1 of 3 slices lack the RescaleSlope" in ordered.refused[7][1]
