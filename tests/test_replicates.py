"""Which replicates there are, and what they are called."""

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from maskwise.errors import UserError
from maskwise.experiment import parse_studies, read_studies
from maskwise.replicates import Replicate, address

BLOCK: dict[str, Any] = {
    "reproduce": ["phantom"],
    "generated": ["phantom"],
    "recipes": ["scratch", "dqn"],
    "seeds": [0, 1],
    "fractions": [1.0, 0.1],
    "sources": {"phantom": {}, "busi": {"seeds": [7], "fractions": [1.0]}},
}


def test_a_source_takes_the_common_recipes_and_seeds() -> None:
    study = parse_studies(BLOCK)["phantom"]
    assert study.replicates("dqn") == (
        Replicate("phantom", "dqn", 0),
        Replicate("phantom", "dqn", 1),
    )
    assert study.fractions_parameter == "params:experiment.fractions"


def test_a_source_may_have_its_own_seeds_and_fractions() -> None:
    study = parse_studies(BLOCK)["busi"]
    assert study.seeds == (7,)
    assert study.fractions_parameter == "params:experiment.sources.busi.fractions"


def test_a_source_without_labels_says_so_by_having_no_fraction() -> None:
    sources: dict[str, Any] = {"phantom": {}, "flat": {"fractions": []}}
    studies = parse_studies({**BLOCK, "sources": sources})
    assert studies["phantom"].finetunes
    assert not studies["flat"].finetunes


def test_repeats_train_several_networks_of_every_seed_and_so_of_every_fold() -> None:
    sources = {"phantom": {}, "lgg": {"seeds": [0, 1, 2, 3, 4], "repeats": 2}}
    study = parse_studies({**BLOCK, "sources": sources})["lgg"]
    assert study.seeds == (0, 1, 2, 3, 4, 5, 6, 7, 8, 9)


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"seeds": [0, 1], "repeats": 0}, r"lgg\.repeats: should be a whole number from 1"),
        ({"seeds": [0, 1], "repeats": True}, r"lgg\.repeats: should be a whole number from 1"),
        ({"seeds": [1, 3], "repeats": 2}, r"lgg\.repeats: needs seeds that count from 0"),
    ],
)
def test_repeats_that_share_no_folds_are_refused(own: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_studies({**BLOCK, "sources": {"phantom": {}, "lgg": own}})


def test_a_source_that_dvc_does_not_reproduce_may_be_generated_too() -> None:
    sources = {"phantom": {}, "large": {"generated": True}}
    assert parse_studies({**BLOCK, "sources": sources})["large"].raw == "large.generated"


def test_a_replicate_is_named_alike_in_the_catalog_in_kedro_and_in_dvc() -> None:
    replicate = Replicate("phantom", "scratch", 3)
    assert replicate.dataset("encoder") == "phantom.scratch.s3.encoder"
    assert replicate.namespace == "scratch.s3"
    assert address("pretrain", replicate.dataset("encoder")) == "pretrain@phantom-scratch-3"
    assert address("ingest", "phantom.manifest") == "ingest@phantom"


def test_raw_files_that_the_project_makes_and_those_of_the_user_have_different_names() -> None:
    studies = parse_studies(BLOCK)
    assert studies["phantom"].raw == "phantom.generated"
    assert studies["busi"].raw == "busi.raw"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recepies": []}, r"experiment\.recepies: .* mean 'recipes'"),
        (
            {"reproduce": ["fantom"]},
            r"experiment\.reproduce: .*'fantom'; did you mean 'phantom'",
        ),
        (
            {"generated": ["phantom", "busi"], "sources": {"phantom": {}, "busi": {}}},
            "'busi' does not stand under `reproduce`; write `generated: true`",
        ),
        ({"sources": {"phantom": {"seed": [1]}}}, r"sources\.phantom\.seed: .* mean 'seeds'"),
        ({"sources": {"phantom": {"seeds": [1]}}}, "stands under `reproduce`"),
        ({"recipes": ["my-recipe"]}, "'my-recipe' should hold only a-z, 0-9 and '_'"),
        ({"recipes": ["phantom"]}, "'phantom' is the name of a recipe and of a source"),
        ({"recipes": []}, "at least one recipe"),
        ({"seeds": [1, 1]}, "1 appears twice"),
        ({"seeds": [-1]}, "whole numbers from 0"),
        ({"seeds": [10**12]}, "whole numbers from 0 to 4294967295, not .1000000000000."),
        ({"fractions": [1.0, math.nan]}, "lie in"),
        ({"fractions": [1.0, 10**400]}, "lie in"),
        ({5: 1}, r"experiment\.5: there is no such option"),
        ({True: 1}, r"experiment\.true: there is no such option"),
        ({"SEEDS": [1]}, r"experiment\.SEEDS: .* mean 'seeds'"),
        ({"seeds": [0] * 100_000}, "0 appears twice"),
        (
            {"sources": {"phantom": {}, 5: {}}},
            r"experiment\.sources\.5: a source's name is text",
        ),
        ({"fractions": [0.1]}, "hold 1.0"),
        ({"fractions": []}, r"a source without labels says `fractions: \[\]` of itself"),
        ({"sources": {"phantom": {"fractions": []}}}, "stands under `reproduce`"),
        ({"fractions": [1.0, 2.0]}, "lie in"),
        ({"seeds": 3}, r"experiment\.seeds: should be a list of whole numbers, .*, but is 3"),
        ({"seeds": [True]}, r"experiment\.seeds: should be a list of whole numbers"),
        ({"recipes": "dqn"}, r"experiment\.recipes: should be a list of names, .* is 'dqn'"),
        ({"fractions": ["a"]}, r"experiment\.fractions: should be a list of numbers"),
        ({"reproduce": None}, r"experiment\.reproduce: should be a list of names of sources"),
        ({"sources": None}, r"experiment\.sources: should be a block .*, but is null"),
        ({"sources": {"phantom": [1]}}, r"experiment\.sources\.phantom: should be a block"),
        (
            {"sources": {"phantom": {}, "busi": {"seeds": "01"}}},
            r"experiment\.sources\.busi\.seeds: should be a list",
        ),
        (
            {"sources": {"phantom": {}, "busi": {"generated": "no"}}},
            r"experiment\.sources\.busi\.generated: should be true or false",
        ),
    ],
)
def test_a_wrong_experiment_names_the_key_and_the_remedy(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        parse_studies({**BLOCK, "sources": {"phantom": {}}, **changes})


def test_all_mistakes_of_an_experiment_are_named_at_once_and_cut_where_long() -> None:
    wrong = {
        "seedz": [1],
        "recipes": "x" * 10**6,
        "fractions": ["a"] * 10**5,
        "sources": {"phantom": {"seed": [1]}, "busi": {"generated": "no"}},
    }
    with pytest.raises(UserError) as caught:
        parse_studies({**BLOCK, **wrong})
    lines = str(caught.value).split("\n")
    assert [line.partition(":")[0] for line in lines] == [
        "experiment.seedz",
        "experiment.recipes",
        "experiment.fractions",
        "experiment.sources.phantom.seed",
        "experiment.sources.busi.generated",
    ]
    assert max(map(len, lines)) < 400


def test_a_missing_key_is_named() -> None:
    with pytest.raises(UserError, match=r"experiment\.seeds: missing"):
        parse_studies({key: value for key, value in BLOCK.items() if key != "seeds"})


def test_a_project_without_an_experiment_is_told_what_the_file_is_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"experiment\.yml: absent"):
        read_studies(tmp_path)


def test_an_experiment_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "conf/base/experiment.yml"
    path.parent.mkdir(parents=True)
    path.write_text("experiment: [")
    with pytest.raises(UserError, match=r"experiment\.yml, line \d: is not YAML"):
        read_studies(tmp_path)


def a_project(root: Path, recipes: list[str], **sources: Any) -> Path:
    """Write an experiment of two sources, one of them reproduced, and the recipes' files."""
    (root / "conf/base/recipes").mkdir(parents=True)
    block = {**BLOCK, "sources": {"phantom": {}, "busi": {"recipes": recipes}, **sources}}
    text = yaml.safe_dump({"experiment": block})
    (root / "conf/base/experiment.yml").write_text(text, encoding="utf-8")
    asks = {"sparing": "dqn", "asking": "sparing", "itself": "itself"}
    for name, other in asks.items():
        policy = {"name": "spare", "map": {"recipe": other}}
        text = yaml.safe_dump({name: {"policy": policy}})
        path = root / f"conf/base/recipes/parameters_{name}.yml"
        path.write_text(text, encoding="utf-8")
    return root


def test_a_recipe_that_asks_an_agent_says_so_in_its_own_file(tmp_path: Path) -> None:
    study = read_studies(a_project(tmp_path, ["dqn", "sparing"]))["busi"]
    assert study.needs == {"sparing": "dqn"}
    assert study.before(Replicate("busi", "sparing", 1)) == Replicate("busi", "dqn", 1)
    assert study.before(Replicate("busi", "dqn", 1)) is None


@pytest.mark.parametrize(
    ("recipes", "message"),
    [
        (
            ["scratch", "sparing"],
            "experiment (source 'busi'): 'sparing' asks the agent of 'dqn', which is not "
            "listed; add it to the recipes",
        ),
        (
            ["dqn", "sparing", "asking"],
            "experiment (source 'busi'): 'asking' asks the agent of 'sparing', which has none; "
            "name a recipe with dqn or a3c",
        ),
        (["itself"], "experiment (source 'busi'): 'itself' asks the agent of 'itself', which"),
    ],
)
def test_an_agent_that_nobody_trains_is_refused_in_one_sentence(
    tmp_path: Path, recipes: list[str], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        read_studies(a_project(tmp_path, recipes))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_source_under_reproduce_takes_no_recipe_that_asks_an_agent(tmp_path: Path) -> None:
    a_project(tmp_path, ["dqn", "sparing"])
    path = tmp_path / "conf/base/experiment.yml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    document["experiment"]["recipes"] = ["dqn", "sparing"]
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    with pytest.raises(UserError, match=r"which dvc\.yaml cannot say; .*dvc_stages"):
        read_studies(tmp_path)
