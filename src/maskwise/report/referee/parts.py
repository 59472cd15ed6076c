"""Sections of where it goes wrong: subgroups, and the most confident errors."""

from collections.abc import Mapping
from typing import Any

from maskwise.report.elements import (
    Element,
    Heading,
    Paragraph,
    Row,
    Section,
    Table,
    Thumbnails,
)
from maskwise.report.formatting import interval, listing, measured, number, signed
from maskwise.report.pictures import thumbnail
from maskwise.report.referee.known import Known
from maskwise.wording import count


def subgroups(known: Known) -> Section:
    """Show each column's groups, and name the worst."""
    columns = known.document["subgroups"]
    elements: list[Element] = []
    if not columns:
        elements.append(
            Paragraph(
                f"None was asked for: {known.option('subgroups')} names columns of the "
                "manifest, as in `[site, sex, age]`, and `bands` beside it says where to cut "
                "numbers. `lesion_size` is the size of what is outlined."
            )
        )
    for column in columns:
        elements += [
            Heading(column["title"][:1].upper() + column["title"][1:]),
            _groups(known, column),
            *(Paragraph(text) for text in (*_small(known, column), *_rare(known, column))),
            Paragraph(_worst(known, column)),
        ]
    return Section("subgroups", "Subgroups", elements)


def _groups(known: Known, column: Mapping[str, Any]) -> Table:
    rows: list[Row] = []
    for group in column["groups"]:
        n = group["n_patients"]
        persons = f"{group['n_groups']:,} groups" if n is None else f"{n:,}"
        cells = [measured(group["figures"].get(metric)) for metric in column["metrics"]]
        lacks = listing(group["lacks"]) or "—"
        rows.append((group["name"], f"{group['n_images']:,}", persons, *cells, lacks))
    head = (
        column["title"],
        "test images",
        "patients",
        *(known.facts.in_print(metric) for metric in column["metrics"]),
        "shows no",
    )
    return Table(f"Test images by {column['title']}, with 95 % intervals", head, rows)


def _small(known: Known, column: Mapping[str, Any]) -> list[str]:
    small = [
        f"{group['name']} ({count(group['n_images'], 'image')} of {_persons(group)})"
        for group in column["groups"]
        if group["n_groups"] < known.document["smallest"]
    ]
    if not small:
        return []
    return [
        f"Fewer than {known.document['smallest']} patients or groups "
        f"({known.option('smallest')}) give no interval worth printing, so without a figure: "
        f"{listing(small)}."
    ]


def _rare(known: Known, column: Mapping[str, Any]) -> list[str]:
    """Say of which groups a figure is left out because it would rest on very few."""
    enough = [
        group for group in column["groups"] if group["n_groups"] >= known.document["smallest"]
    ]
    left_out = {
        metric: [group for group in enough if metric not in group["figures"]]
        for metric in column["metrics"]
    }
    return [
        f"Too few patients or groups of some class, or without it, for "
        f"{known.facts.in_print(metric)}: {listing(map(_rarest, groups))}."
        for metric, groups in left_out.items()
        if groups
    ]


def _rarest(group: Mapping[str, Any]) -> str:
    return f"{group['name']} ({listing(f'{name} {n}' for name, n in group['rare'].items())})"


def _persons(group: Mapping[str, Any]) -> str:
    if group["n_patients"] is None:
        return count(group["n_groups"], "group")
    return count(group["n_patients"], "patient")


def _worst(known: Known, column: Mapping[str, Any]) -> str:
    worst = column["worst"]
    if worst is None:
        return "No worst group is named: fewer than two groups are large enough for a figure."
    gap = worst["difference"]
    ends = interval(gap["low"], gap["high"])
    sure = gap["high"] is not None and gap["high"] < 0
    verdict = (
        "the interval excludes 0"
        if sure
        else "the interval includes 0, so that chance is a fair explanation"
    )
    mix = (
        ""
        if worst["alike"]
        else " The groups do not show the same classes, and part of it may be that."
    )
    return (
        f"Worst of {worst['of']}: {column['title']} {worst['name']}, "
        f"{known.facts.in_print(worst['metric'])} {number(worst['value'])} against "
        f"{number(worst['others'])} in the others together "
        f"({signed(gap['value'])} {ends}); {verdict}. The lowest of several figures looks "
        f"lower than it is.{mix}"
    )


def _of_several(known: Known) -> str:
    if known.document["n_networks"] == 1:
        return ""
    tested = " that tested the image" if known.document["n_folds"] else ""
    return f", which is the mean over the networks{tested}"


def errors(known: Known) -> Section | None:
    """Show the errors that the networks were most sure of; None where there can be none."""
    found = known.document["errors"]
    if known.outlines:
        return None
    if not found:
        text = (
            "No test image was called wrongly by the mean probability, or none was asked for."
        )
        return Section("errors", "Most confident errors", [Paragraph(text)])
    store = known.facts.inputs.store
    text = (
        f"Wrong answers with the highest probability, one per group{_of_several(known)}. "
        "Scans are drawn as the network saw them, from the store. No name and no id stands "
        "here; referee.json has the image_id of each, in this order."
    )
    if store is None:
        return Section("errors", "Most confident errors", [Paragraph(text)])
    scans = store.intensities(store.rows([one["image_id"] for one in found]))
    pictures = [
        thumbnail(
            scan,
            f"Scan {place} of the most confident errors: truly {one['truth']}, called "
            f"{one['called']}.",
            f"{place}. truly {one['truth']}, called {one['called']} "
            f"({number(one['probability'], 2)})",
        )
        for place, (scan, one) in enumerate(zip(scans, found, strict=True), 1)
    ]
    return Section("errors", "Most confident errors", [Paragraph(text), Thumbnails(pictures)])
