"""What a stage does without a file is what the project ships for it."""

from dataclasses import replace
from typing import Any

import pytest
import yaml

from maskwise.config import parse
from maskwise.evaluate.config import EvaluateConfig
from maskwise.report.inputs import ReportConfig
from project import PROJECT


@pytest.mark.parametrize(
    ("stage", "config", "of_the_recipes"),
    [("evaluate", EvaluateConfig, {"pairs": (), "primary": {}}), ("report", ReportConfig, {"titles": {}})],
)
def test_the_shipped_options_are_the_defaults_but_for_what_names_the_shipped_recipes(
    stage: str, config: Any, of_the_recipes: dict[str, Any]
) -> None:
    file = PROJECT / f"conf/base/parameters_{stage}.yml"
    block = yaml.safe_load(file.read_text(encoding="utf-8"))[stage]
    assert replace(parse(config, block, stage), **of_the_recipes) == config()
