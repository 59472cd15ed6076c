"""The figures of ``referee.json`` as one table that a spreadsheet opens."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from maskwise.artefacts.tables import REFEREE

Line = dict[str, Any]


def referee_table(document: Mapping[str, Any]) -> pd.DataFrame:
    """Return ``tables.REFEREE``: one row per figure that the page prints or draws."""
    lines = list(_lines(document))
    who = {name: document[name] for name in ("recipe", "mode", "fraction")}
    table = pd.DataFrame([{**who, **line} for line in lines], columns=list(REFEREE))
    numbers = ["value", "low", "high"]
    counts = dict.fromkeys(("n_images", "n_groups", "n_patients"), "Int64")
    return table.astype({**dict.fromkeys(numbers, float), **counts})


def _lines(document: Mapping[str, Any]) -> Iterator[Line]:
    for name, each in document["classes"].items():
        for line in _of_class(each):
            counts = {key: each[key] for key in ("n_images", "n_groups")}
            yield {"class": name, **counts, **line}
    for name, table in document["confusion"].items():
        for truth, row in zip(table["names"], table["counts"], strict=True):
            for called, number in zip(table["names"], row, strict=True):
                at = f"truly {truth}, called {called}"
                yield {"part": "confusion", "class": name, "at": at} | _figure(
                    "answers", number
                )
    for column in document["subgroups"]:
        yield from _of_subgroups(column)


def _figure(name: str, value: Any) -> Line:
    """Return a figure's cells, with its ends where it has any."""
    if isinstance(value, Mapping):
        return {"figure": name, **{key: value.get(key) for key in ("value", "low", "high")}}
    return {"figure": name, "value": value}


def _of_class(each: Mapping[str, Any]) -> Iterator[Line]:
    yield {"part": "auroc", "at": ""} | _figure("auroc", each["auroc"])
    for point in each["operating_points"]:
        at = f"{point['fixed']} {point['target']:g} on validation"
        for name in ("sensitivity", "specificity", "ppv", "npv"):
            if point.get(name):
                yield {"part": "operating point", "at": at} | _figure(name, point[name])
    found = each["calibration"]
    for name, key in (("calibration_error", "error"), ("stated_minus_observed", "gap")):
        yield {"part": "calibration", "at": ""} | _figure(name, found[key])
    for one in found["bins"]:
        at = f"stated {one['from']:g} to {one['to']:g}"
        groups = {"n_images": None, "n_groups": one["n_groups"]}
        yield {"part": "reliability", "at": at} | _figure("mean stated", one["stated"]) | groups
        yield {"part": "reliability", "at": at} | _figure("observed", one["observed"]) | groups
        yield {"part": "reliability", "at": at} | _figure("answers", one["n_answers"]) | groups
    for one in each["net_benefit"]:
        at = f"threshold {one['threshold']:g}"
        for name, value in (
            ("net_benefit", one),
            ("treat_all", one["treat_all"]),
            ("above_the_better_default", one["above"]),
        ):
            yield {"part": "net benefit", "at": at} | _figure(name, value)


def _of_subgroups(column: Mapping[str, Any]) -> Iterator[Line]:
    for group in column["groups"]:
        counts = {key: group[key] for key in ("n_images", "n_groups", "n_patients")}
        for metric in column["metrics"]:
            at = f"{column['title']}: {group['name']}"
            found = group["figures"].get(metric)
            yield {"part": "subgroup", "class": "", "at": at, **counts} | _figure(metric, found)
