"""A table in miniature, as Head CT is published: blanks after commas, ids unpadded."""

from pathlib import Path

from sources.drawing import save, scan

IMAGES = 12


def write(raw: Path) -> Path:
    """Write ``labels.csv`` and ``head_ct/000.png`` and on; the first half is labelled 1."""
    rows = ["id, hemorrhage"]
    for number in range(IMAGES):
        save(scan(number), raw / "head_ct" / f"{number:03d}.png", "RGB")
        rows.append(f"{number}, {int(number < IMAGES / 2)}")
    (raw / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return raw
