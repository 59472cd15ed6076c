"""The test images that the networks were most sure of, and wrong about."""

from typing import Any

import numpy as np
import pandas as pd

from maskwise.evaluate.arrangement import Arrangement, Curve
from maskwise.evaluate.figures import rounded


def confident_errors(arrangement: Arrangement, curve: Curve, most: int) -> list[dict[str, Any]]:
    """Return the wrong answers with the highest probability, the highest first, one per group.

    Chances are the mean over the networks that tested the image. Of a diagnosis the answer is
    its most probable class; of several labels each is called at its threshold, and how sure
    a network is that a label is absent is 1 minus its probability.
    """
    parts = []
    for networks, test in zip(arrangement.values[curve], arrangement.tested, strict=True):
        for values in networks:
            part = pd.DataFrame(values, columns=list(arrangement.measures.columns))
            parts.append(
                part.assign(image_id=test.image_ids, group=test.group, truth=test.truth)
            )
    answers = pd.concat(parts, ignore_index=True).groupby("image_id", sort=True)
    mean = answers[list(arrangement.measures.columns)].mean()
    first = answers[["group", "truth"]].first()
    told = _of_labels if arrangement.measures.task == "multilabel" else _of_classes
    wrong = told(arrangement, mean, first)
    wrong["networks"] = wrong["image_id"].map(answers.size())
    wrong = wrong.sort_values(
        ["probability", "image_id"], ascending=[False, True], kind="stable"
    )
    wrong = wrong.drop_duplicates("group").head(most)
    return [
        {
            "image_id": str(row["image_id"]),
            "truth": str(row["truth"]),
            "called": str(row["called"]),
            "probability": rounded(float(row["probability"])),
            "networks": int(row["networks"]),
        }
        for _, row in wrong.iterrows()
    ]


def _of_classes(
    arrangement: Arrangement, mean: pd.DataFrame, first: pd.DataFrame
) -> pd.DataFrame:
    kinds = np.asarray(arrangement.measures.kinds, object)
    called = mean.to_numpy().argmax(axis=1)
    found = pd.DataFrame(
        {
            "image_id": mean.index,
            "group": first["group"].to_numpy(),
            "truth": kinds[first["truth"].to_numpy()],
            "called": kinds[called],
            "probability": mean.to_numpy().max(axis=1),
        }
    )
    return found[found["truth"] != found["called"]]


def _of_labels(
    arrangement: Arrangement, mean: pd.DataFrame, first: pd.DataFrame
) -> pd.DataFrame:
    parts = []
    for name in arrangement.measures.classes:
        probabilities, shows = mean[f"p_{name}"], mean[f"truth_{name}"] > 0
        called = probabilities >= mean[f"threshold_{name}"]
        part = pd.DataFrame(
            {
                "image_id": mean.index,
                "group": first["group"].to_numpy(),
                "truth": np.where(shows, name, f"no {name}"),
                "called": np.where(called, name, f"no {name}"),
                "probability": np.where(called, probabilities, 1 - probabilities),
            }
        )
        parts.append(part[(called != shows).to_numpy()])
    return pd.concat(parts, ignore_index=True)


def confusion(arrangement: Arrangement, curve: Curve) -> dict[str, Any]:
    """Count what was called what, each image once for each network that tested it.

    Of a diagnosis one table, truth by row; of several labels one of two by two for each.
    """
    measures, tables = arrangement.measures, dict[str, Any]()
    names = list(measures.classes)
    for networks, test in zip(arrangement.values[curve], arrangement.tested, strict=True):
        for values in networks:
            if measures.task == "multilabel":
                probabilities, truth, thresholds = np.split(values, 3, axis=1)
                for place, name in enumerate(names):
                    cell = 2 * (truth[:, place] > 0) + (probabilities >= thresholds)[:, place]
                    counts = np.bincount(cell.astype(int), minlength=4).reshape(2, 2)
                    tables[name] = tables.get(name, 0) + counts
            else:
                cell = test.truth * len(names) + values.argmax(axis=1)
                counts = np.bincount(cell, minlength=len(names) ** 2)
                tables[""] = tables.get("", 0) + counts.reshape(len(names), -1)
    if measures.task == "multilabel":
        return {
            name: {"names": [f"no {name}", name], "counts": table.tolist()}
            for name, table in tables.items()
        }
    return {"": {"names": names, "counts": tables[""].tolist()}}
