"""The published comparison on CT: what all checks before a run say of it, and what it sets."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from kedro.config import OmegaConfigLoader

from maskwise.artefacts.weights import weights_path
from maskwise.checks import check_labels, check_parameters, names_in_files
from maskwise.encoders.resnet import Resnet50Config
from maskwise.experiment import read_studies
from maskwise.pipelines import parsing
from maskwise.settings import CONFIG_LOADER_ARGS
from project import PROJECT

STUDIES = read_studies(PROJECT)
TUNED = ("wolf_2023_covid_ct", "wolf_2023_organsmnist", "wolf_2023_head_ct")
METHODS = ("spark", "swav", "moco_v2", "byol")


@pytest.fixture(scope="module")
def parameters() -> dict[str, Any]:
    args: dict[str, Any] = {**CONFIG_LOADER_ARGS, "default_run_env": "wolf_2023"}
    loader = OmegaConfigLoader(str(PROJECT / "conf"), env="wolf_2023", **args)
    found: dict[str, Any] = loader["parameters"]
    return found


@pytest.mark.parametrize("source", ["wolf_2023", *TUNED])
def test_it_passes_all_that_is_checked_before_a_stage(
    parameters: dict[str, Any], source: str
) -> None:
    known = names_in_files(PROJECT / "conf", ["base", "wolf_2023"])
    study = STUDIES[source]
    check_parameters(parameters, [study], known)  # builds every recipe for the source's images
    stages = {"ingest", "preprocess", "pretrain"} | ({"finetune"} if study.finetunes else set())
    check_labels(parameters, study, stages)


@pytest.mark.parametrize("method", METHODS)
def test_each_method_has_the_release_s_network_and_preset(
    parameters: dict[str, Any], method: str
) -> None:
    recipe = parsing.recipe(parameters[f"wolf_{method}"], f"wolf_{method}")
    assert recipe.encoder.architecture == Resnet50Config(stride=32)
    assert recipe.names["objective"] == method
    preset: Any = recipe.objective
    assert preset.preset == ("release" if method == "spark" else "wolf_release")


@pytest.mark.parametrize(
    ("method", "optimiser", "rate", "decay"),
    [
        ("spark", "lamb", 2e-4 * 32 / 256, 0.04),
        ("swav", "lars", 0.15, 1e-6),
        ("moco_v2", "sgd", 0.015, 1e-4),
        ("byol", "adamw", 1e-3, 1.5e-6),
    ],
)
def test_each_method_has_the_published_rates(
    parameters: dict[str, Any], method: str, optimiser: str, rate: float, decay: float
) -> None:
    recipe = parsing.recipe(parameters[f"wolf_{method}"], f"wolf_{method}")
    assert recipe.names["optimiser"] == optimiser
    assert recipe.optimisation.learning_rate == pytest.approx(rate)
    assert recipe.optimisation.weight_decay == pytest.approx(decay)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_tuned_begins_with_the_file_that_pre_training_writes(
    parameters: dict[str, Any], method: str
) -> None:
    catalog = yaml.safe_load((PROJECT / "conf/base/catalog.yml").read_text(encoding="utf-8"))
    written = catalog["{source}.{recipe}.s{seed}.encoder"]["filepath"]
    for replicate in STUDIES["wolf_2023"].replicates(f"wolf_{method}"):
        path = written.replace("${globals:data_root}", "data").format(
            source=replicate.source, recipe=replicate.recipe, seed=replicate.seed
        )
        named = parameters[f"wolf_{method}_transferred"]["encoder"]["weights"]
        assert weights_path(named, replicate.seed) == Path(path)
    assert all(STUDIES[source].seeds == STUDIES["wolf_2023"].seeds for source in TUNED)


def test_fine_tuning_is_the_published_one_as_far_as_options_allow(
    parameters: dict[str, Any],
) -> None:
    base = yaml.safe_load(
        (PROJECT / "conf/base/parameters_finetune.yml").read_text(encoding="utf-8")
    )
    ours = parsing.finetune(base["finetune"], "finetune")
    tuning = parsing.finetune(parameters["finetune"], "finetune")
    assert (tuning.modes, tuning.validation) == (("full",), "full")
    assert (tuning.full.head, tuning.full.weight_decay) == ("fresh", 5e-4)
    assert tuning.probe == ours.probe
    assert replace(tuning, modes=ours.modes, validation=ours.validation, full=ours.full) == ours
    # 70 epochs in batches of 64, the last of an epoch a small one.
    for source, images in zip(TUNED, (425, 13_932, 146), strict=True):
        budget = parsing.finetune_source(parameters[source]["finetune"], source)
        assert budget.steps == 70 * -(-images // 64)
        assert (budget.batch_size, budget.learning_rates) == (64, (1e-4,))
