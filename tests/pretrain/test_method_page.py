"""What the page of Intelligent Masking shows and names is what there is."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from maskwise.encoders.context_cnn import RELEASE as RELEASE_ENCODER
from maskwise.pretrain.objectives.context_encoder import RELEASE as RELEASE_OBJECTIVE
from maskwise.pretrain.policies.dqn.config import DqnConfig
from pretrain.toys import RANDOM_BOX, make_run, make_store, pretrain
from project import PROJECT

PAGE = (PROJECT / "docs/methods/intelligent_masking.md").read_text(encoding="utf-8")
RELEASE: dict[str, Any] = yaml.safe_load(PAGE.split("```yaml\n")[1].split("```")[0])[
    "release_288"
]
SEVERAL: dict[str, Any] = {
    **RANDOM_BOX,
    "policy": {"name": "dqn", "box": [2, 2], "boxes": 2},
}


def test_the_whole_release_is_the_release_s_encoder_and_predictor() -> None:
    assert {**RELEASE["encoder"], "name": ""} == {**RELEASE_ENCODER, "name": ""}
    assert {**RELEASE["objective"], "name": ""} == {**RELEASE_OBJECTIVE, "name": ""}


@pytest.mark.parametrize(
    ("block", "side", "grid"),
    [(RELEASE, 96, (3, 3)), (SEVERAL, 32, (8, 8))],  # the release's cells are 32 pixels
    ids=["the whole release", "several boxes"],
)
def test_every_figure_that_a_run_logs_has_its_formula_on_the_page(
    tmp_path: Path, block: dict[str, Any], side: int, grid: tuple[int, int]
) -> None:
    store, splits = make_store(tmp_path / "store", side=side)
    run = make_run(tmp_path, block, grid=grid, steps=1)
    logged = PAGE.partition("## What is logged")[2].partition("## ")[0]
    named = re.findall(
        r"`(\w+)`", "".join(re.findall(r"^\|(.+?)[^\\]\|", logged, re.MULTILINE))
    )
    history = pretrain(store, splits, run).history
    columns = {re.sub("_(low|high)$", "", name) for name in history.columns}
    assert sorted(columns - set(named)) == []


@pytest.mark.parametrize(
    "said",
    [
        f"`pool_px` is {DqnConfig().pool_px}:",
        f"`variance_floor` is {DqnConfig().variance_floor}, ",
        f"`max_age` ({DqnConfig().replay.max_age} steps)",
    ],
)
def test_the_defaults_that_the_page_discusses_are_the_defaults(said: str) -> None:
    assert said in PAGE
