"""LGG in miniature: three patients, their slices and masks, and the table of all patients."""

from pathlib import Path

import numpy as np
from PIL import Image

from sources.drawing import disc, save_mask, scan

SLICES = {
    "TCGA_CS_4941_19960909": 11,
    "TCGA_DU_5849_19950405": 5,
    "TCGA_HT_A61B_19991127": 4,
}
"""Folder -> slices. Tumour is in the middle ones; of the last patient, whose grade is blank,
no sequence but FLAIR was made."""
TABLE = (
    "Patient,histological_type,neoplasm_histologic_grade,gender\n"
    "TCGA_CS_4941,1,2,2\n"
    "TCGA_CS_9999,1,1,1\n"
    "TCGA_DU_5849,2,1,\n"
    "TCGA_HT_A61B,1,,1\n"
)


def write(raw: Path, base: str = "kaggle_3m") -> Path:
    """Write the published layout below ``raw`` and return ``raw``."""
    seed = 0
    for name, count in SLICES.items():
        folder = raw / base / name
        folder.mkdir(parents=True)
        for number in range(1, count + 1):
            channels = [scan(seed + channel) for channel in range(3)]
            if "A61B" in name:
                channels = [channels[1]] * 3
            seed += 3
            Image.fromarray(np.dstack(channels)).save(folder / f"{name}_{number}.tif")
            shows = 1 < number < count
            lesion = disc(48, 64, r=0.2) if shows else np.zeros((48, 64), bool)
            save_mask(lesion, folder / f"{name}_{number}_mask.tif", "L")
    (raw / base / "data.csv").write_text(TABLE, encoding="utf-8")
    (raw / base / "README.md").write_text("about", encoding="utf-8")
    return raw
