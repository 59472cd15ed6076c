"""What a section of the page is made of; the template knows how each is set."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from maskwise.report.pictures import Picture
from maskwise.report.styles import Style


@dataclass(frozen=True)
class Heading:
    """A heading inside a section."""

    kind: ClassVar[str] = "heading"
    text: str
    style: Style | None = None
    """Draws the recipe's marker before the text."""


@dataclass(frozen=True)
class Paragraph:
    """One paragraph of prose."""

    kind: ClassVar[str] = "paragraph"
    text: str


@dataclass(frozen=True)
class Items:
    """A bulleted list."""

    kind: ClassVar[str] = "items"
    items: Sequence[str]


@dataclass(frozen=True)
class Commands:
    """Lines to type."""

    kind: ClassVar[str] = "commands"
    lines: Sequence[str]


@dataclass(frozen=True)
class Files:
    """Files beside the page, linked, each with what it is."""

    kind: ClassVar[str] = "files"
    files: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Terms:
    """Words and what they mean."""

    kind: ClassVar[str] = "terms"
    terms: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Cell:
    """One cell of a table that is more than its text."""

    text: str
    style: Style | None = None
    """Draws the recipe's marker in its colour before the text."""
    shade: float | None = None
    """Share of the darkest background, in [0, 1]."""


Row = Sequence[str | Cell]


@dataclass(frozen=True)
class Table:
    """A table; the first cell of a row is its heading."""

    kind: ClassVar[str] = "table"
    caption: str
    head: Sequence[str]
    rows: Sequence[Row]


@dataclass(frozen=True)
class Pictures:
    """Pictures side by side, below one another where the screen is narrow."""

    kind: ClassVar[str] = "pictures"
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Thumbnails:
    """Small pictures, as many beside one another as there is room for."""

    kind: ClassVar[str] = "thumbnails"
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Requirement:
    """One item of a checklist, and what there is to it."""

    number: str
    asks: str
    state: str
    """``answered``, ``in part``, ``missing`` or ``article``."""
    answers: Sequence[tuple[str, Sequence[tuple[str, str]]]]
    """What pages say, each with links: what they say and where they lead."""
    written: Sequence[tuple[str, str]]
    """What people wrote: the option's name, and its text."""
    lacking: Sequence[str]
    """What is missing, in sentences."""


@dataclass(frozen=True)
class Requirements:
    """A checklist."""

    kind: ClassVar[str] = "requirements"
    caption: str
    rows: Sequence[Requirement]


@dataclass(frozen=True)
class Fold:
    """Blocks that are shown when they are asked for; always printed."""

    kind: ClassVar[str] = "fold"
    summary: str
    elements: Sequence["Element"]


Element = (
    Heading
    | Paragraph
    | Items
    | Commands
    | Files
    | Terms
    | Table
    | Pictures
    | Thumbnails
    | Requirements
    | Fold
)


@dataclass(frozen=True)
class Section:
    """One heading of the page."""

    anchor: str
    title: str
    elements: Sequence[Element]
