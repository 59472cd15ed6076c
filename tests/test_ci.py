"""What runs elsewhere: the workflow, its twin for GitLab, and the choice of a Python."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from project import PROJECT

WORKFLOW = PROJECT / ".github/workflows/ci.yml"


def gitlab_twin() -> str:
    page = (PROJECT / "docs/how-to.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml\n(.+?)^```", page, re.MULTILINE | re.DOTALL)
    (twin,) = (block for block in blocks if block.startswith("# .gitlab-ci.yml"))
    return str(twin)


def workflow_steps() -> list[dict[str, Any]]:
    jobs = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ("vendor.github-workflows", WORKFLOW.read_text(encoding="utf-8")),
        ("custom.github-workflows-require-timeout", WORKFLOW.read_text(encoding="utf-8")),
        ("vendor.gitlab-ci", gitlab_twin()),
    ],
)
def test_the_published_schemas_know_every_key(schema: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "ci.yml"
    path.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_workflow_may_read_and_nothing_else() -> None:
    workflow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    assert not [name for name, job in workflow["jobs"].items() if "permissions" in job]
    checkouts = [
        s for s in workflow_steps() if s.get("uses", "").startswith("actions/checkout")
    ]
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_every_action_is_named_by_its_release() -> None:
    actions = [step["uses"] for step in workflow_steps() if "uses" in step]
    assert actions
    assert [name for name in actions if not re.fullmatch(r"[\w/-]+@v\d+\.\d+\.\d+", name)] == []


def test_no_command_holds_text_that_a_stranger_could_write() -> None:
    # GitHub puts an expression into the script before the shell reads it.
    assert [step["run"] for step in workflow_steps() if "${{" in step.get("run", "")] == []


def test_both_run_the_same_scripts() -> None:
    commands = "\n".join(step.get("run", "") for step in workflow_steps())
    for script in (
        ".ci/run",
        ".ci/versions.py",
        ".ci/reproduce",
        "maskwise.lineage site",
        "make PYTHON=python3.11 coverage",
    ):
        assert script in commands
        assert script in gitlab_twin()


def interpreters(folder: Path, **scripts: str) -> str:
    """Write commands into ``folder`` and return a PATH on which make finds no other Python."""
    folder.mkdir()
    for name in ("make", "sh", "test", "touch"):
        (folder / name).symlink_to(shutil.which(name) or name)
    for name, script in scripts.items():
        path = folder / f"python3.{name.removeprefix('minor_')}"
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)
    return str(folder)


def make(folder: Path, path: str, *arguments: str) -> str:
    """Return what `make` says that it would do for a new environment."""
    for name in ("pyproject.toml", "constraints.txt"):
        (folder / name).touch()
    command = ["make", "-n", "-f", str(PROJECT / "Makefile"), *arguments, ".venv/.installed"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHON"}
    done = subprocess.run(
        command,
        cwd=folder,
        env={**environment, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_make_takes_the_newest_python_that_really_runs(tmp_path: Path) -> None:
    refuses = "echo 'pyenv: command not found' >&2; exit 127"
    path = interpreters(
        tmp_path / "bin", minor_13=refuses, minor_12="exit 0", minor_11="exit 0"
    )
    assert "python3.12 -m venv .venv" in make(tmp_path, path)


def test_make_takes_the_python_that_it_is_told_to(tmp_path: Path) -> None:
    path = interpreters(tmp_path / "bin", minor_13="exit 0", minor_11="exit 0")
    assert "python3.11 -m venv .venv" in make(tmp_path, path, "PYTHON=python3.11")


def test_make_names_what_it_needs_where_there_is_no_such_python(tmp_path: Path) -> None:
    path = interpreters(tmp_path / "bin")
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "constraints.txt").touch()
    command = ["make", "-f", str(PROJECT / "Makefile"), ".venv/.installed"]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "Needed: CPython 3.11, 3.12 or 3.13" in done.stderr


def test_a_version_that_the_machine_lacks_is_said_not_to_have_been_tried() -> None:
    command = [sys.executable, str(PROJECT / ".ci/versions.py"), "3.99"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "3.99: this machine has no such CPython: NOT tried\n"


@pytest.mark.parametrize(
    ("planned", "expected"),
    [(["torch", "sympy"], False), (["torch", "nvidia-cudnn-cu13", "sympy"], True)],
)
def test_a_torch_that_brings_cuda_is_told_from_one_that_does_not(
    planned: list[str], expected: bool, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"install": [{"metadata": {"name": n}} for n in planned]}))
    versions = runpy.run_path(str(PROJECT / ".ci/versions.py"))
    assert versions["brings_cuda"](report) is expected


def test_the_versions_that_ci_tries_are_those_that_may_install() -> None:
    classifiers = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'requires-python = ">=3.11,<3.14"' in classifiers
    jobs = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]
    assert jobs["versions"]["strategy"]["matrix"]["python"] == ["3.12", "3.13"]
    asked = 'OTHER_PYTHONS="3.12 3.13"'
    assert asked in (PROJECT / ".ci/run").read_text(encoding="utf-8")


MAKE = """echo "make $*"
case $1 in
  wheel) touch "$BESIDE" ;;
  docs) exit 3 ;;
  test) echo "3 passed" ;;
esac"""
DVC = """echo "stage 1"
for wait in $(seq 400); do [ -e "$BESIDE" ] && break; sleep 0.05; done
[ -e "$BESIDE" ] || exit 1
mkdir -p data/08_reporting/phantom && touch data/08_reporting/phantom/report.html
echo "stage 2" """


def test_all_steps_run_though_one_fails_and_the_log_has_each_whole_and_the_tests_last(
    tmp_path: Path,
) -> None:
    project, commands = tmp_path / "project", tmp_path / "bin"
    scripts = {commands / "make": MAKE, commands / "chromium": ""}
    scripts[project / ".venv/bin/dvc"] = DVC
    for path, script in scripts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)
    (project / ".ci").mkdir()
    shutil.copy(PROJECT / ".ci/run", project / ".ci/run")
    (project / ".gitignore").write_text("/data\n", encoding="utf-8")
    for arguments in (["init", "-q"], ["add", ".ci", ".gitignore"], ["commit", "-qm", "All"]):
        identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
        subprocess.run(["git", *identity, *arguments], cwd=project, check=True)
    environment = {
        **{key: value for key, value in os.environ.items() if key != "OTHER_PYTHONS"},
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "BESIDE": str(tmp_path / "beside"),  # made by a later step, for which `dvc` waits
    }
    done = subprocess.run(
        [project / ".ci/run"], env=environment, capture_output=True, text=True, check=False
    )
    log = re.sub(r"\d+ s\b", "n s", done.stdout)
    assert done.returncode == 1
    assert log.split("\n\n") == [
        "\n== Chromium\n== Chromium: passed, n s",
        "== install\nmake .venv/.installed\n== install: passed, n s",
        "== make check\nmake check\n== make check: passed, n s",
        "== make lineage\nmake lineage\n== make lineage: passed, n s",
        "== make docs\nmake docs\n== make docs: FAILED, n s",
        "== make wheel\nmake wheel\n== make wheel: passed, n s",
        "== dvc repro from nothing\nstage 1\nstage 2\n"
        "data/08_reporting/phantom/report.html\n== dvc repro from nothing: passed, n s",
        "== make test\nmake test\n3 passed\n== make test: passed, n s",
        "== all steps: n s (at most 1500 on 2 cores)\nFailed: make docs\n",
    ]
