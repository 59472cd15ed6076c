"""Keep what finished replicates of a study predicted, so that a study outlasts its machine.

Adds the validation and test images of every replicate below `data` to the committed table
`docs/results/STUDY_cells.parquet`, and which labels each fraction used to
`docs/results/STUDY_subsets.parquet`; a replicate that is in both is that of `data`. Run it
after each replicate: a study may be made in several parts, on several machines.
`score_replicates.py STUDY` computes the scores from these tables alone.

    python benchmarks/keep_replicates.py transfer
"""

import argparse
from pathlib import Path

import pandas as pd
from pandas.api.types import is_numeric_dtype

from maskwise.artefacts.atomic import replacing
from score_replicates import RESULTS, ROOT, read_predictions, read_subsets

REPLICATE = ["source", "recipe", "seed"]


def main() -> None:
    """Add and say what the table now holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", help="a source")
    parser.add_argument("--data", type=Path, default=ROOT / "data")
    arguments = parser.parse_args()
    table = keep(arguments.study, arguments.data, RESULTS)
    found = table.groupby("recipe")["seed"].agg(lambda each: sorted(set(each)))
    for recipe, seeds in found.items():
        print(f"{recipe}: seeds {', '.join(map(str, seeds))}")


def keep(study: str, data: Path, folder: Path) -> pd.DataFrame:
    """Add what lies below ``data`` to both tables in ``folder``; return the predictions."""
    cells, used = (folder / f"{study}_{name}.parquet" for name in ("cells", "subsets"))
    table, subsets = finished(study, data)
    if used.exists():
        subsets = merged(read_subsets(used), subsets)
    if cells.exists():
        before = read_predictions(cells)
        check_same_images(before, table, cells, data)
        table = merged(before, table)
    # Seeds outermost: all recipes of one seed use the same images, which then compress to one.
    write(subsets, used, ["seed", "recipe", "fraction", "role", "image_id"])
    write(table, cells, [*REPLICATE, "mode", "fraction", "image_id"])
    return table


def finished(study: str, data: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what all finished replicates predicted, and the labels that they used."""
    files = sorted(data.glob(f"07_model_output/{study}/predictions/*/s*/predictions.parquet"))
    if not files:
        raise SystemExit(f"{data}: holds no finished replicate of {study}")
    for file in files:
        if not file.with_name("subsets.parquet").exists():
            raise SystemExit(f"{file.parent}: holds no subsets.parquet; run its finetune again")
    table, subsets = (
        pd.concat([pd.read_parquet(file.with_name(name)) for file in files], ignore_index=True)
        for name in ("predictions.parquet", "subsets.parquet")
    )
    return table, subsets


def check_same_images(before: pd.DataFrame, now: pd.DataFrame, cells: Path, data: Path) -> None:
    """Raise ``SystemExit`` where what is new was tested on images that the table lacks.

    An image's id depends on its path below the raw folder, and the split on the ids: a folder
    that lies one higher gives a study of its own.
    """
    tested = [table[table["split"] == "test"] for table in (before, now)]
    for fold, images in tested[1].groupby("fold")["image_id"]:
        known = set(tested[0].loc[tested[0]["fold"] == fold, "image_id"])
        strange = sorted(set(images) - known) if known else []
        if strange:
            raise SystemExit(
                f"{data}: {len(strange)} test images, such as {strange[0]}, are not in "
                f"{cells.name}: another split; was another folder given as raw_root?"
            )


def merged(before: pd.DataFrame, now: pd.DataFrame) -> pd.DataFrame:
    """Return both tables; of replicates that are in both, those of ``now``."""
    made = set(now[REPLICATE].drop_duplicates().itertuples(index=False, name=None))
    old = [row not in made for row in before[REPLICATE].itertuples(index=False, name=None)]
    return pd.concat([before[old], now], ignore_index=True)


def write(table: pd.DataFrame, path: Path, order: list[str]) -> None:
    """Write a table, small but with every figure as it was, its rows in one order."""
    table = table.sort_values(order)
    words = [name for name in table if not is_numeric_dtype(table[name])]
    table = table.astype(dict.fromkeys(words, "category"))
    whole = table.select_dtypes("integer").columns
    table = table.assign(
        **{name: pd.to_numeric(table[name], downcast="integer") for name in whole}
    )
    # Probabilities close to 0 and 1 would be ties in float32, which an AUROC counts as halves.
    # Split by byte they take less room than whole: no two are alike, but their exponents are.
    split = [name for name in table if name.startswith("p_")]
    with replacing(path) as temporary:
        table.to_parquet(
            temporary,
            index=False,
            compression="zstd",
            compression_level=19,
            use_dictionary=[name for name in table if name not in split],
            column_encoding=dict.fromkeys(split, "BYTE_STREAM_SPLIT"),
        )


if __name__ == "__main__":
    main()
