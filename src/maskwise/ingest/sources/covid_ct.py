"""COVID-CT, figures of chest CT cut from preprints, in its published layout.

Yang, He, Zhao, Zhang, Zhang, Xie, arXiv 2003.13865. ``Images-processed/CT_COVID`` and
``CT_NonCOVID`` (folders or ZIP archives), ``Data-split/<class>/<part>CT_<class>.txt`` with one
file name per line, ``COVID-CT-MetaInfo.xlsx`` and ``NonCOVID-CT-MetaInfo.csv`` with the
patients.
"""

import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from maskwise.errors import UserError, as_text
from maskwise.ingest.contracts import Listing
from maskwise.ingest.listing import Distance, build_listing
from maskwise.scans.decode import SUFFIXES
from maskwise.scans.folder import other_file
from maskwise.scans.raw import locate, looks_like_image, walk, walk_zip
from maskwise.scans.reading import Reading
from maskwise.scans.reasons import Reject, RejectedError
from maskwise.scans.tables import column_of, read_rows, tidy
from maskwise.wording import count

CLASSES = ("COVID", "NonCOVID")
PARTS = {"train": "train", "val": "validation", "test": "test"}
"""What the lists' names begin with -> part of the split."""
FOREIGN = "LUNA"
"""A folder that copies of the set bring along: scans of another set, which networks may have
been pre-trained on."""
WORKBOOK = "COVID-CT-MetaInfo.xlsx"
TABLES = {
    "COVID": ("COVID-CT-MetaInfo.csv", "File name", "Patient ID"),
    "NonCOVID": ("NonCOVID-CT-MetaInfo.csv", "image name", "patient id"),
}
"""Class -> table of patients, its columns of the image and of the patient."""

_CROP = re.compile(r"\A(\d+)(%.*)?\Z", re.DOTALL)
"""Stem of a NonCOVID image: a number, and which of its crops."""


@dataclass(frozen=True)
class CovidCtConfig:
    """``raw`` is the folder that holds ``Images-processed`` and ``Data-split``."""

    patients: Literal["tables", "unknown"] = "tables"
    """``tables``: as the two tables say; ``unknown``: no image has a patient, and each counts
    as a person of its own."""
    duplicate_distance: Distance = 4
    """Bits, 0 to 16; at 4 all pairs that carry both labels are found."""
    reading: Reading = field(default_factory=lambda: Reading(alpha="white"))
    """How ambiguous files are read; figures stand on white paper."""

    @property
    def modality(self) -> str:
        return "ct"

    def listing(self, raw: Path) -> Listing:
        files, rejects = walk(raw)
        foreign = [path for path in files if FOREIGN in PurePosixPath(path).parts[:-1]]
        files = sorted(set(files) - set(foreign))
        images = {label: _images_of(raw, files, label) for label in CLASSES}
        spelt = {label: _Names(images[label]) for label in CLASSES}
        splits, absent = _splits(raw, files, spelt)
        who, warnings = self._patients(raw, files, spelt)
        rows = []
        for label, paths in images.items():
            for path in paths:
                if path in splits:
                    own = {"split": splits[path], "patient": who.get(path)}
                    rows.append({"path": path, "label_diagnosis": label, **own})
                else:
                    detail = "no list of Data-split names it"
                    rejects.append(Reject(path, "unknown_split", detail))
        rejects += [*absent, *_others(raw, files, images)]
        listing = build_listing(rows, rejects)
        warnings = [*_about(foreign), *_renamed(spelt), *warnings]
        return Listing(listing.images, listing.rejects, warnings=tuple(warnings))

    def _patients(
        self, raw: Path, files: list[str], spelt: Mapping[str, "_Names"]
    ) -> tuple[dict[str, str], list[str]]:
        """Return path -> patient, and what to warn of."""
        who: dict[str, str] = {}
        warnings: list[str] = []
        if self.patients == "unknown":
            return who, warnings
        for label, names in spelt.items():
            name, image, patient = TABLES[label]
            table = _uppermost(files, name)
            if table is None and label == "COVID":
                raise UserError(_without_table(raw, files))
            if table is None:
                who |= _by_number(names.paths)
                warnings.append(
                    f"{name} is absent: the number in front of % in a NonCOVID image's name "
                    "was taken for the patient."
                )
                continue
            found = _read_patients(raw, table, image, patient, names)
            who |= {path: f"{label} {patient}" for path, patient in found.items()}
        nameless = [path for names in spelt.values() for path in names.paths if path not in who]
        if nameless:
            warnings.append(
                f"{count(len(nameless), 'image')} of no patient that the tables name, as "
                f"{nameless[0]!r}: each counts as a person of its own."
            )
        return who, warnings


class _Names:
    """The images of one class by name and stem, as lists and tables spell them.

    Copies of the set write ``_`` where names have ``%``, which some systems cannot store.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self.paths = list(paths)
        self.renamed: set[str] = set()
        """Paths that were met by their names with ``_`` for ``%``."""
        names = {path: posixpath.basename(path) for path in self.paths}
        self._by_name = {name: path for path, name in names.items()}
        self._by_stem = {_stem(name): path for path, name in names.items()}

    def named(self, name: str) -> str | None:
        """Return the path of the file called ``name``, None where there is none."""
        return self._met(self._by_name, name)

    def of_stem(self, name: str) -> str | None:
        """Return the same, whatever the suffix, which tables leave out."""
        return self._met(self._by_stem, _stem(name))

    def _met(self, paths: Mapping[str, str], name: str) -> str | None:
        path = paths.get(name)
        if path is None and (path := paths.get(name.replace("%", "_"))) is not None:
            self.renamed.add(path)
        return path


def _stem(name: str) -> str:
    """Return a name without an image's suffix; other dots are part of it (article numbers)."""
    stem, suffix = posixpath.splitext(name)
    return stem if suffix.lower() in SUFFIXES else name


def _images_of(raw: Path, files: list[str], label: str) -> list[str]:
    """Return the images of a class, out of its folder or else its archive."""
    folder = f"CT_{label}"
    inside = [path for path in files if folder in PurePosixPath(path).parts[:-1]]
    images = [path for path in inside if looks_like_image(raw, path)]
    archive = _uppermost(files, f"{folder}.zip")
    if not images and archive is not None:
        try:
            found = walk_zip(raw, archive)
        except RejectedError as error:
            raise UserError(f"{error}; copy it again, or unpack it") from None
        images = [path for path in found if looks_like_image(raw, path)]
    if not images:
        raise UserError(
            f"{raw}: holds neither a folder {folder} with images nor {folder}.zip; point the "
            "source at the folder that holds Images-processed and Data-split"
        )
    names = Counter(posixpath.basename(path) for path in images)
    twice = [name for name, times in names.items() if times > 1]
    if twice:
        raise UserError(
            f"{raw}: holds {twice[0]!r} of {folder} more than once; keep one copy of the folder"
        )
    return images


def _uppermost(files: Iterable[str], name: str) -> str | None:
    """Return the file called ``name``, of several the one least deep."""
    found = [path for path in files if posixpath.basename(path) == name]
    return min(found, key=lambda path: (path.count("/"), path), default=None)


def _splits(
    raw: Path, files: list[str], spelt: Mapping[str, _Names]
) -> tuple[dict[str, str], list[Reject]]:
    """Return path -> part of the official split, and a reject for each name without a file."""
    parts: dict[str, str] = {}
    absent: list[Reject] = []
    for label, names in spelt.items():
        for prefix, part in PARTS.items():
            wanted = f"{prefix}CT_{label}.txt"
            path = _uppermost(files, wanted)
            if path is None:
                raise UserError(
                    f"Data-split/{label}/{wanted}: is not in {raw}, but says which images are "
                    f"the {part} part; add it"
                )
            for name in _lines(raw, path):
                image = names.named(name)
                if image is None:
                    detail = f"{path} names it, but CT_{label} does not hold it"
                    absent.append(Reject(name, "missing_file", detail))
                elif parts.setdefault(image, part) != part:
                    raise UserError(
                        f"{path}: names {name!r}, which the list of another part names as "
                        "well; decide which is right"
                    )
    return parts, absent


def _lines(raw: Path, path: str) -> Iterator[str]:
    """Yield the names in a list: one line each, whatever else it holds (commas, blanks)."""
    try:
        text = as_text(locate(raw, path).read_bytes(), path, "save it again in UTF-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    yield from filter(None, map(tidy, text.splitlines()))


def _read_patients(
    raw: Path, table: str, image: str, patient: str, names: _Names
) -> dict[str, str]:
    rows = read_rows(raw, table)
    images = rows[column_of(rows, image, table)]
    patients = rows[column_of(rows, patient, table)]
    who: dict[str, str] = {}
    for name, person in zip(images, patients, strict=True):
        path = names.of_stem(name)
        if path is None or not person:
            continue  # the images decide what there is
        if who.setdefault(path, person) != person:
            raise UserError(
                f"{table}: says {name!r} is of {who[path]!r} and of {person!r}; decide which "
                "is right"
            )
    if not who:
        raise UserError(
            f"{table}: its column {image!r} names none of the images; look whether it is the "
            "table of this set"
        )
    return who


def _by_number(paths: Iterable[str]) -> dict[str, str]:
    """Return path -> patient by the number that NonCOVID names begin with."""
    matches = {path: _CROP.match(_stem(posixpath.basename(path))) for path in paths}
    return {path: f"NonCOVID {match[1]}" for path, match in matches.items() if match}


def _without_table(raw: Path, files: list[str]) -> str:
    name = TABLES["COVID"][0]
    advice = "set the source's option `patients: unknown` to go without patients"
    if _uppermost(files, WORKBOOK) is None:
        return (
            f"{name}: is not in {raw}, but says whose the COVID images are; add it, or {advice}"
        )
    return (
        f"{WORKBOOK}: is a workbook, which is not read here; save its sheet as CSV, in UTF-8, "
        f"as {name} beside it, or {advice}"
    )


def _others(
    raw: Path, files: list[str], images: Mapping[str, Iterable[str]]
) -> Iterator[Reject]:
    """Yield a reject for each file that is no image of the set."""
    taken = {path for paths in images.values() for path in paths}
    for path in files:
        if path in taken:
            continue
        if looks_like_image(raw, path):
            detail = "is in neither CT_COVID nor CT_NonCOVID"
            yield Reject(path, "unknown_place", detail)
        else:
            yield other_file(path)


def _about(foreign: list[str]) -> Iterator[str]:
    if foreign:
        yield (
            f"{count(len(foreign), 'file')} in a folder {FOREIGN} were left out: they are of "
            "another set (LUNA16), which COVID-CT must not be mixed with."
        )


def _renamed(spelt: Mapping[str, _Names]) -> Iterator[str]:
    renamed = sorted(path for names in spelt.values() for path in names.renamed)
    if renamed:
        yield (
            f"{count(len(renamed), 'image')} have _ in their names where the published lists "
            f"have %, as {renamed[0]!r}: taken for the same."
        )
