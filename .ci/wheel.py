"""Build the wheel, and run the page's ten lines where nothing is but what the wheel asks for.

    python .ci/wheel.py FOLDER

The environment is new and empty. What the wheel needs by its own metadata (torch, NumPy and
safetensors, and what these need) is linked into it out of the environment that runs this, and
Pillow, which reads the PNG of the lines. So nothing is downloaded, and what the wheel forgot to
name is not there and fails. The lines are the first Python block of docs/hand_on.md, section
"A wheel for another project".
"""

import os
import re
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path, PurePosixPath

from packaging.requirements import Requirement

PROJECT = Path(__file__).resolve().parents[1]
READS_PNG = "Pillow"
MAKES_FILES = """
import sys
from pathlib import Path
import numpy as np
from PIL import Image
sys.path[:0] = [sys.argv[2] + "/src", sys.argv[2] + "/tests"]
from finetune.patches import small_encoder
from maskwise.artefacts.encoder import write_encoder
encoder = small_encoder()
write_encoder(encoder, encoder.metadata, Path(sys.argv[1], "encoder.safetensors"))
grey = np.random.default_rng(0).integers(0, 256, (40, 56)).astype(np.uint8)
Image.fromarray(grey).save(sys.argv[1] + "/scan.png")
"""


def lines() -> str:
    """Return the ten lines."""
    page = (PROJECT / "docs/hand_on.md").read_text(encoding="utf-8")
    section = page.partition("\n## A wheel for another project\n")[2].partition("\n## ")[0]
    found = re.search(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    if found is None:
        raise SystemExit("docs/hand_on.md: has no Python under 'A wheel for another project'")
    return found[1]


def build(folder: Path) -> Path:
    """Build the wheel with the setuptools of this environment."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.whl"):
        old.unlink()
    with tempfile.TemporaryDirectory() as work:  # setuptools leaves a folder where it builds
        clone = Path(work, "maskwise")
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "src", "pyproject.toml", "*.md"],
            cwd=PROJECT, check=True, capture_output=True, text=True,
        ).stdout.splitlines()  # fmt: skip
        for name in [*listed, "LICENSE"]:
            if (PROJECT / name).is_file():
                (clone / name).parent.mkdir(parents=True, exist_ok=True)
                (clone / name).write_bytes((PROJECT / name).read_bytes())
        command = [
            sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation",
            "--no-index", "-w", str(folder), str(clone),
        ]  # fmt: skip
        subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def needed(wheel: Path) -> dict[str, Distribution]:
    """Return what the wheel needs without extras, and what these need, and Pillow."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        text = archive.read(name).decode()
    waiting = [*re.findall(r"^Requires-Dist: (.+)$", text, re.MULTILINE), READS_PNG]
    found: dict[str, Distribution] = {}
    while waiting:
        requirement = Requirement(waiting.pop())
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        if requirement.name.lower() not in found:
            found[requirement.name.lower()] = distribution(requirement.name)
            waiting += found[requirement.name.lower()].requires or []
    return found


def tops(package: Distribution) -> Iterator[Path]:
    """Yield what a package has put into the folder of packages, its topmost names only."""
    names = {PurePosixPath(str(file)).parts[0] for file in package.files or []}
    for name in names - {"..", "__pycache__"}:
        yield Path(str(package.locate_file(name)))


def empty_environment(folder: Path, wheel: Path) -> Path:
    """Make an environment of the wheel and its needs; return its Python."""
    venv.create(folder, with_pip=False, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    for package in needed(wheel).values():
        for path in tops(package):
            if path.exists() and not (packages / path.name).exists():
                (packages / path.name).symlink_to(path)
    return folder / "bin/python"


def main(folder: str) -> int:
    """Build, run, and print what the lines print."""
    wheel = build(Path(folder).resolve())
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    with tempfile.TemporaryDirectory() as work:
        subprocess.run([sys.executable, "-c", MAKES_FILES, work, str(PROJECT)], check=True)
        python = empty_environment(Path(work, "venv"), wheel)
        done = subprocess.run(
            [str(python), "-c", lines()], cwd=work, env=environment,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    print(f"{wheel.name}, {wheel.stat().st_size / 1e6:.2f} MB; the lines print:")
    print(done.stdout + done.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
