"""Folders of images and trees of DICOM files: which of their arrangements lies there."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from maskwise.errors import UserError, listed
from maskwise.fingerprint.contents import Contents, top_of
from maskwise.fingerprint.contracts import Asked, Layout, Option, distance
from maskwise.fingerprint.names import (
    IMAGE_FOLDERS,
    MASK_FOLDERS,
    NEARLY_ALL,
    Patients,
    classes_in_names,
    look_like_patients,
    mask_suffix,
    patients_in,
    shared_beginnings,
)
from maskwise.ingest.listing import canonical_split
from maskwise.ingest.sources.dicom_folder import DicomFolderConfig
from maskwise.ingest.sources.image_folder import ImageFolderConfig
from maskwise.scans.folder import pair_masks
from maskwise.wording import count

ASIDE = 0.05
"""Share of the images that may lie elsewhere before a folder counts as two layouts."""


def dicom_tree(found: Contents, asked: Asked) -> Layout | None:
    """Return a tree of DICOM files, where all images are such files.

    Raises:
        UserError: if it holds several modalities and ``asked`` names none.
    """
    if not found.dicom:
        return None
    config = DicomFolderConfig(modality=asked.modality or "unknown")
    try:
        listing = config.listing(found.raw)
    except UserError as error:
        if "several modalities" not in str(error):
            raise
        said = str(error).partition("; say which")[0]
        raise UserError(f"{said}; say which with --modality, as in --modality mr") from None
    modality = listing.modality or config.modality
    chosen = config if modality == "unknown" else replace(config, modality=modality)
    options = (
        Option("modality", modality, "The only one that the files name; others are left out."),
        Option("orientation", None, "axial, coronal, sagittal: those series alone; null: all."),
        Option(
            "min_slices",
            1,
            "Series of fewer slices are left out; 10 leaves out scouts and single images.",
        ),
        Option("repeats", "refuse", "split: a series that shows a place twice is several."),
        distance(0, "0, because slices of different people look alike."),
    )
    return Layout(
        source="dicom_folder",
        words=f"a tree of {count(len(found.dicom), 'DICOM file')}, in series by their headers",
        raw=found.raw,
        options=options,
        config=chosen,
        listing=listing,
        patients="the files' headers name them; pseudonyms take their place",
        remarks=(
            "A tree of DICOM files is read without labels; for labels give a table with the "
            "columns path and label, and point --from at it.",
        ),
    )


def image_folder(found: Contents, asked: Asked) -> Layout:
    """Return the arrangement of a folder of images.

    Raises:
        UserError: if it is two of them at once, if masks lie in a folder of their own, or if
            only names of files could be labels and ``asked`` does not say to go on without.
    """
    found = _descended(found)
    paths = list(found.images)
    suffix = mask_suffix(paths)
    images = list(pair_masks(paths, suffix[0])[0]) if suffix else paths
    _refuse_masks_apart(found, images)
    arranged = _arranged(found, images)
    if arranged == "flat" and asked.layout is None:
        _refuse_labels_in_names(found, images)
    who, patient = _patients(arranged, images)
    options = [
        _layout_option(arranged, images),
        *(_mask_option(suffix, len(images)) if suffix else ()),
        patient,
        _distance_of(asked.modality),
    ]
    values: Mapping[str, Any] = {option.key: option.value for option in options}
    config = ImageFolderConfig(modality=asked.modality or "unknown", **values)
    return Layout(
        source="image_folder",
        words=_words(arranged, images),
        raw=found.raw,
        options=tuple(options),
        config=config,
        listing=config.listing(found.raw),
        label=None if arranged == "flat" else "diagnosis",
        patients=who,
        remarks=_unread_split(arranged, images),
    )


def _descended(found: Contents) -> Contents:
    """Go down to where folders part: ``Dataset/benign`` is a class of ``Dataset``."""
    tops = {top_of(path) for path in found.images}
    if len(tops) != 1 or tops == {""}:
        return found
    inner = found.below(next(iter(tops)))
    parted = len({top_of(path) for path in inner.images}) > 1
    deeper = _descended(inner)
    return deeper if parted or deeper is not inner else found


_Arranged = Literal["classes", "splits", "flat"]


def _arranged(found: Contents, images: list[str]) -> _Arranged:
    tops = Counter(map(top_of, images))
    loose = tops.pop("", 0)
    if loose and tops and min(loose, sum(tops.values())) > ASIDE * len(images):
        raise UserError(
            f"{found.raw}: two layouts at once: {count(loose, 'image')} in the folder itself "
            f"and {sum(tops.values()):,} in subfolders ({listed(sorted(tops), 5)}); move the "
            "ones or the others elsewhere, or point --from at one of the subfolders"
        )
    if len(tops) < 2:
        return "flat"
    parts = [name for name in tops if canonical_split(name)]
    if 0 < len(parts) < len(tops):
        others = sorted(set(tops) - set(parts))
        raise UserError(
            f"{found.raw}: two layouts at once: {listed(sorted(parts), 3)} are named like the "
            f"parts of a split, {listed(others, 5)} like classes; keep the ones or the others "
            "in this folder"
        )
    if parts:
        inner = [path for path in images if path.count("/") > 1]
        return "splits" if len(inner) >= NEARLY_ALL * len(images) else "flat"
    return "flat" if look_like_patients(tops) or _one_each(tops) else "classes"


def _one_each(tops: Mapping[str, int]) -> bool:
    """Tell whether folders hold an image or two, so that none of them is a class."""
    return sum(tops.values()) < 3 * len(tops)


def _words(arranged: _Arranged, images: list[str]) -> str:
    if arranged == "flat":
        return "a folder of images without class folders"
    place = 0 if arranged == "classes" else 1
    names = {path.split("/")[place] for path in images if path.count("/") > place}
    above = "" if arranged == "classes" else " below train, validation and test"
    return f"a folder per class{above}, {count(len(names), 'class', 'classes')} in all"


def _layout_option(arranged: _Arranged, images: list[str]) -> Option:
    reasons = {
        "classes": "A folder per class.",
        "splits": "Folders train, validation, test, and a folder per class in each.",
        "flat": "No folder is a class, so that there are no labels.",
    }
    tops = {top_of(path) for path in images}
    doubt = example = ""
    if arranged == "classes":
        doubt = f"are the {len(tops)} folders the classes, and not patients or sites?"
        example = listed(sorted(tops), 10)
    elif len(tops) > 1 and not any(map(canonical_split, tops)):
        doubt = f"the {len(tops)} folders were taken for patients; if they are classes: classes"
    return Option("layout", arranged, reasons[arranged], doubt, example)


def _mask_option(suffix: tuple[str, int], images: int) -> tuple[Option]:
    name, masked = suffix
    reason = f"a{name}.png is a mask of a.png: {masked:,} of {count(images, 'image')} have one."
    return (Option("mask_suffix", name, reason),)


def _patients(arranged: _Arranged, images: list[str]) -> tuple[str, Option]:
    """Return where patients are named, in words, and the option."""
    found = patients_in(images)
    if found is None:
        found = _by_folder(arranged, images)
    if found is not None:
        missed = f", but {count(found.missed, 'path')} without one" if found.missed else ""
        reason = f"The group in a file's path is the patient: {found.found:,} of them{missed}."
        doubt = "is what it finds the patient? Two parts of a split must share none."
        return "by file paths", Option("patient", found.pattern, reason, doubt)
    doubt = (
        "no path names a patient in a way that is known here, so that images of one patient "
        "may train and test, which makes every score too good; a pattern with a group, as in "
        "'(p[0-9]+)_', names them"
    )
    example = ""
    beginnings = shared_beginnings(images)
    if beginnings:
        sets, one = beginnings
        doubt += (
            f"; the files fall in {sets:,} sets with one beginning, of which each may be a "
            "patient"
        )
        example = f"for instance {one!r}"
    reason = "null: unknown, unless a DICOM file says it."
    return "", Option("patient", None, reason, doubt, example)


def _by_folder(arranged: _Arranged, images: list[str]) -> Patients | None:
    """Take the folders below the classes for patients, or those that are no classes."""
    above = {"flat": 0, "classes": 1, "splits": 2}[arranged]
    deep = [path for path in images if path.count("/") > above]
    folders = {tuple(path.split("/")[: above + 1]) for path in deep}
    unlike = len(deep) < NEARLY_ALL * len(images) or len(folders) < above + 3
    if unlike or any(canonical_split(path[0]) for path in folders if arranged == "flat"):
        return None
    pattern = "^" + "[^/]+/" * above + "([^/]+)/"
    found = {match[1] for path in deep if (match := re.search(pattern, path))}
    return Patients(pattern, len(found), len(images) - len(deep))


def _distance_of(modality: str | None) -> Option:
    if modality in ("ct", "mr"):
        return distance(0, "0, because slices of different people look alike.")
    return distance(4, "4 finds copies that were scaled or stored anew.")


def _unread_split(arranged: _Arranged, images: list[str]) -> tuple[str, ...]:
    tops = {top_of(path) for path in images}
    if arranged != "flat" or not any(map(canonical_split, tops)):
        return ()
    return (
        f"The folders {listed(sorted(tops), 3)} are named like the parts of a split but hold "
        "no class folders, so that the split is not read; a table with path and split says it.",
    )


def _refuse_masks_apart(found: Contents, images: list[str]) -> None:
    tops = {top_of(path).lower(): top_of(path) for path in images}
    masks = sorted(tops[name] for name in tops.keys() & MASK_FOLDERS)
    scans = sorted(tops[name] for name in tops.keys() & IMAGE_FOLDERS)
    if masks and (scans or len(tops) == 2):
        others = scans or sorted(set(tops.values()) - set(masks))
        raise UserError(
            f"{found.raw}: the masks lie in a folder of their own ({masks[0]}, beside "
            f"{others[0]}), which a table reads: write one with the columns path and mask, a "
            "row per image, and point --from at it"
        )


def _refuse_labels_in_names(found: Contents, images: list[str]) -> None:
    classes = classes_in_names(images)
    if classes:
        named = listed((f"{name} {number:,}" for name, number in classes.items()), 5)
        raise UserError(
            f"{found.raw}: labels stand in file names only, it seems ({named}), where nothing "
            "reads them: move the files into a folder per class, or write a table with the "
            "columns path and label and point --from at it; --as image_folder takes the images "
            "without labels"
        )
