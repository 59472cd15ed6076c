"""A folder of images: telling them from other files, and from their masks."""

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from maskwise.scans.raw import looks_like_image, walk
from maskwise.scans.reasons import Reject


def find_images(raw: Path, suffixes: tuple[str, ...] = ()) -> tuple[list[str], list[Reject]]:
    """Return the files below ``raw`` that claim to be images, and a reject for all others.

    A file whose name ends with one of ``suffixes``, in small letters, is taken as well.
    """
    files, rejects = walk(raw)
    images = [
        path for path in files if path.lower().endswith(suffixes) or looks_like_image(raw, path)
    ]
    others = set(files) - set(images)
    rejects += [other_file(path) for path in others]
    return images, rejects


def other_file(path: str) -> Reject:
    """Return the reject of a readme, table or archive."""
    return Reject(path, "other_file", "neither suffix nor content of an image")


def pair_masks(paths: Iterable[str], suffix: str) -> tuple[dict[str, list[str]], list[Reject]]:
    """Give each image its masks: ``a.png`` takes ``a<suffix>.png`` and ``a<suffix>_1.png``.

    Only the file's own stem counts, so a folder may be called "mask". Returns image -> masks in
    the order of ``paths``, and a reject for each mask without an image.
    """
    pattern = re.compile(rf"(?P<image>.+){re.escape(suffix)}(_\d+)?\Z", re.DOTALL)
    masks: list[tuple[str, str]] = []
    images: dict[str, list[str]] = {}
    by_stem: dict[str, str] = {}
    for path in paths:
        stem = _stem(path)
        match = pattern.match(stem)
        if match:
            masks.append((path, str(PurePosixPath(path).with_name(match["image"]))))
        else:
            images[path] = []
            by_stem.setdefault(str(PurePosixPath(path).with_name(stem)), path)
    rejects = []
    for path, stem in masks:
        if stem in by_stem:
            images[by_stem[stem]].append(path)
        else:
            detail = f"there is no image {PurePosixPath(stem).name!r} beside it"
            rejects.append(Reject(path, "mask_without_image", detail))
    return images, rejects


def _stem(path: str) -> str:
    """Return a file's name without its suffix, of which ``.nii.gz`` is one."""
    name = PurePosixPath(path).name
    return (
        name[: -len(".nii.gz")]
        if name.lower().endswith(".nii.gz")
        else PurePosixPath(path).stem
    )
