"""COVID-CT: its archives, lists and tables, and the pictures that carry both labels."""

import shutil
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import yaml

from maskwise.config import choose
from maskwise.errors import UserError
from maskwise.ingest.contracts import Listing
from maskwise.ingest.groups import group_images
from maskwise.ingest.sources import SOURCES
from maskwise.ingest.stage import IngestConfig, Ingested, ingest
from maskwise.preprocess.config import SourcePreprocessConfig
from maskwise.preprocess.splits import make_splits
from maskwise.scans.pictures import read_frame
from maskwise.scans.reading import Reading
from project import PROJECT
from sources import covid_ct
from sources.drawing import save, scan

TWINS = {("kjr-21-e24-p5-29.png", "71%0.jpg"), ("kjr-21-e24-p5-31.png", "71%1.jpg")}
"""Pictures that stand in the set as COVID, to test on, and as NonCOVID, to train on."""
LENIENT = IngestConfig(max_reject_share=1.0, workers=1)


def read(raw: Path, **options: Any) -> Listing:
    return choose(SOURCES, {"name": "covid_ct", **options}, "t.ingest").listing(raw)


def run(raw: Path, **options: Any) -> Ingested:
    source = choose(SOURCES, {"name": "covid_ct", **options}, "t.ingest")
    return ingest(raw, source, LENIENT, "t")


def by_name(listing: Listing, column: str) -> dict[str, Any]:
    """Return file name -> what the listing says."""
    names = listing.images["path"].str.rpartition("/")[2]
    return dict(zip(names, listing.images[column], strict=True))


def test_the_lists_give_class_and_official_split_whatever_stands_in_a_name(
    tmp_path: Path,
) -> None:
    listing = read(covid_ct.write(tmp_path))
    labels, splits = by_name(listing, "label_diagnosis"), by_name(listing, "split")
    named = {
        name: (label, {"val": "validation"}.get(part, part))
        for label, parts in covid_ct.NAMES.items()
        for part, names in parts.items()
        for name in names
    }
    assert {name: (labels[name], splits[name]) for name in labels} == named
    assert {reject.reason for reject in listing.rejects} == {"other_file"}
    assert not listing.warnings


def test_a_folder_without_images_does_not_hide_the_archive_beside_it(tmp_path: Path) -> None:
    raw = covid_ct.write(tmp_path, zipped=True)
    (raw / "Images-processed/CT_COVID").mkdir()
    (raw / "Images-processed/CT_COVID/README.md").write_text("see the archive", "utf-8")
    assert len(read(raw).images) == covid_ct.IMAGES


def test_archives_are_read_where_they_lie_and_hold_the_same_images(tmp_path: Path) -> None:
    unpacked = run(covid_ct.write(tmp_path / "unpacked"))
    zipped = run(covid_ct.write(tmp_path / "zipped", zipped=True))
    # An archive's entries lie one folder deeper, and so have other paths.
    columns = ["sha256", "phash", "mode", "format", "patient", "split", "label_diagnosis"]
    one, other = (
        one.manifest[columns].sort_values("sha256").reset_index(drop=True)
        for one in (unpacked, zipped)
    )
    pd.testing.assert_frame_equal(one, other)
    first = zipped.manifest["path"].iloc[0]
    assert first.startswith("Images-processed/CT_COVID.zip/CT_COVID/")
    assert not list((tmp_path / "zipped/Images-processed").glob("CT_*[!p]"))


def test_a_damaged_archive_stops_the_run_by_name(tmp_path: Path) -> None:
    raw = covid_ct.write(tmp_path, zipped=True)
    archive = raw / "Images-processed/CT_COVID.zip"
    archive.write_bytes(archive.read_bytes()[:200])
    with pytest.raises(UserError, match=r"CT_COVID\.zip: is not a readable ZIP archive"):
        read(raw)


def test_a_damaged_image_in_an_archive_is_refused_by_itself(tmp_path: Path) -> None:
    raw = covid_ct.write(tmp_path, zipped=True)
    archive = raw / "Images-processed/CT_NonCOVID.zip"
    data = bytearray(archive.read_bytes())
    place = data.index(b"CT_NonCOVID/0.jpg")
    data[place + 200 : place + 210] = b"\xff" * 10
    archive.write_bytes(data)
    rejects = run(raw).rejects
    damaged = rejects[rejects["reason"] == "damaged"]
    assert list(damaged["path"]) == ["Images-processed/CT_NonCOVID.zip/CT_NonCOVID/0.jpg"]


def test_underscores_in_place_of_per_cent_signs_are_taken_with_a_warning(
    tmp_path: Path,
) -> None:
    listing = read(covid_ct.write(tmp_path, percent="_"))
    assert len(listing.images) == covid_ct.IMAGES
    patients = by_name(listing, "patient")
    assert patients["2020.02.25.20021568-p23-108_0.png"] == "COVID Patient 3"
    assert len(listing.warnings) == 1
    assert "7 images have _ in their names where the published lists have %" in str(
        listing.warnings
    )


def test_patients_come_from_both_tables_and_not_from_page_numbers(tmp_path: Path) -> None:
    patients = by_name(read(covid_ct.write(tmp_path)), "patient")
    assert patients["2020.01.24.919183-p27-132.png"] == "COVID Patient 1"
    assert patients["2020.02.25.20021568-p23-108%1.png"] == "COVID Patient 3"
    assert patients["71%0.jpg"] == patients["71%1.jpg"] == "NonCOVID crawled_patient_71"
    # p23 is a page of an article, which two parts of the split share.
    assert patients["2020.03.13.20035212-p23-155.png"] == "COVID Patient 12"


def test_a_workbook_alone_is_refused_with_what_to_do(tmp_path: Path) -> None:
    raw = covid_ct.write(tmp_path)
    (raw / "COVID-CT-MetaInfo.csv").rename(raw / "COVID-CT-MetaInfo.xlsx")
    with pytest.raises(UserError, match=r"is a workbook.*save its sheet as CSV.*unknown"):
        read(raw)
    assert not by_name(read(raw, patients="unknown"), "patient")["71%0.jpg"]


def test_without_their_table_images_without_covid_go_by_the_number_of_their_name(
    tmp_path: Path,
) -> None:
    raw = covid_ct.write(tmp_path)
    (raw / "NonCOVID-CT-MetaInfo.csv").unlink()
    listing = read(raw)
    patients = by_name(listing, "patient")
    assert patients["35%0.jpg"] == patients["35%1.jpg"] == "NonCOVID 35"
    assert "the number in front of %" in listing.warnings[0]


def test_a_folder_of_luna_is_never_read(tmp_path: Path) -> None:
    raw = covid_ct.write(tmp_path)
    save(scan(900), raw / "Images-processed/LUNA/CT_COVID/x.png")
    listing = read(raw)
    assert not [p for p in listing.images["path"] if "LUNA" in p]
    assert not [r for r in listing.rejects if "LUNA" in r.path]
    assert listing.warnings[0].startswith("1 file in a folder LUNA")


def test_images_without_list_names_without_image_and_strays_are_refused_by_name(
    tmp_path: Path,
) -> None:
    raw = covid_ct.write(tmp_path)
    save(scan(1), raw / "Images-processed/CT_COVID/new.png")
    save(scan(2), raw / "Images-processed/stray.png")
    (raw / "Images-processed/CT_NonCOVID/40.jpg").unlink()
    rejects = {r.path: r.reason for r in read(raw).rejects if r.reason != "other_file"}
    assert rejects == {
        "Images-processed/CT_COVID/new.png": "unknown_split",
        "Images-processed/stray.png": "unknown_place",
        "40.jpg": "missing_file",
    }


def test_a_list_that_is_absent_or_contradicts_another_stops_the_run(tmp_path: Path) -> None:
    raw = covid_ct.write(tmp_path)
    lists = raw / "Data-split/COVID"
    with (lists / "testCT_COVID.txt").open("a") as file:
        file.write("2020.01.24.919183-p27-132.png\n")
    with pytest.raises(UserError, match=r"names '2020\.01.*-132\.png', which the list"):
        read(raw)
    (lists / "testCT_COVID.txt").unlink()
    with pytest.raises(UserError, match=r"Data-split/COVID/testCT_COVID\.txt: is not in"):
        read(raw)


def test_a_picture_with_both_labels_in_two_parts_is_named(tmp_path: Path) -> None:
    summary = run(covid_ct.write(tmp_path)).summary
    (found,) = summary["contradictions"]["labels"]
    assert [len(paths) for paths in found["images"].values()] == [1, 1]
    assert "kjr-21-e24-p5-29.png" in found["images"]["COVID"][0]
    assert summary["official_split_leaks"]["groups"] == 1


@pytest.mark.parametrize(("paper", "seen"), [("drop", 40), ("white", 189), ("black", 15)])
def test_a_picture_that_is_not_opaque_is_laid_on_paper(
    tmp_path: Path, paper: Any, seen: int
) -> None:
    covid_ct.translucent(tmp_path / "x.png", grey=40, alpha=96)
    pixels = read_frame(tmp_path, "x.png", 0, 10**6, Reading(alpha=paper))[1].pixels
    # 40 * 96 / 255 = 15.06, and 255 * 159 / 255 = 159 of the paper.
    assert np.unique(pixels).tolist() == [{"white": 174}.get(paper, seen)]


# The real set


def saved_as_csv(workbook: Path, table: Path) -> None:
    """Write the first sheet of a workbook as CSV, as a spreadsheet program would."""
    name = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
    with zipfile.ZipFile(workbook) as archive:
        strings = [
            "".join(text.text or "" for text in item.iter(f"{name}t"))
            for item in ElementTree.fromstring(archive.read("xl/sharedStrings.xml"))
        ]
        sheet = ElementTree.fromstring(archive.read("xl/worksheets/sheet1.xml"))
    rows = []
    for row in sheet.iter(f"{name}row"):
        cells = {}
        for cell in row:
            value = cell.find(f"{name}v")
            column = "".join(filter(str.isalpha, cell.get("r", "")))
            if value is not None and value.text:
                shared = cell.get("t") == "s"
                cells[column] = strings[int(value.text)] if shared else value.text
        rows.append(cells)
    columns = sorted({column for row in rows for column in row})
    header, *body = [[row.get(column, "") for column in columns] for row in rows]
    pd.DataFrame(body, columns=header).to_csv(table, index=False)


@pytest.fixture(scope="module")
def real(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Ingested:
    raw = tmp_path_factory.mktemp("covid") / "raw"
    shutil.copytree(shared_data / "covid_ct", raw)
    saved_as_csv(raw / "COVID-CT-MetaInfo.xlsx", raw / "COVID-CT-MetaInfo.csv")
    return run(raw)


def test_covid_ct_is_read_whole_with_its_split(real: Ingested) -> None:
    counts = real.manifest.groupby(["label_diagnosis", "split"]).size().unstack()
    assert counts.loc["COVID"].to_dict() == {"train": 191, "validation": 60, "test": 98}
    assert counts.loc["NonCOVID"].to_dict() == {"train": 234, "validation": 58, "test": 105}
    assert set(real.rejects["reason"]) == {"other_file"}
    splits = make_splits(
        real.manifest,
        SourcePreprocessConfig(height=64, width=64, label="diagnosis", split="official"),
        "real.preprocess",
    )
    assert list(splits["split"]) == list(real.manifest["split"])


def test_covid_ct_has_384_patients_of_whom_none_is_in_two_parts(real: Ingested) -> None:
    patients = real.manifest.groupby("patient")["split"].nunique()
    covid = patients.index.str.startswith("COVID ")
    assert (int(covid.sum()), int((~covid).sum())) == (213, 171)
    assert real.manifest["patient"].notna().all()
    assert patients.max() == 1


def test_covid_ct_has_two_pictures_with_both_labels(real: Ingested) -> None:
    found = {
        (Path(first).name, Path(second).name)
        for entry in real.summary["contradictions"]["labels"]
        for first in entry["images"]["COVID"]
        for second in entry["images"]["NonCOVID"]
    }
    assert found >= TWINS
    assert real.summary["official_split_leaks"]["groups"] >= 1


@pytest.mark.parametrize("source", ["covid_ct", "ct_covid", "wolf_2023_covid_ct"])
def test_every_source_of_covid_ct_keeps_a_picture_with_both_labels_in_one_group(
    real: Ingested, source: str
) -> None:
    file = PROJECT / f"conf/base/sources/parameters_{source}.yml"
    options = yaml.safe_load(file.read_text(encoding="utf-8"))[source]["ingest"]
    groups = group_images(real.manifest, options["duplicate_distance"]).group
    group = dict(
        zip(real.manifest["path"].map(lambda path: Path(path).name), groups, strict=True)
    )
    for sick, well in TWINS:
        assert group[sick] == group[well]


def test_the_files_of_covid_ct_give_its_label_away(real: Ingested) -> None:
    audit = real.summary["file_facts_audit"]["diagnosis"]
    assert audit["without_bytes"]["auroc"] > 0.85
