"""The source `decathlon`: volumes become slices, spaced and outlined, or are refused."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from maskwise.artefacts.store import open_store
from maskwise.config import choose
from maskwise.errors import UserError
from maskwise.finetune.lesion.outlines import read_outlines
from maskwise.ingest.contracts import Listing
from maskwise.ingest.sources import SOURCES
from maskwise.ingest.stage import IngestConfig, Ingested, ingest
from maskwise.preprocess.config import PreprocessConfig, SourcePreprocessConfig
from maskwise.preprocess.stage import preprocess
from maskwise.scans.mask_files import read_classes
from maskwise.scans.pictures import read_image
from scans.samples import FOLDER
from sources import decathlon
from sources.volume import rewrite
from sources.volume import write as write_volume

FIRST = "imagesTr/toy_001.nii.gz"
MASK = "labelsTr/toy_001.nii.gz"


def read(raw: Path, **options: Any) -> Listing:
    """List ``raw`` with the options of the YAML block."""
    return choose(SOURCES, {"name": "decathlon", **options}, "t.ingest").listing(raw)


def run(raw: Path, **options: Any) -> Ingested:
    """Ingest ``raw``."""
    source = choose(SOURCES, {"name": "decathlon", **options}, "t.ingest")
    return ingest(raw, source, IngestConfig(max_reject_share=1.0, workers=1), "t")


def rejects(result: Ingested) -> dict[str, tuple[str, str]]:
    """Return path -> reason and detail."""
    rows = result.rejects.itertuples(index=False)
    return {str(row.path): (str(row.reason), str(row.detail)) for row in rows}


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Ingested:
    return run(decathlon.write(tmp_path_factory.mktemp("decathlon")))


@pytest.fixture(scope="module")
def real(shared_data: Path) -> Ingested:
    return run(shared_data / FOLDER / "Task04_Hippocampus")


# What becomes of volumes


def test_a_slice_is_a_row_and_a_volume_a_patient(ingested: Ingested) -> None:
    manifest = ingested.manifest
    assert manifest.groupby("patient").size().to_dict() == {
        "toy_001": 8,
        "toy_002": 8,
        "toy_003": 8,
        "toy_010": 8,
    }
    first = manifest[manifest["path"] == FIRST]
    assert list(first["frame"]) == list(first["slice"]) == list(range(8))
    assert first["group"].nunique() == 1
    assert manifest["group"].nunique() == 4


@pytest.mark.parametrize(
    ("axis", "count", "height", "width", "spacing"),
    [
        ("axial", 8, 12, 10, (2.0, 1.5, 3.0)),
        ("coronal", 12, 8, 10, (3.0, 1.5, 2.0)),
        ("sagittal", 10, 8, 12, (3.0, 2.0, 1.5)),
    ],
)
def test_any_axis_can_be_sliced_along_and_spacing_goes_with_it(
    tmp_path: Path,
    axis: str,
    count: int,
    height: int,
    width: int,
    spacing: tuple[float, float, float],
) -> None:
    manifest = run(decathlon.write(tmp_path), axis=axis).manifest
    rows = manifest[manifest["path"] == FIRST]
    assert len(rows) == count
    row = rows.iloc[0]
    assert (row["height"], row["width"]) == (height, width)
    assert (row["spacing_y"], row["spacing_x"], row["spacing_z"]) == pytest.approx(spacing)
    assert row["axis"] == axis


def test_masks_go_with_their_slice_and_test_volumes_have_none(ingested: Ingested) -> None:
    manifest = ingested.manifest
    test = manifest["part"] == "test"
    assert set(manifest["patient"][test]) == {"toy_010"}
    assert manifest["masks"][test].map(len).eq(0).all()
    assert manifest["lesion_share"][test].isna().all()
    expected = [(decathlon.labels()[:, :, k] > 0).mean() for k in range(8)]
    found = manifest[manifest["path"] == FIRST]["lesion_share"]
    assert list(found) == pytest.approx(expected)


def test_test_volumes_may_be_left(tmp_path: Path) -> None:
    listing = read(decathlon.write(tmp_path), test_volumes="leave")
    assert set(listing.images["part"]) == {"training"}


def test_modality_and_classes_come_from_the_description(ingested: Ingested) -> None:
    assert set(ingested.manifest["modality"]) == {"mr"}
    assert set(ingested.manifest["sequence"]) == {"MRI"}
    assert set(ingested.manifest["mask_classes"]) == {'["Front", "Back"]'}


@pytest.mark.parametrize(("name", "modality"), [("CT", "ct"), ("T1w", "mr"), ("PET", "pet")])
def test_modalities_have_this_projects_names(tmp_path: Path, name: str, modality: str) -> None:
    assert read(decathlon.write(tmp_path, (name,))).modality == modality


def test_one_modality_of_several_is_read_as_asked_for(tmp_path: Path) -> None:
    raw = decathlon.write(tmp_path, ("FLAIR", "T1w"))
    voxels = decathlon.volume(0, (*decathlon.SHAPE, 2))
    for channel in (0, 1):
        manifest = run(raw, channel=channel).manifest
        row = manifest[manifest["path"] == FIRST].iloc[3]
        image = read_image(raw, FIRST, row["frame"])[..., 0]
        assert np.array_equal(image, voxels[::-1, ::-1, 3, channel].T)
        assert row["sequence"] == ("FLAIR", "T1w")[channel]
        assert row["slice"] == 3
        classes = read_classes(raw, row["masks"], row["frame"])
        assert np.array_equal(classes, decathlon.labels()[::-1, ::-1, 3].T)


def test_a_modality_that_the_task_has_not_is_refused_with_those_it_has(tmp_path: Path) -> None:
    raw = decathlon.write(tmp_path, ("FLAIR", "T1w"))
    with pytest.raises(UserError, match="channel is 2, but the task has only 0 FLAIR, 1 T1w"):
        read(raw, channel=2)
    with pytest.raises(UserError, match=r"channel: is -1, but must lie between 0"):
        read(raw, channel=-1)


def test_the_task_may_lie_in_a_folder_of_the_raw_folder(tmp_path: Path) -> None:
    decathlon.write(tmp_path / "Task77_Toy")
    assert read(tmp_path).images["path"].iloc[0] == f"Task77_Toy/{FIRST}"
    assert len(run(tmp_path).manifest) == 32


def test_of_several_tasks_one_has_to_be_named(tmp_path: Path) -> None:
    for name in ("Task77_Toy", "Task78_Toy"):
        decathlon.write(tmp_path / name)
    with pytest.raises(UserError, match=r"2 folders .*Task77_Toy.*option `task`"):
        read(tmp_path)
    with pytest.raises(UserError, match="task is 'Task79'"):
        read(tmp_path, task="Task79")
    listing = read(tmp_path, task="Task78_Toy")
    assert set(listing.images["path"].str.split("/").str[0]) == {"Task78_Toy"}
    assert {reject.reason for reject in listing.rejects} == {"other_file"}


def test_two_workers_say_what_one_says(tmp_path: Path) -> None:
    raw = decathlon.write(tmp_path)
    source = choose(SOURCES, {"name": "decathlon"}, "t.ingest")
    together = ingest(raw, source, IngestConfig(workers=2), "t")
    assert together.manifest.to_csv() == run(raw).manifest.to_csv()


def test_slices_and_classes_reach_the_store(tmp_path: Path) -> None:
    raw = decathlon.write(tmp_path / "raw")
    block = SourcePreprocessConfig(
        height=12, width=10, modality="mr", geometry={"name": "pad"}, test_share=0.2
    )
    manifest = run(raw).manifest
    out = preprocess(raw, manifest, block, PreprocessConfig(workers=1), "t")
    out.write_store(tmp_path / "store")
    store = open_store(tmp_path / "store")
    rows = manifest.index[manifest["path"] == FIRST]
    assert store.header.mask_classes == ("Front", "Back")
    assert read_outlines(store, "t.finetune.task").classes == ("Front", "Back")
    assert store.masks is not None
    for row in rows:
        k = manifest["slice"][row]
        assert np.array_equal(store.masks[row], decathlon.labels()[::-1, ::-1, k].T)
        values = decathlon.volume(0)[::-1, ::-1, k].T
        low, high = np.percentile(values, (0.5, 99.5))
        expected = np.clip((values - low) / (high - low), 0, 1)
        found = store.intensities(np.array([row]))[0, 0]
        assert np.abs(found - expected).max() <= store.header.largest_rounding_error + 1e-6
    assert store.index["has_mask"].sum() == 24
    first = store.index.loc[rows]
    assert list(first["slice"]) == list(range(8))
    spacing = first[["spacing_y", "spacing_x", "spacing_z"]].to_numpy()
    assert spacing == pytest.approx(np.tile([2.0, 1.5, 3.0], (8, 1)))


# What is refused


def replace_mask(raw: Path, voxels: NDArray[Any], **options: Any) -> None:
    """Write another label volume."""
    options.setdefault("spacing", decathlon.SPACING)
    write_volume(raw / MASK, voxels, **options)


def without_affine(raw: Path, path: str) -> None:
    """Take away what the header says of orientation."""
    plain = write_volume(raw / "plain.nii", decathlon.volume(0))
    rewrite(plain, sform_code=0, qform_code=0)
    (raw / path).write_bytes(plain.read_bytes())
    plain.unlink()


def picture_for_mask(raw: Path) -> None:
    """Name a picture of the slices' size as the mask of the first volume."""
    Image.fromarray(decathlon.labels()[:, :, 4]).save(raw / "labelsTr" / "outline.png")
    text = (raw / "dataset.json").read_text(encoding="utf-8")
    renamed = text.replace(MASK, "labelsTr/outline.png", 1)
    assert renamed != text
    (raw / "dataset.json").write_text(renamed, encoding="utf-8")
    (raw / MASK).unlink()


def shifted(raw: Path) -> None:
    replace_mask(raw, decathlon.labels(), spacing=(1.5, 2.0, 3.2))


@pytest.mark.parametrize(
    ("damage", "reason", "said"),
    [
        (
            lambda raw: without_affine(raw, FIRST),
            "no_affine",
            "does not say how the volume lies",
        ),
        (lambda raw: without_affine(raw, MASK), "mask_geometry", "does not say how"),
        (shifted, "mask_geometry", "mm from the image"),
        (
            lambda raw: replace_mask(raw, decathlon.labels()[:, :, :7]),
            "mask_geometry",
            "has 10 x 12 x 7 voxels, the image 10 x 12 x 8",
        ),
        (
            lambda raw: replace_mask(raw, np.stack([decathlon.labels()] * 2, axis=3)),
            "mask_geometry",
            "holds 2 volumes",
        ),
        (
            lambda raw: replace_mask(raw, 2 * decathlon.labels()),
            "unknown_mask_label",
            "holds 4, but classes go from 0 to 2",
        ),
        (
            lambda raw: replace_mask(raw, -decathlon.labels().astype(np.int16)),
            "unknown_mask_label",
            "holds -2",
        ),
        (
            lambda raw: replace_mask(raw, decathlon.labels() * np.float32(0.5)),
            "fractional_mask",
            "holds 0.5, which is not a class",
        ),
        (
            lambda raw: replace_mask(raw, np.full(decathlon.SHAPE, np.inf, np.float32)),
            "fractional_mask",
            "holds inf",
        ),
        (
            lambda raw: replace_mask(raw, np.zeros(decathlon.SHAPE, np.uint8)),
            "empty_mask",
            "outlines nothing",
        ),
        (picture_for_mask, "mask_geometry", "is not a NIfTI volume, though its image is"),
        (lambda raw: (raw / MASK).unlink(), "missing_mask", "no such file"),
        (lambda raw: (raw / MASK).write_bytes(b"\x1f\x8b--"), "damaged_mask", "not a readable"),
        (lambda raw: (raw / FIRST).unlink(), "missing_file", "no such file"),
        (
            lambda raw: (raw / FIRST).write_bytes((raw / FIRST).read_bytes()[:-500]),
            "damaged",
            "cannot be read",
        ),
        (
            lambda raw: write_volume(raw / FIRST, decathlon.volume(0, (10, 12, 8, 3))),
            "dimensions",
            "holds 3 volumes, but dataset.json names 1 modality",
        ),
    ],
)
def test_a_volume_that_is_wrong_costs_itself_only_and_is_named_once(
    tmp_path: Path, damage: Any, reason: str, said: str
) -> None:
    raw = decathlon.write(tmp_path)
    damage(raw)
    result = run(raw)
    found = rejects(result)
    assert len(found) == 1
    assert found[FIRST][0] == reason
    assert said in found[FIRST][1]
    assert set(result.manifest["patient"]) == {"toy_002", "toy_003", "toy_010"}


def test_one_volume_where_modalities_are_several_is_refused(tmp_path: Path) -> None:
    raw = decathlon.write(tmp_path, ("FLAIR", "T1w"))
    write_volume(raw / FIRST, decathlon.volume(0), spacing=decathlon.SPACING)
    assert rejects(run(raw))[FIRST][0] == "dimensions"


def test_labels_stored_as_floating_point_are_taken_while_they_are_whole(
    tmp_path: Path,
) -> None:
    raw = decathlon.write(tmp_path)
    replace_mask(raw, decathlon.labels().astype(np.float32))
    result = run(raw)
    assert result.rejects.empty
    assert len(result.manifest) == 32


def test_a_mask_stored_the_other_way_round_is_the_same_mask(tmp_path: Path) -> None:
    raw = decathlon.write(tmp_path)
    image = nib.Nifti1Image(decathlon.labels(), np.diag([*decathlon.SPACING, 1.0]))
    nib.save(image.as_reoriented(nib.orientations.axcodes2ornt(("P", "L", "S"))), raw / MASK)
    manifest = run(raw).manifest
    rows = manifest[manifest["path"] == FIRST]
    for masks, frame, k in zip(rows["masks"], rows["frame"], rows["slice"], strict=True):
        expected = decathlon.labels()[::-1, ::-1, k].T
        assert np.array_equal(read_classes(raw, masks, frame), expected)


def test_a_slice_with_numbers_that_are_none_is_named_and_the_others_stay(
    tmp_path: Path,
) -> None:
    raw = decathlon.write(tmp_path)
    voxels = decathlon.volume(0).astype(np.float32)
    voxels[2, 2, (0, 5)] = np.nan
    write_volume(raw / FIRST, voxels, spacing=decathlon.SPACING)
    result = run(raw)
    details = [row.detail for row in result.rejects.itertuples()]
    assert [detail.split(" (")[0] for detail in details] == [
        f"frame {k}: holds values that are not finite numbers" for k in (0, 5)
    ]
    assert "NaN in 0.83%" in details[0]  # 1 of 120
    assert "set `reading: {nan: background}`" in details[0]
    rows = result.manifest[result.manifest["path"] == FIRST]
    assert list(rows["slice"]) == [1, 2, 3, 4, 6, 7]
    assert list(rows["relative_slice"]) == pytest.approx(np.array([1, 2, 3, 4, 6, 7]) / 7)


def test_volumes_of_several_number_types_are_taken_and_warned_of(tmp_path: Path) -> None:
    raw = decathlon.write(tmp_path)
    write_volume(raw / FIRST, decathlon.volume(0).astype(np.float32), spacing=decathlon.SPACING)
    summary = run(raw).summary
    assert summary["volumes"]["number_types"] == {"float32": 1, "int16": 3}
    assert any("float32 in 1, int16 in 3" in sentence for sentence in summary["warnings"])


def test_volumes_that_the_description_does_not_name_are_named(tmp_path: Path) -> None:
    raw = decathlon.write(tmp_path)
    write_volume(raw / "imagesTr" / "toy_004.nii.gz", decathlon.volume(9))
    (raw / "LICENCE").write_text("text", encoding="utf-8")
    (raw / "imagesTr" / "._toy_001.nii.gz").write_bytes(b"what a desktop left in the archive")
    found = {reject.path: reject.reason for reject in read(raw).rejects}
    assert found == {"imagesTr/toy_004.nii.gz": "missing_label", "LICENCE": "other_file"}


def test_a_path_that_leads_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    write_volume(tmp_path / "outside.nii.gz", decathlon.volume(0))
    raw = decathlon.write(tmp_path / "raw", test=["../outside.nii.gz"])
    reasons = {reject.path: reject.reason for reject in read(raw).rejects}
    assert reasons["../outside.nii.gz"] == "link"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not in the Decathlon's form"),
        ("[]", "is not in the Decathlon's form"),
        ("[" * 200_000, "is not in the Decathlon's form"),
        ('{"training": []}', "KeyError: 'modality'"),
        ({"labels": {"0": "background", "2": "x"}}, "should go from 0 up"),
        ({"labels": {"0": "background"}}, "no label beside the background"),
        ({"modality": {}}, "names no modality"),
        ({"training": [{"image": "a.nii.gz"}]}, "KeyError: 'label'"),
        ({"test": ["./imagesTr/toy_001.nii.gz"]}, "names imagesTr/toy_001.nii.gz twice"),
        ({"labels": {"0": "no", "1": "a", "2": "a"}}, "two of its labels have the same name"),
        ({"labels": {"0": "no", "1": "\ud800"}}, "UnicodeEncodeError"),
        ({"test": ["/imagesTr/toy_001.nii.gz"]}, "a path is absolute"),
    ],
)
def test_a_description_that_is_none_stops_with_what_is_wrong(
    tmp_path: Path, text: str | dict[str, Any], said: str
) -> None:
    raw = decathlon.write(tmp_path, **(text if isinstance(text, dict) else {}))
    if isinstance(text, str):
        (raw / "dataset.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=said):
        read(raw)


def test_a_folder_without_description_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text", encoding="utf-8")
    with pytest.raises(UserError, match=r"holds 0 folders with a dataset\.json"):
        read(tmp_path)


# What files leave open


def contradict(raw: Path, *paths: str) -> None:
    """Let the qform and pixdim of volumes say 1.3 x 1.3 x 10 mm, the sform 1 x 1 x 1."""
    for path in paths:
        image = nib.Nifti1Image(np.asarray(nib.load(raw / path).dataobj), None)  # type: ignore[attr-defined]
        image.header.set_qform(np.diag([1.3, 1.3, 10.0, 1.0]), 1)
        image.header.set_sform(np.eye(4), 1)
        nib.save(image, raw / path)


def test_a_form_that_the_option_chooses_is_the_spacing_of_manifest_and_store(
    tmp_path: Path,
) -> None:
    raw = decathlon.write(tmp_path / "raw")
    contradict(raw, FIRST, MASK)
    reason, detail = rejects(run(raw))[FIRST]
    assert reason == "contradictory_affine"
    assert "sform says 1 x 1 x 1 mm, qform and pixdim 1.3 x 1.3 x 10 mm" in detail
    for form, spacing in (("qform", [1.3, 1.3, 10]), ("sform", [1, 1, 1])):
        result = run(raw, reading={"affine": form})
        assert result.rejects.empty
        block = SourcePreprocessConfig(
            height=12, width=10, modality="mr", geometry={"name": "pad"}, test_share=0.2
        )
        out = preprocess(raw, result.manifest, block, PreprocessConfig(workers=1), "t")
        out.write_store(tmp_path / form)
        index = open_store(tmp_path / form).index
        first = index[(result.manifest["path"] == FIRST).to_numpy()]
        for rows in (result.manifest[result.manifest["path"] == FIRST], first):
            found = rows[["spacing_y", "spacing_x", "spacing_z"]].to_numpy()
            assert found == pytest.approx(np.tile(spacing, (8, 1)), rel=1e-6)


def test_a_mask_that_contradicts_itself_costs_its_image(tmp_path: Path) -> None:
    raw = decathlon.write(tmp_path)
    contradict(raw, MASK)
    reason, detail = rejects(run(raw))[FIRST]
    assert reason == "mask_geometry"
    assert f"the mask {MASK!r}: says in two ways how it lies" in detail
    reason, detail = rejects(run(raw, reading={"affine": "qform"}))[FIRST]
    assert reason == "mask_geometry"  # and it does not lie where its image does
    assert "mm from the image" in detail


def test_a_mask_in_another_unit_is_compared_in_millimetres(tmp_path: Path) -> None:
    raw = decathlon.write(tmp_path)
    plain = write_volume(raw / "m.nii", decathlon.labels(), spacing=decathlon.SPACING)
    rewrite(plain, xyzt_units=1)
    plain.rename(raw / MASK)
    assert "mm from the image" in rejects(run(raw))[FIRST][1]
    write_volume(plain, decathlon.labels(), spacing=(0.0015, 0.002, 0.003))
    rewrite(plain, xyzt_units=1)
    plain.rename(raw / MASK)
    assert run(raw).rejects.empty


def test_a_nan_background_is_taken_by_the_option_and_counts_nowhere(tmp_path: Path) -> None:
    raw = decathlon.write(tmp_path / "raw")
    voxels = decathlon.volume(0).astype(np.float32)
    voxels[:4] = np.nan
    voxels[:, :, 7] = np.nan
    write_volume(raw / FIRST, voxels, spacing=decathlon.SPACING)
    labels = np.where(np.isnan(voxels), np.nan, decathlon.labels()).astype(np.float32)
    replace_mask(raw, labels)
    assert rejects(run(raw))[FIRST][0] == "fractional_mask"
    result = run(raw, reading={"nan": "background"})
    assert result.rejects.empty
    rows = result.manifest[result.manifest["path"] == FIRST]
    known = voxels[4:, :, :7]
    assert rows["intensity_mean"][:7].tolist() == pytest.approx(known.mean(axis=(0, 1)))
    assert rows["intensity_min"][:7].tolist() == pytest.approx(known.min(axis=(0, 1)))
    assert rows["lesion_share"].tolist() == pytest.approx(
        ((decathlon.labels() > 0) & ~np.isnan(voxels)).mean(axis=(0, 1))
    )
    block = SourcePreprocessConfig(
        height=12, width=10, modality="mr", geometry={"name": "pad"}, test_share=0.2
    )
    preprocess(raw, result.manifest, block, PreprocessConfig(workers=1), "t").write_store(
        tmp_path / "store"
    )
    store = open_store(tmp_path / "store")
    rounding = store.header.largest_rounding_error + 1e-6
    for row, k in zip(rows.index, rows["slice"], strict=True):
        values = voxels[::-1, ::-1, k].T
        expected = np.zeros(values.shape)
        if k < 7:  # nothing was measured in the last
            low, high = np.nanpercentile(values, (0.5, 99.5))
            expected = np.nan_to_num(np.clip((values - low) / (high - low), 0, 1))
        found = store.intensities(np.array([row]))[0, 0]
        assert np.abs(found - expected).max() <= rounding


def test_labels_that_are_whole_but_for_rounding_are_classes(tmp_path: Path) -> None:
    raw = decathlon.write(tmp_path)
    replace_mask(raw, decathlon.labels() * np.float32(0.9999999))
    result = run(raw)
    assert result.rejects.empty
    rows = result.manifest[result.manifest["path"] == FIRST]
    for masks, frame, k in zip(rows["masks"], rows["frame"], rows["slice"], strict=True):
        expected = decathlon.labels()[::-1, ::-1, k].T
        assert np.array_equal(read_classes(raw, masks, frame), expected)


def test_a_leaning_stack_is_taken_and_warned_of(tmp_path: Path) -> None:
    raw = decathlon.write(tmp_path)
    affine = np.diag([*decathlon.SPACING, 1.0])
    affine[1, 2] = 0.6  # mm to the front from slice to slice
    for path, voxels in ((FIRST, decathlon.volume(0)), (MASK, decathlon.labels())):
        nib.save(nib.Nifti1Image(voxels, affine), raw / path)
    result = run(raw)
    assert result.rejects.empty
    rows = result.manifest[result.manifest["path"] == FIRST]
    assert rows["spacing_z"].tolist() == pytest.approx([3.0] * 8)
    (sentence,) = (text for text in result.summary["warnings"] if "leans" in text)
    assert sentence.startswith("1 file held a stack")
    assert FIRST in sentence
    assert "11.3 degrees" in sentence  # atan(0.6 / 3)


# The real files


def test_the_hippocampus_is_read_whole(real: Ingested, shared_data: Path) -> None:
    facts = json.loads((shared_data / FOLDER / "facts.json").read_text())["nifti"]
    assert real.rejects.empty
    slices = real.manifest.groupby("path").size()
    for path, count in slices.items():
        assert count == facts[f"Task04_Hippocampus/{path}"]["shape"][2]
    assert real.manifest["patient"].nunique() == 20
    assert real.manifest["part"].value_counts().to_dict() == {
        "training": slices.filter(like="Tr").sum(),
        "test": slices.filter(like="Ts").sum(),
    }
    assert set(real.manifest["mask_classes"]) == {'["Anterior", "Posterior"]'}
    assert real.manifest[["spacing_y", "spacing_x", "spacing_z"]].eq(1.0).all(axis=None)


def test_the_share_of_each_hippocampus_is_that_of_its_labels(
    real: Ingested, shared_data: Path
) -> None:
    raw = shared_data / FOLDER / "Task04_Hippocampus"
    rows = real.manifest[real.manifest["path"] == "imagesTr/hippocampus_003.nii.gz"]
    facts = json.loads((shared_data / FOLDER / "facts.json").read_text())["nifti"]
    said = facts["Task04_Hippocampus/labelsTr/hippocampus_003.nii.gz"]
    assert said["dtype"] == "<f4"
    classes = [
        read_classes(raw, m, f) for m, f in zip(rows["masks"], rows["frame"], strict=True)
    ]
    assert np.mean(classes) == pytest.approx(said["mean"], abs=1e-4)
    assert np.max(classes) == said["max"]


def test_its_mixed_number_types_are_warned_of(real: Ingested) -> None:
    assert real.summary["volumes"]["number_types"] == {"float32": 16, "uint8": 4}
    assert any("different types of numbers" in text for text in real.summary["warnings"])
