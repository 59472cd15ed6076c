"""Head CT in miniature: blanks after commas, ids unpadded, the order of files is the label."""

from pathlib import Path

from sources.drawing import save, scan

IMAGES = 12


def write(raw: Path, folder: str = "head_ct/head_ct") -> Path:
    """Write ``labels.csv`` and ``<folder>/000.png`` and on; the first half is labelled 1."""
    rows = ["id, hemorrhage"]
    for number in range(IMAGES):
        mode = "RGBA" if number >= IMAGES - 2 else "RGB"
        save(scan(number), raw / folder / f"{number:03d}.png", mode)
        rows.append(f"{number},{int(number < IMAGES / 2)}")
    (raw / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return raw
