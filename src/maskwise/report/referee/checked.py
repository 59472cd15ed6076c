"""Which item of a checklist is answered where, and what is missing."""

from collections.abc import Iterator

from maskwise.report.elements import Paragraph, Requirement, Requirements, Section
from maskwise.report.referee.answers import ANSWERS
from maskwise.report.referee.claim import CLAIM
from maskwise.report.referee.items import Checklist, Item
from maskwise.report.referee.known import Known
from maskwise.report.referee.mi_claim import MI_CLAIM
from maskwise.report.referee.tripod import TRIPOD

CHECKLISTS = (CLAIM, TRIPOD, MI_CLAIM)
FOLDER = "conf/base/studies"
"""Of the files in which people write about their studies."""
STATES = ("answered", "in part", "missing", "article")
_OF_PROBABILITIES = (
    "benefit",
    "calibration",
    "confusion",
    "imbalance",
    "operating",
    "recalibration",
)
"""Answers that outlines do not have."""


def requirement(known: Known, item: Item) -> Requirement:
    """Return what there is to an item."""
    found = {name: ANSWERS[name](known) for name in item.here}
    answers = [answer for answer in found.values() if answer is not None]
    written = [(key, getattr(known.study, key)) for key in item.yours]
    lacking = [*_not_here(known, [name for name, one in found.items() if one is None])]
    lacking += [answer.lacks for answer in answers if answer.lacks]
    unwritten = [key for key, text in written if not text]
    if unwritten:
        keys = " and ".join(f"`report.study.{known.source}.{key}`" for key in unwritten)
        lacking.append(f"Missing; yours to write: {keys}.")
    if item.manuscript:
        state = "article"
        lacking = ["Yours to write, in the article itself."]
    elif not lacking:
        state = "answered"
    else:
        state = "in part" if answers or len(unwritten) < len(written) else "missing"
    return Requirement(
        item.number,
        item.asks,
        state,
        [(answer.text, answer.places) for answer in answers],
        [(key, text) for key, text in written if text],
        lacking,
    )


def _not_here(known: Known, names: list[str]) -> Iterator[str]:
    """Say why these pages have no answer."""
    if known.outlines and set(names) & set(_OF_PROBABILITIES):
        yield "Does not apply: an outline states no probability of a class."
        names = [name for name in names if name not in _OF_PROBABILITIES]
    told = {
        "subgroups": f"No subgroup was asked for: name columns in {known.option('subgroups')}.",
        "primary": (
            "Nothing was named beforehand; it can be, before a test image is read, in "
            f"`evaluate.primary.{known.source}`."
        ),
        "baseline": (
            "Nothing was run that this recipe could be compared with, or it is itself what the "
            "others are compared with."
        ),
        "significance": (
            "No comparison of this recipe, mode and fraction was named beforehand "
            f"(`evaluate.primary.{known.source}`), so none has a p."
        ),
        "duplicates": "No image was labelled twice here, which would show disagreement.",
        "errors": "No error is shown.",
    }
    for name in names:
        yield told[name]


def sections(known: Known) -> list[Section]:
    """Return a section for each checklist."""
    return [_section(known, each) for each in CHECKLISTS]


def _section(known: Known, checklist: Checklist) -> Section:
    rows = [requirement(known, item) for item in checklist.items]
    return Section(
        checklist.anchor,
        f"Checklist: {checklist.title}",
        [
            Paragraph(
                f"After {checklist.after}. Items are put in our own words; the publication "
                "has theirs, and it alone counts."
            ),
            Requirements(f"{checklist.title}: {tally(rows)}", rows),
        ],
    )


def tally(rows: list[Requirement]) -> str:
    """Count items by state."""
    counted = {state: sum(row.state == state for row in rows) for state in STATES}
    words = {
        "answered": "answered",
        "in part": "answered in part",
        "missing": "missing",
        "article": "for the article itself",
    }
    return ", ".join(f"{n} {words[state]}" for state, n in counted.items() if n)


def tallies(known: Known) -> list[str]:
    """Return a line for each checklist."""
    return [
        f"{each.title}, {len(each.items)} {each.rows}: "
        f"{tally([requirement(known, item) for item in each.items])}."
        for each in CHECKLISTS
    ]


def missing_keys(known: Known) -> list[str]:
    """Return the fields of the study that no one wrote, in the order of the checklists."""
    asked = [key for each in CHECKLISTS for item in each.items for key in item.yours]
    return [key for key in dict.fromkeys(asked) if not getattr(known.study, key)]
