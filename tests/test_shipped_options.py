"""What a stage does without a file is what the project ships for it."""

from dataclasses import replace
from typing import Any

import pytest
import yaml
from kedro.config import OmegaConfigLoader

from maskwise.config import parse
from maskwise.evaluate.config import EvaluateConfig
from maskwise.report.inputs import ReportConfig
from maskwise.settings import CONFIG_LOADER_ARGS
from project import PROJECT


@pytest.mark.parametrize(
    ("stage", "config", "of_the_recipes"),
    [
        ("evaluate", EvaluateConfig, {"pairs": (), "primary": {}}),
        ("report", ReportConfig, {"titles": {}}),
    ],
)
def test_the_shipped_options_are_the_defaults_but_for_what_names_the_shipped_recipes(
    stage: str, config: Any, of_the_recipes: dict[str, Any]
) -> None:
    file = PROJECT / f"conf/base/parameters_{stage}.yml"
    block = yaml.safe_load(file.read_text(encoding="utf-8"))[stage]
    assert replace(parse(config, block, stage), **of_the_recipes) == config()


@pytest.mark.parametrize(
    ("env", "modes", "schedule"),
    [("segmentation", ["full"], "polynomial"), ("probes", ["probe"], "cosine")],
)
def test_the_environments_that_the_results_name_change_of_finetune_modes_and_schedule_alone(
    env: str, modes: list[str], schedule: str
) -> None:
    args: dict[str, Any] = {**CONFIG_LOADER_ARGS, "default_run_env": env}
    loader = OmegaConfigLoader(str(PROJECT / "conf"), env=env, **args)
    block = loader["parameters"]["finetune"]
    file = PROJECT / "conf/base/parameters_finetune.yml"
    base = yaml.safe_load(file.read_text(encoding="utf-8"))["finetune"]
    full = {**base["full"], "schedule": schedule}
    assert block == {**base, "modes": modes, "full": full}


def test_the_environment_of_outlines_halves_images_of_two_sources_and_changes_no_other() -> (
    None
):
    def blocks(env: str) -> dict[str, Any]:
        args: dict[str, Any] = {**CONFIG_LOADER_ARGS, "default_run_env": env}
        loaded = OmegaConfigLoader(str(PROJECT / "conf"), env=env, **args)["parameters"]
        return {name: block for name, block in loaded.items() if name != "finetune"}

    base, changed = blocks("base"), blocks("segmentation")
    assert {name for name in base if base[name] != changed[name]} == {
        "busi_segmentation",
        "lgg",
    }
    for name in ("busi_segmentation", "lgg"):
        size = {side: base[name]["preprocess"][side] // 2 for side in ("height", "width")}
        preprocess = {**base[name]["preprocess"], **size}
        assert changed[name] == {**base[name], "preprocess": preprocess}
