"""Folders as hospitals export them: what lies beside a series, whose it is, how it is bent."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID

from maskwise.ingest.identities import same_people, without_names
from maskwise.ingest.sources.image_folder import ImageFolderConfig
from maskwise.ingest.stage import IngestConfig, Ingested, ingest
from maskwise.scans.place import Place
from sources.dicom import ID, save, slice_of, write_series
from sources.drawing import scan

DOSE, SEGMENTATION, CAPTURE = (
    f"1.2.840.10008.5.1.4.1.1.{number}" for number in ("481.2", "66.4", "7")
)


def run(raw: Path, **options: Any) -> Ingested:
    """Ingest a flat folder, of which nothing that counts may be rejected."""
    source = ImageFolderConfig(layout="flat", duplicate_distance=0, **options)
    return ingest(raw, source, IngestConfig(max_reject_share=0.0, workers=1), "t")


def write(file: Path, seed: int, **elements: Any) -> Path:
    """Write an image that is like no other seed's."""
    return save(slice_of(scan(seed).astype(np.uint16), **elements), file)


# What lies beside a series


def test_doses_and_segmentations_beside_a_series_cost_it_nothing(tmp_path: Path) -> None:
    write_series(tmp_path, [0.0, 2.0, 4.0])
    write(tmp_path / "dose.dcm", 7, SOPClassUID=UID(DOSE), SeriesInstanceUID="1.9")
    write(tmp_path / "seg.dcm", 8, Modality="SEG", SOPClassUID=UID(SEGMENTATION))
    result = run(tmp_path)
    assert list(result.manifest["path"]) == ["000.dcm", "001.dcm", "002.dcm"]
    assert list(result.manifest["slice"]) == [0, 1, 2]
    rejects = result.rejects.set_index("path")
    assert set(rejects["reason"]) == {"not_a_scan"}
    assert "RT Dose Storage" in rejects.at["dose.dcm", "detail"]
    assert "SEG" in rejects.at["seg.dcm", "detail"]


@pytest.mark.parametrize("dicom", ["series", "files"])
def test_a_localizer_is_rejected_alone_and_its_series_is_kept(
    tmp_path: Path, dicom: str
) -> None:
    write_series(tmp_path, [0.0, 2.0, 4.0])
    view = {
        "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"],
        "ImageOrientationPatient": [0, 1, 0, 0, 0, -1],
        "ImagePositionPatient": [0, 0, 0],
    }
    write(tmp_path / "view.dcm", 7, **view)
    result = run(tmp_path, dicom=dicom)
    assert len(result.manifest) == 3
    assert list(result.rejects["path"]) == ["view.dcm"]
    assert list(result.rejects["reason"]) == ["localizer"]


def test_secondary_captures_are_counted_in_a_warning(tmp_path: Path) -> None:
    for seed in range(3):
        storage = {"SOPClassUID": UID(CAPTURE)} if seed < 2 else {}
        write(tmp_path / f"{seed}.dcm", seed, SeriesInstanceUID=f"1.{seed}", **storage)
    result = run(tmp_path)
    assert len(result.manifest) == 3
    assert result.summary["remarks"]["secondary_capture"]["files"] == 2
    (said,) = result.summary["warnings"]
    assert said.startswith("2 files came as DICOM secondary captures")
    assert said.endswith("as '0.dcm'.")


def test_files_whose_own_modality_is_not_the_sources_are_counted_in_a_warning(
    tmp_path: Path,
) -> None:
    for seed, said in enumerate(("US", "MR", "DX", "OT", "")):
        write(tmp_path / f"{seed}.dcm", seed, SeriesInstanceUID=f"1.{seed}", Modality=said)
    result = run(tmp_path, modality="ultrasound")
    assert len(result.manifest) == 5
    assert result.summary["remarks"]["other_modality"]["files"] == 2
    (said,) = result.summary["warnings"]
    assert said == (
        "2 files came as DICOM of another modality than the source's, as '1.dcm': its "
        "Modality means mr, not ultrasound."
    )


@pytest.mark.parametrize("named", ["MR", "mri", "other", "unknown"])
def test_files_of_the_sources_modality_or_of_a_source_that_names_none_are_no_warning(
    tmp_path: Path, named: str
) -> None:
    write(tmp_path / "a.dcm", 0, Modality="MR")
    assert run(tmp_path, modality=named).summary["remarks"] == {}


def test_a_capture_beside_a_series_is_an_image_by_itself(tmp_path: Path) -> None:
    write_series(tmp_path, [0.0, 2.0, 4.0])
    write(tmp_path / "z.dcm", 7, SOPClassUID=UID(CAPTURE), SeriesInstanceUID="1.9")
    manifest = run(tmp_path).manifest
    assert list(manifest["path"]) == ["000.dcm", "001.dcm", "002.dcm", "z.dcm"]
    assert list(manifest["slice"].dropna()) == [0, 1, 2]
    assert manifest["volume"].isna().tolist() == [False, False, False, True]


# Whose an image is


def people(folder: Path, ids: list[tuple[str, str | None]], **options: Any) -> Ingested:
    """Ingest an image for each id and issuer."""
    for number, (patient, issuer) in enumerate(ids):
        elements = {} if issuer is None else {"IssuerOfPatientID": issuer}
        series = f"1.{number}"
        file = folder / f"{number}.dcm"
        write(file, number, PatientID=patient, SeriesInstanceUID=series, **elements)
    return run(folder, **options)


def test_an_id_without_issuer_joins_every_issuer_of_that_id(tmp_path: Path) -> None:
    ids = [("7", None), ("7", "A"), ("7", "B"), ("8", "A"), ("8", "B"), ("9", None)]
    result = people(tmp_path, ids)
    groups = list(result.manifest["group"])
    assert groups[0] == groups[1] == groups[2]
    assert len(set(groups)) == 4
    said = (
        "1 PatientID stands with IssuerOfPatientID in some files and without it in others: "
        "each was taken for one person."
    )
    assert said in result.summary["warnings"]
    assert result.summary["patients"] == 4


def test_padding_of_ids_and_issuers_makes_nobody_else(tmp_path: Path) -> None:
    manifest = people(tmp_path, [("7 ", "A"), (" 7", "A "), ("7", " "), ("7", "A")]).manifest
    assert manifest["patient"].nunique() == 1


def test_ids_that_all_have_their_issuer_are_nothing_to_warn_of(tmp_path: Path) -> None:
    result = people(tmp_path, [("7", "A"), ("7", "A"), ("7", "B"), ("8", None)])
    assert result.manifest["patient"].nunique() == 3
    assert not any("Issuer" in said for said in result.summary["warnings"])


def test_patients_that_the_source_names_are_not_joined_by_ids(tmp_path: Path) -> None:
    result = people(tmp_path, [("7", None), ("7", "A")], patient="([0-9])[.]dcm")
    assert list(result.manifest["patient"]) == ["0", "1"]
    assert not any("Issuer" in said for said in result.summary["warnings"])


IDS = st.lists(st.tuples(st.sampled_from("78"), st.sampled_from(["A", "B", None])))


@given(IDS)
def test_two_images_are_of_one_person_as_the_rule_has_it(
    ids: list[tuple[str, str | None]],
) -> None:
    places = [Place(patient=who, issued=f"{who}\0{by}" if by else None) for who, by in ids]
    found, joined = same_people(places)
    bare = {who for who, by in ids if by is None}
    for (who, by), one in zip(ids, found, strict=True):
        for (other, other_by), another in zip(ids, found, strict=True):
            same = who == other and (by == other_by or who in bare)
            assert (one == another) is same
    assert joined == len(bare & {who for who, by in ids if by is not None})


def test_images_of_nobody_are_not_one_persons() -> None:
    assert same_people([Place(), Place()]) == ([None, None], 0)


def test_ids_with_their_issuers_leave_a_process_as_hashes(tmp_path: Path) -> None:
    place = without_names(
        Place(patient=ID, issued=f"{ID}\0HOGWARTS", series="1.2"), tmp_path / "key"
    )
    assert place is not None
    known = (place.patient, place.issued, place.series)
    assert len(set(known)) == 3
    assert not any(secret in str(known) for secret in (ID, "HOGWARTS", "1.2"))


# Sheared series


def write_sheared(folder: Path, degrees: float, **elements: Any) -> None:
    """Write four slices 2 mm apart, whose table moves ``degrees`` off their normal."""
    for number in range(4):
        aside = 2.0 * number * np.tan(np.deg2rad(degrees))
        place = {
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "ImagePositionPatient": [0.0, round(aside, 6), 2.0 * number],
            "PixelSpacing": [0.5, 0.5],
        }
        write(folder / f"{number}.dcm", number, **place, **elements)


def test_a_sheared_series_is_taken_and_remarked_with_how_much(tmp_path: Path) -> None:
    write_sheared(tmp_path / "tilted", 12, SeriesInstanceUID="1.1")
    write_sheared(tmp_path / "straight", 0, SeriesInstanceUID="1.2", GantryDetectorTilt="12")
    result = run(tmp_path)
    assert list(result.manifest["spacing_z"]) == pytest.approx([2.0] * 8)
    remarked = result.summary["remarks"]["sheared_series"]
    assert remarked["files"] == 4
    # 3 x 2 mm x tan(12 degrees) = 1.275 mm
    assert remarked["examples"]["tilted/0.dcm"] == "up to 1.28 mm aside, 12 degrees"
    assert any(
        said.startswith("4 files came in DICOM series") for said in result.summary["warnings"]
    )


@pytest.mark.parametrize(("degrees", "remarked"), [(2, 0), (3, 4), (-3, 4)])
def test_half_a_pixel_is_no_shear(tmp_path: Path, degrees: float, remarked: int) -> None:
    write_sheared(tmp_path, degrees)  # 6 mm x tan(2 degrees) = 0.21 mm, tan(3 degrees): 0.31
    found = run(tmp_path).summary["remarks"].get("sheared_series", {"files": 0})
    assert found["files"] == remarked


def test_an_oblique_series_whose_table_moves_straight_is_not_sheared(tmp_path: Path) -> None:
    write_series(tmp_path, [0.0, 6.5, 13.0])
    assert "sheared_series" not in run(tmp_path).summary["remarks"]
