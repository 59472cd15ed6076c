"""The same figures in parts of the test images, and the part where they are worst."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from maskwise.array_types import Flags, Floats
from maskwise.evaluate import scales
from maskwise.evaluate.arrangement import Arrangement, Curve
from maskwise.evaluate.figures import figure, rounded
from maskwise.evaluate.referee.columns import UNKNOWN, Column
from maskwise.evaluate.resampling import LEVEL, Draws, Resampled, resample
from maskwise.evaluate.weighing import TestSet, Weigh, Weights

BESIDE = {"diagnosis": "accuracy", "multilabel": "macro_f1", "lesion": "lesion_dice"}
"""Beside the leading metric, one that needs no two classes, or is called at a threshold."""
FEWEST = 5
"""Groups of a class, or without it, below which a figure that rests on the class is chance."""


@dataclass(frozen=True)
class Tested:
    """One curve's answers, and all that figures of a part of the images need."""

    arrangement: Arrangement
    curve: Curve
    draws: Draws
    weigh: Weigh
    patients: Mapping[str, Any]
    """``image_id`` -> patient; null where unknown."""
    smallest: int

    @property
    def metrics(self) -> list[str]:
        """Metrics of a subgroup, the leading one first."""
        measures = self.arrangement.measures
        wanted = dict.fromkeys((measures.leading, BESIDE[measures.task]))
        return [name for name in wanted if name in measures.metrics]

    def scores(self, chosen: Sequence[Flags]) -> Floats:
        """Return ``metrics`` of the images ``chosen`` in each repetition, ``(M, R, D)``."""
        measures = self.arrangement.measures
        places = [measures.metrics.index(name) for name in self.metrics]
        nothing = np.full((len(places), self.draws.groups.shape[1]), np.nan)
        parts = []
        networks = self.arrangement.values[self.curve]
        for values, test, rows in zip(networks, self.arrangement.tested, chosen, strict=True):
            if not rows.any():
                parts.append(nothing)
                continue
            weights = Weights(_part(test, rows), self.draws, self.weigh)
            scored = [measures.score(one[rows], weights)[places] for one in values]
            parts.append(np.mean(scored, axis=0))
        return np.stack(parts, axis=1)

    def resampled(self, values: Floats, groups: int) -> Resampled:
        """Resample ``(R, D)``, of folds those in which the part has a value."""
        there = ~np.isnan(values[:, 0])
        draws = self.draws
        if there.any() and not there.all() and len(draws.sizes) > 1:
            sizes = tuple(np.asarray(draws.sizes)[there].tolist())
            draws = replace(draws, sizes=sizes, repetitions=int(there.sum()))
            values = values[there]
        return resample(values, draws, groups)


def _part(test: TestSet, rows: Flags) -> TestSet:
    _, unit = np.unique(test.unit[rows], return_inverse=True)
    return TestSet(test.image_ids[rows], test.truth[rows], test.group[rows], unit.reshape(-1))


def subgroups(tested: Tested, column: Column) -> dict[str, Any]:
    """Return the groups of one column with their figures, and the worst of them."""
    of_image = [
        column.groups.reindex(test.image_ids).to_numpy(object)
        for test in tested.arrangement.tested
    ]
    there = {name for names in of_image for name in names}
    order = [name for name in (*column.order, UNKNOWN) if name in there]
    rows = {name: [names == name for names in of_image] for name in order}
    groups = [_group(tested, name, rows[name]) for name in order]
    return {
        "column": column.name,
        "title": column.title,
        "metrics": tested.metrics,
        "groups": groups,
        "worst": _worst(tested, groups, rows),
    }


def _group(tested: Tested, name: str, rows: Sequence[Flags]) -> dict[str, Any]:
    measures, tests = tested.arrangement.measures, tested.arrangement.tested
    images = pd.concat(
        [
            pd.DataFrame(
                {"id": test.image_ids[own], "group": test.group[own], "truth": test.truth[own]}
            )
            for test, own in zip(tests, rows, strict=True)
        ]
    ).drop_duplicates("id")
    shows = measures.shows[images["truth"]]  # (n, classes)
    by_class, without = (
        {
            label: int(images.loc[there[:, place], "group"].nunique())
            for place, label in enumerate(measures.classes)
        }
        for there in (shows, ~shows)
    )
    rare = _rare(tested, by_class, without)
    patients = images["id"].map(tested.patients)
    entry: dict[str, Any] = {
        "name": name,
        "n_images": len(images),
        "n_groups": int(images["group"].nunique()),
        "n_patients": None if patients.isna().any() else int(patients.nunique()),
        "lacks": _lacks(tested, by_class),
        "rare": rare,
        "figures": {},
    }
    if entry["n_groups"] < tested.smallest:
        return entry
    for metric, values in zip(tested.metrics, tested.scores(rows), strict=True):
        if set(measures.rests_on(metric)) & rare.keys():
            continue
        on = [by_class[label] for label in measures.rests_on(metric) if by_class.get(label)]
        found = tested.resampled(values, min(on, default=entry["n_groups"]))
        ends = scales.interval(
            found.value, found.both, entry["n_groups"], measures.scale(metric)
        )
        entry["figures"][metric] = figure(found.value, ends)
    return entry


def _rare(
    tested: Tested, by_class: Mapping[str, int], without: Mapping[str, int]
) -> dict[str, int]:
    """Return the classes that too few groups here show, or are without, and how few.

    One that no group shows, or every one, has no figure of its own anyway.
    """
    measures, fewest = tested.arrangement.measures, min(FEWEST, tested.smallest)
    found = {}
    for label in getattr(measures, "scored", measures.classes):
        least = min([n for n in (by_class[label], without[label]) if n], default=fewest)
        if least < fewest:
            found[label] = least
    return found


def _lacks(tested: Tested, by_class: Mapping[str, int]) -> list[str]:
    """Return the classes that the test images show, and this part of them does not."""
    measures = tested.arrangement.measures
    if measures.task == "lesion":
        return []
    scored = getattr(measures, "scored", measures.classes)
    tested_at_all = measures.shows[tested.arrangement.images()["truth"]].any(axis=0)
    return [
        label
        for label, tests in zip(measures.classes, tested_at_all, strict=True)
        if tests and label in scored and not by_class[label]
    ]


def _worst(
    tested: Tested, groups: Sequence[Mapping[str, Any]], rows: Mapping[str, Sequence[Flags]]
) -> dict[str, Any] | None:
    """Name the group with the lowest figure, and how far below the others together it is.

    By the leading metric groups are compared that show the same classes, for a mean over
    others is another thing. Where there are not two of them all are compared by the metric
    beside it, which the mix of classes may then explain. None where one group alone is large
    enough. An unknown value is no group of patients.
    """
    for metric in tested.metrics:
        known = [
            one
            for one in groups
            if one["name"] != UNKNOWN
            and one["figures"].get(metric, {}).get("value") is not None
        ]
        alike: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
        for one in known:
            alike.setdefault(tuple(one["lacks"]), []).append(one)
        compared = known
        if metric == tested.metrics[0]:
            compared = max(alike.values(), key=len, default=[])
        if len(compared) > 1:
            return _below_the_others(tested, compared, metric, rows) | {
                "alike": len({tuple(one["lacks"]) for one in compared}) == 1
            }
    return None


def _below_the_others(
    tested: Tested,
    compared: Sequence[Mapping[str, Any]],
    metric: str,
    rows: Mapping[str, Sequence[Flags]],
) -> dict[str, Any]:
    place = tested.metrics.index(metric)
    worst = min(compared, key=lambda one: one["figures"][metric]["value"])
    others = [one["name"] for one in compared if one is not worst]
    together = [
        np.logical_or.reduce(each)
        for each in zip(*(rows[name] for name in others), strict=True)
    ]
    own, rest = (tested.scores(each)[place] for each in (rows[worst["name"]], together))
    gap = tested.resampled(own - rest, worst["n_groups"])
    half = float(stats.t.isf((1 - LEVEL) / 2, gap.both.freedom)) * gap.both.variance**0.5
    return {
        "name": worst["name"],
        "metric": metric,
        "value": worst["figures"][metric]["value"],
        "others": rounded(tested.resampled(rest, worst["n_groups"]).value),
        "of": len(compared),
        "difference": figure(
            gap.value, (max(-1.0, gap.value - half), min(1.0, gap.value + half))
        ),
    }
