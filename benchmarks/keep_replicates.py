"""Keep what finished replicates of a study predicted, so that a study outlasts its machine.

Adds the validation and test images of every replicate below `data` to the committed table
`docs/results/STUDY_cells.parquet`; a replicate that is in both is that of `data`. Run it after
each replicate: a study may be made in several parts, on several machines.
`score_replicates.py STUDY` computes the scores from that table alone.

    python benchmarks/keep_replicates.py transfer
"""

import argparse
from pathlib import Path

import pandas as pd

from maskwise.artefacts.atomic import replacing

ROOT = Path(__file__).parents[1]
REPLICATE = ["source", "recipe", "seed"]
CATEGORIES = [*REPLICATE[:2], "mode", "image_id", "group", "split", "truth"]
SMALL = {"float64": "float32", "int64": "int16"}


def main() -> None:
    """Add and say what the table now holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", help="a source")
    parser.add_argument("--data", type=Path, default=ROOT / "data")
    arguments = parser.parse_args()
    kept = ROOT / f"docs/results/{arguments.study}_cells.parquet"
    table = finished(arguments.study, arguments.data)
    if kept.exists():
        before = pd.read_parquet(kept).astype(dict.fromkeys(CATEGORIES, object))
        table = merged(before, table)
    with replacing(kept) as temporary:
        small(table).to_parquet(temporary, index=False, compression="zstd")
    found = table.groupby("recipe", observed=True)["seed"].agg(lambda each: sorted(set(each)))
    for recipe, seeds in found.items():
        print(f"{recipe}: seeds {', '.join(map(str, seeds))}")


def finished(study: str, data: Path) -> pd.DataFrame:
    """Return what all finished replicates predicted."""
    files = sorted(data.glob(f"07_model_output/{study}/predictions/*/s*/predictions.parquet"))
    if not files:
        raise SystemExit(f"{data}: holds no finished replicate of {study}")
    return pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)


def merged(before: pd.DataFrame, now: pd.DataFrame) -> pd.DataFrame:
    """Return both tables; of replicates that are in both, those of ``now``."""
    made = set(now[REPLICATE].drop_duplicates().itertuples(index=False, name=None))
    old = [row not in made for row in before[REPLICATE].itertuples(index=False, name=None)]
    return pd.concat([before[old], now], ignore_index=True)


def small(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table in small types, its rows in one order."""
    table = table.sort_values([*REPLICATE, "mode", "fraction", "image_id"])
    kinds = {name: SMALL.get(str(kind)) for name, kind in table.dtypes.items()}
    table = table.astype({name: kind for name, kind in kinds.items() if kind})
    return table.astype(dict.fromkeys(CATEGORIES, "category"))


if __name__ == "__main__":
    main()
