"""The pages' lines run as they stand."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import maskwise
from finetune.patches import small_encoder
from maskwise.artefacts.encoder import write_encoder
from prediction.models import CLASSIFIER, save_classifier, seen_by
from project import PROJECT


def blocks(page: str) -> list[str]:
    text = (PROJECT / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def run(page: str, code: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": page}
    exec(compile(code, page, "exec"), names)
    return names


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand where an encoder, a model and a scan lie by the names of the pages."""
    encoder = small_encoder()
    write_encoder(encoder, encoder.metadata, tmp_path / "encoder.safetensors")
    described = replace(CLASSIFIER, encoder=seen_by(CLASSIFIER, ranges=(255,)))
    save_classifier(described, tmp_path / "model.safetensors")
    grey = np.random.default_rng(0).integers(0, 256, (40, 56)).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "scan.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_lines_for_onnxruntime_torch_and_an_encoder_print_what_the_model_says(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export, onnxruntime, program, encoder = blocks("docs/hand_on.md")
    named = re.findall(r'"(data/[^"]+)"', export)
    assert len(named) == 1
    run("docs/hand_on.md", export.replace(named[0], "model.safetensors"))
    maskwise.export("model.safetensors", "model.pt2")
    expected = maskwise.predict(["scan.png"], "model.safetensors").iloc[0]
    for code in (onnxruntime, program):
        found = run("docs/hand_on.md", code)["probabilities"][0]
        assert list(found) == pytest.approx([expected.p_benign, expected.p_malignant], abs=1e-5)
    assert "another modality than ultrasound" in capsys.readouterr().out
    assert run("docs/hand_on.md", encoder)["features"].shape == (1, 16)
    lines = [line for line in onnxruntime.splitlines() if line and "import" not in line]
    assert len(lines) <= 10


def test_the_lines_of_the_page_on_python_run(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for code in blocks("docs/api.md"):
        run("docs/api.md", code)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("(1, 16)")
    assert printed[-1] == "True"
