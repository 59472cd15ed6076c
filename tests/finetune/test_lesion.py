"""The task `lesion` as the pipeline calls it: encoder, store and splits in, outlines out."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from finetune.blobs import write_blobs
from finetune.patches import metadata, small_encoder
from maskwise import load_model
from maskwise.artefacts.encoder import decoder_of, keep_decoder
from maskwise.artefacts.outlines import NOTHING, read_model_outlines
from maskwise.artefacts.store import Store
from maskwise.artefacts.tables import PREDICTIONS, SEGMENTATION, SUBSETS
from maskwise.encoders.contract import Encoder
from maskwise.encoders.decoder import Decoder
from maskwise.encoders.segmenter import Segmenter
from maskwise.encoders.unet import LEAN, DecoderConfig
from maskwise.errors import UserError
from maskwise.finetune.contracts import Mode
from maskwise.finetune.lesion.config import LesionConfig
from maskwise.finetune.lesion.outlines import Outlines
from maskwise.finetune.lesion.start import build_start
from maskwise.finetune.lesion.subsets import draw_outlined
from maskwise.finetune.lesion.training import Lesson, train
from maskwise.finetune.optimisation import FullConfig
from maskwise.finetune.stage import (
    Budget,
    FinetuneConfig,
    Finetuned,
    FinetuneRun,
    finetune,
    parse_budget,
)
from maskwise.progress import bar

Blobs = tuple[Store, pd.DataFrame]
RUN = FinetuneRun(
    budget=Budget(LesionConfig(), steps=30, batch_size=16, learning_rates=(0.01,)),
    config=FinetuneConfig(keep="all"),
    fractions=(1.0, 0.3),
    source="blobs",
    recipe="scratch",
    seed=0,
)
COUNTS = ["tp_lesion", "fp_lesion", "fn_lesion"]


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Blobs:
    return write_blobs(tmp_path_factory.mktemp("blobs") / "store")


@pytest.fixture(scope="module")
def replicate(blobs: Blobs) -> Finetuned:
    return finetune(small_encoder(), *blobs, RUN)


@pytest.fixture(scope="module")
def models(replicate: Finetuned, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "s0"
    replicate.write_models(folder)
    return folder


def quick(**changes: Any) -> FinetuneRun:
    budget = replace(RUN.budget, steps=2)
    return replace(RUN, budget=budget, fractions=(1.0,), **changes)


def lesson(blobs: Blobs, mode: Mode) -> Lesson:
    store, _ = blobs
    return Lesson(
        store=store,
        outlines=Outlines(np.asarray(store.masks), ("lesion",)),
        rows=np.arange(20),
        mode=mode,
        task=LesionConfig(),
        validation=np.arange(20, 30),
        units=np.arange(20, 30).astype(object),
        groups=np.arange(20, 30).astype(object),
        steps=3,
        batch_size=8,
        learning_rate=0.01,
        seed=0,
        device=torch.device("cpu"),
    )


def trained(blobs: Blobs, mode: Mode, config: FullConfig, architecture: str) -> Segmenter:
    start = Segmenter(small_encoder(architecture), classes=1, size=(16, 16))
    with bar("finetune", "test", 3, 8) as shown:
        return train(start, lesson(blobs, mode), config, shown).model


def test_there_is_a_row_an_image_fraction_and_mode_for_validation_and_test(
    blobs: Blobs, replicate: Finetuned
) -> None:
    held_out, table = blobs[1].query("split != 'train'"), replicate.predictions
    measured = (*COUNTS, "hd95_lesion", "asd_lesion", "unit_hd95_lesion", "unit_asd_lesion")
    assert tuple(table.columns) == (*PREDICTIONS, *SEGMENTATION, *measured)
    assert len(table) == 4 * len(held_out)
    for _, part in table.groupby(["fraction", "mode"]):
        assert sorted(part["image_id"]) == sorted(held_out["image_id"])


def test_found_and_missed_pixels_are_those_of_the_true_outline(
    blobs: Blobs, replicate: Finetuned
) -> None:
    store, table = blobs[0], replicate.predictions
    assert store.masks is not None
    sizes = store.masks[store.rows(table["image_id"])].sum(axis=(1, 2))
    assert (table["tp_lesion"] + table["fn_lesion"]).tolist() == sizes.tolist()
    assert (table["truth"] == NOTHING).tolist() == (sizes == 0).tolist()


def test_distances_are_measured_where_they_are_scored(replicate: Finetuned) -> None:
    table = replicate.predictions
    both = (table["tp_lesion"] + table["fn_lesion"] > 0) & (
        table["tp_lesion"] + table["fp_lesion"] > 0
    )
    expected = both & (table["split"] == "test")
    assert (table["hd95_lesion"].notna() == expected).all()
    assert (table["asd_lesion"].notna() == expected).all()


def test_bright_discs_are_outlined(replicate: Finetuned) -> None:
    table = replicate.predictions.query("split == 'test' and mode == 'full' and fraction == 1")
    true, wrong, missed = (table[name].sum() for name in COUNTS)
    assert 2 * true / (2 * true + wrong + missed) > 0.6


def test_the_subsets_name_their_replicate_and_are_drawn_by_what_images_show(
    replicate: Finetuned,
) -> None:
    table = replicate.subsets
    assert tuple(table.columns) == SUBSETS
    small = table.query("fraction == 0.3 and role == 'train'")
    assert set(small["label"]) == {"lesion", NOTHING}
    assert set(small["image_id"]) < set(table.query("fraction == 1")["image_id"])
    assert (small.groupby("group").size() == 2).all()


def test_images_that_nobody_outlined_are_left_out(blobs: Blobs) -> None:
    store, splits = blobs
    unknown = splits.query("split == 'test'")["image_id"].iloc[:4]
    index = store.index.assign(has_mask=~store.index["image_id"].isin(unknown))
    found = finetune(small_encoder(), replace(store, index=index), splits, quick())
    assert not set(found.predictions["image_id"]) & set(unknown)


@pytest.mark.parametrize("architecture", ["context_cnn", "resnet18"])
def test_a_probe_changes_no_tensor_and_no_buffer_of_the_encoder_but_the_decoder(
    blobs: Blobs, architecture: str
) -> None:
    before = small_encoder(architecture).state_dict()
    model = trained(blobs, "probe", FullConfig(), architecture)
    after = model.encoder.state_dict()
    assert all(after[name].equal(before[name]) for name in before)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fresh = Segmenter(small_encoder(architecture), classes=1, size=(16, 16))
    moved = [
        not tensor.equal(fresh.decoder.state_dict()[name])
        for name, tensor in model.decoder.state_dict().items()
    ]
    assert all(moved)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_full_fine_tuning_changes_the_encoder_but_no_statistics_of_its_norms(
    blobs: Blobs,
) -> None:
    before = small_encoder("resnet18").state_dict()
    after = trained(blobs, "full", FullConfig(), "resnet18").encoder.state_dict()
    buffers = [name for name in before if "running" in name or "num_batches" in name]
    assert all(after[name].equal(before[name]) for name in buffers)
    assert not any(after[name].equal(before[name]) for name in set(before) - set(buffers))


def test_the_encoders_rate_is_a_multiple_of_the_decoders(blobs: Blobs) -> None:
    before = small_encoder().state_dict()
    after = trained(blobs, "full", FullConfig(encoder_rate=0.0), "context_cnn")
    assert all(after.encoder.state_dict()[name].equal(before[name]) for name in before)


@pytest.mark.parametrize("architecture", ["context_cnn", "resnet18"])
def test_the_encoder_that_was_handed_in_stays_as_it_is(blobs: Blobs, architecture: str) -> None:
    encoder = small_encoder(architecture)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    finetune(encoder, *blobs, quick())
    assert all(tensor.equal(before[name]) for name, tensor in encoder.state_dict().items())
    assert not encoder.training


def test_an_encoder_without_parameters_gets_only_the_decoder(blobs: Blobs) -> None:
    budget = replace(RUN.budget, steps=2, task=LesionConfig(network=LEAN))
    run = replace(quick(), budget=budget)
    found = finetune(small_encoder("pixels"), *blobs, run).predictions
    assert set(found["mode"]) == {"probe"}


def test_the_same_run_gives_the_same_outlines_bit_for_bit(blobs: Blobs) -> None:
    first = finetune(small_encoder(), *blobs, quick())
    torch.rand(1)  # someone else draws from the global generator
    again = finetune(small_encoder(), *blobs, quick())
    pd.testing.assert_frame_equal(first.predictions, again.predictions, check_exact=True)


def test_the_test_part_chooses_nothing(blobs: Blobs, tmp_path: Path) -> None:
    store, splits = blobs
    run = quick(config=FinetuneConfig(keep="all"))
    run = replace(run, budget=replace(run.budget, learning_rates=(1e-3, 1e-2)))
    test = store.rows(splits.query("split == 'test'")["image_id"])
    emptied = np.array(store.masks)
    emptied[test] = False
    kinds = []
    for given in (store, replace(store, masks=emptied)):
        finetune(small_encoder(), given, splits, run).write_models(tmp_path / "m")
        kinds.append(json.loads((tmp_path / "m" / "index.json").read_text()))
    assert kinds[0] == kinds[1]


def test_validation_chooses_the_learning_rate(blobs: Blobs, tmp_path: Path) -> None:
    budget = replace(RUN.budget, steps=10, learning_rates=(1e-9, 1e-2))
    finetune(small_encoder(), *blobs, replace(quick(), budget=budget)).write_models(
        tmp_path / "m"
    )
    index = json.loads((tmp_path / "m" / "index.json").read_text())["models"]
    assert {one["learning_rate"] for one in index} == {1e-2}


def test_a_model_outlines_as_its_row_says(
    blobs: Blobs, replicate: Finetuned, models: Path
) -> None:
    store, model = blobs[0], load_model(models / "full_0.3.safetensors")
    table = replicate.predictions.query("mode == 'full' and fraction == 0.3")
    rows = store.rows(table["image_id"])
    images = torch.from_numpy(store.normalised(rows))
    assert isinstance(model, Segmenter)
    with torch.inference_mode():
        called = model.outline(images).numpy() == 1
    assert list(called.sum(axis=(1, 2))) == (table["tp_lesion"] + table["fp_lesion"]).tolist()


def test_a_model_keeps_how_far_its_validation_patients_lie_and_no_scores(
    blobs: Blobs, replicate: Finetuned, models: Path
) -> None:
    store, model = blobs[0], load_model(models / "full_0.3.safetensors")
    used = replicate.subsets.query("role == 'validation' and fraction == 0.3")
    images = torch.from_numpy(store.normalised(store.rows(used["image_id"])))
    with torch.inference_mode():
        distances = model.limits.space.distances(model.encoder.pooled(images).numpy())
    farthest = [distances[used["group"] == name].max() for name in used["group"].unique()]
    np.testing.assert_allclose(model.limits.space.held_out, sorted(farthest), rtol=1e-4)
    assert model.limits.calibration is None


def test_the_outlines_are_those_of_the_test_images_at_the_largest_fraction(
    blobs: Blobs, replicate: Finetuned, models: Path
) -> None:
    outlines = read_model_outlines(models / "contours.npz")
    table = replicate.predictions.query("mode == 'full' and fraction == 1 and split == 'test'")
    assert list(outlines.image_ids) == table["image_id"].tolist()
    assert (str(outlines.mode), float(outlines.fraction)) == ("full", 1.0)
    called = [int(outlines.of(image)[0].sum()) for image in outlines.image_ids]
    assert called == (table["tp_lesion"] + table["fp_lesion"]).tolist()
    with pytest.raises(KeyError):
        outlines.of("of another part")


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_damaged_outlines_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "contours.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"contours.npz: cannot be read .*run finetune again"):
        read_model_outlines(tmp_path / "contours.npz")


def test_volumes_are_named_where_the_store_knows_them(blobs: Blobs) -> None:
    store, splits = blobs
    index = store.index.assign(volume="v" + store.index["group"].str[-2:])
    found = finetune(small_encoder(), replace(store, index=index), splits, quick())
    assert set(found.predictions["unit_kind"]) == {"volume"}
    assert found.predictions["unit"].str.startswith("v").all()


def test_a_store_without_outlines_is_refused(blobs: Blobs) -> None:
    store, splits = blobs
    for bare in (
        replace(store, masks=None),
        replace(store, index=store.index.assign(has_mask=False)),
    ):
        with pytest.raises(UserError, match=r"blobs.finetune.task: no image .* is outlined"):
            finetune(small_encoder(), bare, splits, RUN)


def test_an_encoder_of_another_split_is_refused(blobs: Blobs) -> None:
    encoder = small_encoder()
    encoder.metadata = replace(metadata("context_cnn", {}), data_hash="old")
    with pytest.raises(UserError, match="another split, and may have seen this test part"):
        finetune(encoder, *blobs, RUN)


def test_a_fraction_of_one_group_is_left_out_with_its_size(
    blobs: Blobs, caplog: pytest.LogCaptureFixture
) -> None:
    run = replace(quick(), budget=replace(RUN.budget, steps=2), fractions=(1.0, 0.02))
    with caplog.at_level(logging.WARNING):
        found = finetune(small_encoder(), *blobs, run)
    assert "Seed 0 leaves a fraction out: 0.02 of the outlined" in caplog.text
    assert "1 group (2 images), but a fraction needs 2 groups" in caplog.text
    assert set(found.subsets["fraction"]) == set(found.predictions["fraction"]) == {1.0}
    with pytest.raises(UserError, match=r"fractions: 0.02 .* 1 group \(2 images\).*larger"):
        finetune(small_encoder(), *blobs, replace(run, fractions=(0.02,)))


def test_a_fraction_that_shows_nothing_of_a_class_is_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    images = pd.DataFrame(
        {
            "image_id": [f"i{i:02d}" for i in range(20)],
            "group": [f"g{i:02d}" for i in range(20)],
            "split": ["train"] * 16 + ["validation"] * 4,
            "label": [NOTHING] * 15 + ["a + b"] + ["a"] * 4,
        }
    )
    with caplog.at_level(logging.WARNING):
        subsets = draw_outlined(images, (1.0, 0.125), "subset", 0)
    assert set(subsets["fraction"]) == {1.0}
    assert "2 groups (2 images), none of which shows 'a'" in caplog.text


def test_a_learning_rate_that_explodes_is_named(blobs: Blobs) -> None:
    run = replace(quick(), budget=replace(RUN.budget, steps=3, learning_rates=(1e30,)))
    with pytest.raises(UserError, match=r"blobs.finetune.learning_rates: at 1e\+30"):
        finetune(small_encoder(), *blobs, run)


def test_images_are_told_apart_by_the_set_of_classes_they_show() -> None:
    masks = np.zeros((4, 2, 2), np.uint8)
    masks[1, 0, 0], masks[2, 0, 0], masks[3, 0] = 1, 2, (1, 2)
    outlines = Outlines(masks, ("head", "body"))
    assert list(outlines.kinds(np.arange(4))) == [NOTHING, "head", "body", "head + body"]


def test_a_source_says_that_it_wants_lesions_outlined() -> None:
    budget = parse_budget({"task": {"name": "lesion"}, "steps": 7}, "busi.finetune")
    assert budget.task == LesionConfig()
    # The decoder is trained in both modes.
    assert budget.planned_steps(3, FinetuneConfig()) == 3 * 2 * 7


def with_decoder(skips: bool = True) -> Encoder:
    """Return an encoder beside the decoder of an autoencoder, as its file would give them."""
    encoder = small_encoder()
    shape: Any = encoder
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        decoder = Decoder("lean", skips, shape.channels, shape.strides, channels=1)
    keep_decoder(encoder, decoder.state_dict())
    return encoder


@pytest.mark.parametrize(
    ("option", "kept", "found"),
    [
        ("fresh", True, "fresh"),
        ("pretrained", True, "pretrained"),
        ("pretrained", False, "fresh"),
    ],
)
def test_a_decoder_that_was_pre_trained_is_where_learning_starts_if_asked_for(
    blobs: Blobs, tmp_path: Path, option: Any, kept: bool, found: str
) -> None:
    encoder = with_decoder() if kept else small_encoder()
    budget = replace(RUN.budget, task=LesionConfig(decoder=option, network=LEAN))
    run = replace(RUN, budget=budget)
    start, said = build_start(encoder, encoder.metadata.preparation, classes=1, run=run)
    pretrained, weights = decoder_of(with_decoder()), start.decoder.state_dict()
    assert said == found
    assert weights["ups.0.weight"].equal(pretrained["ups.0.weight"]) == (found == "pretrained")
    # The last layer draws background and lesion, not the one channel of an image.
    assert len(weights["head.0.weight"]) == 2 * len(pretrained["head.0.weight"])


def test_the_index_says_where_a_models_decoder_is_from(
    replicate: Finetuned, models: Path
) -> None:
    index = json.loads((models / "index.json").read_text())["models"]
    assert {one["decoder"] for one in index} == {"fresh"}


def test_the_index_says_how_long_each_network_learnt_and_how_well(models: Path) -> None:
    index = json.loads((models / "index.json").read_text())["models"]
    assert all(one["best_step"] <= one["steps"] <= 30 for one in index)
    whole = next(one for one in index if one["mode"] == "full" and one["fraction"] == 1)
    assert whole["validation_dice"] > 0.6


def test_a_decoder_of_another_make_is_refused(blobs: Blobs) -> None:
    budget = replace(RUN.budget, task=LesionConfig(decoder="pretrained", network=LEAN))
    with pytest.raises(UserError, match=r"blobs.finetune.task.decoder: .*`skips: true`"):
        finetune(with_decoder(skips=False), *blobs, replace(RUN, budget=budget))


def test_a_pre_trained_decoder_is_a_lean_one() -> None:
    with pytest.raises(ValueError, match=r"pretrained needs network: {layout: lean}"):
        LesionConfig(decoder="pretrained")


def test_a_decoder_s_statistics_are_learnt_though_the_encoder_s_stay(blobs: Blobs) -> None:
    config = DecoderConfig(norm="batch")
    start = Segmenter(small_encoder("resnet18"), 1, (16, 16), config=config)
    before = {name: each.clone() for name, each in start.state_dict().items()}
    with bar("finetune", "test", 3, 8) as shown:
        model = train(start, lesson(blobs, "full"), FullConfig(), shown).model
    after = model.state_dict()
    kept = {name: after[name].equal(before[name]) for name in before if "running" in name}
    assert {name.split(".")[0]: same for name, same in kept.items()} == {
        "encoder": True,
        "decoder": False,
    }


def test_several_classes_are_outlined_each_by_itself(tmp_path: Path) -> None:
    blobs = write_blobs(tmp_path / "store", classes=("head", "body"))
    result = finetune(small_encoder(), *blobs, quick(config=FinetuneConfig(keep="all")))
    kinds = {"no lesion", "head", "body", "head + body"}
    assert set(result.predictions["truth"]) <= kinds
    assert {"tp_head", "fn_body", "hd95_body", "unit_asd_head"} <= set(result.predictions)
    store, masks = blobs[0], np.asarray(blobs[0].masks)
    for number, name in enumerate(("head", "body"), start=1):
        sizes = (masks[store.rows(result.predictions["image_id"])] == number).sum(axis=(1, 2))
        true = result.predictions[f"tp_{name}"] + result.predictions[f"fn_{name}"]
        assert true.tolist() == sizes.tolist()
    result.write_models(tmp_path / "models")
    model = load_model(tmp_path / "models" / "full_1.safetensors")
    assert isinstance(model, Segmenter)
    assert model(torch.zeros(1, 1, 16, 16)).shape == (1, 3, 16, 16)
    outlines = read_model_outlines(tmp_path / "models" / "contours.npz")
    assert list(outlines.classes) == ["head", "body"]
    assert outlines.of(str(outlines.image_ids[0])).shape == (2, 16, 16)
