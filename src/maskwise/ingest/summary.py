"""``data_summary.json``: what the data are, and what about them should be distrusted."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from maskwise.artefacts.labels import LABEL, label_columns
from maskwise.artefacts.splits import SPLITS
from maskwise.ingest.groups import Groups, duplicate_sets, sets_that_differ
from maskwise.scans.decode import LONGEST_SUFFIX, claimed_format
from maskwise.scans.reasons import REASONS, UNCOUNTED
from maskwise.scans.remarks import REMARKS, Remark
from maskwise.wording import count

QUANTILES = {"least": 0.0, "q05": 0.05, "median": 0.5, "q95": 0.95, "largest": 1.0}
EXAMPLES = 20
GIVEN_AWAY = 0.6
"""An AUROC of file facts whose interval lies above it is warned of."""
_UNLABELLED = "unlabelled"
_NO_SPLIT = "no official split"


def describe(images: pd.DataFrame, groups: Groups) -> dict[str, Any]:
    """Return counts, sizes, intensities and duplicates of the accepted images."""
    return {
        "images": len(images),
        "groups": int(images["group"].nunique()),
        "patients": int(images["patient"].nunique()) or None,
        "modalities": _counts(images["modality"]),
        "labels": {
            column.removeprefix(LABEL): _label(images, column)
            for column in label_columns(images)
        },
        "sizes": {name: _quantiles(images[name]) for name in ("width", "height", "bytes")},
        "channels": _counts(images["channels"]),
        "bits": _counts(images["bits"]),
        "formats": _counts(images["format"]),
        "modes": _counts(images["mode"]),
        "intensities": _intensities(images),
        "masks": _masks(images),
        "volumes": _volumes(images),
        "duplicates": _duplicates(images, groups),
        "blank_images": _examples(images[images["blank"]]["path"]),
        "wrong_suffix": _examples(_wrong_suffix(images)),
    }


def describe_rejects(rejects: pd.DataFrame, kept: int) -> dict[str, Any]:
    """Return how many files were not taken, why, and the share that counts."""
    counted = int((~rejects["reason"].isin(list(UNCOUNTED))).sum())
    return {
        "total": len(rejects),
        "counted": counted,
        "share": counted / max(1, kept + counted),
        "by_reason": {
            reason: {"files": count, "meaning": REASONS[reason]}
            for reason, count in _counts(rejects["reason"]).items()
        },
    }


def describe_remarks(remarks: Iterable[tuple[str, Remark]]) -> dict[str, Any]:
    """Return, by kind, how many files a remark is of, and the first few by name."""
    details: dict[str, dict[str, str]] = {}
    for path, (kind, detail) in remarks:
        details.setdefault(kind, {}).setdefault(path, detail)
    return {
        kind: {
            "files": len(found),
            "meaning": REMARKS[kind],
            "examples": dict(sorted(found.items())[:EXAMPLES]),
        }
        for kind, found in sorted(details.items())
    }


def warn(summary: dict[str, Any]) -> list[str]:
    """Return a sentence for each thing in ``summary`` that a reader should distrust."""
    sentences: list[str] = []
    sentences += map(_remarked, summary["remarks"].values())
    contradictions, leaks = summary["contradictions"], summary["official_split_leaks"]
    labels, masks = len(contradictions["labels"]), contradictions["masks"]
    if labels:
        found = count(labels, "set of duplicates carries", "sets of duplicates carry")
        sentences.append(f"{found} contradictory labels.")
    if masks["contradictory"]:
        pairs = count(masks["contradictory"], "pair")
        sentences.append(
            f"{pairs} of duplicates have masks that overlap by less than "
            f"{masks['agreement']:g}."
        )
    if leaks["groups"]:
        sentences.append(
            "The official split leaks: several of its parts share "
            f"{count(leaks['groups'], 'group')} (same patient or duplicate), "
            f"{count(leaks['images'], 'image')}."
        )
    for label, facts in summary["file_facts_audit"].items():
        if facts["auroc"] is not None:
            sentences += _given_away(label, facts)
    for label, facts in summary["slice_number_audit"].items():
        if facts["auroc"] is not None and facts["low"] > GIVEN_AWAY:
            sentences.append(
                f"The place of a slice in its volume alone predicts {label}: AUROC "
                f"{facts['auroc']:.2f} ({facts['low']:.2f} to {facts['high']:.2f}); a network "
                "has to do better than that."
            )
    sentences += _mixed_numbers(summary["volumes"])
    largest = summary["duplicates"]["largest_set"]
    across = summary["duplicates"]["sets_across_patients"]
    if across:
        found = count(across, "set of near-duplicates joins", "sets of near-duplicates join")
        sentences.append(
            f"{found} patients who have different names: look at some, and lower "
            "duplicate_distance if they are different people."
        )
    if largest > max(10, summary["images"] / 5):
        sentences.append(
            f"One set of near-duplicates holds {largest} images: duplicate_distance may be too "
            "large for this source."
        )
    return sentences


def _remarked(entry: dict[str, Any]) -> str:
    path, detail = next(iter(entry["examples"].items()))
    files = count(entry["files"], "file")
    return f"{files} {entry['meaning']}, as {path!r}{': ' if detail else ''}{detail}."


def _mixed_numbers(volumes: dict[str, Any] | None) -> list[str]:
    if volumes is None or len(volumes["number_types"]) < 2:
        return []
    types = ", ".join(f"{name} in {count}" for name, count in volumes["number_types"].items())
    return [
        f"Volumes hold different types of numbers ({types}), so that their intensities need "
        "not mean the same: scale each image by itself (intensity `percentile`)."
    ]


def _given_away(label: str, facts: dict[str, Any]) -> list[str]:
    header = facts["without_bytes"]
    if header["low"] > GIVEN_AWAY:
        return [
            f"Format and size in pixels alone predict {label}: AUROC {header['auroc']:.2f} "
            f"({header['low']:.2f} to {header['high']:.2f})."
        ]
    if facts["low"] > GIVEN_AWAY:
        return [
            f"With the bytes of the files, format and size predict {label}: AUROC "
            f"{facts['auroc']:.2f} ({facts['low']:.2f} to {facts['high']:.2f}); without them "
            f"{header['auroc']:.2f} ({header['low']:.2f} to {header['high']:.2f}). The size of "
            "a compressed file depends on what is shown, so this need not be a leak."
        ]
    return []


def plain(value: Any) -> Any:
    """Return ``value`` as JSON holds it: plain types, six significant digits, NaN as null."""
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def _label(images: pd.DataFrame, column: str) -> dict[str, Any]:
    """Return counts per class: all images and groups, then images per part of the split."""
    values = images[column].fillna(_UNLABELLED)
    parts = images["split"].fillna(_NO_SPLIT)
    table = pd.crosstab(values, parts)
    order = [name for name in (*SPLITS, _NO_SPLIT) if name in table.columns]
    return {
        str(value): {
            "images": int((values == value).sum()),
            "groups": int(images["group"][values == value].nunique()),
            "by_split": {part: int(table.at[value, part]) for part in order},
        }
        for value in sorted(values.unique())
    }


def _intensities(images: pd.DataFrame) -> dict[str, Any]:
    """Return quantiles over images of mean and deviation, over all and per class."""
    names = ("intensity_mean", "intensity_std", "intensity_min", "intensity_max")
    described: dict[str, Any] = {name: _quantiles(images[name]) for name in names}
    for column in label_columns(images):
        described[f"intensity_mean by {column.removeprefix(LABEL)}"] = {
            str(value): _quantiles(rows["intensity_mean"])
            for value, rows in images.groupby(column, sort=True)
        }
    return described


def _masks(images: pd.DataFrame) -> dict[str, Any]:
    counts = images["masks"].map(len)
    shares = images["lesion_share"]
    lesions = shares[shares > 0]
    return {
        "images_with_masks": int((counts > 0).sum()),
        "images_with_several_masks": int((counts > 1).sum()),
        "images_with_a_lesion": len(lesions),
        "lesion_share": _quantiles(lesions),
    }


def _volumes(images: pd.DataFrame) -> dict[str, Any] | None:
    """Return counts of volumes, and what differs between them; None where there are none."""
    if "volume" not in images:
        return None
    slices = images.groupby("volume")
    types = slices["mode"].first()[slices["format"].first() == "NIFTI"]
    spacing = slices["spacing_z"].first() if "spacing_z" in images else pd.Series(dtype=float)
    return {
        "volumes": slices.ngroups,
        "slices": _quantiles(slices.size()),
        "spacing_z": _quantiles(spacing.dropna()),
        "number_types": _counts(types),
    }


def _duplicates(images: pd.DataFrame, groups: Groups) -> dict[str, Any]:
    sets = duplicate_sets(groups.duplicate)
    sizes = [len(rows) for rows in sets]
    return {
        "sets": len(sizes),
        "images": sum(sizes),
        "independent_images": len(np.unique(groups.duplicate)),
        "pairs": groups.pairs,
        "sets_across_patients": int(
            sets_that_differ(groups.duplicate, images["patient"]).sum()
        ),
        "largest_set": max(sizes, default=0),
        "sets_by_size": dict(sorted(Counter(sizes).items())),
        "largest_group": int(images["group"].value_counts().max()),
    }


def _wrong_suffix(images: pd.DataFrame) -> pd.Series:
    ends, kinds = pd.factorize(images["path"].str.slice(-LONGEST_SUFFIX - 1))
    formats = np.array([claimed_format(end) for end in kinds], dtype=object)
    claimed = pd.Series(formats[ends], images.index)
    wrong = (claimed != images["format"]) & (images["format"] != "NPZ")
    wrong &= claimed.notna() | (images["format"] != "DICOM")  # which commonly has no suffix
    return images["path"][wrong] + " is " + images["format"][wrong]


def _examples(values: pd.Series) -> dict[str, Any]:
    return {"images": len(values), "examples": list(values[:EXAMPLES])}


def _counts(values: pd.Series) -> dict[str, int]:
    return {
        str(value): int(count) for value, count in values.value_counts().sort_index().items()
    }


def _quantiles(values: pd.Series) -> dict[str, float] | None:
    if not len(values):
        return None
    found = np.nanquantile(values.to_numpy(dtype=float), list(QUANTILES.values()))
    return {name: float(value) for name, value in zip(QUANTILES, found, strict=True)}
