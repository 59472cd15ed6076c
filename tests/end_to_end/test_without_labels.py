"""A source without labels is a whole use: encoders, a page, notebooks, and labels elsewhere."""

import os
import re
from typing import Any

import pytest
import yaml

import maskwise
from notebooks import run_notebooks
from project import PROJECT, Finished, copy_project
from sources.drawing import save, scan

pytestmark = pytest.mark.xdist_group("without labels")

BUDGET: dict[str, Any] = {"grid": [8, 8], "steps": 12, "batch_size": 8}
IMAGES: dict[str, Any] = {"height": 32, "width": 32, "modality": "ultrasound"}
SOURCES: dict[str, dict[str, Any]] = {
    "many": {
        "ingest": {"name": "image_folder", "layout": "flat", "modality": "ultrasound"},
        "preprocess": {**IMAGES, "label": None},
        "pretrain": BUDGET,
    },
    "few": {
        "ingest": {"name": "image_folder", "layout": "classes", "modality": "ultrasound"},
        "preprocess": {**IMAGES, "label": "diagnosis", "test_share": 0.3},
        "pretrain": BUDGET,
        "finetune": {
            "task": {"name": "diagnosis", "label": "diagnosis"},
            "steps": 2,
            "batch_size": 8,
        },
    },
}
"""Scans without labels and masks, and fewer with labels."""


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Return a project after `kedro run --pipelines many`."""
    recipes = ("scratch", "dqn", "pretrained_elsewhere")
    project = copy_project(
        tmp_path_factory.mktemp("without") / "project", ("phantom",), recipes
    )
    raw = project.root / "data/01_raw"
    for number in range(24):
        save(scan(number), raw / f"many/{number}.png")
    for number in range(40):
        save(scan(100 + number), raw / f"few/{'ab'[number % 2]}/{number}.png")
    for name, blocks in SOURCES.items():
        path = project.root / f"conf/base/sources/parameters_{name}.yml"
        path.write_text(yaml.safe_dump({name: blocks}), encoding="utf-8")
    project.edit(
        "conf/base/experiment.yml",
        experiment__sources__many={"recipes": ["scratch", "dqn"], "fractions": []},
        experiment__sources__few={
            "recipes": ["scratch", "pretrained_elsewhere"],
            "fractions": [1.0],
        },
    )
    project.edit(
        "conf/base/recipes/parameters_pretrained_elsewhere.yml",
        pretrained_elsewhere__encoder={
            "name": "context_cnn",
            # Of the one seed that was run, for every seed here.
            "weights": "data/06_models/many/encoders/dqn/s0/encoder.safetensors",
        },
    )
    project.edit("conf/base/parameters_evaluate.yml", evaluate__draws=199)
    return Finished(project, project.run("kedro", "run", "--pipelines", "many"))


@pytest.fixture(scope="module")
def tuned(pretrained: Finished) -> Finished:
    """Return the project after `kedro run --pipelines few`, which begins with its encoder."""
    log = pretrained.project.run("kedro", "run", "--pipelines", "few")
    return Finished(pretrained.project, log)


def html(found: Finished, source: str) -> str:
    return (found.data / f"08_reporting/{source}/report.html").read_text(encoding="utf-8")


def test_a_run_without_labels_ends_with_its_report_and_where_its_encoders_lie(
    pretrained: Finished,
) -> None:
    *_, report, dqn, scratch = pretrained.log.strip().splitlines()
    assert report.endswith(f"The report is in {pretrained.data}/08_reporting/many/report.html")
    for line, recipe in ((dqn, "dqn"), (scratch, "scratch")):
        told = re.search(rf"The encoder of recipe {recipe}, seed 0, is in (.+)$", line)
        assert told
        assert maskwise.load_encoder(told[1]).metadata.recipe == recipe


def test_nothing_is_fine_tuned_or_scored_without_labels(pretrained: Finished) -> None:
    assert not (pretrained.data / "06_models/many/models").exists()
    assert not (pretrained.data / "07_model_output/many/predictions").exists()
    assert not (pretrained.data / "08_reporting/many/scores.json").exists()
    assert (pretrained.data / "08_reporting/many/plots/training.csv").is_file()


def test_its_page_says_what_was_trained_and_where_the_encoders_are(
    pretrained: Finished,
) -> None:
    page = html(pretrained, "many")
    assert re.search(
        r"Intelligent Masking was pre-trained on 2\d images of 2\d groups for 12 steps", page
    )
    assert "data/06_models/many/encoders/dqn/s0/encoder.safetensors" in page
    assert str(pretrained.project.root) not in page


@pytest.mark.parametrize("stage", ["finetune", "evaluate"])
def test_a_stage_that_needs_labels_is_refused_with_the_reason(
    pretrained: Finished, stage: str
) -> None:
    command = ["kedro", "run", "--pipelines", "many", "--tags", stage]
    said = pretrained.project.run(*command, fails=True)
    assert f"--tags: {stage} needs labels, and this source stops after pre-training" in said


@pytest.mark.filterwarnings("ignore:.*IPC transport.*")
def test_the_notebooks_run_without_labels_and_masks(pretrained: Finished) -> None:
    paths = [
        PROJECT / f"notebooks/{name}.ipynb"
        for name in ("01_look_at_the_data", "02_what_the_agent_learnt")
    ]
    for shown in run_notebooks(paths, pretrained.project.root, source="many").values():
        assert shown
        assert not [output for output in shown if output.get("name") == "stderr"]


def test_the_encoder_of_one_source_is_fine_tuned_on_another(tuned: Finished) -> None:
    folder = tuned.data / "07_model_output/few/predictions/pretrained_elsewhere/s0"
    assert (folder / "predictions.parquet").is_file()
    assert "pre-trained on source many; where that holds images of few" in tuned.log


def test_the_page_says_where_such_an_encoder_comes_from(tuned: Finished) -> None:
    page = html(tuned, "few")
    file = "data/06_models/many/encoders/dqn/s0/encoder.safetensors"
    assert (
        "Nothing was pre-trained here for pre-trained elsewhere: its encoder begins with the "
        f"weights in <code>{file}</code>." in page
    )
    assert "Weights from elsewhere" in page


def test_a_run_that_ends_with_pre_training_says_where_its_encoder_lies(
    pretrained: Finished,
) -> None:
    command = ["kedro", "run", "--pipelines", "few", "--to-nodes", "scratch.s0.pretrain"]
    last = pretrained.project.run(*command).strip().splitlines()[-1]
    path = pretrained.data / "06_models/few/encoders/scratch/s0/encoder.safetensors"
    assert last.endswith(f"The encoder of recipe scratch, seed 0, is in {path}")


def test_a_new_seed_alone_is_trained_and_the_page_made_again(tuned: Finished) -> None:
    project = tuned.project
    models = tuned.data / "06_models/few/models/scratch"
    report = tuned.data / "08_reporting/few/report.html"
    command = ["kedro", "run", "--pipelines", "few", "--only-missing-outputs"]
    for path in (tuned.data / "08_reporting/few").iterdir():  # made after all that they show
        os.utime(path)
    for path in (tuned.data / "08_reporting/few/plots").iterdir():
        os.utime(path)
    idle = project.run(*command).strip().splitlines()[-1]
    assert f"The report of an earlier run is in {report}; nothing that it is made of" in idle
    before, kept = report.read_bytes(), (models / "s0").stat().st_mtime_ns

    project.edit("conf/base/experiment.yml", experiment__sources__few__seeds=[0, 1])
    last = project.run(*command).strip().splitlines()[-1]

    assert last.endswith(f"The report is in {report}")
    assert report.read_bytes() != before
    assert "with 2 seeds" in html(tuned, "few")
    assert (models / "s1").is_dir()
    assert (models / "s0").stat().st_mtime_ns == kept
