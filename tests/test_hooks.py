"""What is refused before any stage runs, what is told of a run, and how."""

import json
import math
import os
import re
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from filelock import FileLock
from kedro.config import OmegaConfigLoader
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog, DatasetError, MemoryDataset
from kedro.pipeline import Node, Pipeline
from kedro.runner import SequentialRunner

from maskwise.checks import (
    check_globals,
    check_idle,
    check_labels,
    check_parameters,
    check_subgroups,
    check_task,
    check_typed,
    check_weights,
    check_writable,
    names_in_files,
)
from maskwise.datasets import JsonDataset, RawFolder
from maskwise.errors import UserError
from maskwise.evaluate.metrics import METRICS
from maskwise.experiment import read_studies
from maskwise.hooks import MaskwiseHooks, mark_outdated
from maskwise.missing_inputs import check_inputs
from maskwise.pipeline_registry import PROJECT, register_pipelines
from maskwise.progress import note
from maskwise.replicates import Replicate, Study
from maskwise.report.scores import SMALLER_IS_BETTER, rankings
from maskwise.run_facts import AnonymousMemory, Watch, alone, describe_machine, write_facts
from maskwise.session import check_files, telling
from maskwise.settings import CONFIG_LOADER_ARGS

STUDIES = read_studies(PROJECT)
KNOWN = names_in_files(PROJECT / "conf", ["base"])


def load(environment: str = "base", **runtime: Any) -> dict[str, Any]:
    """Return the project's parameters as `kedro run --params` would change them."""
    arguments: dict[str, Any] = {**CONFIG_LOADER_ARGS, "default_run_env": "base"}
    loader = OmegaConfigLoader(
        str(PROJECT / "conf"), environment, runtime_params=runtime or None, **arguments
    )
    parameters: dict[str, Any] = loader["parameters"]
    return parameters


def refusal(*sources: str, **runtime: Any) -> str:
    studies: list[Study] = [STUDIES[name] for name in sources]
    with pytest.raises(UserError) as caught:
        check_parameters(load(**runtime), studies, KNOWN)
    return str(caught.value)


@pytest.mark.parametrize("source", STUDIES)
def test_the_settings_that_the_project_ships_are_accepted(source: str) -> None:
    check_parameters(load(), [STUDIES[source]], KNOWN)


def test_the_fractions_of_the_experiment_are_a_parameter() -> None:
    assert 1.0 in load()["experiment"]["fractions"]


def test_a_misspelt_block_on_the_command_line_gets_the_close_match() -> None:
    assert "pretrian: there is no such parameter; did you mean 'pretrain'?" in refusal(
        "phantom", pretrian={"steps": 7}
    )


def test_a_misspelt_key_of_a_stage_that_does_not_run_is_refused_too() -> None:
    message = refusal("phantom", evaluate={"drwas": 7})
    assert "evaluate.drwas: there is no such option; did you mean 'draws'?" in message


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"evaluate": {"against": "scrach"}},
            "evaluate.against: there is no recipe 'scrach'; did you mean 'scratch'?",
        ),
        (
            {"evaluate": {"except_recipes": ["imagnet"]}},
            "evaluate.except_recipes: there is no recipe 'imagnet'; did you mean 'imagenet'?",
        ),
        (
            {"evaluate": {"pairs": [["dqn", "random_bax"]]}},
            "evaluate.pairs: there is no recipe 'random_bax'; did you mean 'random_box'?",
        ),
        (
            {
                "evaluate": {
                    "primary": {
                        "phantom": {
                            "comparisons": [["dqn", "random_bax"]],
                            "mode": "full",
                            "fraction": 0.1,
                            "written": "2026-11-29",
                        }
                    }
                }
            },
            "evaluate.primary.phantom.comparisons: there is no recipe 'random_bax'; did you "
            "mean 'random_box'?",
        ),
        (
            {"report": {"titles": {"dqnn": "x"}}},
            "report.titles: there is no recipe 'dqnn'; did you mean 'dqn'?",
        ),
        (
            {"evaluate": {"referee": {"busy": {}}}},
            "evaluate.referee.busy: there is no source 'busy'; did you mean 'busi'?",
        ),
        (
            {"evaluate": {"referee": {"busi": {"recipe": "dqnn"}}}},
            "evaluate.referee.busi.recipe: there is no recipe 'dqnn'; did you mean 'dqn'?",
        ),
        (
            {"report": {"study": {"busy": {}}}},
            "report.study.busy: there is no source 'busy'; did you mean 'busi'?",
        ),
        (
            {"report": {"study": {"busi": {"ethic": "none"}}}},
            "report.study.busi.ethic: there is no such option; did you mean 'ethics'?",
        ),
        (
            {"report": {"metric": "macro_aurok"}},
            "report.metric: there is no metric 'macro_aurok'; did you mean 'macro_auroc'?",
        ),
    ],
)
def test_a_misspelt_name_that_only_the_last_stages_read_is_refused_before_the_first(
    changed: dict[str, Any], said: str
) -> None:
    assert refusal("phantom", **changed) == said


def test_a_recipe_that_no_study_takes_may_be_named() -> None:
    named = {"against": "imagenet", "pairs": [["dqn_shuffled", "scratch"]]}
    check_parameters(load(evaluate=named), [STUDIES["phantom"]], KNOWN)


def test_a_subgroup_that_no_image_has_is_refused_when_the_files_were_read() -> None:
    columns = ["image_id", "patient", "sex", "label_diagnosis"]

    def check(*subgroups: str) -> None:
        asked = {"referee": {"busi": {"subgroups": list(subgroups)}}}
        check_subgroups(load(evaluate=asked), STUDIES["busi"], columns)

    check("sex", "diagnosis", "label_diagnosis")
    with pytest.raises(UserError, match=r"busi\.subgroups: .* 'diagnosys'; did you mean 'diag"):
        check("diagnosys")
    with pytest.raises(UserError, match=r"no column 'site'; choose from .*lesion_size, sex"):
        check("site")


def test_every_metric_that_is_better_when_larger_may_rank_the_recipes() -> None:
    assert set(METRICS) - SMALLER_IS_BETTER <= set(rankings())


def test_all_errors_of_all_files_are_told_at_once() -> None:
    message = refusal(
        "phantom",
        dqn={"polcy": {}},
        phantom={"pretrain": {"stepz": 3}, "preproces": {}},
        report={"metrik": "x"},
    )
    for part in (
        "dqn.polcy: there is no such option; did you mean 'policy'?",
        "phantom.pretrain.stepz: there is no such option; did you mean 'steps'?",
        "phantom.preproces: there is no such block; did you mean 'preprocess'?",
        "report.metrik: there is no such option; did you mean 'metric'?",
    ):
        assert part in message


@pytest.mark.parametrize("block", ["phantom", "predict", "ingest", "dqn"])
def test_a_number_where_a_block_should_be_is_refused(block: str) -> None:
    assert f"{block}: should " in refusal("phantom", **{block: 3})


def test_a_wrong_policy_of_one_recipe_stops_the_run_of_its_source() -> None:
    message = refusal("phantom", dqn={"policy": {"name": "dqm"}})
    assert "dqn.policy.name: there is no 'dqm'; did you mean 'dqn'?" in message


SPARING = replace(
    STUDIES["phantom"],
    recipes=("a3c", "dqn", "random_cells", "simclr_spare"),
    needs={"simclr_spare": "a3c"},
)


def sparing(study: Study = SPARING, **runtime: Any) -> None:
    check_parameters(load(**runtime), [study], KNOWN)


def test_a_recipe_that_asks_an_agent_of_its_study_is_accepted() -> None:
    sparing()


def test_an_agent_named_elsewhere_than_in_the_recipe_s_file_is_refused() -> None:
    with pytest.raises(UserError) as caught:
        sparing(simclr_spare={"policy": {"map": {"recipe": "dqn"}}})
    assert str(caught.value) == (
        "simclr_spare.policy.map.recipe: is 'dqn', but "
        "conf/base/recipes/parameters_simclr_spare.yml says 'a3c'; what is trained first is "
        "read there alone, so change it there"
    )


def test_a_recipe_whose_policy_has_no_map_to_spare_is_refused_before_any_stage() -> None:
    study = replace(SPARING, needs={"simclr_spare": "random_cells"})
    with pytest.raises(UserError) as caught:
        sparing(study, simclr_spare={"policy": {"map": {"recipe": "random_cells"}}})
    assert str(caught.value) == (
        "simclr_spare.policy.map.recipe: policy random_cells of random_cells learns no map of "
        "an image; name a recipe whose agent does, with policy dqn or a3c"
    )


def test_a_source_that_is_not_run_does_not_stop_the_others() -> None:
    check_parameters(load(busi={"pretrain": {"stepz": 3}}), [STUDIES["phantom"]], KNOWN)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"finetune": {"full": {"encoder_rat": 1}}},
            "^finetune.full.encoder_rat: .*_rate",
        ),
        ({"finetune": {"probe": {"strenghts": [1]}}}, "finetune.probe.strenghts: .*strengths"),
        (
            {"simclr_continued": {"objective": {"views": {"nonsense": 1}}}},
            "simclr_continued.objective.views.nonsense: there is no such option",
        ),
        (
            {"dqn": {"policy": {"epsilon": {"strat": 1}}}},
            "dqn.policy.epsilon.strat: .*did you mean 'start'",
        ),
        (
            {"dqn": {"policy": {"replay": {"capcity": 1}}}},
            "dqn.policy.replay.capcity: .*did you mean 'capacity'",
        ),
        (
            {"phantom": {"preprocess": {"geometry": {"aspekt": "keep"}}}},
            "phantom.preprocess.geometry.aspekt: .*did you mean 'aspect'",
        ),
        ({"finetune": {"full": {"clip": math.nan}}}, "^finetune.full.clip: is nan, but must"),
        (
            {"phantom": {"preprocess": {"channels": 2}}},
            "channels is 2, which is for two windows of one image",
        ),
        ({"on": 1}, "^on: there is no such parameter"),
    ],
)
def test_a_key_or_number_deep_in_a_block_is_refused_before_any_stage(
    changed: dict[str, Any], said: str
) -> None:
    assert re.search(said, refusal("phantom", **changed))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"random_box": {"encoder": {"name": "pixels"}}},
            r"^random_box\.encoder\.name: pixels has nothing to train",
        ),
        (
            {"simclr_continued": {"optimisation": {"accumulate": 32}}},
            r"^simclr_continued\.objective\.name: simclr tells .* sees 1 at a time",
        ),
        (
            {"random_box": {"encoder": {"norm": "batch", "stride": 32}, "optimisation": {}}},
            r"^random_box\.encoder: batch norm needs two or more values",
        ),
        (
            {"scratch": {"encoder": {"widths": [4096] * 8, "convolutions": [64] * 8}}},
            r"^scratch\.encoder: a network of [0-9,]+ parameters",
        ),
    ],
)
def test_a_recipe_that_could_not_learn_from_the_source_is_refused_before_any_stage(
    changed: dict[str, Any], said: str
) -> None:
    small = {"preprocess": {"height": 32, "width": 32}, "pretrain": {"batch_size": 1}}
    source = {} if "accumulate" in str(changed) else {"phantom": small}
    assert re.search(said, refusal("phantom", **source, **changed), re.MULTILINE)


def test_a_stride_that_outlines_cannot_be_drawn_at_is_refused_before_any_stage() -> None:
    small = {
        "preprocess": {"height": 60, "width": 60},
        "pretrain": {"grid": [12, 12]},
        "finetune": {"task": {"name": "lesion", "label": None, "class_weights": None}},
    }
    study = replace(STUDIES["phantom"], recipes=("scratch",))
    with pytest.raises(UserError, match=r"^scratch\.encoder\.stride: 8 does not .* 60 x 60"):
        check_parameters(load(phantom=small), [study], KNOWN)


@pytest.mark.parametrize("folder", ["a file", "a file/below"])
def test_checkpoints_that_cannot_be_saved_are_refused_before_training(
    tmp_path: Path, folder: str
) -> None:
    (tmp_path / "a file").touch()
    parameters = load(pretrain={"checkpoints": folder})
    with pytest.raises(
        UserError, match=r"pretrain\.checkpoints: 'a file.*nothing can be saved"
    ):
        check_writable(tmp_path, parameters, "phantom", {"pretrain"})
    check_writable(tmp_path, parameters, "phantom", {"finetune", "evaluate"})


def begun_with(project: Path, weights: str) -> None:
    """Check the weights of one replicate, of breast ultrasound."""
    encoder = {"name": "context_cnn", "weights": weights}
    parameters = load(pretrained_elsewhere={"encoder": encoder})
    check_weights(project, parameters, [Replicate("busi", "pretrained_elsewhere", 0)])


def test_weights_that_are_not_there_are_refused_before_any_stage(tmp_path: Path) -> None:
    absent = tmp_path / "gone.pth"
    with pytest.raises(UserError) as caught:
        begun_with(tmp_path, str(absent))
    assert str(caught.value) == (
        f"pretrained_elsewhere.encoder.weights: {absent}: no such file; save a state dict "
        "there, or name another file"
    )


def test_weights_of_another_network_are_refused_before_any_stage(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"conv1.weight": torch.zeros(2)}, path)
    with pytest.raises(UserError, match=r"0 of .* tensors fit; nothing was loaded"):
        begun_with(tmp_path, str(path))


def test_weights_that_the_run_itself_makes_may_be_absent_before_it(tmp_path: Path) -> None:
    below = tmp_path / "data/06_models/busi/checkpoints/dqn/s{seed}/step_000400.safetensors"
    begun_with(tmp_path, str(below))
    elsewhere = str(below).replace("busi", "lgg")
    with pytest.raises(UserError, match="no such file"):
        begun_with(tmp_path, elsewhere)


def test_a_grid_that_does_not_fit_the_image_is_refused_before_any_stage() -> None:
    message = refusal("phantom", phantom={"pretrain": {"grid": [15, 16]}})
    assert message.startswith("phantom.pretrain.grid: a grid of 15 x 16 cells does not divide")


def test_an_option_of_another_choice_is_said_to_be_merged_and_null_takes_it_away() -> None:
    crop: dict[str, Any] = {"preprocess": {"geometry": {"name": "crop"}}}
    message = refusal("busi", busi=crop)
    for part in (
        "there is no such option of 'crop'",
        "options are merged over those of conf/base",
        "write `aspect: null` beside `name`",
        "--params ….aspect=null",
    ):
        assert part in message
    crop["preprocess"]["geometry"] |= {"aspect": None}
    check_parameters(load(busi=crop), [STUDIES["busi"]], KNOWN)
    crop["preprocess"]["geometry"] |= {"aspct": None}
    assert "geometry.aspct: there is no such option; " in refusal("busi", busi=crop)


def test_boxes_that_hide_most_of_the_grid_are_refused_before_any_stage() -> None:
    message = refusal(
        "phantom",
        dqn={"policy": {"box": [12, 12]}},
        random_box={"policy": {"boxes": 9}},
    )
    assert "dqn.policy.box: 1 x 12 x 12 cells may hide more than half of the grid" in message
    assert "random_box.policy.box: 9 x 5 x 5 cells may hide more than half" in message


def test_an_encoder_that_does_not_suit_the_image_is_refused_before_any_stage() -> None:
    image = {"preprocess": {"height": 72, "width": 72}, "pretrain": {"grid": [12, 12]}}
    message = refusal("phantom", phantom=image, dqn={"encoder": {"stride": 16}})
    assert "dqn.encoder.stride: 16 does not divide an image of 72 x 72 pixels" in message


def test_a_decoder_that_finds_nothing_to_take_past_is_refused_before_any_stage() -> None:
    message = refusal("hippocampus", scratch={"encoder": {"name": "pixels"}})
    assert "scratch.encoder.name: its only features have the stride 8" in message
    assert "write network: {layout: lean} into the source's finetune.task" in message


def test_a_source_that_the_project_generates_refuses_a_raw_folder() -> None:
    assert "raw_root: the source 'phantom' is generated" in refusal("phantom", raw_root="x")


def test_a_raw_folder_in_a_file_of_conf_is_refused_for_it_does_nothing() -> None:
    with pytest.raises(
        UserError, match=r"raw_root: stands in a file of conf, where it has no effect"
    ):
        check_typed({"raw_root": "scans"}, {})
    check_typed({"raw_root": "scans"}, {"raw_root": "scans"})


def test_a_misspelt_global_setting_gets_the_close_match() -> None:
    with pytest.raises(UserError, match=r"objects_gigabyte: .* mean 'objects_gigabytes'\?"):
        check_globals(["data_root", "objects_gigabyte"])


def test_the_global_settings_are_those_of_the_file() -> None:
    text = (PROJECT / "conf/base/globals.yml").read_text(encoding="utf-8")
    check_globals(yaml.safe_load(text))


def test_a_source_that_writes_no_files_cannot_be_generated() -> None:
    generated = replace(STUDIES["breastmnist"], generated=True)
    with pytest.raises(
        UserError, match=r"breastmnist\.ingest\.name: 'medmnist' reads files.*from phantom here"
    ):
        check_parameters(load(), [generated], KNOWN)


def test_a_source_without_labels_pre_trains_and_is_refused_what_needs_them() -> None:
    parameters, study = load(), STUDIES["phantom"]
    parameters["phantom"]["preprocess"]["label"] = None
    del parameters["phantom"]["finetune"]
    check_parameters(parameters, [study], KNOWN)
    check_labels(parameters, study, {"ingest", "preprocess", "pretrain"})
    with pytest.raises(UserError, match=r"label: null.*`fractions: \[\]` under experiment"):
        check_labels(parameters, study, {"pretrain", "finetune"})


def test_a_source_that_stops_after_pre_training_needs_no_block_finetune() -> None:
    parameters, study = load(), replace(STUDIES["phantom"], fractions=())
    del parameters["phantom"]["finetune"]
    check_parameters(parameters, [study], KNOWN)
    check_task(parameters, study, ["image_id"])
    with pytest.raises(UserError, match="should hold a block `finetune`"):
        check_parameters(parameters, [STUDIES["phantom"]], KNOWN)


def test_a_block_finetune_that_is_not_used_may_name_a_label_that_no_image_has() -> None:
    parameters = load()
    check_task(parameters, replace(STUDIES["phantom"], fractions=()), ["image_id"])
    with pytest.raises(UserError, match="there is no label 'diagnosis'"):
        check_task(parameters, STUDIES["phantom"], ["image_id"])


@pytest.mark.parametrize(
    ("source", "changed", "said"),
    [
        (
            "busi",
            {"preprocess": {"modality": "mr"}},
            "busi.preprocess.modality: is 'mr', but busi.ingest.name is 'busi', whose scans "
            "are ultrasound; the two describe the same scans, so mend the one that is wrong",
        ),
        (
            "breastmnist",
            {"ingest": {"modality": "CT"}},
            "breastmnist.preprocess.modality: is 'ultrasound', but breastmnist.ingest.modality "
            "is 'CT'; the two describe the same scans, so mend the one that is wrong",
        ),
    ],
)
def test_two_modalities_that_contradict_each_other_are_refused_in_one_sentence(
    source: str, changed: dict[str, Any], said: str
) -> None:
    assert refusal(source, **{source: changed}) == said


@pytest.mark.parametrize(
    ("ingested", "prepared"),
    [("CT", "ct"), ("MRI", "mr"), ("US", "ultrasound"), ("unknown", "ct"), ("fundus", "other")],
)
def test_modalities_that_differ_in_spelling_or_that_nobody_knows_are_let_by(
    ingested: str, prepared: str
) -> None:
    changed = {"ingest": {"modality": ingested}, "preprocess": {"modality": prepared}}
    check_parameters(load(breastmnist=changed), [STUDIES["breastmnist"]], KNOWN)


class File(JsonDataset):
    """A file with a time of its own."""

    def __init__(self, path: Path, age: float | None) -> None:
        super().__init__(str(path))
        if age is not None:
            path.write_text("{}")
            os.utime(path, (1e9 - age, 1e9 - age))


@pytest.mark.parametrize(
    ("ages", "expected"),
    [
        ({"a": 9, "b": 9, "scores": 5, "report": 3}, set()),
        ({"a": 9, "b": None, "scores": 5, "report": 3}, {"scores", "report"}),
        ({"a": 9, "b": 4, "scores": 5, "report": 3}, {"scores", "report"}),
        ({"a": 9, "b": 9, "scores": 2, "report": 3}, {"report"}),
    ],
)
def test_what_joins_replicates_counts_as_missing_where_one_is_new(
    tmp_path: Path, ages: dict[str, float | None], expected: set[str]
) -> None:
    catalog = DataCatalog({name: File(tmp_path / name, age) for name, age in ages.items()})
    pipeline = Pipeline(
        [
            Node(lambda: 0, None, "a", name="one", tags="finetune"),
            Node(lambda: 0, None, "b", name="two", tags="finetune"),
            Node(lambda *_: 0, ["a", "b"], "joined", name="join", tags=["evaluate", "report"]),
            Node(lambda _: 0, "joined", "scores", name="evaluate", tags="evaluate"),
            Node(lambda *_: 0, ["joined", "scores"], "report", name="report", tags="report"),
        ]
    )
    before = {name for name, age in ages.items() if not catalog.exists(name)}
    mark_outdated(pipeline, catalog)
    missing = {name for name in ages if not catalog.exists(name)}
    assert missing - before == expected


@pytest.mark.filterwarnings("ignore:.*dataset names contain")
@pytest.mark.parametrize(("recipes", "lines"), [(2, 2), (9, 1)])
def test_encoders_that_a_run_ends_with_are_named_or_if_many_their_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, recipes: int, lines: int
) -> None:
    names = [f"mine.r{i}.s0.encoder" for i in range(recipes)]
    paths = {name: tmp_path / name.split(".")[1] / "s0/encoder.safetensors" for name in names}
    catalog = DataCatalog({name: JsonDataset(str(path)) for name, path in paths.items()})
    nodes = [Node(lambda: 0, None, name, name=name, tags="pretrain") for name in names]
    with caplog.at_level("INFO"):
        MaskwiseHooks().after_pipeline_run(Pipeline(nodes), catalog)
    assert len(caplog.messages) == lines
    if lines == 1:
        assert caplog.messages[0].startswith(
            f"The encoders of 9 replicates are in {tmp_path}, "
        )
    else:
        assert (
            caplog.messages[0] == f"The encoder of recipe r0, seed 0, is in {paths[names[0]]}"
        )


@pytest.mark.filterwarnings("ignore:.*dataset names contain")
def test_an_encoder_that_is_fine_tuned_in_the_same_run_is_not_what_the_run_ends_with(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = "mine.dqn.s0.encoder"
    pretrain = Node(lambda: 0, None, name, tags="pretrain")
    finetune = Node(lambda _: 0, name, "mine.dqn.s0.models", tags="finetune")
    with caplog.at_level("INFO"):
        MaskwiseHooks().after_pipeline_run(Pipeline([pretrain, finetune]), DataCatalog({}))
    assert caplog.messages == []


@pytest.mark.filterwarnings("ignore:.*dataset names contain")
@pytest.mark.parametrize("artefact", ["manifest", "store"])
def test_a_task_whose_label_no_image_has_is_refused_before_the_images_are_worked_on(
    artefact: str,
) -> None:
    table = pd.DataFrame({"image_id": ["a"], "label_diagnosis": ["benign"]})
    read = {"manifest": table, "store": SimpleNamespace(index=table)}[artefact]
    name = f"phantom.{artefact}"
    task = {"name": "diagnosis", "label": "diagnosys"}
    parameters = load(phantom={"finetune": {"task": task}})
    data: dict[str, Any] = {
        name: MemoryDataset(read),
        "parameters": MemoryDataset(parameters),
    }
    manager = _create_hook_manager()
    manager.register(MaskwiseHooks())
    worked: list[str] = []
    node = Node(worked.append, name, None, tags="preprocess")
    with pytest.raises(UserError) as caught:
        SequentialRunner().run(Pipeline([node]), DataCatalog(data), hook_manager=manager)
    assert str(caught.value) == (
        "phantom.finetune.task.label: there is no label 'diagnosys'; did you mean 'diagnosis'?"
    )
    assert worked == []


def test_a_list_that_is_none_is_called_a_list() -> None:
    assert "finetune.modes: should be a list" in refusal("phantom", finetune={"modes": "probe"})


def test_a_recipe_without_a_file_is_named_with_its_file() -> None:
    parameters = {key: value for key, value in load().items() if key != "dqn"}
    with pytest.raises(
        UserError, match=r"recipes/parameters_dqn\.yml: should hold a block `dqn`"
    ):
        check_parameters(parameters, [STUDIES["phantom"]], KNOWN)


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (
            {"source": "brestmnist"},
            "conf/base/sources/parameters_brestmnist.yml: should hold a block `brestmnist`, "
            "but there is none; did you mean 'breastmnist'?",
        ),
        (
            {"recipes": ("scratch", "dqnn")},
            "conf/base/recipes/parameters_dqnn.yml: should hold a block `dqnn`, but there is "
            "none; did you mean 'dqn'?",
        ),
    ],
)
def test_a_name_misspelt_in_the_experiment_gets_the_close_match(
    named: dict[str, Any], said: str
) -> None:
    study = replace(STUDIES["breastmnist"], **named)
    with pytest.raises(UserError) as caught:
        check_parameters(load(), [study], KNOWN)
    assert str(caught.value) == said


def test_a_missing_input_says_which_command_makes_it(tmp_path: Path) -> None:
    whole = register_pipelines()["phantom"]
    catalog = DataCatalog(
        {name: JsonDataset(str(tmp_path / name)) for name in whole.datasets()}
    )
    chosen = whole.filter(tags=["finetune"], node_namespaces=["dqn.s0"])
    with pytest.raises(UserError) as caught:
        check_inputs(chosen, whole, catalog, "phantom")
    assert "phantom.dqn.s0.encoder: not made yet" in str(caught.value)
    assert "--tags pretrain --namespaces dqn.s0" in str(caught.value)
    assert "kedro run --pipelines phantom --tags preprocess" in str(caught.value)
    with pytest.raises(UserError, match="kedro run --env test --pipelines phantom --tags pre"):
        check_inputs(chosen, whole, catalog, "phantom", "test")


def test_absent_raw_files_say_where_to_put_them(tmp_path: Path) -> None:
    whole = register_pipelines()["busi"]
    catalog = DataCatalog({"busi.raw": RawFolder(str(tmp_path / "raw"))})
    with pytest.raises(UserError, match=r"raw: absent or empty.*docs/sources\.md.*raw_root="):
        check_inputs(whole.filter(tags=["ingest"]), whole, catalog, "busi")


def test_what_is_never_on_disk_is_not_looked_for_there() -> None:
    whole = register_pipelines()["phantom"]
    chosen = whole.filter(node_names=["evaluate"])
    catalog = DataCatalog({name: MemoryDataset() for name in chosen.datasets()})
    with pytest.raises(UserError, match="never on disk; run its stage as a whole"):
        check_inputs(chosen, whole, catalog, "phantom")


def test_a_user_error_is_one_message_with_exit_code_1_on_the_command_line() -> None:
    wrapped = DatasetError("Failed while saving data")
    wrapped.__cause__ = UserError("the disk is full")
    command_line = click.Context(click.Command("run"))
    with command_line, pytest.raises(click.ClickException) as caught, telling():
        raise wrapped
    assert caught.value.message == "the disk is full"
    assert caught.value.exit_code == 1


def test_a_parameter_file_that_is_no_yaml_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base/parameters_ingest.yml").write_text("ingest:\n  a: 1\n  b: [2\nc: 3\n")
    loader = OmegaConfigLoader(
        str(tmp_path), base_env="base", default_run_env="base", config_patterns=None
    )
    with (
        pytest.raises(
            UserError, match=r"parameters_ingest\.yml, line 4: is not YAML \(expected"
        ),
        telling(),
    ):
        loader["parameters"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "a: 1\nb: Größe\n".encode("latin-1"),
            r"x\.yml, line 2: is not UTF-8: .*'ö' in Latin-1",
        ),
        ("a: 1\n".encode("utf-16"), r"x\.yml: is UTF-16 .*save it again in UTF-8"),
        (b"a: 1\nb:\n\tc: 2\n", r"x\.yml, line 3: is not YAML"),
        (
            b"a:\n  b: 1\n  c: 2\n  b: 3\n",
            r"x\.yml, line 4: is not YAML \('b' stands in line 2",
        ),
        (b"a: *b\n", r"x\.yml, line 1: is not YAML \(found undefined alias"),
        (b"a: \x00\n", r"x\.yml.*: is not YAML"),
        (b"- a\n", r"x\.yml: should hold lines `name: value`, but is \['a'\]"),
    ],
)
def test_a_file_of_conf_that_is_no_yaml_is_named_with_line_and_encoding(
    tmp_path: Path, content: bytes, said: str
) -> None:
    (tmp_path / "local/sources").mkdir(parents=True)
    (tmp_path / "local/sources/x.yml").write_bytes(content)
    with pytest.raises(UserError, match=said):
        check_files(tmp_path, ["base", "local"])


def test_an_empty_file_of_conf_and_a_byte_order_mark_are_fine(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base/a.yml").write_text("# nothing\n")
    (tmp_path / "base/b.yml").write_text("\ufeffa: Größe\n", encoding="utf-8")
    check_files(tmp_path, ["base", "local"])
    check_files(PROJECT / "conf", ["base", "test"])


def test_a_key_that_two_files_set_is_told_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    for name in ("parameters_a.yml", "parameters_b.yml"):
        (tmp_path / "base" / name).write_text("ingest: {workers: 1}\n")
    loader = OmegaConfigLoader(str(tmp_path), base_env="base", default_run_env="base")
    with (
        pytest.raises(UserError, match=r"Duplicate keys .*ingest\.workers; keep one of them"),
        telling(),
    ):
        loader["parameters"]


def test_a_user_error_stays_one_in_a_notebook() -> None:
    with pytest.raises(UserError, match="the disk is full"), telling():
        raise UserError("the disk is full")


def test_any_other_error_keeps_its_traceback() -> None:
    with click.Context(click.Command("run")), pytest.raises(ZeroDivisionError), telling():
        _ = 1 / 0


@pytest.mark.parametrize(
    ("interrupt", "said"),
    [
        (KeyboardInterrupt(), "Interrupted; run the same command again."),
        (KeyboardInterrupt("stopped after step 3"), "stopped after step 3"),
    ],
)
def test_ctrl_c_ends_with_130_on_the_command_line_and_says_what_to_do(
    caplog: pytest.LogCaptureFixture, interrupt: KeyboardInterrupt, said: str
) -> None:
    with click.Context(click.Command("run")), pytest.raises(SystemExit) as caught, telling():
        raise interrupt
    assert caught.value.code == 130
    assert caplog.messages == [said]


def test_the_checkpoints_of_another_environment_lie_with_its_data() -> None:
    folders = {
        environment: load(environment)["pretrain"]["checkpoints"]
        for environment in ("base", "test")
    }
    assert folders == {"base": "data/06_models", "test": "data/test/06_models"}


def test_facts_of_a_run_hold_what_the_stage_noted_and_its_memory() -> None:
    watch = Watch()
    note(images_per_second=412.0)
    facts = watch.stop()
    assert facts["images_per_second"] == 412.0
    assert facts["peak_anonymous_memory_mb"] > 0
    assert facts["seconds"] >= 0


def test_the_peak_of_memory_counts_what_was_freed_again() -> None:
    with AnonymousMemory() as small:
        pass
    with AnonymousMemory() as large:
        # Larger than what the tests before may have left to be freed in the meantime.
        block = np.ones(2**29, np.uint8)
        deadline = time.monotonic() + 30
        while large.peak < small.peak + 2**27 and time.monotonic() < deadline:
            block[: 2**20] += 1
        del block
    assert large.peak > small.peak + 2**27


def test_a_second_run_of_a_node_at_work_leaves_with_a_message(tmp_path: Path) -> None:
    output = tmp_path / "s0" / "subsets.parquet"
    with (
        alone(output, "finetune@phantom-dqn-0"),
        pytest.raises(UserError, match=r"finetune@phantom-dqn-0: another run of it is at work"),
        alone(output, "finetune@phantom-dqn-0"),
    ):
        pass
    with alone(output, "finetune@phantom-dqn-0"):
        pass  # the first has ended


@pytest.mark.parametrize("second_run", ["leave", "wait"])
@pytest.mark.parametrize(
    "replicate", ["checkpoints/dqn/s0", "tune/dqn/study_phantom.dqn/trial_4/s0"]
)
def test_images_that_another_run_is_training_on_are_not_made_anew(
    tmp_path: Path, second_run: str, replicate: str
) -> None:
    parameters = load()
    parameters["pretrain"] |= {"checkpoints": "models", "second_run": second_run}
    lock = tmp_path / "models/phantom" / replicate / "lock"
    lock.parent.mkdir(parents=True)
    with FileLock(lock):
        name = r"phantom: another run is training (dqn|trial_4)\.s0 on"
        with pytest.raises(UserError, match=name):
            check_idle(tmp_path, parameters, "phantom", {"ingest", "report"})
        check_idle(tmp_path, parameters, "phantom", {"pretrain", "report"})
        check_idle(tmp_path, parameters, "busi", {"ingest"})
    check_idle(tmp_path, parameters, "phantom", {"ingest"})


def test_run_json_keeps_what_another_node_wrote_into_the_folder(tmp_path: Path) -> None:
    write_facts(tmp_path, "evaluate@phantom", {"seconds": 1})
    write_facts(tmp_path, "report@phantom", {"seconds": 2})
    facts = json.loads((tmp_path / "run.json").read_text())
    assert set(facts) == {"evaluate@phantom", "report@phantom"}


def test_the_machine_is_described_with_commit_host_and_versions() -> None:
    machine = describe_machine(PROJECT)
    assert machine["versions"]["torch"].startswith("2.13.0")
    assert {"commit", "host", "platform", "python"} <= set(machine)
