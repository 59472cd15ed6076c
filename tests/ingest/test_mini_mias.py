"""Mini-MIAS: rows of every shape, places counted from the bottom, films and patches."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from maskwise.artefacts.store import open_store
from maskwise.config import choose
from maskwise.errors import UserError
from maskwise.ingest.contracts import Listing
from maskwise.ingest.sources import SOURCES
from maskwise.ingest.stage import IngestConfig, Ingested, ingest
from maskwise.preprocess.config import PreprocessConfig, SourcePreprocessConfig
from maskwise.preprocess.splits import make_splits
from maskwise.preprocess.stage import preprocess
from maskwise.scans.breast import find_breast
from maskwise.scans.pictures import read_frame, read_image
from maskwise.scans.region import Region
from sources import mini_mias
from sources.drawing import save, scan

LENIENT = IngestConfig(max_reject_share=1.0, workers=1)


def read(raw: Path, **options: Any) -> Listing:
    return choose(SOURCES, {"name": "mini_mias", **options}, "t.ingest").listing(raw)


def run(raw: Path, **options: Any) -> Ingested:
    source = choose(SOURCES, {"name": "mini_mias", **options}, "t.ingest")
    return ingest(raw, source, LENIENT, "t")


def by_film(listing: Listing, column: str) -> dict[str, Any]:
    return dict(zip(listing.images["film"], listing.images[column], strict=True))


def reasons(listing: Listing) -> dict[str, str]:
    return {r.path: r.reason for r in listing.rejects if r.reason != "other_file"}


def patches_of(listing: Listing, film: str) -> pd.DataFrame:
    return listing.images[listing.images["film"] == film].reset_index(drop=True)


# Whole films


def test_a_film_is_as_bad_as_the_worst_that_it_shows(tmp_path: Path) -> None:
    labels = by_film(read(mini_mias.write(tmp_path)), "label_diagnosis")
    assert set(labels) == set(mini_mias.FILMS)
    assert labels["mdb144"] == "malignant"
    assert labels["mdb059"] == "benign"
    assert labels["mdb216"] == "malignant"
    assert labels["mdb003"] == "normal"


def test_several_abnormalities_of_a_film_stand_sorted_in_one_label(tmp_path: Path) -> None:
    kinds = by_film(read(mini_mias.write(tmp_path)), "label_abnormality")
    assert kinds["mdb005"] == "calcification|circumscribed mass"
    assert kinds["mdb144"] == "ill-defined mass"


def test_both_films_of_a_woman_are_one_group(tmp_path: Path) -> None:
    manifest = run(mini_mias.write(tmp_path)).manifest.set_index("film")
    assert list(manifest.loc[["mdb143", "mdb144"], "patient"]) == ["p072", "p072"]
    assert list(manifest.loc[["mdb143", "mdb144"], "side"]) == ["right", "left"]
    assert manifest["group"].nunique() == manifest["patient"].nunique() == 6
    assert manifest.groupby("patient")["group"].nunique().max() == 1


def test_circles_stay_in_the_manifest_counted_from_the_top(tmp_path: Path) -> None:
    circles = by_film(read(mini_mias.write(tmp_path)), "circles")
    assert circles["mdb001"] == "700,598,60"
    assert circles["mdb144"] == "233,429,29;233,323,27"
    assert pd.isna(circles["mdb003"])
    assert pd.isna(circles["mdb216"])


# Patches


def test_a_patch_is_a_square_round_its_circle_with_margin_and_least_side(
    tmp_path: Path,
) -> None:
    listing = read(mini_mias.write(tmp_path), images="patches", margin=0.5, min_side=64)
    # 2 * 60 * 1.5 = 180 published pixels are 45 here; the centre is at (700.5, 598.5) / 4.
    assert patches_of(listing, "mdb001")["region"][0] == Region(127, 153, 45, 45)
    # 2 * 6 * 1.5 = 18 are fewer than 64, which are 16; the centre at (750.5, 455.5) / 4.
    assert patches_of(listing, "mdb005")["region"][1] == Region(106, 180, 16, 16)


def test_the_brightest_of_a_patch_lies_in_its_middle_so_y_is_counted_from_the_bottom(
    tmp_path: Path,
) -> None:
    raw = mini_mias.write(tmp_path)
    listing = read(raw, images="patches", margin=1)
    lesions = listing.images[listing.images["placed_as"].isna()]
    assert len(lesions) == 7
    for row in lesions.itertuples():
        pixels = read_frame(raw, row.path, 0, 10**6, region=row.region)[1].pixels[..., 0]
        centre = np.argwhere(pixels == 220).mean(axis=0)
        assert centre == pytest.approx((len(pixels) - 1) / 2, abs=1)


def test_every_patch_of_a_film_that_is_benign_and_malignant_has_its_own_label(
    tmp_path: Path,
) -> None:
    patches = patches_of(read(mini_mias.write(tmp_path), images="patches"), "mdb144")
    assert list(patches["label_diagnosis"]) == ["benign", "malignant"]
    assert list(patches["circles"]) == ["233,429,29", "233,323,27"]


def test_patches_of_one_film_are_images_of_their_own_in_one_group(tmp_path: Path) -> None:
    manifest = run(mini_mias.write(tmp_path), images="patches").manifest
    twice = manifest[manifest["film"] == "mdb144"]
    assert twice["image_id"].nunique() == twice["pixels_sha256"].nunique() == 2
    assert twice["group"].nunique() == 1
    assert [json.loads(text)["height"] for text in twice["region"]] == [22, 20]


def test_findings_without_a_place_give_no_patch_and_say_so(tmp_path: Path) -> None:
    listing = read(mini_mias.write(tmp_path), images="patches")
    assert reasons(listing) == {"mdb059.pgm": "not_chosen", "mdb216.pgm": "not_chosen"}
    assert listing.warnings == ("2 findings without a place (mdb059, mdb216) gave no patch.",)


def test_normal_films_are_cut_at_the_place_and_size_of_a_lesion_of_the_same_side(
    tmp_path: Path,
) -> None:
    listing = read(mini_mias.write(tmp_path), images="patches")
    lesions = listing.images[listing.images["placed_as"].isna()]
    normals = listing.images[listing.images["placed_as"].notna()]
    assert sorted(normals["film"]) == ["mdb003", "mdb004", "mdb006", "mdb060", "mdb215"]
    places = {film: set(rows["region"]) for film, rows in lesions.groupby("film")}
    for row in normals.itertuples():
        assert row.region in places[row.placed_as]
        assert int(row.placed_as[3:]) % 2 == int(row.film[3:]) % 2


def test_places_are_used_equally_often_and_drawn_by_the_seed_alone(tmp_path: Path) -> None:
    rows = (
        *(f"mdb{n:03d} G CIRC B {700 + n} 500 40" for n in (1, 5, 9)),
        *(f"mdb{n:03d} G NORM" for n in range(11, 29, 2)),
    )
    raw = mini_mias.write(tmp_path, rows)
    dealt = [
        pd.Series(by_film(read(raw, images="patches", seed=seed), "placed_as")).dropna()
        for seed in (0, 0, 1, 2, 3)
    ]
    assert dealt[0].equals(dealt[1])
    assert not all(one.equals(dealt[0]) for one in dealt)
    for one in dealt:
        assert one.value_counts().to_dict() == {"mdb001": 3, "mdb005": 3, "mdb009": 3}


def test_a_place_that_fits_either_side_is_given_to_its_own_alone(tmp_path: Path) -> None:
    # In the middle of the film, where both breasts reach.
    rows = (
        *(f"mdb{n:03d} G CIRC B 512 {480 + n} 30" for n in (1, 2, 5, 6)),
        *(f"mdb{n:03d} G NORM" for n in range(11, 27)),
    )
    images = read(mini_mias.write(tmp_path, rows), images="patches").images
    normals = images[images["placed_as"].notna()]
    assert len(normals) == 16
    for film, lesion in zip(normals["film"], normals["placed_as"], strict=True):
        assert int(film[3:]) % 2 == int(lesion[3:]) % 2


def test_a_normal_film_without_breast_gives_no_patch(tmp_path: Path) -> None:
    raw = mini_mias.write(tmp_path)
    save(np.zeros((256, 256), np.uint8), raw / "mdb004.pgm")
    assert reasons(read(raw, images="patches"))["mdb004.pgm"] == "no_breast"


def test_normal_films_of_a_side_without_any_place_give_no_patch_and_are_named(
    tmp_path: Path,
) -> None:
    rows = ("mdb001 G CIRC B 700 425 60", "mdb003 D NORM", "mdb004 D NORM", "mdb006 F NORM")
    listing = read(mini_mias.write(tmp_path, rows), images="patches")
    assert list(listing.images["film"]) == ["mdb001", "mdb003"]
    assert reasons(listing) == {"mdb004.pgm": "not_chosen", "mdb006.pgm": "not_chosen"}
    (detail,) = {each.detail for each in listing.rejects if each.reason == "not_chosen"}
    assert detail.startswith("no lesion on a left breast has a place")


def test_the_store_holds_the_pixels_of_each_patch(tmp_path: Path) -> None:
    raw = mini_mias.write(tmp_path / "raw")
    manifest = run(raw, images="patches").manifest
    source = SourcePreprocessConfig(
        height=64,
        width=64,
        geometry={"name": "pad"},
        intensity={"name": "range"},
        validation_share=0.3,
    )
    made = preprocess(raw, manifest, source, PreprocessConfig(workers=1), "t")
    made.write_store(tmp_path / "store")
    store = open_store(tmp_path / "store")
    second = int(np.flatnonzero(manifest["film"] == "mdb005")[1])
    # 16 pixels in the middle of 64; the box is the one of the test above.
    shown = store.images[second, 0, 24:40, 24:40]
    assert (shown == read_image(raw, "mdb005.pgm")[106:122, 180:196, 0]).all()
    assert store.images[second].sum() == shown.sum()


# What is not as published


def test_films_and_rows_without_the_other_and_unknown_terms_are_refused_by_name(
    tmp_path: Path,
) -> None:
    rows = (*mini_mias.ROWS, "mdb300 G CRIC B 500 500 30", "mdb301 G NORM B 1 2 3")
    raw = mini_mias.write(tmp_path, rows)
    (raw / "mdb006.pgm").unlink()
    save(scan(1), raw / "mdb322.pgm")
    save(scan(2), raw / "thumbnail.png")
    shutil.copytree(raw, raw / "copy", ignore=shutil.ignore_patterns("*.txt", "mdb[1-3]*"))
    listing = read(raw)
    assert {path: why for path, why in reasons(listing).items() if "copy" not in path} == {
        "mdb006.pgm": "missing_file",
        "mdb300.pgm": "unknown_label",
        "mdb301.pgm": "unknown_label",
        "mdb322.pgm": "missing_label",
        "thumbnail.png": "unknown_place",
    }
    assert reasons(listing)["copy/mdb001.pgm"] == "second_copy"
    details = {reject.path: reject.detail for reject in listing.rejects}
    assert "'CRIC'; did you mean 'CIRC'?" in details["mdb300.pgm"]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("mdb007 G CIRC B 1 2", "has 6 fields"),
        ("mdb007 G CIRC B 1 2 x", "1 2 x are not x, y and radius"),
    ],
)
def test_a_row_of_another_shape_stops_the_run_with_its_line(
    tmp_path: Path, row: str, says: str
) -> None:
    raw = mini_mias.write(tmp_path)
    with (raw / "Info.txt").open("a") as file:
        file.write(row + "\n")
    line = mini_mias.PROSE.count("\n") + len(mini_mias.ROWS) + 1
    with pytest.raises(UserError, match=rf"^Info\.txt, line {line}: {says}.*correct the row"):
        read(raw)


def test_a_folder_without_table_is_refused_with_what_to_do(tmp_path: Path) -> None:
    raw = mini_mias.write(tmp_path)
    (raw / "Info.txt").unlink()
    with pytest.raises(UserError, match=r"holds neither Info\.txt nor patches\.csv; point"):
        read(raw)


def test_a_film_that_is_no_square_gives_no_patch_for_its_scale_is_unknown(
    tmp_path: Path,
) -> None:
    raw = mini_mias.write(tmp_path)
    save(scan(1), raw / "mdb001.pgm")
    assert reasons(read(raw, images="patches"))["mdb001.pgm"] == "unsupported"


def test_patches_that_were_cut_before_are_read_by_their_table(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    save(scan(1), tmp_path / "images/mdb001_0.png")
    save(scan(2), tmp_path / "images/mdb002_0.png")
    (tmp_path / "patches.csv").write_text(
        "path,severity,abnormality,tissue,patient,side\n"
        "images/mdb001_0.png,benign,CIRC,G,p001,right\n"
        "images/mdb002_0.png,normal,NORM,D,p001,left\n",
        "utf-8",
    )
    images = read(tmp_path, images="patches").images
    assert list(images["label_abnormality"]) == ["circumscribed mass", "normal"]
    assert list(images["patient"]) == ["p001", "p001"]
    with pytest.raises(UserError, match=r"lists patches.*set the source's option `images: pat"):
        read(tmp_path, images="films")


# The real set


def test_mini_mias_is_read_whole_as_its_counts_were_published(shared_data: Path) -> None:
    listing = read(shared_data / "mini_mias")
    counts = listing.images["label_diagnosis"].value_counts().to_dict()
    assert counts == {"normal": 207, "benign": 63, "malignant": 52}
    assert listing.images["patient"].nunique() == 161
    assert not reasons(listing)


@pytest.fixture(scope="module")
def patches(shared_data: Path) -> Listing:
    return read(shared_data / "mini_mias", images="patches")


def test_mini_mias_gives_119_lesions_and_a_patch_of_each_normal_film(patches: Listing) -> None:
    assert patches.images["label_diagnosis"].value_counts().to_dict() == {
        "normal": 207,
        "benign": 68,
        "malignant": 51,
    }
    assert sorted(reasons(patches)) == [
        f"mdb{number:03d}.pgm" for number in (59, 216, 233, 245)
    ]


def test_patches_of_normal_films_have_the_sizes_of_lesions(patches: Listing) -> None:
    sides = patches.images["region"].map(lambda region: region.height)
    normal = patches.images["label_diagnosis"] == "normal"
    for share in (0.1, 0.25, 0.5, 0.75, 0.9):
        assert sides[normal].quantile(share) == pytest.approx(
            sides[~normal].quantile(share), rel=0.1, abs=2
        )


def test_masses_of_mini_mias_are_brighter_than_the_ring_round_them(shared_data: Path) -> None:
    raw = shared_data / "mini_mias"
    images = read(raw).images
    masses = images[images["label_abnormality"].str.contains("mass")].dropna(subset=["circles"])
    brighter = []
    for row in masses.itertuples():
        pixels = read_image(raw, row.path)[..., 0].astype(float)
        x, y, radius = (
            float(part) * 192 / 1024 for part in row.circles.split(";")[0].split(",")
        )
        down, right = np.mgrid[:192, :192]
        away = np.hypot(down - y, right - x) / radius
        ring = pixels[(away > 1) & (away <= 1.6)]
        brighter.append(pixels[away <= 1].mean() > ring.mean())
    # With y counted from the top it is 71 % of them.
    assert np.mean(brighter) > 0.95


def test_the_breast_of_every_film_of_mini_mias_is_found_and_all_but_one_chest_walls(
    shared_data: Path,
) -> None:
    raw = shared_data / "mini_mias"
    found = {n: find_breast(read_image(raw, f"mdb{n:03d}.pgm")) for n in range(1, 323)}
    shares = [one.piece.mean() for one in found.values() if one is not None]
    assert len(shares) == 322
    assert min(shares) > 0.1
    assert max(shares) < 0.95
    # On film 151 the breast reaches beyond the film at either side.
    wrong = {n for n, one in found.items() if one is not None and one.on_left != (n % 2 == 0)}
    assert wrong == {151}


def test_all_but_two_circles_of_mini_mias_lie_in_the_breast_that_was_found(
    shared_data: Path,
) -> None:
    raw = shared_data / "mini_mias"
    outside = []
    for row in read(raw).images.dropna(subset=["circles"]).itertuples():
        breast = find_breast(read_image(raw, row.path))
        assert breast is not None
        for circle in row.circles.split(";"):
            x, y, _ = (round(float(part) * 192 / 1024) for part in circle.split(","))
            outside += [] if breast.mask(slice(y, y + 1), slice(x, x + 1)) else [row.film]
    # Of these the file's own coordinates lie in the air beside the breast.
    assert outside == ["mdb212", "mdb214"]


def test_the_patches_at_hand_are_split_by_woman(shared_data: Path) -> None:
    manifest = run(shared_data / "mini_mias_patches", images="patches").manifest
    assert len(manifest) == 326
    assert manifest["group"].nunique() == manifest["patient"].nunique() == 161
    config = SourcePreprocessConfig(height=96, width=96, label="diagnosis", folds=5)
    splits = make_splits(manifest, config, "real.preprocess")
    assert splits.groupby(manifest["patient"].to_numpy())["fold"].nunique().max() == 1
