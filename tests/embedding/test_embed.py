"""What an encoder makes of scans: rows, vectors, the map and the score."""

import base64
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import maskwise
from finetune.patches import MEAN, STD, small_encoder
from maskwise.artefacts.embeddings import (
    Embeddings,
    check_same,
    fingerprint,
    joined,
    read_embeddings,
    write_embeddings,
)
from maskwise.artefacts.encoder import write_encoder
from maskwise.artefacts.prepared import PreparedSources
from maskwise.cosine import of_length_one
from maskwise.embedding.config import EmbedConfig, Request, parse_request
from maskwise.embedding.maps import project
from maskwise.embedding.scoring import score_by_neighbours
from maskwise.embedding.stage import embed
from maskwise.errors import UserError
from prediction.drawn import draw
from prediction.models import CLASSIFIER, save_classifier

NOWHERE = PreparedSources("data/{source}/store", "{source}", "{source}")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network, path = small_encoder(), tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
    write_encoder(network, network.metadata, path)
    return path


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six grey scans: three bright ones in a folder, three dark ones in another."""
    folder = tmp_path_factory.mktemp("scans")
    for number in range(6):
        draw(folder / ("dark" if number % 2 else "bright") / f"scan {number}.png", seed=number)
    return folder


def embedded(encoder: Path, place: Path, **options: Any) -> Embeddings:
    return embed(Request(encoder, place, None), NOWHERE, EmbedConfig(**options)).embeddings


def test_every_scan_of_a_folder_has_the_encoder_s_features(encoder: Path, scans: Path) -> None:
    table = maskwise.embed(scans, encoder)
    assert list(table.columns) == [
        "id", "path", "frame", "patient", "group", "split", "folder", "vector",
    ]  # fmt: skip
    network = maskwise.load_encoder(encoder)
    for row in table.itertuples():
        pixels = np.asarray(Image.open(scans / row.path), np.float32) / 255
        with torch.inference_mode():
            expected = network.pooled(torch.from_numpy((pixels - MEAN) / STD)[None, None])
        np.testing.assert_allclose(row.vector, expected[0], atol=1e-5)
    assert set(table["folder"]) == {"bright", "dark"}
    assert table["patient"].isna().all()
    assert list(table["group"]) == list(table["id"])


def test_a_table_s_patients_and_columns_come_along_and_reserved_names_are_not_lost(
    encoder: Path, scans: Path
) -> None:
    rows = [("bright/scan 0.png", "p1", "7", ""), ("dark/scan 1.png", "", "8", "benign")]
    given = pd.DataFrame(rows, columns=["file", "patient", "id", "finding"])
    given.to_csv(scans / "list.csv", index=False)
    table = maskwise.embed(scans / "list.csv", encoder, column="file")
    (scans / "list.csv").unlink()
    assert list(table["path"]) == list(given["file"])
    assert table["patient"][0] == "p1"
    assert pd.isna(table["patient"][1])
    assert list(table["group"]) == ["p1", "dark/scan 1.png"]
    assert list(table["own_id"]) == ["7", "8"]
    assert pd.isna(table["finding"][0])


def test_a_refused_scan_has_no_row_and_a_reason(encoder: Path, scans: Path) -> None:
    (scans / "notes.png").write_text("no image")
    done = embed(Request(encoder, scans, None), NOWHERE, EmbedConfig())
    table = maskwise.embed(scans, encoder)
    (scans / "notes.png").unlink()
    assert len(done.embeddings) == len(table) == 6
    assert list(done.refused["path"]) == ["notes.png"] == list(table.attrs["refused"])
    assert "notes.png" not in done.page
    assert "Scans without features" in done.page


def test_a_file_of_embeddings_is_read_as_it_was_written(
    encoder: Path, scans: Path, tmp_path: Path
) -> None:
    made = embedded(encoder, scans)
    write_embeddings(made, tmp_path / "e.parquet")
    read = read_embeddings(tmp_path / "e.parquet")
    assert read.header == made.header
    np.testing.assert_array_equal(read.vectors, made.vectors)
    pd.testing.assert_frame_equal(read.table, made.table, check_dtype=False)


def test_equal_scans_and_encoders_give_equal_bytes(
    encoder: Path, scans: Path, tmp_path: Path
) -> None:
    for name in ("one", "other"):
        write_embeddings(embedded(encoder, scans), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_the_encoder_of_a_probe_s_model_has_the_fingerprint_of_the_encoder(
    scans: Path, tmp_path: Path
) -> None:
    model = save_classifier(CLASSIFIER, tmp_path / "best.safetensors")
    network = maskwise.load_model(model).encoder
    write_encoder(network, network.metadata, tmp_path / "encoder.safetensors")
    of_model = maskwise.embed(scans, model)
    of_encoder = maskwise.embed(scans, tmp_path / "encoder.safetensors")
    assert of_model.attrs["encoder"] == of_encoder.attrs["encoder"]
    np.testing.assert_array_equal(np.stack(of_model["vector"]), np.stack(of_encoder["vector"]))


def test_whatever_changes_vectors_changes_the_fingerprint() -> None:
    one = small_encoder()
    known = {fingerprint(one, -1, "mean")}
    assert fingerprint(small_encoder(), 1, "mean") in known  # the last of two
    others = [
        fingerprint(one, 0, "mean"),
        fingerprint(one, -1, "mean_max"),
        fingerprint(small_encoder(seed=1), -1, "mean"),
    ]
    seen = one.metadata.preparation
    one.metadata = replace(one.metadata, preparation=replace(seen, mean=(0.4,)))
    others.append(fingerprint(one, -1, "mean"))
    assert len({*known, *others}) == 5


def other_encoder(scans: Path, tmp_path: Path) -> Embeddings:
    network = small_encoder(seed=1)
    write_encoder(network, network.metadata, tmp_path / "other.safetensors")
    return embedded(tmp_path / "other.safetensors", scans)


def test_embeddings_of_another_encoder_are_not_mixed_in(
    encoder: Path, scans: Path, tmp_path: Path
) -> None:
    one, other = embedded(encoder, scans), other_encoder(scans, tmp_path)
    with pytest.raises(
        UserError, match=r"^b: was made by the encoder scratch on patches, .* two encoders"
    ):
        joined([one, other], ["a", "b"])
    with pytest.raises(UserError, match=r"^a, a: the scan 'bright/scan 0.png' stands in them"):
        joined([one, one], ["a", "a"])
    check_same(one.header, one.header.fingerprint, "a", "it is")


def test_rows_of_another_encoder_inside_a_file_are_counted_and_refused(
    encoder: Path, scans: Path, tmp_path: Path
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    write_embeddings(embedded(encoder, scans), one)
    write_embeddings(other_encoder(scans, tmp_path), other)
    parts = [pq.read_table(one), pq.read_table(other).slice(0, 2)]
    mixed = pa.concat_tables([part.unify_dictionaries() for part in parts])
    pq.write_table(mixed, tmp_path / "mixed")
    with pytest.raises(UserError, match=r"mixed: 2 rows of 8 were made by another encoder"):
        read_embeddings(tmp_path / "mixed")
    pd.read_parquet(one).to_parquet(tmp_path / "copied")  # pandas drops what it does not know
    with pytest.raises(UserError, match=r"copied: does not say which encoder made it"):
        read_embeddings(tmp_path / "copied")


@pytest.mark.parametrize("content", [b"", b"PAR1 and no more", b"path,vector\n"])
def test_what_is_no_file_of_embeddings_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "e.parquet").write_bytes(content)
    with pytest.raises(UserError, match=r"e\.parquet: is not a readable file of embeddings"):
        read_embeddings(tmp_path / "e.parquet")
    with pytest.raises(UserError, match=r"gone: no such file; make it with: kedro run"):
        read_embeddings(tmp_path / "gone")


def test_the_principal_components_are_those_of_the_directions_of_features() -> None:
    vectors = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    made = project(vectors, "pca", 0)
    rows = of_length_one(vectors)
    centred = rows - rows.mean(axis=0)
    values, axes = np.linalg.eigh(centred.T @ centred)
    for axis in (0, 1):
        expected = centred @ axes[:, -1 - axis]
        found = made.places[:, axis]
        np.testing.assert_allclose(found, expected * np.sign(expected @ found), atol=1e-10)
    assert made.explained == pytest.approx(
        (values[-1] / values.sum(), values[-2] / values.sum())
    )


@pytest.mark.parametrize("vectors", [np.ones((1, 4)), np.ones((5, 4)), np.ones((5, 1))])
def test_scans_without_any_difference_are_one_point(vectors: Any) -> None:
    assert not project(vectors.astype(np.float32), "pca", 0).places.any()


def test_umap_gives_equal_places_for_equal_seeds() -> None:
    pytest.importorskip("umap", reason="needs umap-learn, of the extra `umap`")
    vectors = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    one, other = (project(vectors, "umap", 3).places for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert one.shape == (12, 2)
    with pytest.raises(UserError, match=r"umap needs 5 scans or more, but there are 3; take p"):
        project(vectors[:3], "umap", 3)


def a_table(patients: int, separation: float) -> Embeddings:
    """Two scans of each patient, nearly alike; classes lie apart by ``separation``."""
    generator = np.random.default_rng(0)
    middle = generator.normal(size=(patients, 5))
    middle[:, 0] += separation * np.where(np.arange(patients) % 2, 1, -1)
    vectors = np.repeat(middle, 2, axis=0) + generator.normal(size=(2 * patients, 5)) / 100
    table = pd.DataFrame(
        {
            "id": [f"s{i}" for i in range(2 * patients)],
            "path": "p",
            "frame": 0,
            "patient": [f"p{i // 2}" for i in range(2 * patients)],
            "group": [f"p{i // 2}" for i in range(2 * patients)],
            "split": None,
            "label_finding": [("a", "b")[i // 2 % 2] for i in range(2 * patients)],
        }
    )
    network = small_encoder()
    header: Any = type("Header", (), {"fingerprint": fingerprint(network, -1, "mean")})
    return Embeddings(table, vectors.astype(np.float32), header)


def test_neighbours_of_other_patients_alone_are_asked() -> None:
    """A patient's other scan is the nearest, and would tell a label that nothing else tells."""
    score = score_by_neighbours(a_table(60, 0.0), EmbedConfig(label="finding", neighbours=1))
    assert score is not None
    (auroc, balanced) = score.figures
    assert auroc.low < 0.5 < auroc.high
    assert balanced.value < 0.7
    assert (score.scans, score.groups, score.patients_known) == (120, 60, True)


def test_classes_that_lie_apart_are_told() -> None:
    score = score_by_neighbours(a_table(40, 8.0), EmbedConfig(label="finding", neighbours=5))
    assert score is not None
    assert all(each.value == 1 and each.low > 0.8 for each in score.figures)


def test_test_scans_neither_vote_nor_are_asked_about() -> None:
    made = a_table(40, 8.0)
    made.table["split"] = np.where(np.arange(80) < 20, "test", "train")
    made.table.loc[:19, "label_finding"] = "a"  # which would spoil the score
    score = score_by_neighbours(made, EmbedConfig(label="finding"))
    assert score is not None
    assert (score.scans, score.test_left_out) == (60, 20)
    assert score.figures[0].value == 1


def test_a_column_that_is_no_label_is_one_sentence() -> None:
    made = a_table(10, 1.0)
    with pytest.raises(UserError, match=r"embed\.label: there is no column 'findin'; did you"):
        score_by_neighbours(made, EmbedConfig(label="findin"))
    with pytest.raises(UserError, match=r"embed\.label: 'id' has 0 classes that two or more"):
        score_by_neighbours(made, EmbedConfig(label="id"))


def test_options_and_places_that_are_wrong_are_one_sentence_each(
    encoder: Path, scans: Path
) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({}, r"embed\.encoder: missing; name an encoder's or a model's file"),
        ({"encoder": "e"}, r"embed\.scans: missing; name either a folder or table of scans"),
        ({"encoder": "e", "scans": "s", "source": "b"}, r"embed\.scans: both are set; name"),
        ({"encoder": 7, "scans": "s"}, r"embed\.encoder: should be text, but is 7"),
        ({"encoder": "e", "scans": "s", "mp": 1}, r"embed\.mp: there is no such option"),
    ]
    for block, said in wrong:
        with pytest.raises(UserError, match=said):
            parse_request(block, "embed")
    with pytest.raises(
        UserError, match=r"embed\.stage: is 2, but the encoder has the stages 0"
    ):
        embedded(encoder, scans, stage=2)
    with pytest.raises(UserError, match=r"embed\.colour_by: there is no column 'foldr'"):
        embedded(encoder, scans, colour_by="foldr")
    with pytest.raises(
        UserError, match=r"gone: there is no such folder or table; set embed\.s"
    ):
        embedded(encoder, scans / "gone")


def test_the_page_is_one_file_and_the_same_for_the_same_scans(
    encoder: Path, scans: Path
) -> None:
    pages = [
        embed(Request(encoder, scans, None), NOWHERE, EmbedConfig(label="folder")).page
        for _ in range(2)
    ]
    assert pages[0] == pages[1]
    assert "http" not in pages[0].replace("http://www.w3.org", "")
    assert "balanced accuracy" in pages[0]
    assert scans.name not in pages[0]
    assert json.dumps("scan 0") not in pages[0]


def legend_in(page: str) -> str:
    """Return the page's drawing as SVG, in which all that it writes stands as a comment."""
    drawings = re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", page)
    return "".join(base64.b64decode(each).decode() for each in drawings)


def test_the_page_numbers_folders_unless_names_are_asked_for(
    encoder: Path, scans: Path
) -> None:
    request = Request(encoder, scans, None)
    for config in (EmbedConfig(), EmbedConfig(colour_by="folder")):
        page = embed(request, NOWHERE, config).page
        assert "folder 1 (3)" in legend_in(page)
        assert "folder 2 (3)" in legend_in(page)
        assert "bright" not in page + legend_in(page)
    named = legend_in(embed(request, NOWHERE, EmbedConfig(), names=True).page)
    assert "bright (3)" in named
    assert "folder 1" not in named
