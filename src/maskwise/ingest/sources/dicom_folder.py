"""Any tree of DICOM files: series of one modality, chosen by rules and put in order by place.

Files are found by content, whatever their names, and belong together by what their headers
say, wherever they lie. ``lidc_idri`` is such a tree with rules of its own.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd

from maskwise.bounds import LARGEST, Within
from maskwise.errors import UserError
from maskwise.ingest.contracts import Listing
from maskwise.ingest.listing import Distance, build_listing
from maskwise.ingest.series import SAME_PLACE, order_series, shear_of
from maskwise.scans.dicom_file import begins_as_dicom
from maskwise.scans.dicom_series import REPEATERS, SliceHeader, plane_of, read_slice_header
from maskwise.scans.folder import other_file
from maskwise.scans.modality import our_word
from maskwise.scans.raw import head_of, looks_like_image, walk
from maskwise.scans.reading import DEFAULT, Reading
from maskwise.scans.reasons import Reject, RejectedError
from maskwise.wording import count
from maskwise.workers import Pool, workers_for

Plane = Literal["axial", "coronal", "sagittal"]
_AT_ONCE = 64
"""Files whose headers a worker reads at once."""
_MEANT = ("ct", "mr", "ultrasound", "xray")
"""Modalities that a file can be known to be."""


@dataclass(frozen=True)
class _Series:
    """Files that one series, or one part of one, consists of, in the order of their names."""

    files: tuple[SliceHeader, ...]
    part: str | None = None
    """What tells it from other parts of its series, as in ``EchoTime=30``."""

    @property
    def first(self) -> str:
        """By which it is called: its ids must not leave this process."""
        return self.files[0].path

    @property
    def slices(self) -> int:
        return sum(file.frames for file in self.files)

    @property
    def stack(self) -> bool:
        """Whether these are slices of a volume, one file each."""
        return len(self.files) > 1 and any(file.normal is not None for file in self.files)


_Rule = Callable[[list[_Series]], tuple[list[_Series], list[Reject]]]
"""Series -> those that it takes, and a reject for each file of the others."""


@dataclass(frozen=True)
class DicomFolderConfig:
    """``raw`` is any tree of DICOM files; there are no labels."""

    modality: str = "unknown"
    """``ct``, ``mr``, ``ultrasound`` or ``xray``: other series are left out; ``unknown``: the
    one that all series are of."""
    orientation: Plane | None = None
    """Series nearest to this plane alone, the others are left out; null: all."""
    min_slices: Annotated[int, Within(1, LARGEST)] = 1
    """Series of fewer are left out."""
    series: Literal["all", "longest"] = "all"
    """``longest``: of each study the series of most slices, the others are left out."""
    repeats: Literal["refuse", "split"] = "refuse"
    """What becomes of a series that shows one place several times (time points, b-values,
    echoes): ``split`` makes a volume of each part, where a number in the headers tells the
    parts apart."""
    every: Annotated[int, Within(1, LARGEST)] = 1
    """Of each series every so many-th slice is taken, from the first on."""
    trim: Annotated[float, Within(0, 0.45)] = 0.0
    """Share of a series' slices, in [0, 0.45], that is left out at either end."""
    duplicate_distance: Distance = 0
    """Bits, 0 to 16; slices of different people look alike, so that a larger one joins patients
    who have nothing in common."""
    reading: Reading = DEFAULT
    """How ambiguous files are read."""

    def __post_init__(self) -> None:
        if our_word(self.modality) not in (*_MEANT, "unknown"):
            raise ValueError(
                f"modality is {self.modality!r}, but should be one of {', '.join(_MEANT)}, or "
                "unknown where all series are of one"
            )

    def listing(self, raw: Path) -> Listing:
        files, rejects = walk(raw)
        found = [path for path in files if _is_dicom(raw, path)]
        rejects += _others(raw, set(files) - set(found))
        headers, unread = _headers(raw, found)
        series, refused = _by_series(headers)
        rejects += refused
        modality = self._modality(raw, series)
        rules: tuple[_Rule, ...] = (
            partial(_of_modality, modality),
            self._of_orientation,
            self._split,
            self._long_enough,
            self._longest,
        )
        for rule in rules:
            series, refused = rule(series)
            rejects += refused
        rows, refused, warnings = self._rows(series)
        warnings += self._about_frames(series)
        rejects += refused
        # What holds no image, or cannot be read, is refused with its reason by who decodes it.
        rows += [{"path": path} for path in unread]
        listing = build_listing(sorted(rows, key=lambda row: str(row["path"])), rejects)
        return replace(listing, modality=modality, series=True, warnings=tuple(warnings))

    def _modality(self, raw: Path, series: list[_Series]) -> str | None:
        """Return which modality is meant, or refuse to choose among several."""
        if our_word(self.modality) != "unknown":
            return our_word(self.modality)
        counts = Counter(one.files[0].modality or "of another kind" for one in series)
        if len(counts) > 1:
            named = ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
            raise UserError(
                f"{raw}: holds series of several modalities ({named}); say which in the "
                f"source's option `modality`: one of {', '.join(_MEANT)}"
            )
        return next((one.files[0].modality for one in series), None)

    def _split(self, series: list[_Series]) -> tuple[list[_Series], list[Reject]]:
        """Divide series that show a place several times, or refuse them."""
        kept: list[_Series] = []
        rejects: list[Reject] = []
        for one in series:
            repeated = _repeated(one.files)
            parts = _parts(one) if repeated else [one]
            if not repeated or (parts and self.repeats == "split"):
                kept += parts
                continue
            detail = f"{repeated} of {len(one.files)} slices lie where another does"
            if parts:
                keyword = str(parts[0].part).partition("=")[0]
                detail += (
                    f"; {keyword} tells {len(parts)} parts apart, of which `repeats: split` "
                    "makes a volume each"
                )
            rejects += _refused(one, "repeated_slice", detail)
        return kept, rejects

    def _of_orientation(self, series: list[_Series]) -> tuple[list[_Series], list[Reject]]:
        if self.orientation is None:
            return series, []
        planes = [
            plane_of(normal) if (normal := one.files[0].normal) else None for one in series
        ]
        says = [
            "it does not say how it lies" if plane is None else f"it is {plane}"
            for plane in planes
        ]
        right = [plane == self.orientation for plane in planes]
        asked = f"the source takes {self.orientation} series"
        return _chosen(series, right, [f"{said}, and {asked}" for said in says])

    def _long_enough(self, series: list[_Series]) -> tuple[list[_Series], list[Reject]]:
        long = [one.slices >= self.min_slices for one in series]
        details = [
            f"a series of {count(one.slices, 'slice')}, fewer than min_slices = "
            f"{self.min_slices}"
            for one in series
        ]
        return _chosen(series, long, details)

    def _longest(self, series: list[_Series]) -> tuple[list[_Series], list[Reject]]:
        if self.series == "all":
            return series, []
        most: dict[str, _Series] = {}
        for one in series:
            study = one.files[0].study or one.first
            if study not in most or one.slices > most[study].slices:
                most[study] = one
        taken = {one.first for one in most.values()}
        details = ["its study has a longer series, or one as long"] * len(series)
        return _chosen(series, [one.first in taken for one in series], details)

    def _rows(
        self, series: list[_Series]
    ) -> tuple[list[dict[str, Any]], list[Reject], list[str]]:
        """Return rows, refusals of series that are no volumes, and what to warn of."""
        table = _table(one for one in series if one.stack)
        # What has no place is an image by itself; a file of frames is put in order later.
        apart = [{"path": file.path} for one in series if not one.stack for file in one.files]
        if table.empty:
            return apart, [], []
        ordered = order_series(table)
        rejects = [
            Reject(str(table.at[row, "path"]), *why) for row, why in ordered.refused.items()
        ]
        if ordered.slices.empty:
            return apart, rejects, []
        placed = table.join(ordered.slices.drop(columns="volume"), how="inner")
        return [*self._taken(placed), *apart], rejects, _warned(placed)

    def _about_frames(self, series: list[_Series]) -> list[str]:
        """Warn where ``every`` and ``trim`` do nothing, for only files can be left out."""
        several = [file.path for one in series for file in one.files if file.frames > 1]
        if not several or (self.every == 1 and self.trim == 0):
            return []
        return [
            f"`every` and `trim` choose among files, so all frames of "
            f"{count(len(several), 'file')} of several frames were taken, as of {several[0]!r}."
        ]

    def _taken(self, placed: pd.DataFrame) -> list[dict[str, Any]]:
        """Return a row per slice that ``every`` and ``trim`` leave."""
        margin = np.floor(self.trim * placed["slices"])
        placed = placed.assign(number=(placed["slice"] - margin).astype(np.int64))
        inside = placed["slice"].between(margin, placed["slices"] - 1 - margin)
        taken = placed[inside & (placed["number"] % self.every == 0)]
        parts = {"part": taken["part"]} if taken["part"].notna().any() else {}
        rows = pd.DataFrame(
            {
                "path": taken["path"],
                "volume": taken["series"],
                "slice": taken["number"] // self.every,
                "relative_slice": taken["slice"] / (taken["slices"] - 1),
                "spacing_z": taken["spacing_z"] * self.every,
                "plane": taken["normal"].map(plane_of),
                **parts,
            }
        )
        found: list[dict[str, Any]] = rows.to_dict("records")
        return found


@dataclass(frozen=True)
class LidcIdriConfig:
    """LIDC-IDRI (Armato et al., Medical Physics 38 (2011) 915), as TCIA publishes it.

    ``LIDC-IDRI-0001/<study>/<series>/*.dcm``: axial CT beside radiographs, which are left out,
    and annotations, which are not read. The options are those of ``dicom_folder``.
    """

    min_slices: Annotated[int, Within(1, LARGEST)] = 11
    series: Literal["all", "longest"] = "all"
    repeats: Literal["refuse", "split"] = "refuse"
    every: Annotated[int, Within(1, LARGEST)] = 1
    trim: Annotated[float, Within(0, 0.45)] = 0.0
    duplicate_distance: Distance = 0
    reading: Reading = DEFAULT

    @property
    def modality(self) -> str:
        return "ct"

    def listing(self, raw: Path) -> Listing:
        rules = DicomFolderConfig(modality="ct", orientation="axial", **vars(self))
        return rules.listing(raw)


def _is_dicom(raw: Path, path: str) -> bool:
    try:
        return begins_as_dicom(head_of(raw, path))
    except RejectedError:
        return False


def _others(raw: Path, files: Iterable[str]) -> Iterator[Reject]:
    for path in files:
        if looks_like_image(raw, path):
            yield Reject(path, "unknown_place", "is no DICOM file; read it by `image_folder`")
        else:
            yield other_file(path)


def _headers(raw: Path, paths: list[str]) -> tuple[list[SliceHeader], list[str]]:
    """Return the headers that could be read, and the files of the others."""
    chunks = [paths[start : start + _AT_ONCE] for start in range(0, len(paths), _AT_ONCE)]
    workers = min(workers_for(len(paths), None), max(1, len(chunks)))
    with Pool(workers) as pool:
        read = pool.map(partial(read_slice_header, raw), chunks, lambda path, loss: None)
        found = list(chain.from_iterable(read))
    known = [header for header in found if header is not None]
    return known, [path for path, one in zip(paths, found, strict=True) if one is None]


def _by_series(headers: Iterable[SliceHeader]) -> tuple[list[_Series], list[Reject]]:
    """Return series, and refuse those of two modalities; a file of frames is one by itself."""
    groups: dict[tuple[str, ...], list[SliceHeader]] = {}
    for header in headers:
        alone = header.frames > 1 or not header.series
        key = (header.path,) if alone else (header.study, header.series)
        groups.setdefault(key, []).append(header)
    series: list[_Series] = []
    rejects: list[Reject] = []
    for files in groups.values():
        one = _Series(tuple(files))
        counts = Counter(file.modality or "another modality" for file in files)
        if len(counts) == 1:
            series.append(one)
            continue
        named = " and ".join(f"{number} of {name}" for name, number in sorted(counts.items()))
        detail = (
            f"files of two modalities call themselves one series ({named}); export each as a "
            "series of its own"
        )
        rejects += _refused(one, "mixed_series", detail)
    return series, rejects


def _of_modality(
    modality: str | None, series: list[_Series]
) -> tuple[list[_Series], list[Reject]]:
    right = [one.files[0].modality == modality for one in series]
    details = [
        f"a series of {one.files[0].modality or 'another modality'}, and the source takes "
        f"{modality}"
        for one in series
    ]
    return _chosen(series, right, details)


def _chosen(
    series: list[_Series], right: Iterable[bool], details: Iterable[str]
) -> tuple[list[_Series], list[Reject]]:
    kept: list[_Series] = []
    rejects: list[Reject] = []
    for one, is_it, detail in zip(series, right, details, strict=True):
        if is_it:
            kept.append(one)
        else:
            rejects += _refused(one, "not_chosen", detail)
    return kept, rejects


def _refused(series: _Series, reason: str, detail: str) -> list[Reject]:
    return [Reject(file.path, reason, detail) for file in series.files]


def _repeated(files: Iterable[SliceHeader]) -> int:
    """Return how many slices lie where another of the series does."""
    positions = np.sort([file.position for file in files if file.position == file.position])
    return int((np.diff(positions) < SAME_PLACE).sum())


def _parts(series: _Series) -> list[_Series]:
    """Divide a series by the first number that leaves no place twice in a part; none = none."""
    for number, keyword in enumerate(REPEATERS):
        parts: dict[float, list[SliceHeader]] = {}
        for file in series.files:
            parts.setdefault(file.repeaters[number], []).append(file)
        known = all(value == value for value in parts)
        if len(parts) > 1 and known and not any(map(_repeated, parts.values())):
            return [
                _Series(tuple(files), f"{keyword}={value:g}")
                for value, files in sorted(parts.items())
            ]
    return []


def _table(series: Iterable[_Series]) -> pd.DataFrame:
    """Return the files of stacks as ``order_series`` takes them; each stack by itself."""
    columns = ("path", "normal", "origin", "position", "spacing", "height", "width", "rescaled")
    rows = [
        {
            "holder": one.first,
            "series": one.first,
            "part": one.part,
            **{name: getattr(file, name) for name in columns},
        }
        for one in series
        for file in one.files
    ]
    return pd.DataFrame(rows, columns=["holder", "series", "part", *columns])


def _warned(placed: pd.DataFrame) -> list[str]:
    leaning: Mapping[str, str] = {
        str(rows["path"].iloc[0]): says
        for _, rows in placed.groupby("series", sort=True)
        if (says := shear_of(rows))
    }
    if not leaning:
        return []
    path, says = next(iter(leaning.items()))
    return [
        f"{count(len(leaning), 'series', 'series')} whose slices do not lie straight above one "
        f"another (as with a tilted gantry), as that of {path!r}: {says}; no slice was moved."
    ]
