"""Generated scans with several findings each, in a table: facts of the scenes they show."""

from pathlib import Path

import numpy as np

from maskwise.ingest.sources.phantom_scene import Lesion, draw_patient, draw_view, png, render

TABLE = "findings.csv"
NONE = "nothing"
"""What the table says of a scan that was rated and shows none of ``FINDINGS``."""
FINDINGS = ("spiculated", "large", "shadow", "dark")
UNRATED = 9
"""Every so-manieth patient was not rated."""
SIDES = (40, 48)


def findings_of(lesion: Lesion | None) -> list[str]:
    """Return which of ``FINDINGS`` a scan of the lesion shows."""
    if lesion is None:
        return []
    shown = (
        float(np.std(lesion.outline) / np.mean(lesion.outline)) > 0.15,
        float(np.mean(lesion.outline)) > 0.13,
        lesion.behind < 0.9,
        lesion.echo < 0.2,
    )
    return [name for name, there in zip(FINDINGS, shown, strict=True) if there]


def write(raw: Path, patients: int, seed: int = 0) -> Path:
    """Write scans of so many patients and the table of their findings below ``raw``."""
    (raw / "images").mkdir(parents=True, exist_ok=True)
    lines = ["path,findings,patient"]
    for number in range(patients):
        patient = draw_patient(seed, number)
        said = "|".join(findings_of(patient.lesion)) or NONE
        for view in range(patient.views):
            path = f"images/p{number:04d}_{view}.png"
            pixels, _ = render(draw_view(patient, seed, view, SIDES))
            (raw / path).write_bytes(png(pixels))
            lines.append(f"{path},{'' if number % UNRATED == 4 else said},p{number:04d}")
    (raw / TABLE).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return raw


SOURCE = {
    "ingest": {
        "name": "table",
        "table": TABLE,
        "labels": {"findings": "findings"},
        "patient": "patient",
        "modality": "ultrasound",
    },
    "preprocess": {
        "height": 32,
        "width": 32,
        "modality": "ultrasound",
        "label": "findings",
        "separator": "|",
        "validation_share": 0.2,
        "test_share": 0.25,
    },
    "pretrain": {"grid": [8, 8], "steps": 4, "batch_size": 8},
    "finetune": {
        "task": {"name": "multilabel", "label": "findings", "none": NONE},
        "steps": 6,
        "batch_size": 16,
    },
}
"""What a file of conf/base/sources says of it."""
