"""`kedro new-source`: a folder becomes a source, and what is not known is said."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from maskwise.artefacts.atomic import alone_in
from maskwise.errors import UserError
from maskwise.experiment import EXPERIMENT
from maskwise.fingerprint.experiment import with_source
from maskwise.new_source_command import WAITS, check_name, raw_option
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


def test_of_two_commands_at_once_each_adds_its_source_and_lines_end_as_they_did(
    project: Project,
) -> None:
    file = project.root / EXPERIMENT
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    before = yaml.safe_load(file.read_text("utf-8"))["experiment"]["sources"]
    phantom = (project.root / FILE).with_name("parameters_phantom.yml").read_text("utf-8")
    scans = str(project.root.parent / "scans, all")
    with alone_in(file.parent):
        first = project.start(
            "kedro", "new-source", "first", "--from", scans, "--modality", "ultrasound"
        )
        said = next((line for line in iter(first.line, "") if WAITS in line), "")
        # What another command does meanwhile.
        second = re.sub("(?m)^phantom:", "second:", phantom)
        (project.root / FILE).with_name("parameters_second.yml").write_text(second, "utf-8")
        file.write_bytes(with_source(file.read_bytes().decode(), "second", {}, "").encode())
    _, log = first.communicate(timeout=120)
    assert first.returncode == 0, log
    assert said
    after = yaml.safe_load(file.read_text("utf-8"))["experiment"]["sources"]
    assert after.keys() - before.keys() == {"first", "second"}
    assert file.read_bytes().count(b"\n") == file.read_bytes().count(b"\r\n") > 10


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Mine", "hold only a-z, 0-9 and '_'"),
        ("pretrain", "is the name of a stage"),
        ("scratch", "is the name of a recipe"),
        ("phantom", "there is a source 'phantom' already"),
    ],
)
def test_a_source_is_not_called_like_anything_else(
    name: str, sentence: str, project: Project
) -> None:
    with pytest.raises(UserError, match=sentence):
        check_name(name, project.root)


def test_a_misspelt_path_is_one_sentence_and_writes_nothing(project: Project) -> None:
    before = sorted((project.root / "conf/base/sources").iterdir())
    origin = str(project.root.parent / "scans, al")
    said = project.run("kedro", "new-source", "other", "--from", origin, fails=True)
    assert len(said.strip().splitlines()) == 1
    assert "did you mean 'scans, all'?" in said
    assert sorted((project.root / "conf/base/sources").iterdir()) == before


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("scans", " --params raw_root={}/scans"),
        ("a b", " --params 'raw_root={}/a b'"),
        ("a, b", " --params 'raw_root=\"{}/a, b\"'"),
    ],
)
def test_the_offered_command_names_the_folder_as_a_shell_takes_it(
    name: str, option: str, tmp_path: Path
) -> None:
    assert raw_option(tmp_path / name, "mine", tmp_path / "p") == option.format(tmp_path)
    inside = tmp_path / "p/data/01_raw/mine"
    assert raw_option(inside, "mine", tmp_path / "p") == ""
