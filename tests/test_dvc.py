"""DVC as its users meet it: what a change makes stale, two clones and a remote, a queue."""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import networkx as nx
import pandas as pd
import pytest
import yaml
from dvc.repo import Repo

from project import PROJECT, Project, copy_project
from sources import busi

# DVC's own, in its dependency pygtrie.
pytestmark = [
    pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning"),
    pytest.mark.xdist_group("trained"),
]

REPLICATES = ("phantom-scratch-0", "phantom-random_box-0")
EVALUATION = {"evaluate@phantom", "report@phantom"}
FINETUNING = {f"finetune@{replicate}" for replicate in REPLICATES} | EVALUATION
PRETRAINING = {f"pretrain@{replicate}" for replicate in REPLICATES} | FINETUNING
PREPARATION = {"preprocess@phantom"} | PRETRAINING


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A machine that trained two replicates, told DVC, and pushed; tests must not change it."""
    folder = tmp_path_factory.mktemp("dvc")
    project = copy_project(folder / "trained", ("phantom", "busi"), ("scratch", "random_box"))
    project.edit("conf/base/experiment.yml", experiment__recipes=["scratch", "random_box"])
    project.run("dvc", "remote", "add", "-q", "-d", "storage", str(folder / "remote"))
    project.git("add", "-A")
    project.git("commit", "-q", "-m", "A study of two replicates")
    # One process for all stages, which spares the imports of nine; `.ci/run` does `dvc repro`.
    project.run("kedro", "run", "--env", "base")
    project.run("dvc", "commit", "-f", "-q")
    project.git("add", "dvc.lock")
    project.git("commit", "-q", "-m", "What came out")
    project.run("dvc", "push", "-q")
    return project


@pytest.fixture
def copy(trained: Project, tmp_path: Path) -> Project:
    """The trained machine's folder, to be changed."""
    shutil.copytree(trained.root, tmp_path / "copy", symlinks=True)
    return Project(tmp_path / "copy")


@pytest.fixture(scope="module")
def bench(trained: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy in which one change is made after another, and taken back before the next."""
    root = tmp_path_factory.mktemp("bench") / "copy"
    shutil.copytree(trained.root, root, symlinks=True)
    return Project(root)


@contextmanager
def taken_back(file: Path) -> Iterator[None]:
    """Give the file back what it held, when the block has ended."""
    before = file.read_bytes()
    try:
        yield
    finally:
        file.write_bytes(before)


@pytest.fixture
def clone(trained: Project, tmp_path: Path) -> Project:
    """A second machine: a clone without data, with a remote of its own to spoil."""
    shutil.copytree(trained.root.parent / "remote", tmp_path / "remote")
    trained.git("clone", "-q", str(trained.root), str(tmp_path / "clone"))
    project = Project(tmp_path / "clone")
    project.run(
        "dvc", "remote", "modify", "--local", "storage", "url", str(tmp_path / "remote")
    )
    return project


def stale(project: Project) -> set[str]:
    """Return the stages that `dvc repro` would run: those that changed, and all after them."""
    with Repo(project.root) as repo:
        changed = {address.rpartition(":")[2] for address in repo.status()}
        graph = repo.index.graph  # an edge leads from a stage to what it needs
        return {
            stage.name
            for stage in graph
            if changed & {needed.name for needed in (stage, *nx.descendants(graph, stage))}
        }


def test_a_run_that_dvc_was_told_of_is_up_to_date_and_leaves_git_clean(
    trained: Project,
) -> None:
    assert stale(trained) == set()
    assert trained.git("status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("file", "key", "value", "expected"),
    [
        ("parameters_report", "report__images", 2, {"report@phantom"}),
        ("parameters_evaluate", "evaluate__draws", 300, EVALUATION),
        ("studies/phantom_study", "report__study__phantom__ethics", "none", EVALUATION),
        ("experiment", "experiment__fractions", [1.0, 0.5], FINETUNING),
        # Which Kedro refuses: stale, so that `dvc repro` meets the refusal.
        ("experiment", "experiment__sources__phantom", {"recipes": ["scratch"]}, EVALUATION),
        ("experiment", "experiment__sources__busi", {"recipes": ["scratch"]}, set()),
        ("parameters_finetune", "finetune__keep", "all", FINETUNING),
        ("sources/parameters_phantom", "phantom__finetune__steps", 9, FINETUNING),
        ("sources/parameters_phantom", "phantom__pretrain__steps", 9, PRETRAINING),
        ("parameters_pretrain", "pretrain__gallery_moments", 3, PRETRAINING),
        ("sources/parameters_phantom", "phantom__preprocess__split_seed", 1, PREPARATION),
        (
            "recipes/parameters_random_box",
            "random_box__transductive",
            True,
            {"pretrain@phantom-random_box-0", "finetune@phantom-random_box-0", *EVALUATION},
        ),
        (
            "sources/parameters_phantom",
            "phantom__ingest__images",
            60,
            {"generate@phantom", "ingest@phantom", *PREPARATION},
        ),
        ("parameters_predict", "predict__shown", 3, set()),
        ("sources/parameters_busi", "busi__pretrain__steps", 3, set()),
    ],
)
def test_a_changed_parameter_makes_stale_exactly_what_depends_on_it(
    bench: Project, file: str, key: str, value: object, expected: set[str]
) -> None:
    with taken_back(bench.root / f"conf/base/{file}.yml"):
        bench.edit(f"conf/base/{file}.yml", **{key: value})
        assert stale(bench) == expected


def test_changed_code_makes_its_own_stage_stale_and_what_follows(bench: Project) -> None:
    path = bench.root / "src/maskwise/evaluate/stage.py"
    with taken_back(path):
        path.write_bytes(path.read_bytes() + b"\n# changed\n")
        assert stale(bench) == EVALUATION


def test_one_more_seed_makes_nothing_stale_of_the_first(bench: Project) -> None:
    with taken_back(bench.root / "conf/base/experiment.yml"):
        bench.edit("conf/base/experiment.yml", experiment__seeds=[0, 1])
        new = {f"{stage}@{c[:-1]}1" for stage in ("pretrain", "finetune") for c in REPLICATES}
        assert stale(bench) == new | EVALUATION


def test_a_machine_that_pulls_retrains_nothing(clone: Project) -> None:
    clone.run("dvc", "pull", "-q")
    assert "Running stage" not in clone.run("dvc", "repro")
    assert clone.git("status", "--porcelain") == ""


def test_a_model_that_is_missing_from_the_remote_stops_the_gate_by_name(
    clone: Project, tmp_path: Path
) -> None:
    lock = (clone.root / "dvc.lock").read_text()
    encoder = "data/06_models/phantom/encoders/random_box/s0/encoder.safetensors"
    md5 = re.search(rf"path: {encoder}\s+hash: md5\s+md5: (\w+)", lock)
    assert md5
    (tmp_path / "remote/files/md5" / md5[1][:2] / md5[1][2:]).unlink()
    message = clone.run("sh", "-c", "dvc pull && dvc repro", fails=True)
    assert encoder in message
    assert "Running stage" not in message


def workflow_steps() -> dict[str, str]:
    """Return the commands of the job that trains nothing, but for what installs it."""
    path = PROJECT / ".github/workflows/ci.yml"
    job = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]["reproduce"]
    commands = {step["name"]: step["run"] for step in job["steps"] if "run" in step}
    return {name: text for name, text in commands.items() if name != "Install"}


def run_step(project: Project, name: str, base: str, fails: bool = False) -> tuple[str, str]:
    """Run one step as GitHub does; return what it wrote to the log, and to the summary."""
    summary = project.root.parent / "summary.md"
    settings = (f"BASE={base}", f"GITHUB_STEP_SUMMARY={summary}")
    bash = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", workflow_steps()[name])
    log = project.run("env", *settings, *bash, fails=fails)
    return log, summary.read_text(encoding="utf-8") if summary.exists() else ""


def test_the_workflow_retrains_nothing_and_shows_how_scores_differ_from_the_base_branch(
    copy: Project, tmp_path: Path
) -> None:
    copy.run("dvc", "remote", "modify", "storage", "url", str(tmp_path / "remote"))
    copy.run("dvc", "push", "-q")
    copy.git("checkout", "-q", "-b", "weigh")
    copy.edit("conf/base/parameters_evaluate.yml", evaluate__weigh="image")
    copy.run("dvc", "repro", "-q")
    copy.git("commit", "-q", "-a", "-m", "Weigh images")
    copy.run("dvc", "push", "-q")
    copy.git("clone", "-q", str(copy.root), str(tmp_path / "job"))
    job = Project(tmp_path / "job")

    log, summary = run_step(job, "Pull, reproduce, compare", "origin/main")

    assert "Running stage" not in log
    assert "Nothing had to be made anew." in summary
    # Metric, its value on the base branch and here, the difference.
    row = (
        r"\| \S+ +\| macro_auroc\.random_box\.full\.100% +\| 0\.\d+ +\| 0\.\d+ +\| -?0\.\d+ +\|"
    )
    assert re.search(row, summary)
    run_step(job, "Build the lineage", "origin/main")
    assert [*job.root.glob("data/08_reporting/*/report.html")]
    assert (job.root / "site/index.html").is_file()


def test_the_workflow_lists_what_has_to_be_trained_elsewhere_and_trains_nothing(
    clone: Project,
) -> None:
    clone.edit("conf/base/sources/parameters_phantom.yml", phantom__pretrain__steps=9)
    clone.git("commit", "-q", "-a", "-m", "Forget to train")

    _, summary = run_step(clone, "Pull, reproduce, compare", "HEAD", fails=True)

    assert "- `pretrain@phantom-random_box-0`\n" in summary
    assert "report@" not in summary
    assert clone.git("status", "--porcelain") == ""


def test_the_workflow_makes_a_report_anew_and_says_that_no_score_differs(
    clone: Project,
) -> None:
    clone.edit("conf/base/parameters_report.yml", report__images=2)
    clone.git("commit", "-q", "-a", "-m", "Show fewer images")

    _, summary = run_step(clone, "Pull, reproduce, compare", "HEAD")

    assert "Made anew, and not in this commit's `dvc.lock`: report@phantom" in summary
    assert "No score differs from `HEAD`." in summary


def test_real_data_that_were_added_are_reproduced_like_the_generated_ones(
    copy: Project,
) -> None:
    busi.write(copy.root / "data/01_raw/busi")
    copy.run("dvc", "add", "-q", "data/01_raw/busi")
    copy.edit("conf/base/experiment.yml", experiment__reproduce=["phantom", "busi"])
    assert stale(copy) == {
        stage.replace("phantom", "busi") for stage in {"ingest@phantom", *PREPARATION}
    }
    assert "busi" in copy.run("dvc", "repro", "ingest@busi")
    manifest = copy.root / "data/02_intermediate/busi/manifest.parquet"
    assert len(pd.read_parquet(manifest)) > 0
    changed = copy.git("status", "--porcelain", "--untracked-files=all").split()[1::2]
    assert {*changed} == {"data/01_raw/busi.dvc", "dvc.lock", "conf/base/experiment.yml"}


def test_a_queue_of_two_experiments_runs_and_shows_its_differences(copy: Project) -> None:
    for stage, key, value in (("evaluate", "weigh", "image"), ("report", "images", "2")):
        change = f"conf/base/parameters_{stage}.yml:{stage}.{key}={value}"
        copy.run("dvc", "exp", "run", "--queue", "--name", key, "-S", change)
    copy.run("dvc", "exp", "run", "--run-all")
    differences = json.loads(copy.run("dvc", "metrics", "diff", "--json", "HEAD", "weigh"))
    scores = differences["data/08_reporting/phantom/metrics.json"]
    assert "macro_auroc.random_box.full.100%" in scores
    parameters = json.loads(copy.run("dvc", "params", "diff", "--json", "HEAD", "images"))
    changed = parameters["conf/base/parameters_report.yml"]["report.images"]
    assert (changed["old"], changed["new"]) == (4, 2)
    assert copy.git("status", "--porcelain") == ""


def test_plots_draw_a_line_a_recipe_over_two_revisions(trained: Project) -> None:
    plots = json.loads(trained.run("dvc", "plots", "diff", "--json", "HEAD"))["data"]
    for name in ("label_efficiency", "training"):
        (plot,) = plots[f"data/08_reporting/phantom/plots/{name}.csv"]
        values = plot["content"]["data"]["values"]
        assert {row["rev"] for row in values} == {"HEAD", "workspace"}
        assert "random_box" in {row["recipe"] for row in values}
        assert '"field": "recipe"' in json.dumps(plot["content"])


def test_a_page_of_plots_can_do_without_the_internet(copy: Project) -> None:
    copy.run("dvc", "plots", "show", "--html-template", ".dvc/plots/offline.html")
    page = (copy.root / "dvc_plots/index.html").read_text(encoding="utf-8")
    assert re.findall(r'src="([^"]+)"', page) == ["vega.js", "vega-lite.js", "vega-embed.js"]
    assert "random_box" in page


@pytest.fixture(scope="module", autouse=True)
def _no_analytics() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_NO_ANALYTICS", "1")
        yield
