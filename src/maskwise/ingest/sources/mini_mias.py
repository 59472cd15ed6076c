"""Mini-MIAS, 322 scanned mammograms of 161 women, in its published layout.

Suckling et al., Excerpta Medica, International Congress Series 1069 (1994) 375-378.
``mdb001.pgm`` to ``mdb322.pgm`` and ``Info.txt``, which says what is where. Whole films are
read, or patches round what the file circles and, of normal films, in the same places.
"""

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from maskwise.artefacts.labels import LABEL
from maskwise.artefacts.manifest import REGION
from maskwise.bounds import Seed, Within
from maskwise.errors import UserError, as_text, listed
from maskwise.ingest.contracts import Listing
from maskwise.ingest.listing import Distance, build_listing
from maskwise.ingest.sources.mini_mias_info import (
    ABNORMALITIES,
    NORMAL,
    SIDE,
    TISSUES,
    Circle,
    Finding,
    Unknown,
    parse_info,
)
from maskwise.ingest.sources.mini_mias_normals import Look, Place, deal_places, look
from maskwise.ingest.sources.table import TableConfig
from maskwise.scans.folder import find_images
from maskwise.scans.raw import locate
from maskwise.scans.reading import DEFAULT, Reading
from maskwise.scans.reasons import Reject
from maskwise.scans.region import Region
from maskwise.wording import count

INFO = "Info.txt"
PATCHES = "patches.csv"
"""A table of patches that were cut before, beside their folder."""

_FILM = re.compile(r"mdb\d{3}\Z")
_BY_SEVERITY = (NORMAL, "benign", "malignant")
"""From the least to the worst."""


@dataclass(frozen=True)
class MiniMiasConfig:
    """``raw`` is the folder of ``Info.txt`` and the films, or that of ``patches.csv``."""

    images: Literal["films", "patches"] = "films"
    """``films``: each whole film, labelled by the worst that it shows; ``patches``: a square
    round each circle, labelled by its own row, and one out of each normal film."""
    margin: Annotated[float, Within(0, 10)] = 0.5
    """Of patches: their side is 2 r (1 + margin) for a circle of radius r."""
    min_side: Annotated[int, Within(1, SIDE)] = 64
    """Pixels of the published film, 0.2 mm each: no patch is smaller."""
    seed: Seed = 0
    """Of the order in which normal films are given the lesions' places."""
    duplicate_distance: Distance = 0
    """Bits, 0 to 16; 0, because films of different women look alike."""
    reading: Reading = DEFAULT
    """How ambiguous files are read; ``breast`` and ``chest_wall`` take films as they are
    compared: without labels and tape, all on one side."""

    @property
    def modality(self) -> str:
        return "xray"

    def listing(self, raw: Path) -> Listing:
        files, others = find_images(raw)
        tables = [reject.path for reject in others]
        info, patches = _uppermost(tables, INFO), _uppermost(tables, PATCHES)
        if info is None and patches is not None:
            return self._cut_before(raw, patches)
        if info is None:
            raise UserError(
                f"{raw}: holds neither {INFO} nor {PATCHES}; point the source at the folder "
                "of the published films, or at one of patches with their table"
            )
        films, rejects = _films(files)
        findings, unknown = _findings(raw, info, films)
        rejects += [one for one in others if one.path != info]
        rejects += unknown
        if self.images == "films":
            listing = build_listing(list(_film_rows(films, findings)), rejects)
        else:
            listing = self._patches(raw, films, findings, rejects)
        return replace(listing, main_label="diagnosis")

    def _cut_before(self, raw: Path, table: str) -> Listing:
        """Read patches as they lie, by their table."""
        if self.images != "patches":
            raise UserError(
                f"{table}: lists patches, and no {INFO} is there; set the source's option "
                "`images: patches`, or point it at the folder of the films"
            )
        classes: dict[str, Mapping[str | int, str]] = {
            "diagnosis": {name: name for name in _BY_SEVERITY},
            "tissue": TISSUES,
            "abnormality": ABNORMALITIES,
        }
        folder = posixpath.dirname(table)
        # Braces in a folder's name are its own, and no template's.
        below = folder.replace("{", "{{").replace("}", "}}") + "/{path}"
        return TableConfig(
            table=table,
            path=below if folder else "path",
            labels={
                "diagnosis": "severity",
                "tissue": "tissue",
                "abnormality": "abnormality",
            },
            classes=classes,
            patient="patient",
            modality=self.modality,
            duplicate_distance=self.duplicate_distance,
            reading=self.reading,
        ).listing(raw)

    def _patches(
        self,
        raw: Path,
        films: Mapping[str, str],
        findings: Mapping[str, list[Finding]],
        rejects: list[Reject],
    ) -> Listing:
        located = [one for film in findings.values() for one in film if one.circle is not None]
        normals = [film for film, (first, *_) in findings.items() if first.severity == NORMAL]
        wanted = {*normals, *(one.film for one in located)}
        looks, unseen = look(raw, {film: films[film] for film in sorted(wanted)})
        located = [one for one in located if one.film in looks]
        rows = [
            {**_row(films[one.film], [one]), REGION: _region(self._place(one), looks[one.film])}
            for one in located
        ]
        dealt, undealt = self._dealt(normals, located, looks, films)
        rows += [
            {
                **_row(films[film], findings[film]),
                REGION: _region(place, looks[film]),
                "placed_as": place.film,
            }
            for film, place in dealt.items()
        ]
        without, warnings = _without_place(films, findings)
        listing = build_listing(
            sorted(rows, key=lambda row: str(row["path"])),
            [*rejects, *unseen, *undealt, *without],
        )
        return replace(listing, warnings=tuple(warnings))

    def _dealt(
        self,
        normals: Sequence[str],
        located: Sequence[Finding],
        looks: Mapping[str, Look],
        films: Mapping[str, str],
    ) -> tuple[dict[str, Place], list[Reject]]:
        """Return normal film -> the lesion's place that it is cut at, on the same side.

        And a reject for each film that has none: without a breast, or on a side without lesion.
        """
        dealt: dict[str, Place] = {}
        rejects = []
        for side in ("left", "right"):
            here = [film for film in normals if film in looks and _side(film) == side]
            for film in here:
                if looks[film].breast is None:
                    detail = "nothing on the film stands out as a breast"
                    rejects.append(Reject(films[film], "no_breast", detail))
            places = [self._place(one) for one in located if one.side == side]
            shown = {film: looks[film] for film in here if looks[film].breast is not None}
            if places:
                dealt |= deal_places(shown, places, self.seed, side)
                continue
            detail = (
                f"no lesion on a {side} breast has a place that it could be cut at; `images: "
                "films` takes the film"
            )
            rejects += [Reject(films[film], "not_chosen", detail) for film in shown]
        return dealt, rejects

    def _place(self, finding: Finding) -> Place:
        circle = finding.circle
        if circle is None:
            raise ValueError(f"{finding.film} has no circle")
        side = max(2 * circle.radius * (1 + self.margin), self.min_side)
        return Place(finding.film, circle.x, circle.y, side)


def _uppermost(files: Iterable[str], name: str) -> str | None:
    """Return the file called ``name``, of several the one least deep."""
    found = [path for path in files if posixpath.basename(path) == name]
    return min(found, key=lambda path: (path.count("/"), path), default=None)


def _films(files: Iterable[str]) -> tuple[dict[str, str], list[Reject]]:
    """Return ``mdb001`` -> path, and a reject for all other images."""
    films: dict[str, str] = {}
    rejects = []
    for path in sorted(files, key=lambda path: (path.count("/"), path)):
        film = PurePosixPath(path).stem
        if not _FILM.match(film):
            detail = "is not called as a film, mdb001 to mdb322"
            rejects.append(Reject(path, "unknown_place", detail))
        elif film in films:
            detail = f"{films[film]!r} is called {film} already"
            rejects.append(Reject(path, "second_copy", detail))
        else:
            films[film] = path
    return films, rejects


def _findings(
    raw: Path, info: str, films: Mapping[str, str]
) -> tuple[dict[str, list[Finding]], list[Reject]]:
    """Return film -> its rows, and a reject for each row or film without the other."""
    findings: dict[str, list[Finding]] = {}
    rejects: dict[str, Reject] = {}
    for row in _rows_of(raw, info):
        path = films.get(row.film)
        if path is None:
            detail = f"{info} names it, but there is no such film"
            rejects[row.film] = Reject(f"{row.film}.pgm", "missing_file", detail)
        elif isinstance(row, Unknown):
            rejects[row.film] = Reject(path, "unknown_label", row.detail)
        else:
            findings.setdefault(row.film, []).append(row)
    for film, path in films.items():
        if film not in findings and film not in rejects:
            rejects[film] = Reject(path, "missing_label", f"{info} does not name it")
    # A film of which one row is not understood may show anything.
    return {film: rows for film, rows in findings.items() if film not in rejects}, [
        rejects[film] for film in sorted(rejects)
    ]


def _rows_of(raw: Path, info: str) -> list[Finding | Unknown]:
    try:
        data = locate(raw, info).read_bytes()
    except OSError as error:
        raise UserError(f"{info}: cannot be read ({error.strerror})") from None
    rows = list(parse_info(as_text(data, info, "copy it again"), info))
    if not rows:
        raise UserError(f"{info}: holds no row as `mdb001 G CIRC B 535 425 197`; copy it again")
    return rows


def _film_rows(
    films: Mapping[str, str], findings: Mapping[str, list[Finding]]
) -> Iterator[dict[str, Any]]:
    for film in sorted(findings):
        yield _row(films[film], findings[film])


def _row(path: str, findings: Sequence[Finding]) -> dict[str, Any]:
    """Return what a film, or the part of it with the one finding, is."""
    first = findings[0]
    circles = [one.circle for one in findings if one.circle is not None]
    return {
        "path": path,
        "patient": first.patient,
        LABEL + "diagnosis": max((one.severity for one in findings), key=_BY_SEVERITY.index),
        LABEL + "abnormality": "|".join(sorted({one.abnormality for one in findings})),
        LABEL + "tissue": first.tissue,
        "film": first.film,
        "side": first.side,
        "circles": ";".join(map(_written, circles)) or None,
    }


def _written(circle: Circle) -> str:
    return f"{circle.x:g},{circle.y:g},{circle.radius:g}"


def _side(film: str) -> str:
    return Finding(film, "", "", "", None).side


def _region(place: Place, film: Look) -> Region:
    """Return the square of a place in pixels of the film's own file."""
    scale = film.width / SIDE
    side = max(1, round(place.side * scale))
    # Pixel i reaches from i to i + 1, so that its centre lies at i + 1/2.
    x, y = (place.x + 0.5) * scale, (place.y + 0.5) * scale
    return Region(round(y - side / 2), round(x - side / 2), side, side)


def _without_place(
    films: Mapping[str, str], findings: Mapping[str, list[Finding]]
) -> tuple[list[Reject], list[str]]:
    """Return what is abnormal and circled nowhere, and a sentence about it."""
    found = [
        one
        for film in findings.values()
        for one in film
        if one.circle is None and one.severity != NORMAL
    ]
    rejects = [
        Reject(
            films[one.film],
            "not_chosen",
            f"{INFO} says nowhere where its {one.abnormality} lies, so that no patch can be "
            "cut; `images: films` takes the film",
        )
        for one in found
    ]
    names = listed(one.film for one in found)
    return rejects, [
        f"{count(len(found), 'finding')} without a place ({names}) gave no patch."
    ] * bool(found)
