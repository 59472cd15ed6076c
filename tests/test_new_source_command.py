"""`kedro new-source`: a folder becomes a source, and what is not known is said."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from maskwise.replicates import EXPERIMENT
from project import Project, copy_project
from sources import image_folder

FILE = Path("conf/base/sources/parameters_mine.yml")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    root = tmp_path_factory.mktemp("new source")
    image_folder.write(root / "scans, all")
    return copy_project(root / "project", ["phantom"], ["scratch", "random_box"])


def test_a_folder_becomes_a_source_that_a_run_takes_at_once(project: Project) -> None:
    before = (project.root / EXPERIMENT).read_text("utf-8")
    project.edit("conf/base/experiment.yml", experiment__recipes=["scratch", "random_box"])
    scans = str(project.root.parent / "scans, all")
    command = ("kedro", "new-source", "mine", "--from", scans, "--modality", "ultrasound")

    dry = project.run(*command, "--dry")
    assert "mine:\n  ingest:" in dry
    assert "Nothing was written" in dry
    assert not (project.root / FILE).exists()

    said = project.run(*command)
    text = (project.root / FILE).read_text("utf-8")
    assert text in dry
    assert "\n  line " in said
    for line, key in re.findall(r"line (\d+), \w+\.(\w+):", said):
        assert text.splitlines()[int(line) - 1].strip().startswith(f"{key}:")
    assert yaml.safe_load((project.root / EXPERIMENT).read_text("utf-8"))["experiment"][
        "sources"
    ].keys() - yaml.safe_load(before)["experiment"]["sources"].keys() == {"mine"}

    (offered,) = re.findall(r"kedro run --pipelines mine --tags ingest,preprocess (.*)", said)
    assert "raw_root=" in offered
    project.run(
        "kedro", *shlex.split(f"run --pipelines mine --tags ingest,preprocess {offered}")
    )
    assert (project.root / "data/03_primary/mine/store").is_dir()

    again = project.run(*command, fails=True)
    assert "there is a source 'mine' already" in again
    assert (project.root / FILE).read_text("utf-8") == text


@pytest.mark.parametrize(
    ("name", "where", "sentence"),
    [
        ("Mine", "", "hold only a-z, 0-9 and '_'"),
        ("pretrain", "", "is the name of a stage"),
        ("scratch", "", "is the name of a recipe"),
        ("phantom", "", "there is a source 'phantom' already"),
        ("other", "scan", "did you mean 'scans, all'?"),
    ],
)
def test_what_a_person_mistypes_gets_one_sentence_and_writes_nothing(
    name: str, where: str, sentence: str, project: Project
) -> None:
    origin = str(project.root.parent / (where or "scans, all"))
    before = sorted((project.root / "conf/base/sources").iterdir())
    said = project.run("kedro", "new-source", name, "--from", origin, fails=True)
    assert sentence in said
    assert "Traceback" not in said
    assert len([line for line in said.splitlines() if line.startswith("Error")]) == 1
    assert sorted((project.root / "conf/base/sources").iterdir()) == before
