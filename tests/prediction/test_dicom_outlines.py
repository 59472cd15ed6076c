"""Outlines of DICOM scans as DICOM, read back with highdicom and with pydicom alone."""

import gc
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pandas as pd
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.uid import generate_uid

import maskwise
from maskwise.artefacts.outlines import from_png, to_png
from maskwise.errors import UserError
from maskwise.prediction.contracts import Scan
from maskwise.prediction.dicom.making import Made
from maskwise.prediction.dicom.series import Series, series_of
from maskwise.prediction.dicom.writing import Source, author_of, write_dicom
from maskwise.prediction.reading import unseen, was_lost
from maskwise.prediction.stage import PredictConfig, Predicted, predict
from maskwise.scans.reading import DEFAULT
from maskwise.workers import Loss, Pool
from prediction.drawn import draw
from prediction.models import (
    CLASSIFIER,
    SEGMENTER,
    save_classifier,
    save_segmenter,
    save_stubborn,
    seen_by,
)
from sources.dicom import ID, save, slice_of
from sources.drawing import scan

HEIGHT, WIDTH = 40, 56
SPACING = (1.5, 0.75)
"""Of rows and of columns, mm."""
STEP = 2.5
CORNER = np.array([-31.0, 12.5, 40.0])
CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"


def turned() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the directions across, down and through of slices oblique about two axes."""
    a, b = np.deg2rad(25), np.deg2rad(-35)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    across, down, through = (about_z @ about_x).T
    return across, down, through


def write_oblique(folder: Path, places: list[int], **elements: Any) -> list[Path]:
    """Write a slice at each of ``places`` of an oblique stack; names say nothing of them."""
    across, down, through = turned()
    frame, study = generate_uid(), generate_uid()
    series = generate_uid()
    files = []
    for number, place in enumerate(places):
        corner = CORNER + STEP * place * through
        values = {
            "SOPInstanceUID": generate_uid(),
            "StudyInstanceUID": study,
            "SeriesInstanceUID": series,
            "FrameOfReferenceUID": frame,
            "SeriesNumber": 3,
            "InstanceNumber": place + 1,
            "ImageOrientationPatient": [round(float(v), 9) for v in (*across, *down)],
            "ImagePositionPatient": [round(float(v), 6) for v in corner],
            "PixelSpacing": list(SPACING),
            "SliceThickness": STEP,
            **elements,
        }
        dataset = slice_of(scan(place, HEIGHT, WIDTH), **values)
        dataset.file_meta.MediaStorageSOPInstanceUID = values["SOPInstanceUID"]
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        files.append(save(dataset, folder / f"{number}.dcm"))
    return files


def corner_to_mm(dataset: Any, row: float, column: float) -> NDArray[np.float64]:
    """Return where a pixel's centre lies in the patient, as PS3.3 C.7.6.2.1.1 says."""
    orientation = np.array(dataset.ImageOrientationPatient, float)
    down_mm, across_mm = map(float, dataset.PixelSpacing)
    start = np.array(dataset.ImagePositionPatient, float)
    found = start + orientation[:3] * across_mm * column + orientation[3:] * down_mm * row
    return np.asarray(found)


@pytest.fixture(scope="module")
def oblique(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Predicted]:
    """Return a folder with a series, out of order, and what a segmenter says about it."""
    folder = tmp_path_factory.mktemp("oblique")
    write_oblique(folder / "scans", [2, 0, 3, 1])
    model = save_segmenter(folder / "best.safetensors")
    return folder / "scans", predict(model, folder / "scans", PredictConfig(dicom="both"))


def outline(result: Predicted, row: int) -> NDArray[np.uint8]:
    return from_png(result.outlines[result.table["outline"][row]])


def test_a_series_becomes_one_segmentation_that_the_table_names(
    oblique: tuple[Path, Predicted],
) -> None:
    table = oblique[1].table
    assert list(table["segmentation"]) == ["000000.seg.dcm"] * 4
    assert list(table["capture"]) == [f"{row:06d}.sc.dcm" for row in range(4)]
    assert set(table["no_dicom"]) == {""}
    assert list(table.columns)[-4:] == ["segmentation", "capture", "no_dicom", "refused"]


def test_highdicom_reads_each_outline_where_the_scan_has_it(
    oblique: tuple[Path, Predicted],
) -> None:
    folder, result = oblique
    found = hd.seg.segread(io.BytesIO(result.outlines["000000.seg.dcm"]))
    sources = [pydicom.dcmread(folder / path) for path in result.table.path]
    assert {s.segment_label for s in map(found.get_segment_description, (1, 2))} == {
        "mass", "cyst",
    }  # fmt: skip
    ids = [source.SOPInstanceUID for source in sources]
    classes = found.get_pixels_by_source_instance(
        ids, combine_segments=True, assert_missing_frames_are_empty=True
    )
    for row, found_there in enumerate(classes):
        assert np.array_equal(found_there, outline(result, row))
    assert found.FrameOfReferenceUID == sources[0].FrameOfReferenceUID
    assert found.StudyInstanceUID == sources[0].StudyInstanceUID
    assert found.PatientID == ID


def test_a_voxel_of_the_segmentation_lies_in_the_patient_where_its_scan_s_pixel_does(
    oblique: tuple[Path, Predicted],
) -> None:
    folder, result = oblique
    found = hd.seg.segread(io.BytesIO(result.outlines["000000.seg.dcm"]))
    volume = found.get_volume(combine_segments=True)
    sources = [pydicom.dcmread(folder / path) for path in result.table.path]
    for row, source in enumerate(sources):
        lesion = np.argwhere(outline(result, row))[::97]
        for down, across in lesion:
            place = corner_to_mm(source, down, across)
            index = volume.map_reference_to_indices(place[None])[0]
            assert np.abs(index - index.round()).max() < 1e-3
            voxel = volume.array[tuple(index.round().astype(int))]
            assert voxel == outline(result, row)[down, across]


def test_pydicom_alone_reads_the_same_frames_and_places(
    oblique: tuple[Path, Predicted],
) -> None:
    folder, result = oblique
    found = pydicom.dcmread(io.BytesIO(result.outlines["000000.seg.dcm"]))
    frames = np.atleast_3d(found.pixel_array).reshape(-1, HEIGHT, WIDTH)
    rows = {pydicom.dcmread(folder / path).SOPInstanceUID: row
            for row, path in enumerate(result.table.path)}  # fmt: skip
    shared = found.SharedFunctionalGroupsSequence[0]
    assert shared.PixelMeasuresSequence[0].PixelSpacing == list(SPACING)
    seen = 0
    for frame, groups in zip(frames, found.PerFrameFunctionalGroupsSequence, strict=True):
        number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        derived = groups.DerivationImageSequence[0].SourceImageSequence[0]
        row = rows[derived.ReferencedSOPInstanceUID]
        assert np.array_equal(frame, outline(result, row) == number)
        source = pydicom.dcmread(folder / result.table.path[row])
        position = groups.PlanePositionSequence[0].ImagePositionPatient
        assert position == pytest.approx(source.ImagePositionPatient, abs=1e-4)
        seen += int(frame.sum())
    assert seen == sum(int((outline(result, row) > 0).sum()) for row in range(4))
    directions = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    assert directions == pytest.approx([*turned()[0], *turned()[1]], abs=1e-6)


def test_a_capture_shows_the_scan_with_a_rim_round_each_area_in_its_place(
    oblique: tuple[Path, Predicted],
) -> None:
    folder, result = oblique
    for row, path in enumerate(result.table.path):
        source = pydicom.dcmread(folder / path)
        found = pydicom.dcmread(io.BytesIO(result.outlines[f"{row:06d}.sc.dcm"]))
        assert found.SOPClassUID.name == "Secondary Capture Image Storage"
        assert found.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert list(found.ImagePositionPatient) == list(source.ImagePositionPatient)
        pixels = found.pixel_array.astype(int)
        coloured = (pixels != pixels[..., :1]).any(axis=2)
        areas = outline(result, row)
        assert coloured.any()
        assert (areas[coloured] > 0).all()
        greys, scanned = pixels[~coloured][:, 0], source.pixel_array[~coloured]
        assert np.corrcoef(greys, scanned)[0, 1] > 0.99


def test_the_same_outlines_of_the_same_scans_are_the_same_objects(
    oblique: tuple[Path, Predicted], tmp_path: Path
) -> None:
    folder, result = oblique
    model = save_segmenter(tmp_path / "again.safetensors")
    again = predict(model, folder, PredictConfig(dicom="segmentation"))
    other = save_stubborn(tmp_path / "other.safetensors", 1)
    others = predict(other, folder, PredictConfig(dicom="segmentation"))
    ids = [
        pydicom.dcmread(io.BytesIO(each.outlines["000000.seg.dcm"])).SOPInstanceUID
        for each in (result, again, others)
    ]
    assert ids[0] == ids[1] != ids[2]
    assert not [name for name in again.outlines if name.endswith(".sc.dcm")]


def test_the_same_outlines_by_another_model_are_other_objects(tmp_path: Path) -> None:
    write_oblique(tmp_path / "scans", [0, 1])
    found = []
    for fraction in (0.5, 1.0):
        described = replace(SEGMENTER, fraction=fraction)
        model = save_stubborn(tmp_path / "model.safetensors", 1, described)
        outlines = told(model, tmp_path / "scans").outlines
        found.append(pydicom.dcmread(io.BytesIO(outlines["000000.seg.dcm"])))
    assert found[0].PixelData == found[1].PixelData
    assert found[0].SOPInstanceUID != found[1].SOPInstanceUID
    assert found[0].SeriesInstanceUID != found[1].SeriesInstanceUID


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model that calls each pixel a mass."""
    return save_stubborn(tmp_path_factory.mktemp("model") / "all.safetensors", 1)


def told(model: Path, folder: Path, kind: Any = "segmentation") -> Predicted:
    return predict(model, folder, PredictConfig(dicom=kind))


def test_a_series_that_lacks_a_slice_is_named_and_costs_no_other(
    tmp_path: Path, everything: Path
) -> None:
    write_oblique(tmp_path / "scans/gap", [0, 1, 2, 4, 5], SOPClassUID=CT)
    write_oblique(tmp_path / "scans/whole", [0, 1, 2], SOPClassUID=MR)
    result = told(everything, tmp_path / "scans")
    table = result.table.set_index("path")
    why = set(table.loc[table.index.str.startswith("gap"), "no_dicom"])
    assert len(why) == 1
    (sentence,) = why
    assert sentence.startswith("its series is incomplete: between ")
    assert sentence.endswith(
        "mm a slice is missing, as others lie 2.5 mm apart; add it and run again"
    )
    whole = table[table.index.str.startswith("whole")]
    assert set(whole["no_dicom"]) == {""}
    assert [name for name in result.outlines if name.endswith(".dcm")] == list(
        set(whole["segmentation"])
    )


def test_a_series_with_a_refused_slice_is_incomplete(tmp_path: Path, everything: Path) -> None:
    files = write_oblique(tmp_path / "scans", [0, 1, 2])
    broken = pydicom.dcmread(files[1])
    broken.PixelData = broken.PixelData[:20]
    save(broken, files[1])
    table = told(everything, tmp_path / "scans").table
    said = "its series is incomplete: 1 image of 3 was refused, as row 2 says"
    assert list(table["no_dicom"]) == [said, "", said]
    assert table["refused"][1] != ""


def series_in(
    root: Path, scans: list[tuple[str, int]], lost: int | None = None
) -> tuple[list[Series], dict[int, str]]:
    unread = np.arange(len(scans)) == (-1 if lost is None else lost)
    with Pool(1) as pool:
        return series_of(root, [Scan(*each, None) for each in scans], ~unread, unread, pool)


def test_a_frame_that_a_table_repeats_stands_for_no_other(tmp_path: Path) -> None:
    clip = slice_of(
        np.stack([scan(0), scan(1)]),
        SOPInstanceUID=generate_uid(),
        StudyInstanceUID=generate_uid(),
    )
    save(clip, tmp_path / "a.dcm")
    (twice,), _ = series_in(tmp_path, [("a.dcm", 0), ("a.dcm", 0)])
    assert twice.missing == (
        "its series is incomplete: 1 of the 2 frames of its file were given"
    )
    (more,), _ = series_in(tmp_path, [("a.dcm", 0), ("a.dcm", 1), ("a.dcm", 1)])
    assert more.missing == (
        "frame 1 of its file was given more than once; name each frame once"
    )


def test_a_file_that_could_not_be_read_is_not_opened_again_and_no_series_beside_it_is_whole(
    tmp_path: Path,
) -> None:
    write_oblique(tmp_path / "a", [0, 1, 2])
    write_oblique(tmp_path / "b", [0, 1])
    (tmp_path / "a/2.dcm").unlink()  # so that opening it would be told
    paths = ["a/0.dcm", "a/1.dcm", "a/2.dcm", "b/0.dcm", "b/1.dcm"]
    (beside, other), none = series_in(tmp_path, [(path, 0) for path in paths], lost=2)
    assert beside.rows == [0, 1]
    assert beside.missing == (
        "its series may be incomplete: a file of its folder could not be read, as row 3 says"
    )
    assert other.missing == ""
    assert none == {2: "its file could not be read, as row 3 says"}


def test_a_header_at_which_a_process_is_lost_costs_its_own_scans(tmp_path: Path) -> None:
    write_oblique(tmp_path, [0, 1])
    scans, answered = [Scan(f"{number}.dcm", 0, None) for number in range(2)], np.ones(2, bool)
    with Pool(1, seconds=1e-6) as pool:
        series, none = series_of(tmp_path, scans, answered, ~answered, pool)
    said = "its header could not be read: reading it took longer than 1e-06 s"
    assert not series
    assert none == {0: said, 1: said}


def test_headers_and_pixels_are_read_by_workers_and_never_by_this_process(
    tmp_path: Path, everything: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_oblique(tmp_path / "scans", [0, 1])

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a file was read where a crash would end the run")

    monkeypatch.setattr(pydicom, "dcmread", refuse)
    result = told(everything, tmp_path / "scans", "both")
    assert set(result.table["no_dicom"]) == {""}
    assert len([name for name in result.outlines if name.endswith(".dcm")]) == 3


class Kept(dict[str, bytes]):
    """Outlines that forget every DICOM file, and count what is under way meanwhile."""

    files, asked, given, most, alive = 24, 0, 0, 0, 0

    def __getitem__(self, name: str) -> bytes:
        self.asked += 1
        return super().__getitem__(name)

    def __setitem__(self, name: str, content: bytes) -> None:
        self.most = max(self.most, self.asked - self.given)
        self.given += 1
        super().__setitem__(name, b"")
        if self.given == self.files:
            self.alive = sum(type(each) is Made for each in gc.get_objects())


def test_each_file_is_handed_on_and_forgotten_before_many_more_are_made(tmp_path: Path) -> None:
    number = Kept.files
    write_oblique(tmp_path, list(range(number)))
    table = pd.DataFrame({"outline": [f"{row}.png" for row in range(number)], "refused": ""})
    area = to_png(np.ones((HEIGHT, WIDTH), np.uint8))
    outlines = Kept(dict.fromkeys(table["outline"], area))
    scans = [Scan(f"{row}.dcm", 0, None) for row in range(number)]
    with Pool(1) as pool:
        source = Source(tmp_path, scans, DEFAULT, pool, 300.0)
        told = write_dicom(source, table, outlines, author_of(SEGMENTER, ""), "capture")
    assert told["capture"].nunique() == outlines.given == number
    assert 0 < outlines.alive <= 5
    assert 0 < outlines.most <= 5


def test_what_no_process_could_read_is_told_from_what_was_read_and_refused() -> None:
    for loss in (Loss("too_slow", "reading it took longer than 2 s"), Loss("crashed", "died")):
        assert was_lost(unseen("predict", Scan("a.dcm", 0, None), loss).detail)
    for reason in ("", "the modality is mr", "cannot be read as DICOM (damaged)"):
        assert not was_lost(reason)


def test_what_has_no_place_in_the_patient_has_a_segmentation_of_its_own(
    tmp_path: Path, everything: Path
) -> None:
    for number in range(2):
        plain = slice_of(
            scan(number),
            SOPInstanceUID=generate_uid(),
            StudyInstanceUID="1.2.3",
            SOPClassUID="1.2.840.10008.5.1.4.1.1.6.1",
        )
        plain.file_meta.MediaStorageSOPInstanceUID = plain.SOPInstanceUID
        save(plain, tmp_path / f"scans/{number}.dcm")
    draw(tmp_path / "scans/picture.png")
    result = told(everything, tmp_path / "scans", "both")
    assert list(result.table["no_dicom"]) == ["", "", "the scan is no DICOM file"]
    for name in ("000000.seg.dcm", "000001.seg.dcm"):
        found = hd.seg.segread(io.BytesIO(result.outlines[name]))
        assert found.pixel_array.all()
    capture = pydicom.dcmread(io.BytesIO(result.outlines["000001.sc.dcm"]))
    assert not capture.PatientOrientation
    assert "ImagePositionPatient" not in capture


def test_a_series_in_which_nothing_is_outlined_says_so_in_all_its_frames(
    tmp_path: Path,
) -> None:
    write_oblique(tmp_path / "scans", [0, 1])
    nothing = save_stubborn(tmp_path / "none.safetensors", 0)
    result = told(nothing, tmp_path / "scans")
    found = hd.seg.segread(io.BytesIO(result.outlines["000000.seg.dcm"]))
    assert not found.pixel_array.any()


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ({"ImagePositionPatient": [0, 0, 0]}, "several images of one place"),
        (
            {"StudyInstanceUID": ""},
            "StudyInstanceUID is missing, by which an object",
        ),
    ],
)
def test_a_series_that_no_object_can_refer_to_says_why(
    tmp_path: Path, everything: Path, elements: dict[str, Any], said: str
) -> None:
    write_oblique(tmp_path / "scans", [0, 1], **elements)
    table = told(everything, tmp_path / "scans").table
    assert [said in sentence for sentence in table["no_dicom"]] == [True, True]
    assert set(table["refused"]) == {""}


@pytest.mark.parametrize("name", ["hippocrop_1mm", "t1post_oblique_half"])
def test_a_real_series_and_its_segmentation_share_their_corners_in_the_patient(
    name: str, shared_data: Path, tmp_path: Path
) -> None:
    folder = shared_data / "dicom-nifti-samples/dicom_series" / name
    seen = seen_by(SEGMENTER, modality="mr", intensity={"name": "percentile"})
    model = save_stubborn(tmp_path / "all.safetensors", 1, replace(SEGMENTER, encoder=seen))
    result = told(model, folder)
    table = result.table
    assert set(table["no_dicom"]) == set(table["refused"]) == {""}
    (file,) = set(table["segmentation"])
    volume = hd.seg.segread(io.BytesIO(result.outlines[file])).get_volume()
    sources = [
        pydicom.dcmread(folder / path, stop_before_pixels=True) for path in table["path"]
    ]
    assert volume.frame_of_reference_uid == sources[0].FrameOfReferenceUID
    slices = set()
    for source in sources:
        ends = [(0, 0), (source.Rows - 1, 0), (source.Rows - 1, source.Columns - 1)]
        corners = np.array([corner_to_mm(source, *end) for end in ends])
        index = volume.map_reference_to_indices(corners)
        assert np.abs(index - index.round()).max() < 0.02
        assert len(set(index.round()[:, 0])) == 1
        slices.add(index.round()[0, 0])
    assert len(slices) == len(sources) == volume.spatial_shape[0]


def test_a_header_that_breaks_the_standard_costs_its_own_series_only(
    tmp_path: Path, everything: Path
) -> None:
    write_oblique(tmp_path / "scans/a", [0, 1], PatientSex="UNKNOWN TO US")
    write_oblique(tmp_path / "scans/b", [0, 1])
    result = told(everything, tmp_path / "scans")
    broken = "its header breaks the standard (ValueError)"
    assert list(result.table["no_dicom"]) == [broken, broken, "", ""]
    assert list(result.table["segmentation"]) == ["", "", "000002.seg.dcm", "000002.seg.dcm"]


def test_an_enhanced_file_has_a_segmentation_of_its_frames(
    tmp_path: Path, everything: Path
) -> None:
    across, down, through = turned()
    frames = np.stack([scan(place, HEIGHT, WIDTH) for place in range(3)])
    file = slice_of(
        frames,
        SOPClassUID="1.2.840.10008.5.1.4.1.1.4.1",
        SOPInstanceUID=generate_uid(),
        StudyInstanceUID=generate_uid(),
        FrameOfReferenceUID=generate_uid(),
    )
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID
    orientation, measures, shared = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    orientation.ImageOrientationPatient = [round(float(v), 9) for v in (*across, *down)]
    measures.PixelSpacing, measures.SliceThickness = list(SPACING), STEP
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    file.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for place in range(3):
        position, group = pydicom.Dataset(), pydicom.Dataset()
        corner = CORNER + STEP * place * through
        position.ImagePositionPatient = [round(float(v), 6) for v in corner]
        group.PlanePositionSequence = [position]
        groups.append(group)
    file.PerFrameFunctionalGroupsSequence = groups
    save(file, tmp_path / "scans/enhanced.dcm")
    (tmp_path / "some.csv").write_text("path,frame\nscans/enhanced.dcm,0\n", encoding="utf-8")
    result = told(everything, tmp_path / "scans")
    assert list(result.table["segmentation"]) == ["000000.seg.dcm"] * 3, result.table[
        "no_dicom"
    ]
    found = hd.seg.segread(io.BytesIO(result.outlines["000000.seg.dcm"]))
    volume = found.get_volume(combine_segments=True)
    index = volume.map_reference_to_indices((CORNER + 2 * STEP * through)[None])[0]
    assert volume.array[tuple(index.round().astype(int))] == 1
    volume = hd.seg.segread(io.BytesIO(result.outlines["000000.seg.dcm"])).get_volume()
    assert volume.spatial_shape == (3, HEIGHT, WIDTH)
    some = told(everything, tmp_path / "some.csv").table
    said = "its series is incomplete: 1 of the 3 frames of its file were given"
    assert list(some["no_dicom"]) == [said]


def test_a_classifier_and_a_script_make_no_dicom(tmp_path: Path, everything: Path) -> None:
    write_oblique(tmp_path / "scans", [0])
    model = save_classifier(CLASSIFIER, tmp_path / "best.safetensors")
    with pytest.raises(UserError, match="there is nothing to outline with"):
        told(model, tmp_path / "scans")
    with pytest.raises(UserError, match="a script gets the table alone"):
        maskwise.predict(tmp_path / "scans", everything, dicom="both")


def test_without_highdicom_a_sentence_says_what_to_install_before_a_scan_is_read(
    tmp_path: Path, everything: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maskwise.prediction.dicom.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'not installed: pip install "maskwise\[dicom\]"'):
        told(everything, tmp_path / "there is no such folder")
