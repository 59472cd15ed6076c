"""A file at which a library dies, hangs or panics costs itself, in every stage that reads."""

from pathlib import Path

import pandas as pd

from maskwise.artefacts.manifest import read_manifest, write_manifest
from maskwise.artefacts.rejects import read_rejects
from prediction.models import CLASSIFIER, save_classifier
from scans.hostile import HARM, run, take, write_scans

WHY = {
    "dies.bmp": ("crashed", "the process that read it died (SIGABRT)"),
    "exits.bmp": ("crashed", "reading it failed (SystemExit)"),
    "hangs.bmp": ("too_slow", "reading it took longer than 3 s"),
    "leaves.bmp": ("crashed", "the process that read it died (exit code 0)"),
    "panics.bmp": ("damaged", "cannot be decoded (PanicException)"),
}
FINE = [*(f"{number}.bmp" for number in range(5)), "speaks.bmp"]


def test_ingest_rejects_each_file_by_name_and_shows_no_word_of_the_library(
    tmp_path: Path,
) -> None:
    write_scans(tmp_path / "raw", *HARM)
    done = run("ingest", tmp_path)
    assert done.returncode == 0, done.stderr
    for workers in ("1", "2"):
        rejects = read_rejects(tmp_path / workers / "rejects.csv").set_index("path")
        assert {
            path: (row["reason"], row["detail"].partition(";")[0])
            for path, row in rejects.iterrows()
        } == WHY
        assert rejects["detail"]["hangs.bmp"].endswith("set ingest.seconds_per_file higher")
        taken = read_manifest(tmp_path / workers / "manifest.parquet")
        assert list(taken["path"]) == FINE
    assert "ANON" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_preprocess_ends_with_one_message_that_names_the_file(tmp_path: Path) -> None:
    harm = ("dies", "hangs", "panics")
    for number, name in enumerate(harm):
        raw = write_scans(tmp_path / f"source{number}" / "raw", name)
        write_manifest(take(raw).manifest, raw.with_name("manifest.parquet"))
    done = run("preprocess", tmp_path)
    assert done.returncode == 0, done.stderr
    for line, name in zip(done.stdout.splitlines(), harm, strict=True):
        assert line.startswith(f"{name}.bmp: {WHY[f'{name}.bmp'][1]}")
    assert "set preprocess.seconds_per_file higher" in done.stdout
    left = {file.name for file in tmp_path.glob("source*/*")}
    assert left == {"raw", "manifest.parquet"}


def test_predict_refuses_each_scan_by_name_and_answers_the_others(tmp_path: Path) -> None:
    write_scans(tmp_path / "raw", *HARM)
    save_classifier(CLASSIFIER, tmp_path / "model.safetensors")
    done = run("predict", tmp_path)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "predictions.csv", keep_default_na=False)
    refused = table.set_index("path")["refused"]
    assert list(refused.index[refused == ""]) == FINE
    for path, (reason, detail) in WHY.items():
        assert refused[path].startswith(detail)
        assert refused[path].endswith(f"({reason})")
    assert "ANON" not in done.stdout + done.stderr
