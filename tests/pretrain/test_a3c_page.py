"""What the page of adaptive hard masking shows and names is what there is."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from maskwise.config import choose
from maskwise.pretrain.policies import POLICIES
from maskwise.pretrain.policies.a3c.config import A3cConfig, Temperature
from maskwise.pretrain.policies.a3c.reward import RewardConfig
from pretrain.toys import SMALL, make_run, make_store, pretrain
from project import PROJECT

METHODS = PROJECT / "docs/methods"
PAGE = (METHODS / "ahm.md").read_text(encoding="utf-8")
WARMED: dict[str, Any] = {"name": "a3c", "temperature": {"most_overlap": 0.9}}


def names(page: str, heading: str) -> set[str]:
    """Return what stands in the first column of the tables below ``heading``."""
    section = page.partition(f"## {heading}")[2].partition("\n## ")[0]
    first = re.findall(r"^\|(.+?)[^\\]\|", section, re.MULTILINE)
    return set(re.findall(r"`([\w.]+)`", "".join(first)))


@pytest.mark.parametrize("policy", [WARMED, {"name": "a3c", "preset": "ahm"}])
def test_every_figure_that_a_run_logs_has_its_formula(
    tmp_path: Path, policy: dict[str, Any]
) -> None:
    store, splits = make_store(tmp_path / "store")
    block = {"objective": {"name": "context_encoder"}, "policy": policy, "encoder": SMALL}
    history = pretrain(store, splits, make_run(tmp_path, block, steps=1)).history
    ours = {"policy_entropy", "overlap", "skipped_updates", "value_loss", "policy_loss"}
    assert ours <= set(history.columns) & names(PAGE, "What is logged")
    of_all = names((METHODS / "intelligent_masking.md").read_text("utf-8"), "What is logged")
    columns = {re.sub("_(low|high)$", "", name) for name in history.columns}
    assert sorted(columns - of_all - names(PAGE, "What is logged")) == []


def test_every_option_stands_in_the_table_and_nothing_else_does() -> None:
    options = {field.name for field in fields(A3cConfig)} - {"reward", "temperature"}
    options |= {f"reward.{field.name}" for field in fields(RewardConfig)}
    options |= {f"temperature.{field.name}" for field in fields(Temperature)}
    assert names(PAGE, "Options") == options


def test_the_policies_that_the_page_shows_can_be_built() -> None:
    shown = PAGE.partition("```yaml\n")[2].partition("```")[0]
    for line in shown.splitlines():
        assert isinstance(choose(POLICIES, yaml.safe_load(line)["policy"], "policy"), A3cConfig)
