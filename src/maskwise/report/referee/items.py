"""One item of a checklist: what it asks, what the pages answer, and what only people know."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """What a guideline asks, in our own words and by its number."""

    number: str
    asks: str
    here: tuple[str, ...] = ()
    """Names in ``answers.ANSWERS``: what these pages say to it."""
    yours: tuple[str, ...] = ()
    """Fields of ``StudyFacts``: what only the study's people can say to it."""
    manuscript: bool = False
    """Whether it is about the text of the article itself, which no page can be."""


@dataclass(frozen=True)
class Checklist:
    """One guideline."""

    anchor: str
    title: str
    after: str
    """The publication that its items follow."""
    items: tuple[Item, ...]
    rows: str = "items"
    """What the guideline has so many of."""
