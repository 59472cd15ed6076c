"""A tree of DICOM: which series are taken, in which order, and which are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from maskwise.config import choose
from maskwise.errors import UserError
from maskwise.ingest.sources import SOURCES
from maskwise.ingest.stage import IngestConfig, Ingested, ingest
from scans.samples import FOLDER, facts
from sources import dicom_folder
from sources.dicom import NAME, save, slice_of
from sources.dicom_folder import AXIAL, CORONAL, SAGITTAL, write_stack
from sources.drawing import save as save_png
from sources.drawing import scan

EVEN = [0.0, 2.0, 4.0, 6.0]


def run(raw: Path, name: str = "dicom_folder", **options: Any) -> Ingested:
    source = choose(SOURCES, {"name": name, **options}, "t.ingest")
    return ingest(raw, source, IngestConfig(max_reject_share=1.0, workers=1), "t")


def why(result: Ingested, path: str) -> tuple[str, str]:
    """Return reason and detail of a refused file."""
    row = result.rejects.set_index("path").loc[path]
    return str(row["reason"]), str(row["detail"])


def test_lidc_takes_ct_of_a_file_a_slice_and_leaves_radiographs_and_annotations_out(
    tmp_path: Path,
) -> None:
    result = run(dicom_folder.write(tmp_path), "lidc_idri")
    manifest = result.manifest
    assert len(manifest) == dicom_folder.PATIENTS * dicom_folder.SLICES
    assert result.rejects["reason"].value_counts().to_dict() == {
        "not_chosen": 4,
        "other_file": 2,
    }
    assert manifest["modality"].unique().tolist() == ["ct"]
    assert manifest["patient"].nunique() == dicom_folder.PATIENTS
    assert "LIDC" not in "".join(manifest["patient"])
    assert NAME not in manifest.to_csv() + result.rejects.to_csv()


def test_slices_follow_their_place_in_the_patient_and_not_their_files(tmp_path: Path) -> None:
    manifest = run(dicom_folder.write(tmp_path), "lidc_idri").manifest
    places = np.random.default_rng(1).permutation(dicom_folder.SLICES)
    first = manifest[manifest["path"].str.contains("0001")]
    assert [int(path[-3:]) for path in first["path"]] == list(np.argsort(places))
    assert list(first["slice"]) == list(range(dicom_folder.SLICES))
    assert first["spacing_z"].to_numpy() == pytest.approx(2.5)
    assert list(first["relative_slice"]) == pytest.approx(list(np.linspace(0, 1, 12)))


def test_a_series_is_one_wherever_its_files_lie_and_two_may_share_a_folder(
    tmp_path: Path,
) -> None:
    for number, file in enumerate(write_stack(tmp_path / "a", EVEN, "1.1", names="x{}")):
        if number % 2:
            (tmp_path / "b").mkdir(exist_ok=True)
            file.rename(tmp_path / "b" / file.name)
    write_stack(tmp_path / "a", EVEN, "1.2", names="y{}", seed=1)
    manifest = run(tmp_path).manifest
    assert list(manifest["path"][:4]) == ["a/x0", "b/x1", "a/x2", "b/x3"]
    assert list(manifest["path"][4:]) == [f"a/y{number}" for number in range(4)]
    assert manifest["volume"].nunique() == 2


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_series_of_one_plane_alone_can_be_taken(tmp_path: Path, plane: str) -> None:
    for number, each in enumerate((AXIAL, CORONAL, SAGITTAL)):
        write_stack(tmp_path / str(number), EVEN, f"1.{number}", each, seed=number)
    result = run(tmp_path, orientation=plane)
    number = ["axial", "coronal", "sagittal"].index(plane)
    assert {path[0] for path in result.manifest["path"]} == {str(number)}
    assert set(result.manifest["plane"]) == {plane}
    other = (number + 1) % 3
    reason, detail = why(result, f"{other}/000")
    assert reason == "not_chosen"
    assert detail.endswith(f"and the source takes {plane} series")


def test_short_series_and_the_shorter_of_a_study_are_left_out(tmp_path: Path) -> None:
    write_stack(tmp_path / "a", EVEN[:3], "1.1", StudyInstanceUID="1")
    write_stack(tmp_path / "b", EVEN, "1.2", StudyInstanceUID="1", seed=1)
    assert len(run(tmp_path).manifest) == 7
    short = run(tmp_path, min_slices=4)
    assert why(short, "a/000")[1] == "a series of 3 slices, fewer than min_slices = 4"
    longest = run(tmp_path, series="longest")
    assert set(longest.rejects["path"]) == {"a/000", "a/001", "a/002"}


def test_two_modalities_in_one_series_are_refused_in_one_sentence(tmp_path: Path) -> None:
    write_stack(tmp_path / "good", EVEN, "1.1")
    write_stack(tmp_path / "bad", EVEN[:2], "1.2", seed=1)
    mr: dict[str, Any] = {
        "Modality": "MR",
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4",
        "StudyInstanceUID": "1.2.0",
    }
    write_stack(tmp_path / "bad", EVEN[2:], "1.2", names="mr{}", seed=2, **mr)
    result = run(tmp_path)
    reason, detail = why(result, "bad/mr0")
    assert reason == "mixed_series"
    assert "one series (2 of ct and 2 of mr); export each as a series of its own" in detail
    assert len(result.manifest) == 4


def test_several_modalities_are_not_mixed_but_asked_about(tmp_path: Path) -> None:
    raw = dicom_folder.write(tmp_path)
    with pytest.raises(UserError, match=r"\(2 ct, 2 xray\); say which in .* `modality`"):
        run(raw)
    assert len(run(raw, modality="xray").manifest) == 4
    with pytest.raises(UserError, match="modality is 'CTA', but should be one of ct, mr"):
        run(raw, modality="CTA")


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("TemporalPositionIdentifier", [1, 2]),
        ("EchoTime", [12.5, 80.0]),
        ("AcquisitionNumber", [3, 4]),
        ("DiffusionBValue", [0.0, 1000.0]),
    ],
)
def test_a_place_shown_twice_is_refused_or_split_by_what_tells_the_two_apart(
    tmp_path: Path, keyword: str, values: list[Any]
) -> None:
    for number, value in enumerate(values):
        own: dict[str, Any] = {keyword: value}
        write_stack(tmp_path / "a", EVEN, "1.1", names=f"{number}{{}}", seed=number, **own)
    write_stack(tmp_path / "b", EVEN, "1.2", seed=5)
    refused = run(tmp_path)
    reason, detail = why(refused, "a/00")
    assert reason == "repeated_slice"
    assert f"4 of 8 slices lie where another does; {keyword} tells 2 parts apart" in detail
    split = run(tmp_path, repeats="split").manifest
    parts = split[split["path"].str.startswith("a/")].groupby("volume")
    assert [list(rows["slice"]) for _, rows in parts] == [[0, 1, 2, 3]] * 2
    said = {part for _, rows in parts for part in rows["part"]}
    assert said == {f"{keyword}={value:g}" for value in values}


def test_copies_that_nothing_tells_apart_are_refused_even_where_parts_may_be_split(
    tmp_path: Path,
) -> None:
    write_stack(tmp_path / "a", [0.0, 2.0, 2.0, 4.0], "1.1")
    write_stack(tmp_path / "b", EVEN, "1.2", seed=5)
    reason, detail = why(run(tmp_path, repeats="split"), "a/000")
    assert (reason, detail) == (
        "repeated_slice",
        "1 of 4 slices lie where another does",
    )


def test_a_series_that_lacks_a_slice_is_refused_whole_even_where_few_are_taken(
    tmp_path: Path,
) -> None:
    write_stack(tmp_path / "a", [0.0, 2.0, 6.0, 8.0], "1.1")
    write_stack(tmp_path / "b", EVEN, "1.2", seed=5)
    result = run(tmp_path, every=2)
    assert why(result, "a/000")[0] == "missing_slice"
    assert list(result.manifest["path"]) == ["b/000", "b/002"]


def test_slices_can_be_thinned_out_and_the_ends_left_out(tmp_path: Path) -> None:
    write_stack(tmp_path / "a", [2.0 * place for place in range(10)], "1.1")
    manifest = run(tmp_path, every=3, trim=0.1).manifest
    # Of 1 to 8, the first and every third after it.
    assert list(manifest["path"]) == ["a/001", "a/004", "a/007"]
    assert list(manifest["slice"]) == [0, 1, 2]
    assert manifest["spacing_z"].to_numpy() == pytest.approx(6.0)
    assert list(manifest["relative_slice"]) == pytest.approx([1 / 9, 4 / 9, 7 / 9])


def test_that_all_frames_of_a_file_are_taken_whatever_every_says_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frames = np.stack([scan(number) for number in range(4)]).astype(np.uint16)
    save(slice_of(frames, Modality="MR"), tmp_path / "cine.dcm")
    said = "`every` and `trim` choose among files, so all frames of 1 file of several frames"
    assert len(run(tmp_path, every=2).manifest) == 4
    assert said in caplog.text
    caplog.clear()
    run(tmp_path)
    assert said not in caplog.text


def test_a_deflated_file_obeys_the_rules_as_any_other(tmp_path: Path) -> None:
    write_stack(tmp_path / "a", EVEN, "1.1")  # CT
    for number, (name, modality) in enumerate((("mr", "MR"), ("ct", "CT"))):
        deflated = slice_of(scan(1).astype(np.uint16), Modality=modality)
        deflated.SeriesInstanceUID = f"9.{number}"
        deflated.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        save(deflated, tmp_path / f"{name}.dcm")
    found = run(tmp_path, modality="ct", min_slices=2)
    assert why(found, "mr.dcm") == (
        "not_chosen",
        "a series of mr, and the source takes ct",
    )
    assert why(found, "ct.dcm")[1].startswith("a series of 1 slice, fewer than min_slices")
    assert len(found.manifest) == len(EVEN)


def test_pictures_in_the_tree_are_named_and_reports_are_refused_as_ever(tmp_path: Path) -> None:
    write_stack(tmp_path / "a", EVEN, "1.1")
    save_png(scan(1), tmp_path / "a" / "shot.png")
    segmentation = slice_of(scan(2).astype(np.uint16), Modality="SEG")
    save(segmentation, tmp_path / "a" / "seg.dcm")
    result = run(tmp_path)
    assert why(result, "a/shot.png")[0] == "unknown_place"
    assert why(result, "a/seg.dcm")[0] == "not_a_scan"
    assert len(result.manifest) == 4


def test_values_are_hounsfield_units(tmp_path: Path) -> None:
    write_stack(tmp_path / "a", EVEN, "1.1")
    manifest = run(tmp_path).manifest
    expected = scan(0).astype(float) * 8 - 1024
    assert manifest["intensity_min"].iloc[0] == expected.min()
    assert manifest["intensity_mean"].iloc[0] == pytest.approx(expected.mean())


# Real files


def test_two_real_series_of_a_tree_are_read_as_their_headers_say(shared_data: Path) -> None:
    result = run(shared_data / FOLDER / "dicom_series")
    assert result.rejects.empty or set(result.rejects["reason"]) == {"other_file"}
    for name, said in facts("dicom_series").items():
        rows = result.manifest[result.manifest["path"].str.startswith(name)]
        assert len(rows) == said["files"]
        assert Path(rows["path"].iloc[0]).name == said["first_by_position"]
        assert list(rows["slice"]) == list(range(said["files"]))
        low, high = said["spacing_between_positions"]
        assert low - 1e-3 <= rows["spacing_z"].iloc[0] <= high + 1e-3


def test_a_real_heap_of_files_is_asked_about_and_then_read_by_modality(
    shared_data: Path,
) -> None:
    raw = shared_data / FOLDER / "dicom"
    with pytest.raises(UserError, match="holds series of several modalities"):
        run(raw)
    found = run(raw, modality="ct")
    assert set(found.manifest["modality"]) == {"ct"}
    assert any(path.endswith("CT_small.dcm") for path in found.manifest["path"])
    assert not found.manifest["path"].str.contains("MR_small").any()
