"""A source's prepared images, and the training scans beside each prediction."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import maskwise
from embedding.prepared import prepare
from finetune.patches import small_encoder
from maskwise.artefacts.embeddings import Embeddings, write_embeddings
from maskwise.artefacts.encoder import write_encoder
from maskwise.artefacts.prepared import PreparedSources
from maskwise.artefacts.store import Store
from maskwise.embedding.config import EmbedConfig, Request
from maskwise.embedding.stage import embed
from maskwise.errors import UserError
from maskwise.inline import scan_uri
from maskwise.prediction.neighbours import TrainingScans
from maskwise.prediction.stage import PredictConfig, predict
from prediction.drawn import draw
from prediction.models import CLASSIFIER, save_classifier

Source = tuple[PreparedSources, Store, pd.DataFrame]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return prepare(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_classifier(CLASSIFIER, tmp_path_factory.mktemp("model") / "best.safetensors")


@pytest.fixture(scope="module")
def made(source: Source, model: Path) -> Embeddings:
    return embed(Request(model, None, "patches"), source[0], EmbedConfig()).embeddings


def test_a_source_s_images_have_the_encoder_s_features_and_all_that_is_known_of_them(
    source: Source, model: Path, made: Embeddings
) -> None:
    _, store, splits = source
    encoder = maskwise.load_model(model).encoder
    with torch.inference_mode():
        expected = encoder.pooled(torch.from_numpy(store.normalised(np.arange(len(store)))))
    np.testing.assert_allclose(made.vectors, expected, atol=1e-5)
    table = made.table.set_index("id")
    for row in store.index.itertuples():
        known = table.loc[row.image_id]
        assert known["group"] == row.group
        assert known["patient"] == row.group.replace("g_", "patient ")
        assert known["path"] == f"images/{row.image_id}.png"
        assert known["label_diagnosis"] == row.label_diagnosis
    pd.testing.assert_series_equal(
        table["split"],
        splits.set_index("image_id")["split"].loc[table.index],
        check_names=False,
    )
    assert (made.header.source, made.header.data_hash) == ("patches", "d")


def test_the_page_of_a_source_says_its_score(source: Source, model: Path) -> None:
    config = EmbedConfig(label="diagnosis", neighbours=3)
    page = embed(Request(model, None, "patches"), source[0], config).page
    assert "neighbours of other patients tell" in page
    assert "of the test part neither voted nor were asked about" in page


def test_a_source_that_is_not_prepared_or_in_another_way_is_one_sentence(
    source: Source, model: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        UserError,
        match=r"embed\.source: the source 'patch' has no prepared images; did you mean 'patc",
    ):
        embed(Request(model, None, "patch"), source[0], EmbedConfig())
    network = small_encoder()
    seen = replace(network.metadata.preparation, height=32, width=32)
    described = replace(network.metadata, preparation=seen)
    write_encoder(network, described, tmp_path / "e.safetensors")
    with pytest.raises(
        UserError, match=r"prepared with height 16, but the encoder takes 32; gi"
    ):
        embed(Request(tmp_path / "e.safetensors", None, "patches"), source[0], EmbedConfig())


def beside(model: Path, path: Path, sources: PreparedSources) -> TrainingScans:
    network = maskwise.load_model(model)
    found = TrainingScans.of(path, network, str(model), sources)
    assert found is not None
    return found


def test_the_nearest_training_scans_are_found_and_never_one_of_another_part(
    source: Source, model: Path, made: Embeddings, tmp_path: Path
) -> None:
    sources, store, splits = source
    write_embeddings(made, tmp_path / "e.parquet")
    alike = beside(model, tmp_path / "e.parquet", sources)
    images = torch.from_numpy(store.normalised(np.arange(len(store))))
    nearest = alike.nearest(images, 3)
    part = splits.set_index("image_id")["split"].loc[store.index["image_id"]].to_numpy()
    for row, found in enumerate(nearest):
        cosines = [
            (
                made.vectors[row] @ made.vectors[other]
                / np.linalg.norm(made.vectors[row]) / np.linalg.norm(made.vectors[other]),
                other,
            )
            for other in range(len(store))
            if part[other] == "train"
        ]  # fmt: skip
        best = sorted(cosines, reverse=True)[:3]
        assert [each.similarity for each in found] == pytest.approx(
            [cosine for cosine, _ in best], abs=1e-5
        )
        pictures = [
            scan_uri(store.intensities(np.array([other]))[0].mean(axis=0)) for _, other in best
        ]
        labels = [store.index["label_diagnosis"][other] for _, other in best]
        assert [each.picture for each in found] == pictures
        assert [each.label for each in found] == labels


def test_the_page_of_predictions_shows_them_where_it_is_asked_to(
    source: Source, model: Path, made: Embeddings, tmp_path: Path
) -> None:
    for seed in range(3):
        draw(tmp_path / f"scans/scan {seed}.png", seed=seed)
    write_embeddings(made, tmp_path / "e.parquet")
    asked = PredictConfig(embeddings=tmp_path / "e.parquet", neighbours=2)
    plain = predict(model, tmp_path / "scans", PredictConfig())
    with_them = predict(model, tmp_path / "scans", asked, sources=source[0])
    assert "Training scans most like it" not in plain.page
    assert "carries pixels of training scans" in with_them.page
    assert "carries pixels of training scans" not in plain.page
    assert with_them.page.count("Training scans most like it") == 3
    assert with_them.page.count('alt="Training scan labelled') == 6
    pd.testing.assert_frame_equal(plain.table, with_them.table)


def test_embeddings_that_cannot_stand_beside_predictions_are_one_sentence_each(
    source: Source, model: Path, made: Embeddings, tmp_path: Path
) -> None:
    sources, path = source[0], tmp_path / "e.parquet"

    def said(header: object, table: pd.DataFrame = made.table) -> str:
        write_embeddings(replace(made, header=header, table=table), path)  # type: ignore[arg-type]
        with pytest.raises(UserError) as caught:
            beside(model, path, sources)
        return str(caught.value)

    assert "was made by the encoder scratch on patches, seed 0 (ffffffffffff), but" in said(
        replace(made.header, fingerprint="f" * 64)
    )
    assert "its scans are not those of 'patches', which the model learnt from" in said(
        replace(made.header, source=None)
    )
    assert "the images of 'patches' were made anew since; kedro run --pipelines embed" in said(
        replace(made.header, data_hash="e")
    )
    assert "holds no training scan" in said(made.header, made.table.assign(split="test"))


def test_images_made_anew_since_the_model_learnt_show_no_training_scan(
    source: Source, made: Embeddings, tmp_path: Path
) -> None:
    earlier = replace(CLASSIFIER, encoder=replace(CLASSIFIER.encoder, data_hash="earlier"))
    model = save_classifier(earlier, tmp_path / "earlier.safetensors")
    write_embeddings(made, tmp_path / "e.parquet")
    with pytest.raises(UserError, match="made anew since the model learnt from them"):
        beside(model, tmp_path / "e.parquet", source[0])
