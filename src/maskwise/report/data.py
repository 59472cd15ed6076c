"""What ``data_summary.json`` says, in the page's terms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from maskwise.report.formatting import listing, number
from maskwise.wording import count


@dataclass(frozen=True)
class Audit:
    """How well facts about the files predict the label."""

    auroc: float
    low: float
    high: float
    images: int
    groups: int
    strongest: Sequence[str]
    """The facts that say most, the strongest first."""

    @property
    def predicts(self) -> bool:
        """Say whether the interval lies above guessing."""
        return self.low > 0.5


@dataclass(frozen=True)
class Contradictions:
    """Duplicates that disagree."""

    number: int
    named: Sequence[str]
    """A sentence each, with the files' names; of very many only the first."""


@dataclass(frozen=True)
class Leak:
    """What an official split shares between its parts."""

    groups: int
    images: int
    named: Sequence[str]


@dataclass(frozen=True)
class DataFacts:
    """Counts and defects of the raw images."""

    images: int
    groups: int
    patients: int | None
    """None where the source does not say."""
    duplicate_images: int
    duplicate_sets: int
    duplicate_distance: int
    """Bits of a hash of 64 within which pictures count as copies; 0 = equal pixels only."""
    labels: Contradictions
    masks: Contradictions
    mask_agreement: str
    """How well the masks of duplicates agree, in words."""
    official_split: bool
    leak: Leak | None
    rejected: int
    """Images that could not be used; files that are not images do not count."""
    reasons: Mapping[str, tuple[int, str]]
    """Reason -> files, meaning."""
    audit: Audit | None
    """Of all facts of the files, their bytes included."""
    header_audit: Audit | None
    """Of format, colour mode and size in pixels alone."""
    no_audit: str
    """Why there is none."""
    slice_audits: Mapping[str, Audit]
    """Label -> what the place of a slice in its volume says about it; empty without volumes."""
    pixel_audit: Audit | None
    """Of facts of the stored images, on validation images."""
    no_pixel_audit: str
    """Why there is none."""
    thinned: tuple[int, int] | None
    """Images that pre-training left out, of those that train; None = none was looked for."""


def read_data(
    summary: Mapping[str, Any], store_summary: Mapping[str, Any], label: str
) -> DataFacts:
    """Read both summaries; of several labels the audits of ``label``."""
    pixels = store_summary["pixel_facts_audit"].get(label, {"auroc": None})
    against, leaks = summary["contradictions"], summary["official_split_leaks"]
    audit = summary["file_facts_audit"].get(label, {"auroc": None, "why_not": "no label"})
    masks = against["masks"]
    return DataFacts(
        images=summary["images"],
        groups=summary["groups"],
        patients=summary["patients"],
        duplicate_images=summary["duplicates"]["images"],
        duplicate_sets=summary["duplicates"]["sets"],
        duplicate_distance=summary["duplicates"]["distance"],
        labels=Contradictions(
            against["label_sets"], [_by_value(entry["images"]) for entry in against["labels"]]
        ),
        masks=Contradictions(
            masks["contradictory"],
            [
                f"{listing(pair['images'])}: overlap {number(pair['iou'], 2)}"
                for pair in masks["pairs"]
            ],
        ),
        mask_agreement=_agreement(masks),
        official_split=leaks["official_split"],
        leak=_leak(leaks) if leaks["groups"] else None,
        rejected=summary["rejects"]["counted"],
        reasons={
            reason: (entry["files"], entry["meaning"])
            for reason, entry in summary["rejects"]["by_reason"].items()
        },
        audit=_audit(audit),
        header_audit=_audit(audit.get("without_bytes", {"auroc": None})),
        no_audit=audit.get("why_not", ""),
        slice_audits={
            name: found
            for name, asked in summary["slice_number_audit"].items()
            if (found := _audit(asked)) is not None
        },
        pixel_audit=_audit(pixels),
        no_pixel_audit=pixels.get("why_not", "no label"),
        thinned=_thinned(store_summary["thinning"]),
    )


def _by_value(images: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{value}: {', '.join(paths)}" for value, paths in images.items())


def _agreement(masks: Mapping[str, Any]) -> str:
    if not masks["pairs_compared"]:
        return ""
    return (
        f"The lesion outlines of {count(masks['pairs_compared'], 'pair')} of duplicates were "
        "compared; their median overlap (intersection over union) is "
        f"{number(masks['median_iou'], 2)}, and {masks['contradictory']:,} lie below "
        f"{masks['agreement']:g}."
    )


def _thinned(thinning: Mapping[str, int] | None) -> tuple[int, int] | None:
    return None if thinning is None else (thinning["removed"], thinning["images"])


def _leak(leaks: Mapping[str, Any]) -> Leak:
    named = [_by_value(entry["images"]) for entry in leaks["named"]]
    return Leak(leaks["groups"], leaks["images"], named)


def _audit(audit: Mapping[str, Any]) -> Audit | None:
    if audit["auroc"] is None:
        return None
    # By value: JSON was written with its keys sorted.
    strongest = sorted(audit["importances"].items(), key=lambda fact: (-fact[1], fact[0]))
    return Audit(
        audit["auroc"],
        audit["low"],
        audit["high"],
        audit["images"],
        audit["groups"],
        [name.replace("_", " ") for name, _ in strongest],
    )
