"""A fraction that leaves a class out is refused when the images are split, for all seeds."""

import re
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline
from kedro.runner import SequentialRunner

from finetune.patches import write_patches
from maskwise.artefacts.store import Store
from maskwise.checks import check_fractions
from maskwise.errors import UserError
from maskwise.experiment import parse_studies
from maskwise.hooks import MaskwiseHooks

Split = tuple[Store, pd.DataFrame]


def parameters(fractions: tuple[float, ...], seeds: tuple[int, ...]) -> dict[str, Any]:
    """Return what is looked at of the options of a source ``mine``."""
    task = {"name": "diagnosis", "label": "diagnosis"}
    return {
        "experiment": {
            "reproduce": ["mine"],
            "generated": [],
            "recipes": ["scratch"],
            "seeds": list(seeds),
            "fractions": list(fractions),
            "sources": {"mine": {}},
        },
        "mine": {"finetune": {"task": task, "steps": 1}},
    }


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """Return a store of 40 groups of one class and 12 of the other, and its splits."""
    return write_patches(tmp_path_factory.mktemp("few") / "store", {"a": 40, "rare": 12})


def sentence(split: Split, fractions: tuple[float, ...], seeds: tuple[int, ...]) -> str:
    """Return what is said of these fractions and seeds."""
    options = parameters((1.0, 0.5), seeds)
    study = replace(parse_studies(options["experiment"])["mine"], fractions=fractions)
    try:
        check_fractions(options, study, *split)
    except UserError as error:
        return str(error)
    return ""


def test_a_fraction_that_some_seed_needs_larger_is_told_for_all_seeds_at_once(
    split: Split,
) -> None:
    alone = {seed: sentence(split, (1.0, 0.03), (seed,)) for seed in range(6)}
    said = sentence(split, (1.0, 0.03), tuple(range(6)))
    assert re.fullmatch(
        r"experiment\.fractions: 0\.03 of the training labels are 1 group \(2 images\), none "
        r"of them of the class 'rare', which has \d+ of \d+ groups; the smallest fraction that "
        r"holds every class begins near [0-9.]+ for seed [0-5]",
        said,
    )
    assert said in alone.values()
    offered = float(said.split("near ")[1].split(" ")[0])
    assert sentence(split, (1.0, offered), tuple(range(6))) == ""


def test_fractions_that_hold_every_class_are_let_by(split: Split) -> None:
    assert sentence(split, (1.0, 0.5), (0, 1, 2)) == ""


def test_a_source_that_fine_tunes_for_nothing_has_no_fraction_to_look_at(split: Split) -> None:
    assert sentence(split, (), (0,)) == ""


@pytest.mark.filterwarnings("ignore:.*dataset names contain")
@pytest.mark.parametrize("stage", ["preprocess", "pretrain"])
def test_it_is_said_before_the_store_is_summed_up_and_before_anything_is_trained(
    split: Split, stage: str
) -> None:
    data: dict[str, Any] = {
        "mine.store": MemoryDataset(split[0], copy_mode="assign"),
        "mine.splits": MemoryDataset(split[1]),
        "parameters": MemoryDataset(parameters((1.0, 0.03), (0, 1, 2))),
    }
    worked: list[Any] = []
    node = Node(
        lambda store, splits: worked.append(store),
        ["mine.store", "mine.splits"],
        None,
        tags=stage,
    )
    manager = _create_hook_manager()
    manager.register(MaskwiseHooks())
    with pytest.raises(UserError, match=r"experiment\.fractions: 0\.03 .* class 'rare'"):
        SequentialRunner().run(Pipeline([node]), DataCatalog(data), hook_manager=manager)
    assert worked == []
