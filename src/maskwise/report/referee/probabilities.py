"""Sections of what rests on probabilities: thresholds, classes, calibration, net benefit."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from maskwise.report.elements import (
    Cell,
    Element,
    Fold,
    Paragraph,
    Pictures,
    Row,
    Section,
    Table,
)
from maskwise.report.figures import decision, reliability
from maskwise.report.formatting import listing, measured, number, share, signed_with_interval
from maskwise.report.pictures import as_svg
from maskwise.report.referee.known import Known
from maskwise.wording import count

FEW = 20
"""Validation images of a kind, below which a threshold is chosen much by chance."""


def build(known: Known) -> list[Section]:
    """Return the four sections; of outlines one that says why there are none."""
    if known.outlines:
        return [_not_of_outlines()]
    return [_operating(known), _classes(known), _calibration(known), _benefit(known)]


def _not_of_outlines() -> Section:
    text = (
        "Operating points, reliability diagrams, decision curves, confusion and the gallery of "
        "errors do not apply to outlines: predictions count pixels and hold no probability of "
        "a class. The report has Dice, sensitivity, precision and distances, and shows the "
        "outlines that disagree most."
    )
    return Section("operating", "What does not apply", [Paragraph(text)])


def _operating(known: Known) -> Section:
    classes = known.document["classes"]
    text = (
        "A class is called from a threshold of its probability on. Each network's threshold "
        "was chosen on the validation images whose labels it had: of all that reach the fixed "
        "rate there, the one with the best other rate. Then it was measured on test images, "
        "where the fixed rate need not be met, and the interval says how far it may be off. "
        "The same validation images chose learning rates, so that what was reached there "
        f"flatters the network. {known.scale}"
    )
    elements: list[Element] = [Paragraph(text)]
    elements += [Paragraph(line) for line in _few(known)]
    for name, each in classes.items():
        rows: list[Row] = [_point(point, each) for point in each["operating_points"]]
        head = ["fixed on validation", "sensitivity on test", "specificity on test"]
        if each["prevalence"] is not None:
            at = share(each["prevalence"])
            head += [f"PPV at {at}", f"NPV at {at}"]
        head += ["called from", "sensitivity, specificity on validation"]
        counts = f"{each['n_images']:,} of {count(known.document['n_images'], 'test image')}"
        if rows:
            elements.append(
                Table(f"{name}: {counts} ({each['n_groups']:,} groups)", head, rows)
            )
    elements.append(Paragraph(_prevalence(known)))
    return Section("operating", "Operating points", elements)


def _few(known: Known) -> Iterator[str]:
    few = [
        f"{name} {min(each['validation'].values())}"
        for name, each in known.document["classes"].items()
        if min(each["validation"].values()) < FEW
    ]
    if few:
        yield (
            f"Few validation images: thresholds of some network rest on fewer than {FEW} "
            f"images that show the class, or that do not ({listing(few)}), and so on chance "
            "as well."
        )


def _point(point: Mapping[str, Any], each: Mapping[str, Any]) -> Row:
    fixed = f"{point['fixed']} {share(point['target'])}"
    if not point["chosen"]:
        why = "no threshold: validation images lack the class, or the rest"
        return (fixed, why, *[""] * (5 if each["prevalence"] is not None else 3))
    reached = point["validation"]
    cells = [measured(point["sensitivity"]), measured(point["specificity"])]
    if each["prevalence"] is not None:
        cells += [measured(point["ppv"]), measured(point["npv"])]
    there = f"{number(reached['sensitivity'])}, {number(reached['specificity'])}"
    return (fixed, *cells, _thresholds(point["thresholds"]), there)


def _thresholds(values: list[float | None]) -> str:
    """Write the networks' thresholds: one number, or the lowest and the highest."""
    known = [value for value in values if value is not None]
    if not known:
        return "never"
    low, high = number(min(known)), number(max(known))
    text = low if low == high else f"{low} to {high}"
    never = len(values) - len(known)
    return f"{text} (never by {count(never, 'network')})" if never else text


def _prevalence(known: Known) -> str:
    stated = [
        name
        for name, each in known.document["classes"].items()
        if each["prevalence"] is not None
    ]
    if not stated:
        return (
            "PPV and NPV depend on how common a class is where the network is used, which "
            f"nobody stated: {known.option('prevalence')} does, as in `{{malignant: 0.05}}`. "
            "Those of the test images are not printed, because test images are rarely as "
            "common a mix as patients."
        )
    return (
        "PPV and NPV follow, by Bayes' theorem, from sensitivity and specificity at the "
        f"prevalence that was stated ({known.option('prevalence')}); the ends of their "
        "intervals are computed from the ends of both, and so are rather too wide."
    )


def _classes(known: Known) -> Section:
    classes, document = known.document["classes"], known.document
    rows: list[Row] = [
        (name, f"{each['n_images']:,} ({each['n_groups']:,})", measured(each["auroc"]))
        for name, each in classes.items()
    ]
    head = ("class", "test images (groups) that show it", f"AUROC against {known.rest}")
    elements: list[Element] = [Table("AUROC of each class", head, rows)]
    if document["unmeasured"]:
        elements.append(
            Paragraph(
                f"Without figures on this page: {listing(document['unmeasured'])}. Of the "
                "images that some network was tested on all show it, or none does."
            )
        )
    once = "once" if document["n_networks"] == 1 else "once for each network that tested it"
    elements.append(
        Paragraph(
            f"Confusion counts each image {once}; a row is what the image truly showed, a "
            "column what it was called: "
            + (
                "a label from its threshold on."
                if known.several
                else "the class with the highest probability."
            )
        )
    )
    elements += [_confusion(name, each) for name, each in document["confusion"].items()]
    return Section("classes", "Classes", elements)


def _confusion(name: str, table: Mapping[str, Any]) -> Table:
    rows: list[Row] = []
    for truth, counts in zip(table["names"], table["counts"], strict=True):
        total = sum(counts)
        cells = [Cell(f"{n:,}", shade=n / total if total else 0.0) for n in counts]
        rows.append((f"truly {truth}", *cells, f"{total:,}"))
    head = ("", *(f"called {each}" for each in table["names"]), "all")
    return Table(f"Confusion of {name}" if name else "Confusion", head, rows)


def _calibration(known: Known) -> Section:
    rows: list[Row] = []
    pictures = []
    for name, each in known.document["classes"].items():
        found = each["calibration"]
        gap = found["gap"]
        told = signed_with_interval(gap["value"], gap["low"], gap["high"])
        error = found["error"]
        rows.append((name, measured(error), number(error["if_perfect"]), told))
        answers = sum(one["n_answers"] for one in found["bins"])
        pictures.append(
            as_svg(
                reliability.draw(found["bins"], name),
                f"Reliability diagram of {name}: the share of images that show it over its "
                "stated probability, with 95 % intervals; below, the answers in each bin.",
                f"{name}: {count(answers, 'answer')} of {known.networks}.",
            )
        )
    text = (
        f"In each of {known.document['bins']} bins of the stated probability, how often was "
        "the class there? On the dotted line probabilities can be taken at face value. The "
        "expected calibration error is the mean distance from it, chance included: “if "
        "perfect” is what it would be on so few images if all were right. The gap is the mean "
        "stated probability minus the share of images that show the class: above 0 the network "
        f"overstates it. {known.scale} Bars hold the choice of test images alone."
    )
    head = ("class", "expected calibration error", "if perfect", "gap")
    table = Table("Calibration of each class against the rest", head, rows)
    return Section("calibration", "Calibration", [Paragraph(text), table, Pictures(pictures)])


def _benefit(known: Known) -> Section:
    elements: list[Element] = [
        Paragraph(
            "Whoever acts from a probability of 10 % on holds one missed case to be as bad as "
            "nine needless actions. Net benefit counts, per image, cases found less needless "
            "actions at that rate (Vickers and Elkin 2006), at the share of cases among the "
            "test images. Asking the network is worth it where its curve lies above both "
            "others: acting on all, and acting on none, which has net benefit 0. A threshold "
            "probability is chosen by what is at stake, not by the curve. Intervals are "
            "those of each threshold by itself, so that among many some leave 0 out by chance. "
            f"{known.scale}"
        )
    ]
    pictures = []
    for name, each in known.document["classes"].items():
        points = each["net_benefit"]
        pictures.append(
            as_svg(
                decision.draw(points, name),
                f"Decision curve of {name}: net benefit over the threshold probability, with "
                "its 95 % interval, beside acting on all and on none.",
                f"{name}: {_worth(points)}",
            )
        )
    elements.append(Pictures(pictures))
    tables: list[Element] = [
        _benefits(known, name, each["net_benefit"])
        for name, each in known.document["classes"].items()
    ]
    if known.document["benefit"]:
        elements.append(Fold("Net benefit in figures", tables))
    return Section("benefit", "Decision curves", elements)


def _worth(points: Sequence[Mapping[str, Any]]) -> str:
    """Say where the interval of the difference to the better default lies above 0."""
    runs: list[list[float]] = []
    before = False
    for one in points:
        good = (one["above"]["low"] or 0.0) > 0
        if good and before:
            runs[-1].append(one["threshold"])
        elif good:
            runs.append([one["threshold"]])
        before = good
    if not runs:
        return "no threshold at which the difference's interval lies above 0."
    told = [
        share(run[0]) if len(run) == 1 else f"{share(run[0])} to {share(run[-1])}"
        for run in runs
    ]
    return f"above both others, by the difference's interval, at {listing(told)}."


def _benefits(known: Known, name: str, points: list[Mapping[str, Any]]) -> Table:
    rows: list[Row] = [
        (
            share(one["threshold"]),
            measured(one),
            number(one["treat_all"]),
            signed_with_interval(*(one["above"][key] for key in ("value", "low", "high"))),
        )
        for one in points
        if one["threshold"] in known.document["benefit"]
    ]
    head = ("threshold probability", "network", "act on all", "network above the better other")
    return Table(f"{name}: net benefit per image; act on none: 0", head, rows)
