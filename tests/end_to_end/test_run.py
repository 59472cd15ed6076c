"""`kedro run` as its users meet it, on the generated source, in seconds."""

import json
import os
import platform
import re
import signal
import subprocess
from pathlib import Path

import pandas as pd
import psutil
import pytest

from maskwise.artefacts.manifest import read_manifest
from project import Finished, Project
from sources import busi

REPLICATE = "dqn/s0"

pytestmark = pytest.mark.xdist_group("finished")


def test_a_run_ends_with_one_line_that_says_where_the_report_is(finished: Finished) -> None:
    last = finished.log.strip().splitlines()[-1]
    path = re.search(r"The report is in (.+\.html)$", last)
    assert path
    assert Path(path[1]).stat().st_size > 10_000


def test_a_run_says_how_long_it_will_take_after_its_first_twenty_steps(
    finished: Finished,
) -> None:
    assert re.search(r"4 steps left, about .*all training takes about", finished.log)


def test_the_bars_show_stage_replicate_epoch_and_speed(finished: Finished) -> None:
    assert re.search(r"pretrain dqn seed 0, epoch \d+ of \d+: .*images/s", finished.log)


def test_a_run_leaves_git_clean(finished: Finished) -> None:
    assert finished.project.git("status", "--porcelain") == ""


def test_a_run_shows_neither_a_traceback_nor_a_warning_of_python(finished: Finished) -> None:
    assert "Traceback" not in finished.log
    assert not re.search(r"\b\w*Warning:", finished.log)


@pytest.mark.parametrize(
    "path",
    [
        "02_intermediate/phantom/manifest.parquet",
        "02_intermediate/phantom/rejects.csv",
        "03_primary/phantom/store/store.json",
        "05_model_input/phantom/splits.parquet",
        f"06_models/phantom/encoders/{REPLICATE}/encoder.safetensors",
        f"06_models/phantom/encoders/{REPLICATE}/policy.safetensors",
        f"06_models/phantom/models/{REPLICATE}",
        "06_models/phantom/cards/data_card.json",
        f"06_models/phantom/cards/{REPLICATE}/model_card.md",
        f"07_model_output/phantom/training/{REPLICATE}/history.csv",
        f"07_model_output/phantom/training/{REPLICATE}/gallery.npz",
        f"07_model_output/phantom/predictions/{REPLICATE}/predictions.parquet",
        f"07_model_output/phantom/predictions/{REPLICATE}/subsets.parquet",
        "08_reporting/phantom/data_summary.json",
        "08_reporting/phantom/store_summary.json",
        "08_reporting/phantom/scores.json",
        "08_reporting/phantom/metrics.json",
        "08_reporting/phantom/plots/label_efficiency.csv",
        "08_reporting/phantom/plots/paired.csv",
        "08_reporting/phantom/plots/training.csv",
        "08_reporting/phantom/report.html",
        "08_reporting/phantom/referee.html",
        "08_reporting/phantom/referee.json",
        "08_reporting/phantom/referee.csv",
        "08_reporting/phantom/study_table.csv",
        "08_reporting/phantom/study_pairs.csv",
        "08_reporting/phantom/study_table.md",
        "08_reporting/phantom/study_table.tex",
        "08_reporting/phantom/study_figure.svg",
        "08_reporting/phantom/study_figure.pdf",
    ],
)
def test_every_artefact_lies_where_the_design_says(finished: Finished, path: str) -> None:
    assert (finished.data / path).exists()


def test_cards_name_no_scan_no_patient_and_no_folder(finished: Finished) -> None:
    manifest = pd.read_parquet(finished.data / "02_intermediate/phantom/manifest.parquet")
    secret = {*manifest["path"], *manifest["image_id"], *manifest["patient"], platform.node()}
    for card in (finished.data / "06_models/phantom/cards").rglob("*.*"):
        words = set(re.findall(r"[^\s,\"|`]+", card.read_text("utf-8")))
        assert not words & secret, card
        assert str(finished.project.root) not in card.read_text("utf-8"), card


def test_no_temporary_file_is_left(finished: Finished) -> None:
    assert not [path for path in finished.data.rglob(".*") if path.name != ".gitkeep"]


@pytest.mark.parametrize(
    ("folder", "key"),
    [
        ("02_intermediate/phantom", "ingest@phantom"),
        (f"06_models/phantom/encoders/{REPLICATE}", "pretrain@phantom-dqn-0"),
        (f"07_model_output/phantom/predictions/{REPLICATE}", "finetune@phantom-dqn-0"),
        ("08_reporting/phantom", "evaluate@phantom"),
        ("08_reporting/phantom", "report@phantom"),
    ],
)
def test_beside_a_node_s_outputs_stands_how_it_ran(
    finished: Finished, folder: str, key: str
) -> None:
    facts = json.loads((finished.data / folder / "run.json").read_text())[key]
    assert facts["commit"] == finished.project.git("rev-parse", "HEAD").strip()
    assert {"host", "versions", "seconds", "peak_anonymous_memory_mb"} <= set(facts)
    stage = key.partition("@")[0]
    assert stage in facts["options"] or f"phantom.{stage}" in facts["options"]


def test_the_speed_of_training_stands_beside_the_encoder(finished: Finished) -> None:
    path = finished.data / "06_models/phantom/encoders" / REPLICATE / "run.json"
    assert json.loads(path.read_text())["pretrain@phantom-dqn-0"]["images_per_second"] > 0


def test_checkpoints_are_gone_after_a_run_that_ended_well(finished: Finished) -> None:
    folder = finished.data / "06_models/phantom/checkpoints"
    assert {path.name for path in folder.rglob("*") if path.is_file()} <= {"lock"}


def test_a_replicate_run_again_gives_the_same_files_bit_for_bit(finished: Finished) -> None:
    folders = ("06_models/phantom/encoders", "07_model_output/phantom/training")
    paths = [
        path
        for folder in folders
        for path in (finished.data / folder / REPLICATE).iterdir()
        if path.name != "run.json" and path.suffix != ".lock"
    ]
    before = [path.read_bytes() for path in paths]
    finished.project.run("kedro", "run", "--namespaces", "dqn.s0", "--tags", "pretrain")
    assert [path.read_bytes() for path in paths] == before


def test_a_misspelt_parameter_is_one_message_and_no_stage_runs(tiny_project: Project) -> None:
    message = tiny_project.run("kedro", "run", "--params", "pretrian.epochs=7", fails=True)
    lines = message.strip().splitlines()
    assert lines == ["Error: pretrian: there is no such parameter; did you mean 'pretrain'?"]


def test_settings_of_an_environment_write_to_a_folder_of_their_own(finished: Finished) -> None:
    finished.project.run("kedro", "run", "--env", "test", "--tags", "generate")
    assert any((finished.data / "test/01_raw/phantom").iterdir())


def test_ctrl_c_ends_with_one_line_and_130_and_the_run_can_go_on(finished: Finished) -> None:
    command = ["kedro", "run", "--namespaces", "random_box.s0", "--tags", "pretrain"]
    encoder = finished.data / "06_models/phantom/encoders/random_box/s0/encoder.safetensors"
    before = encoder.read_bytes()
    run = finished.project.start(*command, "--params", "phantom.pretrain.steps=100000")
    written = ""
    while "pretrain random_box seed 0:" not in written or "images/s" not in written:
        line = run.line()
        assert line, written
        written += line
    run.send_signal(signal.SIGINT)
    _, rest = run.communicate(timeout=120)
    assert run.returncode == 130, rest
    assert "Traceback" not in rest
    assert re.search(r"stopped after step \d+ of 100000", rest.splitlines()[-1])
    assert encoder.read_bytes() == before


def _words(process: psutil.Process) -> list[str]:
    """Return its command; a process may be gone by the time it is asked."""
    try:
        return list(process.cmdline())
    except psutil.NoSuchProcess:
        return []


def test_ctrl_c_while_workers_decode_is_one_line_and_leaves_the_store_and_no_process(
    finished: Finished,
) -> None:
    folder = finished.data / "03_primary/phantom"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    command = ["kedro", "run", "--tags", "preprocess", "--params", "preprocess.workers=2"]
    run = finished.project.start(*command)
    workers: list[psutil.Process] = []
    while len(workers) < 3 and run.poll() is None:  # two, and what they are forked off
        children = psutil.Process(run.pid).children(recursive=True)
        workers = [child for child in children if "forkserver" in " ".join(_words(child))]
    os.killpg(run.pid, signal.SIGINT)  # a terminal sends it to all of them
    _, written = run.communicate(timeout=120)
    assert run.returncode == 130, written
    assert "Traceback" not in written
    assert written.splitlines()[-1].endswith("Interrupted; run the same command again.")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    _, left = psutil.wait_procs(workers, timeout=30)
    assert not left


def through_the_whole_chain(project: Project, raw: Path) -> Path:
    """Run the source busi on ``raw`` in a few steps; return its report."""
    budget = "busi.pretrain.steps=2,busi.pretrain.batch_size=8,busi.finetune.steps=2"
    project.run("kedro", "run", "--pipelines", "busi", "--params", f"raw_root={raw},{budget}")
    return project.root / "data/08_reporting/busi/report.html"


def test_percent_signs_blanks_umlauts_and_the_word_mask_pass_the_whole_chain(
    tiny_project: Project, tmp_path: Path
) -> None:
    raw = busi.write(tmp_path / "übung 100 % mask", times=4)
    for path in (raw / "Dataset_BUSI_with_GT/benign").glob("benign (1)*.png"):
        path.rename(path.with_name(path.name.replace("benign (1)", "Größe 100 %")))
    assert through_the_whole_chain(tiny_project, raw).stat().st_size > 10_000
    manifest = read_manifest(tiny_project.root / "data/02_intermediate/busi/manifest.parquet")
    masks = manifest.set_index("path")["masks"]["Dataset_BUSI_with_GT/benign/Größe 100 %.png"]
    assert masks == ["Dataset_BUSI_with_GT/benign/Größe 100 %_mask.png"]


def test_breast_ultrasound_goes_through_the_whole_chain(
    tiny_project: Project, shared_data: Path, tmp_path: Path
) -> None:
    images = shared_data / "busi/Dataset_BUSI_with_GT"
    for kind in ("benign", "malignant", "normal"):
        folder = tmp_path / "busi/Dataset_BUSI_with_GT" / kind
        folder.mkdir(parents=True)
        for number in range(1, 25):
            for path in images.glob(f"{kind}/{kind} ({number})*.png"):
                (folder / path.name).write_bytes(path.read_bytes())
    assert through_the_whole_chain(tiny_project, tmp_path / "busi").exists()


def test_the_raw_folder_may_be_named_on_the_command_line_only_for_real_sources(
    tiny_project: Project,
) -> None:
    message = tiny_project.run("kedro", "run", "--params", "raw_root=x", fails=True)
    assert message.startswith("Error: raw_root: the source 'phantom' is generated")


def test_absent_weights_are_one_message_before_any_stage(tiny_project: Project) -> None:
    command = ["kedro", "run", "--params", "scratch.encoder.weights=gone.pth"]
    message = tiny_project.run(*command, fails=True)
    assert message.strip() == (
        "Error: scratch.encoder.weights: gone.pth: no such file; save a state dict there, or "
        "name another file"
    )


def test_an_absent_source_folder_is_one_message(tiny_project: Project) -> None:
    command = ["kedro", "run", "--pipelines", "busi", "--params", "raw_root=nowhere"]
    message = tiny_project.run(*command, fails=True)
    assert message.startswith("Error: ")
    assert "nowhere: absent or empty" in message
    assert "docs/sources.md" in message
    assert len(message.strip().splitlines()) == 1


def test_a_trained_model_predicts_a_folder_of_scans(finished: Finished, tmp_path: Path) -> None:
    scans = tmp_path / "neue Bilder 100 %"
    scans.mkdir()
    for path in sorted(finished.data.glob("01_raw/phantom/images/*_0.png"))[:3]:
        (scans / path.name).write_bytes(path.read_bytes())
    (scans / "cut.png").write_bytes(path.read_bytes()[:100])
    model = finished.data / "06_models/phantom/models" / REPLICATE / "best.safetensors"
    request = f"predict.model={model},predict.scans={scans},report.names=true"
    log = finished.project.run("kedro", "run", "--pipelines", "predict", "--params", request)
    page = finished.data / "08_reporting/predict/predictions.html"
    assert log.strip().splitlines()[-1].endswith(f"The page is in {page}")
    assert "cut.png" in page.read_text(encoding="utf-8")
    table = pd.read_csv(
        finished.data / "07_model_output/predict/predictions.csv", index_col="path"
    )
    assert table.loc["cut.png", "refused"].startswith("cannot be decoded")
    read = table.drop("cut.png")
    assert read["refused"].isna().all()
    assert read.filter(like="p_").sum(axis=1).to_list() == pytest.approx([1.0] * 3)


def test_python_m_maskwise_is_kedro_run(tiny_project: Project) -> None:
    done = subprocess.run(
        ["python", "-m", "maskwise", "--pipelines", "fantom"],
        cwd=tiny_project.root,
        env=tiny_project.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "Error: --pipelines: there is no 'fantom'; did you mean 'phantom'?"
    )


def test_a_source_is_embedded_its_scans_stand_beside_predictions_and_some_are_chosen(
    finished: Finished, tmp_path: Path
) -> None:
    project, data = finished.project, finished.data
    model = data / "06_models/phantom/models" / REPLICATE / "best.safetensors"
    embed = f"embed.encoder={model},embed.source=phantom"
    log = project.run("kedro", "run", "--pipelines", "embed", "--params", embed)
    page = data / "08_reporting/embed/embeddings.html"
    assert log.strip().splitlines()[-1].endswith(f"The page is in {page}")
    embeddings = data / "07_model_output/embed/embeddings.parquet"
    manifest = read_manifest(data / "02_intermediate/phantom/manifest.parquet")
    assert set(pd.read_parquet(embeddings)["id"]) == set(manifest["image_id"])
    scan = next(iter(sorted(data.glob("01_raw/phantom/images/*_0.png"))))
    (tmp_path / scan.name).write_bytes(scan.read_bytes())
    predict = (
        f"predict.model={model},predict.scans={tmp_path},predict.embeddings={embeddings},"
        "predict.neighbours=2"
    )
    project.run("kedro", "run", "--pipelines", "predict", "--params", predict)
    shown = (data / "08_reporting/predict/predictions.html").read_text(encoding="utf-8")
    assert shown.count('alt="Training scan') == 2
    select = f"select.embeddings={embeddings},select.budget=4,select.unit=scan"
    project.run("kedro", "run", "--pipelines", "select", "--params", select)
    for name in ("selection", "control"):
        table = pd.read_csv(data / f"07_model_output/select/{name}.csv")
        assert len(table) == 4
        assert set(table["id"]) <= set(manifest["image_id"])
