"""INbreast: file names, the sheet, outlines and dots, and property lists that do harm."""

import plistlib
from pathlib import Path
from typing import Any

import pytest

from maskwise.config import choose
from maskwise.errors import UserError
from maskwise.ingest.contracts import Listing
from maskwise.ingest.sources import SOURCES
from maskwise.ingest.sources.inbreast_rois import KINDS
from maskwise.ingest.stage import IngestConfig, ingest
from maskwise.scans.region import Region
from sources import inbreast
from sources.drawing import save, scan

BASE = "INbreast Release 1.0"
LENIENT = IngestConfig(max_reject_share=1.0, workers=1)


def read(raw: Path, **options: Any) -> Listing:
    return choose(SOURCES, {"name": "inbreast", **options}, "t.ingest").listing(raw)


def by_image(listing: Listing, column: str) -> dict[str, Any]:
    names = listing.images["path"].str.extract(r"/(\d+)_")[0]
    values = listing.images[column].astype(object)
    return dict(zip(names, values.where(values.notna(), None), strict=True))


def reasons(listing: Listing) -> dict[str, str]:
    return {
        Path(reject.path).name: reject.reason
        for reject in listing.rejects
        if reject.reason != "other_file"
    }


def outlines(raw: Path, image: str = "20586908") -> Path:
    return raw / BASE / "AllXML" / f"{image}.xml"


# Films


def test_a_film_has_the_assessment_of_its_row_and_the_patient_of_its_name(
    tmp_path: Path,
) -> None:
    listing = read(inbreast.write(tmp_path))
    assert by_image(listing, "label_birads_malignant") == {
        "20586908": "BI-RADS 4-6",
        "20586934": "BI-RADS 1-3",
        "22678622": "BI-RADS 4-6",
        "22678646": "BI-RADS 1-3",
        "24055355": "BI-RADS 1-3",
    }
    assert by_image(listing, "label_birads")["20586908"] == "4a"
    assert by_image(listing, "label_density")["22678646"] == "2"
    assert by_image(listing, "patient")["20586934"] == "6c613a14b80a8591"
    assert by_image(listing, "side")["20586908"] == "right"
    assert not reasons(listing)


def test_findings_are_sorted_and_a_film_with_none_says_so(tmp_path: Path) -> None:
    findings = by_image(read(inbreast.write(tmp_path)), "label_findings")
    assert findings["22678622"] == "asymmetry|calcification|mass"
    assert findings["24055355"] == "none"


def test_a_sheet_without_the_columns_of_findings_gives_every_label_but_these(
    tmp_path: Path,
) -> None:
    short = read(inbreast.write(tmp_path / "short", inbreast.SHORT))
    whole = read(inbreast.write(tmp_path / "whole")).images
    assert short.images.equals(whole.drop(columns="label_findings"))
    assert not reasons(short)


def test_a_sheet_with_columns_of_some_findings_stops_the_run(tmp_path: Path) -> None:
    raw = inbreast.write(tmp_path, inbreast.SHORT + 2)  # Mass and Micros
    told = r"has no column 'Distortion', 'Asymmetry', but others.*take the columns of all"
    with pytest.raises(UserError, match=told):
        read(raw)


def test_films_of_a_woman_are_one_group_and_keep_their_bits(tmp_path: Path) -> None:
    source = choose(SOURCES, {"name": "inbreast"}, "t.ingest")
    manifest = ingest(inbreast.write(tmp_path), source, LENIENT, "t").manifest
    assert manifest["group"].nunique() == 3
    assert set(manifest["bits"]) == {14}
    assert manifest["intensity_max"].min() > 255


def test_rows_that_are_no_data_are_left_out_and_counted(tmp_path: Path) -> None:
    listing = read(inbreast.write(tmp_path))
    assert "INbreast.csv: 1 row without the number of a film left out" in str(listing.warnings)


# Outlines


def test_outlines_and_dots_are_told_apart_and_counted(tmp_path: Path) -> None:
    listing = read(inbreast.write(tmp_path))
    assert by_image(listing, "outlines") == {
        "20586908": 2,
        "20586934": 0,
        "22678622": 2,
        "22678646": 1,
        "24055355": 0,
    }
    assert by_image(listing, "dots")["20586934"] == 2
    kinds = by_image(listing, "outlined")
    assert kinds["20586908"] == "mass|spiculated region"
    assert kinds["20586934"] == "calcification"
    assert kinds["24055355"] is None


def test_a_lesion_is_a_square_round_its_outline(tmp_path: Path) -> None:
    raw = inbreast.write(tmp_path)
    images = read(raw, images="lesions", margin=0.0, min_side=1).images
    first = images[images["path"].str.contains("20586908")]["region"].iloc[0]
    # Columns 30 to 49 and rows 100 to 129, both ends included: 30 pixels round (115, 40).
    assert first == Region(100, 25, 30, 30)
    small = read(raw, images="lesions", min_side=64).images
    corner = small[small["path"].str.contains("22678646")]["region"].iloc[0]
    # Columns 2 to 10 and rows 100 to 104: 64 pixels round (102.5, 6.5), by their edges.
    assert (corner.height, corner.width) == (64, 64)
    assert (corner.top + 32, corner.left + 32) == pytest.approx((102.5, 6.5), abs=0.5)


@pytest.mark.parametrize("size", [10**9, 10**12 - 1])
def test_an_outline_of_absurd_size_is_refused_before_memory_is_asked_for(
    tmp_path: Path, size: int
) -> None:
    raw = inbreast.write(tmp_path)
    far = [(0, 0), (size, 0), (0, size)]
    inbreast.write_outlines(outlines(raw), [inbreast.roi("Mass", far)])
    source = choose(SOURCES, {"name": "inbreast", "images": "lesions"}, "t.ingest")
    rejects = ingest(raw, source, LENIENT, "t").rejects
    (row,) = rejects[rejects["reason"] == "too_large"].itertuples()
    assert "20586908" in row.path


@pytest.mark.parametrize("digits", [308, 400])  # a float holds the first, but not twice it
def test_an_outline_with_a_number_of_endless_digits_is_left_out_and_counted(
    tmp_path: Path, digits: int
) -> None:
    raw = inbreast.write(tmp_path)
    endless = inbreast.roi("Mass", inbreast.SQUARE)
    endless["Point_px"][:2] = [f"({sign}{'9' * digits}, 100.0)" for sign in ("", "-")]
    kept = inbreast.roi("Asymmetry", inbreast.SQUARE)
    inbreast.write_outlines(outlines(raw), [endless, kept])
    listing = read(raw, images="lesions")
    lesions = listing.images[listing.images["path"].str.contains("20586908")]
    assert list(lesions["label_outlined"]) == ["asymmetry"]
    # One of another film is left out as well, for its points are not as many as it says.
    assert any(text.startswith("2 outlines whose points") for text in listing.warnings)


def test_a_lesion_is_labelled_by_its_film_and_by_what_it_is(tmp_path: Path) -> None:
    images = read(inbreast.write(tmp_path), images="lesions").images
    assert len(images) == 5
    lesions = images[images["path"].str.contains("20586908")]
    assert list(lesions["label_outlined"]) == ["mass", "spiculated region"]
    assert list(lesions["label_birads_malignant"]) == ["BI-RADS 4-6"] * 2


def test_every_published_spelling_of_a_name_is_known(tmp_path: Path) -> None:
    raw = inbreast.write(tmp_path)
    names = ["Spiculated Region", "Spiculated region", "Espiculated Region", "Assymetry"]
    names += ["Asymmetry", "Unnamed", "Point 1", "Cluster", "MASS", "Distortion"]
    rois = [inbreast.roi(name, inbreast.SQUARE) for name in names]
    inbreast.write_outlines(outlines(raw), rois)
    assert "other" not in by_image(read(raw), "outlined")["20586908"]
    assert "other" not in KINDS.values()


def test_a_name_that_nobody_knows_is_kept_and_told(tmp_path: Path) -> None:
    listing = read(inbreast.write(tmp_path))
    assert by_image(listing, "outlined")["22678622"] == "asymmetry|other|unnamed"
    assert any(
        "1 outline of a name that is not known ('Lymph node'): kept as 'other'" in text
        for text in listing.warnings
    )


def test_an_outline_whose_points_are_not_as_many_as_it_says_is_left_out_and_counted(
    tmp_path: Path,
) -> None:
    listing = read(inbreast.write(tmp_path))
    assert any(text.startswith("1 outline whose points") for text in listing.warnings)


@pytest.mark.parametrize(
    "text",
    ["__import__('os').mkdir('owned')", "(1, 2); (3, 4)", "(nan, 2)", "(1e9, 2)", "{1, 2}"],
)
def test_a_point_is_two_numbers_or_none_and_is_never_run(tmp_path: Path, text: str) -> None:
    raw = inbreast.write(tmp_path)
    entry = {**inbreast.roi("Mass", [(1, 2)]), "Point_px": [text]}
    inbreast.write_outlines(outlines(raw), [entry])
    listing = read(raw)
    assert by_image(listing, "outlines")["20586908"] == 0
    assert by_image(listing, "dots")["20586908"] == 0
    assert not Path("owned").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no XML",
        b"<plist><dict><key>Images</key>",
        b'<!DOCTYPE p [<!ENTITY a "b">]><plist><string>&a;</string></plist>',
        b"<plist><dict><integer>1</integer></dict></plist>",
        b"<plist><integer>x</integer></plist>",
        plistlib.dumps({"Images": []}),
        plistlib.dumps({"ROIPoints": ["{1, 2}"]}),
        plistlib.dumps([1, 2]),
        plistlib.dumps({"Images": [{"ROIs": "none"}]}),
        b"<plist>" + b"<array>" * 100_000,
    ],
)
def test_a_film_whose_outlines_cannot_be_read_is_refused_by_name(
    tmp_path: Path, content: bytes
) -> None:
    raw = inbreast.write(tmp_path)
    outlines(raw).write_bytes(content)
    listing = read(raw)
    assert reasons(listing) == {"20586908_6c613a14b80a8591_MG_R_CC_ANON.dcm": "damaged_mask"}
    assert len(listing.images) == 4


# What is not as published


def test_films_rows_and_outlines_without_the_other_are_named(tmp_path: Path) -> None:
    raw = inbreast.write(tmp_path)
    base = raw / BASE
    next((base / "AllDICOMs").glob("20586908_*")).unlink()
    save(scan(1), base / "AllDICOMs/stray.png")
    inbreast.write_outlines(base / "AllXML/1.xml", [])
    table = base / "INbreast.csv"
    lines = table.read_text("utf-8").splitlines()
    table.write_text("\n".join(line for line in lines if "24055355" not in line), "utf-8")
    assert reasons(read(raw)) == {
        "1.xml": "mask_without_image",
        "20586908.dcm": "missing_file",
        "20586908.xml": "mask_without_image",
        "24055355_aef3aac1ab7a1a1e_MG_R_CC_ANON.dcm": "missing_label",
        "stray.png": "unknown_place",
    }


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (";3;4a;", ";3;4d;", "Bi-Rads: '4d'; did you mean '4"),
        (";3;4a;", ";9;4a;", "ACR: '9'; choose from 1, 2, 3, 4"),
        (";3;4a;X", ";3;4a;Y", "Mass: 'Y', where X or nothing should stand"),
    ],
)
def test_a_term_that_nobody_knows_costs_its_film(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    raw = inbreast.write(tmp_path)
    table = raw / BASE / "INbreast.csv"
    table.write_text(table.read_text("utf-8").replace(old, new), "utf-8")
    (reject,) = (one for one in read(raw).rejects if one.reason == "unknown_label")
    assert says in reject.detail


def test_the_workbook_alone_is_refused_with_what_to_do(tmp_path: Path) -> None:
    raw = inbreast.write(tmp_path)
    table = raw / BASE / "INbreast.csv"
    table.rename(table.with_suffix(".xls"))
    with pytest.raises(UserError, match=r"is a workbook.*save its sheet as CSV.*INbreast\.csv"):
        read(raw)
    table.with_suffix(".xls").unlink()
    with pytest.raises(UserError, match=r"^INbreast\.csv: is not in .*BI-RADS.*add it"):
        read(raw)


def test_a_film_that_has_two_rows_stops_the_run(tmp_path: Path) -> None:
    raw = inbreast.write(tmp_path)
    table = raw / BASE / "INbreast.csv"
    with table.open("a", encoding="utf-8") as file:
        file.write(inbreast.ROWS[0] + "\n")
    with pytest.raises(UserError, match=r"the file 20586908 appears twice; keep one row"):
        read(raw)


def test_breasts_come_to_hang_on_one_side(tmp_path: Path) -> None:
    source = choose(
        SOURCES,
        {"name": "inbreast", "reading": {"breast": "crop", "chest_wall": "left"}},
        "t.ingest",
    )
    manifest = ingest(inbreast.write(tmp_path), source, LENIENT, "t").manifest
    assert manifest["height"].max() < inbreast.HEIGHT
