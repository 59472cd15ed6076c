"""``Info.txt`` of mini-MIAS: 330 rows among prose, of three to seven fields."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from maskwise.errors import UserError, hint

SIDE = 1024
"""Pixels of the published films, in which places and radii are given."""

TISSUES: dict[str | int, str] = {"F": "fatty", "G": "fatty-glandular", "D": "dense-glandular"}
NORMAL = "normal"
ABNORMALITIES: dict[str | int, str] = {
    "CALC": "calcification",
    "CIRC": "circumscribed mass",
    "SPIC": "spiculated mass",
    "MISC": "ill-defined mass",
    "ARCH": "architectural distortion",
    "ASYM": "asymmetry",
    "NORM": NORMAL,
}
SEVERITIES = {"B": "benign", "M": "malignant"}

_ROW = re.compile(r"(mdb\d{3})\s")
"""Prose begins otherwise, also where it speaks of columns and of notes."""
_NOTE = re.compile(r"\*NOTE \d\*")
"""What stands for a place where a calcification has none."""


@dataclass(frozen=True)
class Circle:
    """Where a finding lies, in pixels of the published film from its upper left corner."""

    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Finding:
    """A row."""

    film: str
    """As in ``mdb001``."""
    tissue: str
    abnormality: str
    severity: str
    """``normal`` where the abnormality is none."""
    circle: Circle | None
    """None = normal, or spread over the film."""

    @property
    def number(self) -> int:
        return int(self.film.removeprefix("mdb"))

    @property
    def patient(self) -> str:
        """Return whose film it is: films 2k - 1 and 2k are of one person."""
        return f"p{(self.number + 1) // 2:03d}"

    @property
    def side(self) -> str:
        """Return which breast it is: odd numbers are the right one."""
        return "right" if self.number % 2 else "left"


@dataclass(frozen=True)
class Unknown:
    """A row with a term that the set does not know."""

    film: str
    detail: str


def parse_info(text: str, name: str) -> Iterator[Finding | Unknown]:
    """Yield the rows of ``Info.txt``; ``name`` names it in messages.

    Raises:
        UserError: if a row has other fields than published, with its line.
    """
    for number, line in enumerate(text.splitlines(), 1):
        if _ROW.match(line):
            yield _row(line, f"{name}, line {number}")


def _row(line: str, where: str) -> Finding | Unknown:
    fields = _NOTE.sub(" ", line).split()
    if len(fields) not in (3, 4, 7):
        raise UserError(
            f"{where}: has {len(fields)} fields, where film, tissue, abnormality and, of an "
            "abnormality, severity, x, y and radius should stand; correct the row"
        )
    film, tissue, abnormality, *rest = fields
    severity = rest[0] if rest else NORMAL
    for term, known in ((tissue, TISSUES), (abnormality, ABNORMALITIES)):
        if term not in known:
            return Unknown(film, f"{where}: {term!r}; {hint(term, map(str, known))}")
    if (severity == NORMAL) != (abnormality == "NORM"):
        says = "a severity" if abnormality == "NORM" else "no severity"
        return Unknown(film, f"{where}: {abnormality} has {says}")
    if severity not in (*SEVERITIES, NORMAL):
        return Unknown(film, f"{where}: {severity!r}; {hint(severity, SEVERITIES)}")
    return Finding(
        film=film,
        tissue=TISSUES[tissue],
        abnormality=ABNORMALITIES[abnormality],
        severity=SEVERITIES.get(severity, NORMAL),
        circle=_circle(rest[1:], where),
    )


def _circle(fields: list[str], where: str) -> Circle | None:
    if not fields:
        return None
    if not all(field.isascii() and field.isdecimal() for field in fields):
        raise UserError(f"{where}: {' '.join(fields)} are not x, y and radius; correct the row")
    x, y, radius = map(float, fields)
    # The origin is the bottom left corner, by note 3 of the file.
    return Circle(x, SIDE - 1 - y, radius)
