"""The stage as the pipeline calls it: an encoder, a store and splits in; predictions out."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from sklearn.metrics import roc_auc_score

from finetune.patches import metadata, small_encoder, write_patches
from maskwise import load_model
from maskwise.artefacts.splits import for_seed
from maskwise.artefacts.store import Store
from maskwise.artefacts.tables import PREDICTIONS, SUBSETS
from maskwise.config import parse
from maskwise.encoders.classifier import Classifier
from maskwise.errors import UserError
from maskwise.finetune.augmentation import Augmentation
from maskwise.finetune.classification.probe import ProbeConfig
from maskwise.finetune.diagnosis.task import DiagnosisConfig
from maskwise.finetune.optimisation import FullConfig
from maskwise.finetune.stage import (
    Budget,
    FinetuneConfig,
    Finetuned,
    FinetuneRun,
    finetune,
    parse_budget,
)

GROUPS = {"a": 12, "b": 24, "c": 18}
PROBE = ProbeConfig(strengths=(0.01, 1.0), folds=3)
RUN = FinetuneRun(
    budget=Budget(DiagnosisConfig(), steps=6, batch_size=16),
    config=FinetuneConfig(probe=PROBE),
    fractions=(1.0, 0.25),
    source="patches",
    recipe="scratch",
    seed=0,
)
STILL = Augmentation(flip=False)
Patches = tuple[Store, pd.DataFrame]


@pytest.fixture(scope="module")
def patches(tmp_path_factory: pytest.TempPathFactory) -> Patches:
    return write_patches(tmp_path_factory.mktemp("patches") / "store", GROUPS)


@pytest.fixture(scope="module")
def replicate(patches: Patches) -> Finetuned:
    return finetune(small_encoder(), *patches, RUN)


def with_config(**changes: Any) -> FinetuneRun:
    return replace(RUN, config=replace(RUN.config, **changes))


def index_of(folder: Path) -> list[dict[str, Any]]:
    models: list[dict[str, Any]] = json.loads((folder / "index.json").read_text())["models"]
    return models


def test_there_is_a_row_an_image_fraction_and_mode_for_validation_and_test(
    patches: Patches, replicate: Finetuned
) -> None:
    held_out = patches[1].query("split != 'train'")
    table = replicate.predictions
    assert tuple(table.columns) == (*PREDICTIONS, "p_a", "p_b", "p_c")
    for _, part in table.groupby(["fraction", "mode"]):
        assert sorted(part["image_id"]) == sorted(held_out["image_id"])
    assert len(table) == 4 * len(held_out)


def test_probabilities_add_to_one_and_the_truth_is_a_class_name(replicate: Finetuned) -> None:
    chances = replicate.predictions[["p_a", "p_b", "p_c"]].to_numpy()
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    assert (replicate.predictions["truth"] == replicate.predictions["image_id"].str[0]).all()


def test_the_subsets_name_their_replicate(replicate: Finetuned) -> None:
    assert tuple(replicate.subsets.columns) == SUBSETS
    assert set(replicate.subsets["recipe"]) == {"scratch"}


def test_bright_patches_are_told_apart(replicate: Finetuned) -> None:
    test = replicate.predictions.query(
        "split == 'test' and fraction == 1.0 and mode == 'probe'"
    )
    chances = test[["p_a", "p_b", "p_c"]]
    assert roc_auc_score(test["truth"], chances, multi_class="ovr") > 0.75


@pytest.mark.parametrize("architecture", ["context_cnn", "resnet18"])
def test_no_tensor_and_no_buffer_of_the_encoder_moves(
    patches: Patches, architecture: str
) -> None:
    encoder = small_encoder(architecture)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    finetune(encoder, *patches, RUN)
    assert all(tensor.equal(before[name]) for name, tensor in encoder.state_dict().items())


def test_a_probe_keeps_the_encoder_even_when_it_is_handed_over_in_train_mode(
    patches: Patches,
) -> None:
    run = with_config(modes=("probe",))
    evaluated = finetune(small_encoder("resnet18"), *patches, run)
    training = finetune(small_encoder("resnet18").train(), *patches, run)
    pd.testing.assert_frame_equal(evaluated.predictions, training.predictions)


def test_an_encoder_without_parameters_gets_only_the_probe_of_its_places(
    patches: Patches, tmp_path: Path
) -> None:
    result = finetune(small_encoder("pixels"), *patches, RUN)
    assert set(result.predictions["mode"]) == {"probe"}
    result.write_models(tmp_path / "models")
    model = load_model(tmp_path / "models" / "best.safetensors")
    assert model.head.weight.shape == (3, 64)  # type: ignore[union-attr]


def test_the_same_run_gives_the_same_predictions_bit_for_bit(
    patches: Patches, replicate: Finetuned
) -> None:
    torch.rand(1)  # someone else draws from the global generator
    again = finetune(small_encoder(), *patches, RUN)
    pd.testing.assert_frame_equal(again.predictions, replicate.predictions, check_exact=True)


def test_recipes_share_the_images_of_every_fraction(
    patches: Patches, replicate: Finetuned
) -> None:
    other = finetune(small_encoder("pixels"), *patches, replace(RUN, recipe="pixels"))
    pd.testing.assert_frame_equal(
        other.subsets.drop(columns="recipe"), replicate.subsets.drop(columns="recipe")
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_with_folds_a_seed_learns_from_and_predicts_its_own_parts(
    patches: Patches, seed: int
) -> None:
    store, splits = patches
    fold = pd.factorize(splits["group"])[0] % 3
    folded = splits.assign(split="train", fold=fold)
    own = for_seed(folded, seed).set_index("image_id")["split"]
    found = finetune(small_encoder(), store, folded, replace(RUN, seed=seed, fractions=(1.0,)))
    predicted = found.predictions.drop_duplicates("image_id").set_index("image_id")["split"]
    learnt = found.subsets.query("fraction == 1").set_index("image_id")["role"]
    assert set(predicted.index) == set(own.index[own != "train"])
    assert (predicted == own[predicted.index]).all()
    assert (learnt == own[learnt.index]).all()


def test_the_test_part_chooses_nothing(patches: Patches, tmp_path: Path) -> None:
    store, splits = patches
    run = with_config(keep="all")
    run = replace(run, budget=replace(run.budget, learning_rates=(1e-3, 1e-2)))
    finetune(small_encoder(), store, splits, run).write_models(tmp_path / "as it is")
    index = store.index.copy()
    of_test = index["image_id"].isin(splits.query("split == 'test'")["image_id"])
    index.loc[of_test, "label_diagnosis"] = "a"
    shuffled = replace(store, index=index)
    finetune(small_encoder(), shuffled, splits, run).write_models(tmp_path / "shuffled")
    assert index_of(tmp_path / "as it is") == index_of(tmp_path / "shuffled")


def test_unlabelled_images_are_neither_learnt_from_nor_predicted(patches: Patches) -> None:
    store, splits = patches
    index = store.index.copy()
    unlabelled = splits.query("split == 'test'")["image_id"].iloc[:4]
    index.loc[index["image_id"].isin(unlabelled), "label_diagnosis"] = None
    result = finetune(small_encoder(), replace(store, index=index), splits, RUN)
    assert not set(result.predictions["image_id"]) & set(unlabelled)


def test_validation_chooses_the_learning_rate(patches: Patches, tmp_path: Path) -> None:
    hopeless, good = 1e-9, 1e-2
    run = with_config(modes=("full",), full=FullConfig(head="fresh"))
    budget = replace(RUN.budget, learning_rates=(hopeless, good), steps=10)
    result = finetune(small_encoder(), *patches, replace(run, budget=budget))
    result.write_models(tmp_path / "models")
    assert {one["learning_rate"] for one in index_of(tmp_path / "models")} == {good}


def test_full_fine_tuning_starts_at_the_probe_unless_it_is_to_start_fresh(
    patches: Patches,
) -> None:
    still = replace(RUN.budget, learning_rates=(1e-9,))
    run = replace(with_config(modes=("full",)), budget=still)
    from_probe = finetune(small_encoder(), *patches, run)
    fresh = replace(run, config=replace(run.config, full=FullConfig(head="fresh")))
    from_zero = finetune(small_encoder(), *patches, fresh)
    columns = ["p_a", "p_b", "p_c"]
    np.testing.assert_allclose(from_zero.predictions[columns], 1 / 3, atol=1e-4)
    assert from_probe.predictions[columns].to_numpy().std() > 0.1


def test_a_store_whose_sides_mean_something_is_learnt_from_without_flips(
    patches: Patches, tmp_path: Path
) -> None:
    store, splits = patches
    fixed = replace(store, header=replace(store.header, laterality="fixed"))
    run = replace(with_config(modes=("full",)), fractions=(1.0,))
    unflipped = replace(run, config=replace(run.config, full=FullConfig(augmentation=STILL)))
    usual, other, mirrored = (
        finetune(small_encoder(), given, splits, how).predictions
        for given, how in ((fixed, run), (store, unflipped), (store, run))
    )
    assert usual.equals(other)
    assert not usual.equals(mirrored)


@pytest.mark.parametrize(("pooling", "features"), [("mean", 24), ("mean_max", 48)])
def test_mean_and_maximum_side_by_side_are_twice_the_features(
    patches: Patches, tmp_path: Path, pooling: Any, features: int
) -> None:
    run = with_config(modes=("full",), probe=replace(PROBE, pooling=pooling))
    run = replace(run, fractions=(1.0,))
    finetune(small_encoder(), *patches, run).write_models(tmp_path / "models")
    model = load_model(tmp_path / "models" / "best.safetensors")
    assert model.head.weight.shape == (3, features)  # type: ignore[union-attr]


def test_weights_of_places_that_are_learnt_come_back_with_the_model(
    patches: Patches, tmp_path: Path
) -> None:
    run = with_config(
        modes=("full",),
        probe=replace(PROBE, pooling="mean"),
        full=FullConfig(pooling="attentive", augmentation=STILL),
    )
    run = replace(run, fractions=(1.0,))
    result = finetune(small_encoder(), *patches, run)
    result.write_models(tmp_path / "models")
    model = load_model(tmp_path / "models" / "best.safetensors")
    assert isinstance(model, Classifier)
    assert model.pooling == model.metadata.pooling == "attentive"
    assert model.attention is not None
    assert all(query.abs().max() > 0 for query in model.attention.queries)
    store, _ = patches
    test = result.predictions.query("split == 'test'")
    images = torch.from_numpy(store.normalised(store.rows(test["image_id"])))
    with torch.inference_mode():
        found = model(images).softmax(dim=1).numpy()
    np.testing.assert_allclose(found, test[["p_a", "p_b", "p_c"]], atol=1e-5)


def test_weights_of_places_begin_as_the_mean_and_so_need_a_probe_of_it() -> None:
    with pytest.raises(ValueError, match=r"set probe\.pooling: mean"):
        with_config(full=FullConfig(pooling="attentive"), probe=replace(PROBE, pooling="class"))


def test_the_published_protocol_chooses_on_the_whole_validation_part(patches: Patches) -> None:
    result = finetune(
        small_encoder(), *patches, with_config(validation="full", modes=("probe",))
    )
    chosen = result.subsets.query("role == 'validation'").groupby("fraction").size()
    assert set(chosen) == {len(patches[1].query("split == 'validation'"))}


def test_balanced_class_weights_find_more_of_the_rare_class(patches: Patches) -> None:
    found = {}
    for weights in ("none", "balanced"):
        task = DiagnosisConfig(class_weights=weights)
        run = replace(with_config(modes=("probe",)), budget=replace(RUN.budget, task=task))
        found[weights] = finetune(small_encoder(), *patches, run).predictions["p_a"].mean()
    assert found["balanced"] > found["none"]


def test_an_encoder_of_another_split_is_refused(patches: Patches) -> None:
    encoder = small_encoder()
    stale = replace(metadata("context_cnn", {}), data_hash="of last week")
    encoder.metadata = stale
    with pytest.raises(UserError, match="another split, and may have seen this test part"):
        finetune(encoder, *patches, RUN)


def test_a_learning_rate_that_explodes_is_named(patches: Patches) -> None:
    budget = replace(RUN.budget, learning_rates=(1e30,))
    with pytest.raises(UserError, match=r"patches.finetune.learning_rates: at 1e\+30"):
        finetune(
            small_encoder(), *patches, replace(with_config(modes=("full",)), budget=budget)
        )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(patches: Patches) -> None:
    with pytest.raises(UserError, match=r"finetune.device: this machine has no CUDA device"):
        finetune(small_encoder(), *patches, with_config(device="cuda"))


def test_a_precision_that_the_machine_lacks_is_refused_before_anything_is_computed(
    patches: Patches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    monkeypatch.setattr("maskwise.finetune.stage.learner", lambda _: pytest.fail("it began"))
    asked = with_config(device="cpu", full=FullConfig(precision="bfloat16"))
    with pytest.raises(UserError, match=r"finetune\.full\.precision: this cpu has no bfloat16"):
        finetune(small_encoder(), *patches, asked)


def test_the_shipped_options_are_the_defaults() -> None:
    file = Path(__file__).parents[2] / "conf/base/parameters_finetune.yml"
    block = yaml.safe_load(file.read_text(encoding="utf-8"))["finetune"]
    assert parse(FinetuneConfig, block, "finetune") == FinetuneConfig()


@pytest.mark.parametrize("source", ["phantom", "busi", "breastmnist"])
def test_every_shipped_source_says_task_and_steps(source: str) -> None:
    file = Path(__file__).parents[2] / f"conf/base/sources/parameters_{source}.yml"
    block = yaml.safe_load(file.read_text(encoding="utf-8"))[source]["finetune"]
    assert parse_budget(block, f"{source}.finetune").task == DiagnosisConfig()


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"steps": 1}, r"busi.finetune.task.name: missing; choose from diagnosis"),
        (
            {"task": {"name": "diagnosys"}, "steps": 1},
            r"busi.finetune.task.name: .*'diagnosis'",
        ),
        ({"task": {"name": "diagnosis"}, "stepz": 1}, r"busi.finetune.stepz: .*'steps'"),
        (
            {"task": {"name": "diagnosis"}, "steps": 1, "learning_rates": []},
            r"learning_rates: holds 0 entries, but must hold 1 to 100",
        ),
        ({"task": {"name": "diagnosis", "lable": "x"}, "steps": 1}, r"task.lable: .*'label'"),
    ],
)
def test_a_wrong_source_block_names_the_key(block: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_budget(block, "busi.finetune")


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"modes": ["probe", "probe"]}, "modes should hold"),
    ],
)
def test_impossible_options_are_refused(block: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse(FinetuneConfig, block, "finetune")


def test_a_replicate_plans_its_steps_before_it_starts() -> None:
    budget = replace(RUN.budget, learning_rates=(1e-3, 1e-2))
    assert budget.planned_steps(3, RUN.config) == 3 * 2 * 6
    assert budget.planned_steps(3, FinetuneConfig(modes=("probe",))) == 0
