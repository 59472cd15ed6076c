"""What a source listed and what was measured become the rows of a manifest."""

import hashlib
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from maskwise.artefacts.labels import LABEL
from maskwise.artefacts.manifest import MASK_CLASSES, REGION, classes_text, region_text
from maskwise.ingest.contracts import Listing
from maskwise.ingest.identities import same_people
from maskwise.ingest.measure import Measured
from maskwise.ingest.series import order_series, shear_of
from maskwise.scans.place import Place
from maskwise.scans.reasons import Reject
from maskwise.scans.remarks import CAPTURE, Remark


@dataclass(frozen=True)
class Joined:
    """What was listed and could be read."""

    images: pd.DataFrame
    """One row per image, page or slice, by path and frame; the slices of a DICOM series by
    their place in the patient."""
    rejects: list[Reject]
    """Images of series that are not volumes."""
    remarks: list[tuple[str, Remark]]
    """Path, and what a reader should know of that file."""
    warnings: tuple[str, ...] = ()
    """Sentences about what was joined."""


def join(listing: Listing, measured: list[Measured], modality: str, source_name: str) -> Joined:
    """Join the two, row by row."""
    facts = pd.DataFrame(measured, columns=list(Measured._fields))
    rows = listing.images.iloc[facts["row"]].reset_index(drop=True)
    places = list(facts.pop("place"))
    remarks = [
        (path, remark)
        for path, found in zip(rows["path"], facts.pop("remarks"), strict=True)
        for remark in found
    ]
    images = rows.drop(columns="frame").join(facts.drop(columns="row"))
    images["modality"] = modality
    for name in ("spacing_y", "spacing_x"):
        images[name] = images[name].astype(float) if name in images else np.nan
    refused: list[Reject] = []
    warnings: list[str] = []
    if any(place is not None for place in places):
        warnings += _with_patients(images, places)
        images = _with_places(images, places)
        if listing.series:
            captured = {path for path, remark in remarks if remark.kind == CAPTURE}
            images, refused, sheared = _in_series(images, places, captured)
            remarks += sheared
    images = _sorted(images)
    if REGION in images:
        images[REGION] = images[REGION].map(region_text, na_action="ignore")
    parts = images[REGION] if REGION in images else [None] * len(images)
    images["image_id"] = [
        _image_id(source_name, path, frame, part)
        for path, frame, part in zip(images["path"], images["frame"], parts, strict=True)
    ]
    images, twins = _without_twins(images)
    if listing.mask_label is not None:
        label = listing.mask_label
        shown = np.where(images["lesion_share"] > 0, label.present, label.absent)
        outlined = images["lesion_share"].notna()
        images[LABEL + label.name] = pd.Series(shown, dtype=object).where(outlined, None)
    if listing.mask_classes:
        images[MASK_CLASSES] = classes_text(listing.mask_classes)
    return Joined(images, [*refused, *twins], remarks, tuple(warnings))


def _with_patients(images: pd.DataFrame, places: list[Place | None]) -> list[str]:
    """Fill in whose images are that the listing names no patient of; return what to warn of."""
    nameless = images["patient"].isna().to_numpy()
    people, joined = same_people(
        place or Place() if needed else Place()
        for place, needed in zip(places, nameless, strict=True)
    )
    images["patient"] = images["patient"].where(~nameless, pd.Series(people, dtype=object))
    if not joined:
        return []
    ids = "1 PatientID stands" if joined == 1 else f"{joined} PatientIDs stand"
    return [
        f"{ids} with IssuerOfPatientID in some files and without it in others: each was taken "
        "for one person."
    ]


def _without_twins(images: pd.DataFrame) -> tuple[pd.DataFrame, list[Reject]]:
    """Refuse what has the name of another file but for how its accents are written."""
    twin = images["image_id"].duplicated(keep="first")
    if not twin.any():
        return images, []
    first = images.drop_duplicates("image_id").set_index("image_id")["path"]
    rejects = [
        Reject(
            row.path,
            "bad_name",
            f"its name is that of {first[row.image_id]!r} with its accents in another Unicode "
            "form, which other systems cannot tell apart; rename one of the two",
        )
        for row in images[twin].itertuples()
    ]
    return images[~twin].reset_index(drop=True), rejects


def _with_places(images: pd.DataFrame, places: list[Place | None]) -> pd.DataFrame:
    """Fill in what files say of themselves and the listing does not know better."""
    known = [place or Place() for place in places]
    for name in ("spacing_y", "spacing_x"):
        found = pd.Series([getattr(place, name) for place in known], dtype=np.float64)
        images[name] = images[name].fillna(found)
    numbers = pd.Series([place.number for place in known], dtype=np.float64)
    if numbers.notna().any():
        counts = pd.Series([place.count for place in known])
        across = pd.Series([place.spacing_z for place in known], dtype=np.float64)
        volumes = images["path"].where(numbers.notna(), None)
        images = _with_slices(images, volumes, numbers, counts, across)
    return images


def _in_series(
    images: pd.DataFrame, places: list[Place | None], captured: Collection[str]
) -> tuple[pd.DataFrame, list[Reject], list[tuple[str, Remark]]]:
    """Order the slices of series; what was captured and lies nowhere is no part of any."""
    nowhere = np.array([place is None or place.origin is None for place in places])
    beside = nowhere & images["path"].isin(list(captured))
    unknown = images["volume"].isna() if "volume" in images else True  # else the listing's
    dicom = np.flatnonzero((images["format"] == "DICOM") & ~beside & unknown)
    if not len(dicom):
        return images, [], []
    chosen = [places[row] or Place() for row in dicom]
    paths = images["path"].iloc[dicom]
    slices = images.iloc[dicom][["height", "width"]].assign(
        holder=paths.where(paths.duplicated(keep=False), paths.map(_folder)),
        series=[place.series for place in chosen],
        normal=[place.normal for place in chosen],
        position=[place.position for place in chosen],
        origin=[place.origin for place in chosen],
        spacing=[min(place.spacing_y, place.spacing_x) for place in chosen],
        rescaled=[place.rescaled for place in chosen],
    )
    ordered = order_series(slices)
    sheared: list[tuple[str, Remark]] = []
    if len(ordered.slices):
        found = ordered.slices.reindex(images.index)
        volumes = found["volume"].where(found["volume"].notna(), None)
        images = _with_slices(
            images, volumes, found["slice"], found["slices"], found["spacing_z"]
        )
        sheared = _sheared(slices.join(paths).loc[found["volume"].dropna().index], volumes)
    refused = [
        Reject(str(images.at[row, "path"]), *why) for row, why in ordered.refused.items()
    ]
    images = images.drop(index=list(ordered.refused)).reset_index(drop=True)
    return images, refused, sheared


def _sheared(slices: pd.DataFrame, volumes: pd.Series) -> list[tuple[str, Remark]]:
    """Return a remark for each file of a volume whose slices lie beside one another."""
    return [
        (path, Remark("sheared_series", says))
        for _, rows in slices.groupby(volumes)
        if (says := shear_of(rows))
        for path in rows["path"].unique()
    ]


def _with_slices(
    images: pd.DataFrame,
    volume: pd.Series,
    number: pd.Series,
    count: pd.Series,
    across: pd.Series,
) -> pd.DataFrame:
    """Add which slice of what an image is; a column that the source has stays the source's."""
    relative = (number / (count - 1).where(count > 1)).where(count > 1, 0.5)
    columns = {
        "volume": volume,
        "slice": number.astype(np.int64) if number.notna().all() else number,
        "relative_slice": relative.where(number.notna()),
        "spacing_z": across,
    }
    for name, values in columns.items():
        if name not in images:
            images[name] = values
        elif images[name].isna().any():
            images[name] = images[name].where(images[name].notna(), values)
    return images


def _sorted(images: pd.DataFrame) -> pd.DataFrame:
    """Sort by path and frame, but files that are slices of one volume slice by slice."""
    if "volume" not in images or not is_numeric_dtype(images.get("slice")):
        return images.sort_values(["path", "frame"], kind="stable").reset_index(drop=True)
    volume = images["volume"].where(images["volume"].notna(), images["path"])
    one_file = images["path"].duplicated(keep=False)  # of many frames, in their order
    keys = images[["path", "frame"]].assign(
        first=images["path"].groupby(volume).transform("min"),
        slice=images["slice"].where(~one_file, 0),
    )
    order = keys.sort_values(["first", "slice", "path", "frame"], kind="stable").index
    return images.loc[order].reset_index(drop=True)


def _folder(path: str) -> str:
    return str(PurePosixPath(path).parent)


def _image_id(source_name: str, path: str, frame: int, part: str | None) -> str:
    # One form of accents, or the same folder has other ids on another operating system.
    key = f"{source_name}\0{unicodedata.normalize('NFC', path)}\0{frame}"
    if isinstance(part, str):
        key += f"\0{part}"
    return hashlib.sha256(key.encode()).hexdigest()[:16]
