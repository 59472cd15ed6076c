"""Stages in a process of its own, where the library that decodes BMP files is out to do harm.

``sitecustomize.py``, which ``run`` writes, replaces that library's door in this process and in
all that it starts: what a file does depends on its width.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from maskwise.artefacts.manifest import read_manifest, write_manifest
from maskwise.artefacts.rejects import write_rejects
from maskwise.errors import UserError
from maskwise.ingest.sources.image_folder import ImageFolderConfig
from maskwise.ingest.stage import IngestConfig, Ingested, ingest
from maskwise.preprocess.config import PreprocessConfig, SourcePreprocessConfig
from maskwise.preprocess.stage import preprocess

HARM = {"dies": 41, "leaves": 42, "hangs": 43, "panics": 44, "exits": 45, "speaks": 46}
"""What a file does -> its width in pixels."""
SECONDS = 3.0
"""That a file may take."""

_DECODER = """
import ctypes, os, sys
from PIL import ImageFile

class PanicException(BaseException):
    pass

def panic():
    raise PanicException("ANON^A")

harm = {
    41: os.abort,
    42: lambda: os._exit(0),
    43: lambda: ctypes.PyDLL(None).sleep(600),
    44: panic,
    45: sys.exit,
    46: lambda: os.write(2, b"ANON^A is ill"),
}
decode = ImageFile.ImageFile.load

def load(self):
    if self.format == "BMP":
        harm.get(self.size[0], int)()
    return decode(self)

ImageFile.ImageFile.load = load
"""


def write_scans(folder: Path, *harm: str) -> Path:
    """Write five files that do nothing, and one for each kind of harm, called after it."""
    widths = {str(number): 32 for number in range(5)} | {name: HARM[name] for name in harm}
    folder.mkdir(parents=True)
    for number, (name, width) in enumerate(widths.items()):
        pixels = np.random.default_rng(number).integers(0, 256, (32, width), np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.bmp")
    return folder


def take(raw: Path, workers: int = 1) -> Ingested:
    """Ingest ``raw``."""
    config = IngestConfig(max_reject_share=1.0, workers=workers, seconds_per_file=SECONDS)
    return ingest(raw, ImageFolderConfig(layout="flat"), config, "t")


def run(stage: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a stage beside the harmful library; ``folder`` is where it reads and writes."""
    library = folder / "library"
    library.mkdir()
    (library / "sitecustomize.py").write_text(_DECODER, encoding="utf-8")
    path = [str(library), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, "-m", "scans.hostile", stage, str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        check=False,
    )


def _ingest(folder: Path) -> None:
    """Take ``folder / "raw"`` with one worker and with two."""
    for workers in (1, 2):
        found = take(folder / "raw", workers)
        write_manifest(found.manifest, folder / f"{workers}" / "manifest.parquet")
        write_rejects(found.rejects, folder / f"{workers}" / "rejects.csv")


def _preprocess(folder: Path) -> None:
    """Prepare all sources in ``folder``, and say what ends each."""
    source = SourcePreprocessConfig(height=32, width=32, label=None)
    options = PreprocessConfig(workers=2, seconds_per_file=SECONDS)
    for one in sorted(folder.glob("source*")):
        manifest = read_manifest(one / "manifest.parquet")
        made = preprocess(one / "raw", manifest, source, options, "t")
        try:
            made.write_store(one / "store")
        except UserError as error:
            sys.stdout.write(f"{error}\n")


def _predict(folder: Path) -> None:
    """Let the model in ``folder`` look at ``folder / "raw"``."""
    # Here, because it brings torch, which the other stages need not wait for.
    from maskwise.prediction.stage import PredictConfig, predict

    config = PredictConfig(seconds_per_file=SECONDS)
    found = predict(folder / "model.safetensors", folder / "raw", config)
    found.table.to_csv(folder / "predictions.csv", index=False)


if __name__ == "__main__":
    stages = {"ingest": _ingest, "preprocess": _preprocess, "predict": _predict}
    stages[sys.argv[1]](Path(sys.argv[2]))
