"""Lay out the raw folders of docs/results/spark_vs_contrast.md: two labelled sets and lung CT.

`FOLDER/ct_covid` and `FOLDER/ct_head` each hold all images of the three sets, linked or copied,
and a table for the source `table`: COVID-CT has its labels, patients and official split in the
first, head CT its labels in the second; all other images have none, so they are pre-trained
on and nothing else. Slices of one CT series count as one patient.

    python benchmarks/lay_out_ct.py data/01_raw --covid COVID-CT --head HEAD-CT --lung LUNA
"""

import argparse
import os
import re
import shutil
from pathlib import Path

import pandas as pd

from maskwise.ingest.sources.covid_ct import CovidCtConfig
from maskwise.ingest.sources.head_ct import HeadCtConfig

COLUMNS = ["path", "set", "diagnosis", "patient", "split"]
SERIES = re.compile(r"(.+)\.mhd_\d+\.png\Z")
"""What a slice of LUNA16 is called: series, then number."""


def main() -> None:
    """Lay out both folders, and say how many images each holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--covid", type=Path, required=True, help="raw folder of COVID-CT")
    parser.add_argument("--head", type=Path, required=True, help="raw folder of head CT")
    parser.add_argument("--lung", type=Path, required=True, help="<series>.mhd_<slice>.png")
    parser.add_argument(
        "--patients",
        choices=["tables", "unknown"],
        default="tables",
        help="of COVID-CT, as the source's option",
    )
    options = parser.parse_args()
    raws = {"covid": options.covid, "head": options.head, "lung": options.lung}
    sets = {
        "covid": CovidCtConfig(patients=options.patients).listing(options.covid).images,
        "head": HeadCtConfig().listing(options.head).images,
        "lung": lung(options.lung),
    }
    for labelled in ("covid", "head"):
        target = options.folder / f"ct_{labelled}"
        parts = []
        for name, images in sets.items():
            place(images["path"], raws[name], target / name)
            told = images if name == labelled else without_labels(images, labelled)
            parts.append(as_table(told, name))
        table = pd.concat(parts, ignore_index=True)
        table.to_csv(target / "images.csv", index=False)
        print(f"{target}: {len(table)} images, {table['diagnosis'].notna().sum()} labelled")


def lung(raw: Path) -> pd.DataFrame:
    """List the slices, their series as the patient."""
    paths = sorted(path.relative_to(raw).as_posix() for path in raw.rglob("*.png"))
    series = [SERIES.match(Path(path).name) for path in paths]
    if not paths or None in series:
        raise SystemExit(f"{raw}: holds no slices <series>.mhd_<slice>.png, or others as well")
    return pd.DataFrame({"path": paths, "patient": [match[1] for match in series if match]})


def without_labels(images: pd.DataFrame, labelled: str) -> pd.DataFrame:
    """Return the images as training images; where the others have no split, without one."""
    kept = images[["path", "patient"]]
    return kept.assign(split="train" if labelled == "covid" else None)


def as_table(images: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return a set's rows of the table; its patients are no other set's."""
    patients = images["patient"].map(lambda each: f"{name} {each}", na_action="ignore")
    return pd.DataFrame(
        {
            "path": f"{name}/" + images["path"],
            "set": name,
            "diagnosis": images.get("label_diagnosis"),
            "patient": patients,
            "split": images.get("split"),
        },
        columns=COLUMNS,
    )


def place(paths: "pd.Series[str]", raw: Path, target: Path) -> None:
    """Put the files below ``target``; links cost no room where the disk is the same."""
    for path in paths:
        if not (raw / path).is_file():
            raise SystemExit(f"{raw / path}: is in an archive; unpack it")
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        if not (target / path).exists():
            try:
                os.link(raw / path, target / path)
            except OSError:  # another disk
                shutil.copyfile(raw / path, target / path)


if __name__ == "__main__":
    main()
