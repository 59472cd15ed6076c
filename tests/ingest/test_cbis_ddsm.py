"""CBIS-DDSM: rows and files of every published shape, boxes, and what is refused by name."""

import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from maskwise.artefacts.store import open_store
from maskwise.config import choose
from maskwise.errors import UserError
from maskwise.ingest.contracts import Listing
from maskwise.ingest.sources import SOURCES
from maskwise.ingest.sources.cbis_ddsm import CbisDdsmConfig
from maskwise.ingest.sources.cbis_ddsm_files import Box, Found, Task, look
from maskwise.ingest.sources.cbis_ddsm_table import read_lesions
from maskwise.ingest.stage import IngestConfig, Ingested, ingest
from maskwise.preprocess.config import PreprocessConfig, SourcePreprocessConfig
from maskwise.preprocess.splits import make_splits
from maskwise.preprocess.stage import preprocess
from maskwise.scans.pictures import read_frame
from maskwise.scans.reasons import Reject
from maskwise.scans.region import Region
from sources import cbis_ddsm
from sources.cbis_ddsm import ROWS
from sources.dicom import save as save_dicom
from sources.dicom import slice_of

LENIENT = IngestConfig(max_reject_share=1.0, workers=1)
NORMAL = ROWS[0]
REFUSED = ("P_00006", "P_00008", "P_00009", "P_00010")
TWO = tuple(row for row in ROWS if row.person == "P_00004")


def read(raw: Path, **options: Any) -> Listing:
    return choose(SOURCES, {"name": "cbis_ddsm", **options}, "t.ingest").listing(raw)


def run(raw: Path, **options: Any) -> Ingested:
    source = choose(SOURCES, {"name": "cbis_ddsm", **options}, "t.ingest")
    return ingest(raw, source, LENIENT, "t")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the miniature; tests must leave it alone."""
    return cbis_ddsm.write(tmp_path_factory.mktemp("cbis") / "raw")


@pytest.fixture(scope="module")
def listing(raw: Path) -> Listing:
    return read(raw)


def of(listing: Listing, where: str, column: str) -> Any:
    """Return what the listing says of a lesion, called as its folder; None where it is null."""
    film, _, number = where.rpartition("_")
    images = listing.images
    rows = images[images["path"].str.contains(film + "/") & (images["lesion"] == int(number))]
    (value,) = rows[column]
    return None if not isinstance(value, (list, Region)) and pd.isna(value) else value


def reasons(listing: Listing) -> dict[str, str]:
    return {reject.path: reject.reason for reject in listing.rejects}


def details(listing: Listing) -> dict[str, str]:
    return {reject.path: reject.detail for reject in listing.rejects}


# Rows


def test_a_row_is_a_lesion_whatever_breaks_inside_its_quotation_marks(
    raw: Path, listing: Listing
) -> None:
    table = (raw / "mass_case_description_train_set.csv").read_bytes()
    rows = sum(row.kind == "Mass" and row.part == "Training" for row in ROWS)
    assert table.count(b"\n") == 2 * rows + 1
    assert len(listing.images) == cbis_ddsm.TAKEN
    assert len(listing.images) + len(listing.rejects) == len(ROWS)


def test_no_path_keeps_the_line_break_of_its_cell(listing: Listing) -> None:
    paths = [*listing.images["path"], *(m for masks in listing.images["masks"] for m in masks)]
    assert not [path for path in paths if "\n" in path or path != path.strip()]


def test_terms_are_sorted_so_that_their_order_means_nothing(listing: Listing) -> None:
    margins = {
        of(listing, f"Mass-Training_{place}_CC_1", "label_margins")
        for place in ("P_00001_RIGHT", "P_00003_LEFT")
    }
    assert margins == {"CIRCUMSCRIBED|OBSCURED"}
    shape = of(listing, "Mass-Training_P_00007_LEFT_CC_1", "label_shape")
    assert shape == "ARCHITECTURAL_DISTORTION|IRREGULAR"


def test_what_is_not_rated_is_null_and_the_lesion_stays(listing: Listing) -> None:
    assert of(listing, "Mass-Training_P_00002_LEFT_CC_1", "label_margins") is None
    assert of(listing, "Mass-Training_P_00002_LEFT_CC_1", "label_shape") == "ROUND"
    assert of(listing, "Calc-Training_P_00020_RIGHT_CC_1", "label_distribution") is None
    assert of(listing, "Calc-Training_P_00013_LEFT_CC_1", "label_distribution") is None
    # 0 is no density and no subtlety, but a BI-RADS assessment.
    assert of(listing, "Calc-Training_P_00012_LEFT_CC_1", "label_density") is None
    assert of(listing, "Calc-Training_P_00012_LEFT_CC_1", "subtlety") is None


def test_two_spellings_of_a_term_are_one_and_a_term_said_twice_stands_once(
    listing: Listing,
) -> None:
    for person in ("P_00012", "P_00013"):
        kind = of(listing, f"Calc-Training_{person}_LEFT_CC_1", "label_type")
        assert kind == "LUCENT_CENTER"
    told = of(listing, "Calc-Training_P_00012_LEFT_CC_1", "label_distribution")
    assert told == "REGIONAL"


def test_what_needs_no_callback_is_benign_and_said_as_it_stood(listing: Listing) -> None:
    where = "Calc-Training_P_00013_LEFT_CC_1"
    assert of(listing, where, "label_pathology") == "benign"
    assert of(listing, where, "pathology_raw") == "BENIGN_WITHOUT_CALLBACK"
    assert of(listing, where, "label_finding") == "benign calcification"


def test_each_lesion_of_a_film_has_its_own_pathology_and_box(listing: Listing) -> None:
    where = "Mass-Training_P_00004_RIGHT_MLO"
    found = [of(listing, f"{where}_{number}", "label_pathology") for number in (1, 2)]
    assert found == ["benign", "malignant"]
    boxes = [of(listing, f"{where}_{number}", "region") for number in (1, 2)]
    assert boxes == [Region(100, 25, 30, 30), Region(55, 100, 20, 20)]


def test_a_person_is_the_one_of_the_table_and_never_a_folder(raw: Path) -> None:
    manifest = run(raw).manifest
    header = pydicom.dcmread(raw / manifest["path"].iloc[0], stop_before_pixels=True)
    assert header.PatientID == manifest["path"].iloc[0].partition("/")[0]
    assert set(manifest["patient"]) == {row.person for row in ROWS if row.person not in REFUSED}
    assert manifest.groupby("patient")["group"].nunique().max() == 1
    assert manifest["group"].nunique() == manifest["patient"].nunique()


# Files


def test_the_mask_is_the_file_of_two_values_wherever_it_lies(listing: Listing) -> None:
    swapped = of(listing, "Mass-Training_P_00003_LEFT_CC_1", "masks")
    assert swapped[0].endswith("/000000.dcm")  # where the table has the crop
    usual = of(listing, "Mass-Training_P_00001_LEFT_CC_1", "masks")
    assert usual[0].endswith("/000001.dcm")
    calcification = of(listing, "Calc-Training_P_00011_LEFT_CC_1", "masks")
    assert calcification[0].endswith("/000000.dcm")


def test_the_box_of_every_lesion_is_that_of_its_mask(raw: Path, listing: Listing) -> None:
    for row in ROWS:
        if row.lesion in reasons(listing) or row.scale != (1.0, 1.0):
            continue
        top, bottom, left, right = row.box
        side = max(bottom - top, right - left) + 1
        region = of(listing, row.lesion, "region")
        assert (region.height, region.width) == (side, side)
        # The box's centre, from pixel edges: half a pixel is all that can be lost.
        assert region.top + side / 2 == pytest.approx((top + bottom + 1) / 2, abs=0.5)
        assert region.left + side / 2 == pytest.approx((left + right + 1) / 2, abs=0.5)


@pytest.mark.parametrize("layout", ["retriever", "series"])
def test_the_archive_s_own_names_lead_to_the_same_lesions(
    tmp_path: Path, listing: Listing, layout: str
) -> None:
    columns = ["patient", "lesion", "side", "view", "label_finding", "region", "mask_resized"]
    other = read(cbis_ddsm.write(tmp_path, layout=layout))
    keys = ["patient", "label_finding", "side", "view", "lesion"]
    one, two = (
        found.images[columns].sort_values(keys).reset_index(drop=True)
        for found in (listing, other)
    )
    pd.testing.assert_frame_equal(one, two)
    assert reasons(other) == reasons(listing)


def test_files_may_lie_deeper_than_the_tables(tmp_path: Path, listing: Listing) -> None:
    cbis_ddsm.write(tmp_path / "download/CBIS-DDSM")
    assert len(read(tmp_path).images) == len(listing.images)


def test_all_bits_of_a_film_are_kept(raw: Path) -> None:
    manifest = run(raw).manifest
    assert set(manifest["bits"]) == {16}
    assert manifest["intensity_max"].min() > 255


def test_a_film_with_white_for_low_is_turned(raw: Path, listing: Listing) -> None:
    (row,) = (row for row in ROWS if row.person == "P_00021")
    region = of(listing, row.lesion, "region")
    path = of(listing, row.lesion, "path")
    pixels = read_frame(raw, path, 0, 10**6, region=region)[1].pixels[..., 0]
    assert (pixels == cbis_ddsm.film_pixels(row)[100:130, 25:55]).all()


# Masks of another size


def test_a_mask_in_the_film_s_proportions_is_taken_by_its_nearest_pixels(
    listing: Listing,
) -> None:
    where = "Mass-Training_P_00005_LEFT_CC_1"
    # Rows 100 to 129 of 235 are rows 102 to 132 of 240, columns 30 to 49 of 147 are 31 to 50
    # of 150: pixel i has its centre over the mask's floor((i + 1/2) * 235 / 240).
    rows = [i for i in range(240) if 100 <= int((i + 0.5) * 235 / 240) <= 129]
    columns = [i for i in range(150) if 30 <= int((i + 0.5) * 147 / 150) <= 49]
    assert (rows[0], rows[-1]) == (102, 132)
    side = rows[-1] - rows[0] + 1
    left = (columns[0] + columns[-1] + 1 - side) // 2
    assert of(listing, where, "region") == Region(102, left, side, side)
    assert of(listing, where, "mask_resized")
    assert of(listing, where, "masks") == []
    assert any("1 lesion with a mask of another size" in text for text in listing.warnings)


def test_a_mask_of_other_proportions_is_refused_and_any_other_size_where_asked(
    raw: Path, listing: Listing
) -> None:
    assert reasons(listing)["Mass-Training_P_00006_LEFT_CC_1"] == "mask_size"
    strict = read(raw, on_mask_size="reject")
    assert reasons(strict)["Mass-Training_P_00005_LEFT_CC_1"] == "mask_size"
    assert (
        "235 pixels, the film 150 x 240; `on_mask_size: resize` takes it"
        in (details(strict)["Mass-Training_P_00005_LEFT_CC_1"])
    )


# Squares


def test_a_margin_makes_the_square_larger_round_the_same_centre(raw: Path) -> None:
    region = of(read(raw, margin=0.5), "Mass-Training_P_00001_LEFT_CC_1", "region")
    assert region == Region(92, 17, 45, 45)


def test_a_lesion_at_the_border_stays_in_the_middle_of_its_square(
    raw: Path, listing: Listing
) -> None:
    where = "Mass-Training_P_00007_LEFT_CC_1"
    region = of(listing, where, "region")
    assert region == Region(40, -15, 40, 40)
    image = read_frame(raw, of(listing, where, "path"), 0, 10**6, region=region)[1]
    assert image.background is not None
    assert image.background.any(axis=0).sum() == 15
    assert image.background[:, :15].all()


def as_published(film: NDArray[Any], box: tuple[int, int, int, int]) -> NDArray[Any]:
    """Cut a lesion as the authors' release does, line by line."""
    y_min, y_max, x_min, x_max = box
    height, width = film.shape
    center_x, center_y = (x_min + x_max) / 2.0, (y_min + y_max) / 2.0
    patch_size = max(x_max - x_min + 1, y_max - y_min + 1)
    new_x_min = max(0, int(center_x - patch_size / 2))
    new_y_min = max(0, int(center_y - patch_size / 2))
    new_x_max = min(int(width), int(center_x + patch_size / 2))
    new_y_max = min(int(height), int(center_y + patch_size / 2))
    patch = film[new_y_min : (new_y_max + 1), new_x_min : (new_x_max + 1)]
    wide = patch_size - (new_x_max - new_x_min)
    high = patch_size - (new_y_max - new_y_min)
    pads = [(high // 2, high - high // 2), (wide // 2, wide - wide // 2)]
    return np.pad(patch, pads, "constant")


@settings(deadline=None)
@given(st.data())
def test_symmetric_squares_are_those_of_the_authors_pixel_by_pixel(data: Any) -> None:
    top, left = data.draw(st.integers(0, 39)), data.draw(st.integers(0, 29))
    bottom, right = data.draw(st.integers(top, 39)), data.draw(st.integers(left, 29))
    film = np.arange(1, 40 * 30 + 1).reshape(40, 30)
    region = CbisDdsmConfig(pad="symmetric")._region(Box(top, bottom, left, right), film.shape)
    expected = as_published(film, (top, bottom, left, right))
    assert (region.cut(film) == expected).all()


# The split


def test_who_trains_for_one_kind_and_tests_the_other_is_kept_and_named(
    raw: Path, listing: Listing
) -> None:
    (said,) = (text for text in listing.warnings if "official split" in text)
    assert said.startswith("1 person of the official split in a training table and in a test t")
    assert "(P_00020); `split: corrected` in ingest tests them" in said
    assert of(listing, "Calc-Training_P_00020_RIGHT_CC_1", "split") == "train"
    assert of(listing, "Mass-Test_P_00020_LEFT_CC_1", "split") == "test"
    assert run(raw).summary["official_split_leaks"]["groups"] == 1


def test_corrected_tests_whoever_stands_in_a_test_table(raw: Path) -> None:
    listing = read(raw, split="corrected")
    assert of(listing, "Calc-Training_P_00020_RIGHT_CC_1", "split") == "test"
    others = listing.images[listing.images["patient"] != "P_00020"]
    official = ["test" if "-Test_" in path else "train" for path in others["path"]]
    assert list(others["split"]) == official
    assert not any("official split" in text for text in listing.warnings)


def test_corrected_tests_whoever_stands_in_a_test_table_in_a_row_that_is_refused(
    tmp_path: Path,
) -> None:
    tested, trained = (row for row in ROWS if row.person == "P_00020")
    assert (tested.part, trained.part) == ("Test", "Training")
    rows = (replace(tested, pathology="UNKNOWN"), trained, NORMAL, *TWO)
    listing = read(cbis_ddsm.write(tmp_path, rows), split="corrected")
    assert reasons(listing) == {tested.lesion: "unknown_label"}
    parts = listing.images.groupby("patient")["split"].unique().map(list).to_dict()
    assert parts == {"P_00001": ["train"], "P_00004": ["train"], "P_00020": ["test"]}


def test_validation_is_drawn_from_training_by_person(raw: Path) -> None:
    manifest = run(raw, split="corrected").manifest
    config = SourcePreprocessConfig(
        height=32, width=32, label="pathology", split="official", validation_share=0.3
    )
    splits = make_splits(manifest, config, "t.preprocess")
    parts = splits.groupby(manifest["patient"].to_numpy())["split"].nunique()
    assert parts.max() == 1
    assert set(splits["split"]) == {"train", "validation", "test"}


# Films


def test_a_film_is_as_bad_as_its_worst_lesion(raw: Path) -> None:
    images = read(raw, images="films").images
    film = images[images["path"].str.contains("P_00004_RIGHT_MLO/")].iloc[0]
    assert film["label_pathology"] == "malignant"
    assert (film["label_birads"], film["lesions"]) == ("5", 2)
    assert film["label_finding"] == "malignant mass"
    # Films whose masks are of no use are films all the same; one has no folder.
    assert len(images) == len({row.film for row in ROWS}) - 1


def test_a_film_with_a_lesion_that_is_not_understood_is_never_as_good_as_its_others(
    tmp_path: Path,
) -> None:
    changes: list[dict[str, Any]] = [
        {"terms": ("ROUND", "SPICULATD")},
        {"blank": frozenset({"mask"})},
        {"blank": frozenset({"film"})},
        {"blank": frozenset({"film", "mask"})},
        {"blank": frozenset({"film", "crop", "mask"})},
        {"pathology": "UNKNOWN", "number": 10},
    ]
    rows = [NORMAL, ROWS[2]]
    for number, change in enumerate(changes):
        benign, malignant = (replace(row, person=f"P_0005{number}") for row in TWO)
        rows += [benign, replace(malignant, **change)]
    listing = read(cbis_ddsm.write(tmp_path, tuple(rows)), images="films")
    assert list(listing.images["patient"]) == ["P_00001", "P_00001"]
    for number, reject in enumerate(listing.rejects):
        assert reject.path.startswith(f"Mass-Training_P_0005{number}_RIGHT_MLO")
        assert f"_train_set.csv, row {4 + 2 * number}: " in reject.detail
    assert len(listing.rejects) == len(changes)


def test_rows_of_films_that_are_said_twice_count_once_and_two_that_differ_cost_the_film(
    tmp_path: Path,
) -> None:
    rows = (NORMAL, NORMAL, ROWS[2], *TWO, replace(TWO[1], pathology="BENIGN"))
    listing = read(cbis_ddsm.write(tmp_path, rows), images="films")
    assert reasons(listing) == {
        NORMAL.lesion: "repeated_row",
        TWO[1].lesion: "contradictory_rows",
    }
    assert list(listing.images["patient"]) == ["P_00001", "P_00001"]
    assert list(listing.images["lesions"]) == [1, 1]


def test_breasts_of_films_are_found_cropped_and_turned_to_one_side(raw: Path) -> None:
    manifest = run(
        raw, images="films", reading={"breast": "crop", "chest_wall": "left"}
    ).manifest
    assert manifest["height"].max() < cbis_ddsm.HEIGHT
    assert manifest["width"].max() < cbis_ddsm.WIDTH


def test_breasts_of_lesions_are_turned_to_one_side(raw: Path) -> None:
    plain = run(raw).manifest.set_index("image_id")
    turned = run(raw, reading={"chest_wall": "left"}).manifest.set_index("image_id")
    right = plain["side"] == "right"
    assert (plain["sha256"] != turned["sha256"]).equals(right)


# Masks of images


def test_the_share_of_a_lesion_is_that_of_its_square(raw: Path) -> None:
    manifest = run(raw).manifest
    shares = dict(
        zip(manifest["path"].str.partition("/")[0], manifest["lesion_share"], strict=True)
    )
    # 30 x 20 pixels of 30 x 30, and 40 x 10 of 40 x 40.
    assert shares["Mass-Training_P_00001_LEFT_CC"] == pytest.approx(2 / 3)
    assert shares["Mass-Training_P_00007_LEFT_CC"] == pytest.approx(1 / 4)


@pytest.mark.parametrize("chest_wall", ["keep", "left"])
def test_the_store_holds_the_part_of_the_mask_that_is_the_lesion_s(
    tmp_path: Path, chest_wall: str
) -> None:
    row = replace(ROWS[2], box=(100, 119, 30, 49))
    assert row.side == "RIGHT"
    raw = cbis_ddsm.write(tmp_path / "raw", (row, NORMAL, *TWO))
    mask = cbis_ddsm.mask_pixels(row)
    mask[100:110, 40:50] = 0  # what is left is an L
    (path,) = (raw / row.lesion).rglob("000001.dcm")
    save_dicom(slice_of(mask), path)
    manifest = run(raw, reading={"chest_wall": chest_wall}).manifest
    source = SourcePreprocessConfig(
        height=40, width=40, geometry={"name": "pad"}, split="own", validation_share=0.5
    )
    made = preprocess(raw, manifest, source, PreprocessConfig(workers=1), "t")
    made.write_store(tmp_path / "store")
    store = open_store(tmp_path / "store")
    place = int(np.flatnonzero(manifest["path"].str.startswith(row.film))[0])
    shown = store.lesions(np.array([place]))[0]
    expected = mask[100:120, 30:50] > 0
    expected = expected[:, ::-1] if chest_wall == "left" else expected
    assert (shown[10:30, 10:30] == expected).all()
    assert shown.sum() == expected.sum()


# What is refused


def test_what_cannot_be_taken_is_named_by_its_lesion(listing: Listing) -> None:
    assert reasons(listing) == {
        "Mass-Training_P_00006_LEFT_CC_1": "mask_size",
        "Mass-Training_P_00008_LEFT_CC_1": "missing_file",
        "Mass-Training_P_00009_LEFT_CC_1": "empty_mask",
        "Mass-Training_P_00010_LEFT_CC_1": "damaged_mask",
    }
    assert details(listing)["Mass-Training_P_00008_LEFT_CC_1"] == (
        "mass_case_description_train_set.csv, row 11: there is no folder "
        "'Mass-Training_P_00008_LEFT_CC' with DICOM files"
    )


def test_a_lesion_without_mask_is_refused_and_takes_no_other_s_box(tmp_path: Path) -> None:
    first, second = TWO
    raw = cbis_ddsm.write(tmp_path, (first, replace(second, on_disk=frozenset({"no mask"}))))
    listing = read(raw)
    assert reasons(listing) == {second.lesion: "missing_mask"}
    assert "there is a crop," in details(listing)[second.lesion]
    assert len(listing.images) == 1


def test_a_crop_in_place_of_the_mask_is_no_mask(tmp_path: Path) -> None:
    row = replace(NORMAL, on_disk=frozenset({"crop for mask"}))
    listing = read(cbis_ddsm.write(tmp_path, (row, *TWO)))
    assert reasons(listing) == {row.lesion: "not_a_mask"}
    assert "shows many grey levels, as a crop" in details(listing)[row.lesion]


def test_a_mask_that_was_cropped_itself_is_refused_for_its_size(tmp_path: Path) -> None:
    row = replace(NORMAL, scale=(0.5, 0.5), box=(50, 64, 15, 24))
    assert reasons(read(cbis_ddsm.write(tmp_path, (row, *TWO)))) == {row.lesion: "mask_size"}


def test_two_lesions_of_one_outline_are_both_refused(tmp_path: Path) -> None:
    first, second = TWO
    listing = read(cbis_ddsm.write(tmp_path, (NORMAL, first, replace(second, box=first.box))))
    assert reasons(listing) == {one.lesion: "shared_mask" for one in TWO}


def test_a_mask_of_two_pieces_is_taken_whole_and_said_to_be_so(tmp_path: Path) -> None:
    raw = cbis_ddsm.write(tmp_path, (NORMAL, *TWO))
    mask = cbis_ddsm.mask_pixels(NORMAL)
    mask[10:30, 30:50] = 255
    mask[200, 100] = 255  # a speck, which the box goes round all the same
    (path,) = (raw / NORMAL.lesion).rglob("000001.dcm")
    save_dicom(slice_of(mask, SeriesDescription="ROI mask images"), path)
    listing = read(raw)
    assert of(listing, NORMAL.lesion, "mask_parts") == 2
    assert of(listing, NORMAL.lesion, "region") == Region(10, -30, 191, 191)
    assert any("1 lesion with a mask of several pieces" in text for text in listing.warnings)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"terms": ("OVAL", "OBSCURD")}, "mass margins: 'OBSCURD'; did you mean 'OBSCURED'?"),
        ({"pathology": "UNKNOWN"}, "pathology: 'UNKNOWN'; choose from BENIGN"),
        ({"density": "7"}, "density: '7'"),
        ({"birads": "6"}, "birads: '6'"),
        ({"person": "Q_00001"}, "patient_id should be P_ and digits, as in P_00001"),
    ],
)
def test_a_term_that_nobody_knows_costs_its_lesion_and_no_other(
    tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    row = replace(NORMAL, **change)
    listing = read(cbis_ddsm.write(tmp_path, (row, *TWO)))
    assert reasons(listing) == {row.lesion: "unknown_label"}
    assert says in details(listing)[row.lesion]
    assert len(listing.images) == 2


def test_what_may_be_a_person_s_name_is_in_no_reject(tmp_path: Path) -> None:
    blank = frozenset({"film", "crop", "mask"})
    row = replace(NORMAL, person="Jane Doe", blank=blank, on_disk=frozenset({"absent"}))
    cbis_ddsm.write(tmp_path, (row,))
    _, (refused,), _ = read_lesions(tmp_path, ["mass_case_description_train_set.csv"])
    assert "Jane" not in str(refused.reject)


def test_a_row_said_twice_is_taken_once_and_two_that_differ_not_at_all(tmp_path: Path) -> None:
    raw = cbis_ddsm.write(tmp_path / "same", (NORMAL, *TWO, NORMAL))
    assert reasons(read(raw)) == {NORMAL.lesion: "repeated_row"}
    other = replace(NORMAL, pathology="BENIGN")
    raw = cbis_ddsm.write(tmp_path / "other", (NORMAL, *TWO, other))
    listing = read(raw)
    assert reasons(listing) == {NORMAL.lesion: "contradictory_rows"}
    assert len(listing.images) == 2


def test_a_film_that_is_cut_off_is_refused_when_it_is_decoded(tmp_path: Path) -> None:
    raw = cbis_ddsm.write(tmp_path, (NORMAL, *TWO))
    (film,) = (raw / NORMAL.film).rglob("*.dcm")
    film.write_bytes(film.read_bytes()[:-500])
    rejects = run(raw).rejects
    assert list(rejects["reason"]) == ["damaged"]


def test_without_any_table_the_run_stops_and_without_some_it_says_so(tmp_path: Path) -> None:
    raw = cbis_ddsm.write(tmp_path, (NORMAL, *TWO))
    (raw / "calc_case_description_train_set.csv").unlink()
    (said,) = (text for text in read(raw).warnings if "not there" in text)
    assert said.startswith("calc_case_description_train_set.csv: not there")
    for table in raw.glob("*.csv"):
        table.unlink()
    with pytest.raises(UserError, match=r"holds none of the tables mass_case.*put those"):
        read(raw)


# Memory


def test_the_box_of_a_large_mask_takes_no_more_than_a_few_of_its_bytes(tmp_path: Path) -> None:
    mask = np.zeros((4000, 2500), np.uint8)
    mask[100:3900, 100:2400] = 255  # np.where of it would take 140 MB
    rows = {"mask": "m.dcm", "film": "f.dcm"}
    save_dicom(slice_of(mask), tmp_path / rows["mask"])
    save_dicom(slice_of(np.zeros((4000, 2500), np.uint16)), tmp_path / rows["film"])
    cbis_ddsm.write(tmp_path, (NORMAL,))
    ((lesion,), _, _) = read_lesions(
        tmp_path, [path.name for path in tmp_path.glob("mass*train*.csv")]
    )
    tracemalloc.start()
    found = look(tmp_path, "resize", Task(lesion, ("f.dcm",), ("m.dcm",)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(found, Found)
    assert found.box == Box(100, 3899, 100, 2399)
    assert peak < 8 * mask.size


def test_a_lesion_whose_files_are_all_damaged_is_one_reject(tmp_path: Path) -> None:
    (tmp_path / "x.dcm").write_bytes(b"\0" * 128 + b"DICM")
    cbis_ddsm.write(tmp_path, (NORMAL,))
    ((lesion,), _, _) = read_lesions(
        tmp_path, [path.name for path in tmp_path.glob("mass*train*.csv")]
    )
    answer = look(tmp_path, "resize", Task(lesion, ("x.dcm",), ("x.dcm",)))
    assert isinstance(answer, Reject)
    assert (answer.path, answer.reason) == (NORMAL.lesion, "damaged")


def test_a_part_of_the_set_in_which_a_label_has_one_class_is_taken_without_that_label(
    tmp_path: Path,
) -> None:
    result = run(cbis_ddsm.write(tmp_path, (NORMAL, *TWO)))
    assert "label_density" not in result.manifest
    assert list(result.manifest["density"]) == ["2", "2", "2"]
    assert any(
        text.startswith("density: all that have it are '2', so that it is a column")
        for text in result.summary["warnings"]
    )
