"""Scans with several findings each, from a table of them to predictions, as users meet it."""

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd
import pytest
import yaml

from maskwise import load_model
from maskwise.artefacts.manifest import read_manifest
from maskwise.artefacts.tables import read_csv
from project import Finished, Project, copy_project
from sources import findings

pytestmark = pytest.mark.xdist_group("findings")

MODEL = "data/06_models/findings/models/scratch/s0/best.safetensors"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Return a project after `kedro run --pipelines findings`; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("findings")
    project = copy_project(folder / "project", ("phantom",), ("scratch", "random_box"))
    findings.write(project.root / "data/01_raw/findings", patients=120)
    write(project, findings.SOURCE)
    project.edit(
        "conf/base/experiment.yml",
        experiment__sources__findings={
            "recipes": ["scratch", "random_box"],
            "fractions": [1.0, 0.5],
        },
    )
    modes = ["probe", "full", "knn"]
    project.edit("conf/base/parameters_finetune.yml", finetune__modes=modes)
    return Finished(project, project.run("kedro", "run", "--pipelines", "findings"))


def write(project: Project, blocks: Mapping[str, Any]) -> None:
    path = project.root / "conf/base/sources/parameters_findings.yml"
    path.write_text(yaml.safe_dump({"findings": dict(blocks)}), encoding="utf-8")


def predictions(found: Finished) -> pd.DataFrame:
    folder = found.data / "07_model_output/findings/predictions/random_box/s0"
    return pd.read_parquet(folder / "predictions.parquet")


def test_a_run_ends_with_a_page_and_shows_neither_a_traceback_nor_a_warning_of_python(
    found: Finished,
) -> None:
    assert found.log.strip().splitlines()[-1].endswith("08_reporting/findings/report.html")
    assert "Traceback" not in found.log
    assert "Warning:" not in found.log


def test_every_patient_with_a_rating_is_on_one_side_of_the_split(found: Finished) -> None:
    splits = pd.read_parquet(found.data / "05_model_input/findings/splits.parquet")
    assert splits.groupby("group")["split"].nunique().max() == 1
    manifest = read_manifest(found.data / "02_intermediate/findings/manifest.parquet")
    rated = manifest.merge(splits[["image_id", "split"]], on="image_id", suffixes=("_", ""))
    shows = rated["label_findings"].fillna("").str.split("|")
    for name in findings.FINDINGS:
        parts = rated.loc[shows.map(lambda each, name=name: name in each), "split"]
        assert set(parts) == {"train", "validation", "test"}


def test_predictions_of_all_modes_are_of_rated_scans_alone(found: Finished) -> None:
    table = predictions(found)
    assert set(table["mode"]) == {"probe", "full", "knn"}
    manifest = read_manifest(found.data / "02_intermediate/findings/manifest.parquet")
    unrated = manifest.loc[manifest["label_findings"].isna(), "image_id"]
    assert len(unrated)
    assert not set(unrated) & set(table["image_id"])
    assert "none of them" in set(table["truth"])


def test_scores_and_page_speak_of_each_finding(found: Finished) -> None:
    scores = json.loads((found.data / "08_reporting/findings/scores.json").read_text())
    assert scores["task"] == "multilabel"
    assert set(scores["scored"]) == set(findings.FINDINGS)
    figures = scores["scores"]["scratch"]["knn"]["1.0"]
    assert {f"auroc_{name}" for name in findings.FINDINGS} <= set(figures)
    page = (found.data / "08_reporting/findings/report.html").read_text(encoding="utf-8")
    for words in ("Label by label", "nearest-neighbour probe", *findings.FINDINGS):
        assert words in page


def test_the_model_tells_the_findings_of_new_scans(found: Finished) -> None:
    root = found.project.root
    options = f"predict.model={MODEL},predict.scans=data/01_raw/findings/images"
    found.project.run("kedro", "run", "--pipelines", "predict", "--params", options)
    table = read_csv(root / "data/07_model_output/predict/predictions.csv")
    metadata = load_model(root / MODEL).metadata
    for name, threshold in zip(metadata.classes, metadata.thresholds, strict=True):
        called = (table[f"p_{name}"] >= threshold).astype(float)
        assert (table[f"called_{name}"] == called).all()
        assert (
            (table["prediction"].str.split(" + ", regex=False).map(set) >= {name})
            .eq(called == 1)
            .all()
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "findings.preprocess.separator=;",
            "preprocess.separator: is ';', but findings.finetune.task.separator is '|'",
        ),
        (
            "findings.finetune.task.name=multilable",
            "findings.finetune.task.name: there is no 'multilable'; did you mean 'multilabel'?",
        ),
        (
            "findings.finetune.task.label=finding",
            "did you mean 'findings'?",
        ),
    ],
)
def test_a_mistake_gets_one_sentence_before_anything_is_trained(
    found: Finished, options: str, message: str
) -> None:
    said = found.project.run(
        "kedro", "run", "--pipelines", "findings", "--params", options, fails=True
    )
    assert message in said
    assert "Traceback" not in said
    assert "pretrain@" not in said


def test_an_unknown_term_is_refused_before_anything_is_trained(found: Finished) -> None:
    local = found.project.root / "conf/local/parameters.yml"
    task = {"labels": ["spiculated", "large", "shadow", "darc"]}
    local.write_text(yaml.safe_dump({"findings": {"finetune": {"task": task}}}))
    try:
        said = found.project.run("kedro", "run", "--pipelines", "findings", fails=True)
    finally:
        local.unlink()
    assert "say 'dark', which is none of them; did you mean 'darc'?" in said
    assert "Traceback" not in said
    assert "pretrain@" not in said
