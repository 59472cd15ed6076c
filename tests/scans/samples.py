"""The real DICOM and NIfTI files, and what pydicom and nibabel say of each."""

import json
from pathlib import Path
from typing import Any

from shared import SHARED

FOLDER = "dicom-nifti-samples"


def facts(kind: str) -> dict[str, dict[str, Any]]:
    """Return file -> facts; empty where the real images are absent."""
    path = SHARED / FOLDER / "facts.json"
    if not path.exists():
        return {}
    found: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))[kind]
    return found


def names(kind: str) -> list[str]:
    """Return the files to test with; one name stands for all where they are absent."""
    return sorted(facts(kind)) or ["the real images"]


def copy(shared_data: Path, path: str, target: Path) -> Path:
    """Copy one of the files and return the copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes((shared_data / FOLDER / path).read_bytes())
    return target
