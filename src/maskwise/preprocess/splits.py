"""One split for all stages: the official one if there is one, else stratified and grouped."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from heapq import heapreplace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskwise.array_types import Codes
from maskwise.artefacts.splits import (
    COLUMNS,
    SPLITS,
    count_folds,
    leaking_groups,
    split_of_fold,
)
from maskwise.errors import UserError, hint, listed
from maskwise.preprocess.config import SourcePreprocessConfig
from maskwise.preprocess.strata import (
    UNLABELLED,
    Groups,
    Strata,
    group_images,
    pooled,
    strata_of,
)
from maskwise.seeds import stream
from maskwise.wording import count

log = logging.getLogger(__name__)


def make_splits(
    manifest: pd.DataFrame, config: SourcePreprocessConfig, where: str
) -> pd.DataFrame:
    """Return ``image_id, group, split, fold``, one row per image, in the manifest's order.

    ``where`` names the source's block in messages.

    Raises:
        UserError: if the label or an official split is missing, if there is one class only, or
            if there are fewer groups, of all or of a class, than splits or folds.
    """
    strata = strata_of(manifest, config.label, where, config.separator)
    _refuse_one_class(strata, config, where)
    has_official = "split" in manifest and bool(manifest["split"].notna().any())
    if config.split in ("official", "corrected") and not has_official:
        raise UserError(
            f"{where}.split: is {config.split!r}, but the source has no official split; "
            "set `split: own`"
        )
    if config.split == "own" or config.folds or not has_official:
        return _own(manifest, strata, config, where)
    return _official(manifest, strata, config, where)


def _refuse_one_class(strata: Strata, config: SourcePreprocessConfig, where: str) -> None:
    if config.label is None or len(strata.classes) > 1:
        return
    labelled = int((strata.code != UNLABELLED).sum())
    found = "no image has a label"
    if labelled:
        found = f"{count(labelled, 'image')} of {strata.classes[0]!r}"
    raise UserError(
        f"{where}.label: the label {config.label!r} has one class only "
        f"({found} among {count(len(strata.code), 'image')}), so there is nothing to tell "
        "apart; add the other classes, or set `label: null` to pre-train without labels"
    )


def _own(
    manifest: pd.DataFrame, strata: Strata, config: SourcePreprocessConfig, where: str
) -> pd.DataFrame:
    groups = group_images(manifest["group"], strata)
    generator = stream(config.split_seed, "split")
    if config.folds:
        names = [f"fold {fold}" for fold in range(config.folds)]
        fold = allocate(groups, names, [1 / config.folds] * config.folds, generator, where)
        # Nothing can be tested on an image without a label: every seed trains on it.
        fold[(groups.stratum == UNLABELLED) & (config.label is not None)] = -1
        split = split_of_fold(fold, config.folds, seed=0)[groups.code]
        splits = _table(manifest, split, fold[groups.code])
    else:
        shares = [
            1 - config.validation_share - config.share_of_test,
            config.validation_share,
            config.share_of_test,
        ]
        parts = 3 if config.share_of_test else 2
        part = allocate(groups, SPLITS[:parts], shares[:parts], generator, where)
        splits = _table(manifest, np.array(SPLITS, object)[part][groups.code])
    refuse_leaks(splits, manifest)
    return splits


def _official(
    manifest: pd.DataFrame, strata: Strata, config: SourcePreprocessConfig, where: str
) -> pd.DataFrame:
    without = manifest["split"].isna()
    if without.any():
        raise UserError(
            f"{where}.split: {int(without.sum())} of {len(manifest)} images stand in no "
            f"official split, among them {manifest['path'][without].iloc[0]}; complete the "
            "column, or set `split: own`"
        )
    split = manifest["split"].astype(str).to_numpy(object)
    unknown = sorted(set(split) - set(SPLITS))
    if unknown:
        raise UserError(f"{where}.split: there is no split {unknown[0]!r}; {hint('', SPLITS)}")
    if config.split == "corrected":
        split = _corrected(split, manifest["group"].to_numpy())
    split = _with_missing_parts(split, manifest["group"], strata, config, where)
    splits = _table(manifest, split)
    if config.split == "corrected":
        refuse_leaks(splits, manifest)
    leaks = leaking_groups(splits)
    if len(leaks):
        log.warning(
            "%s: the official split leaks: several parts share %s (%d of %s). "
            "It is kept as published; `split: corrected` makes one without leaks.",
            where,
            count(leaks["group"].nunique(), "group"),
            len(leaks),
            count(len(splits), "image"),
        )
    return splits


def _corrected(split: NDArray[np.object_], group: NDArray[np.object_]) -> NDArray[np.object_]:
    """Move every group to the earliest of its splits: what was trained on cannot be a test.

    So the corrected test set is a part of the published one.
    """
    rank = pd.Series(split).map({name: i for i, name in enumerate(SPLITS)})
    earliest = rank.groupby(group).transform("min").to_numpy()
    moved: NDArray[np.object_] = np.array(SPLITS, object)[earliest]
    return moved


def _with_missing_parts(
    split: NDArray[np.object_],
    group: pd.Series,
    strata: Strata,
    config: SourcePreprocessConfig,
    where: str,
) -> NDArray[np.object_]:
    """Draw a part that the publisher left out from the official training images."""
    shares = {"validation": config.validation_share, "test": config.share_of_test}
    missing = [name for name in shares if name not in set(split) and shares[name]]
    if not missing:
        return split
    inside = split == "train"
    log.warning(
        "%s: the official split has no %s; drawn from its training images by group",
        where,
        " and no ".join(missing),
    )
    names = ["train", *missing]
    parts = [1 - sum(shares[name] for name in missing), *(shares[name] for name in missing)]
    groups = group_images(group[inside], replace(strata, code=strata.code[inside]))
    part = allocate(groups, names, parts, stream(config.split_seed, "split"), where)
    drawn = split.copy()
    drawn[inside] = np.array(names, object)[part][groups.code]
    return drawn


def allocate(
    groups: Groups,
    names: Sequence[str],
    shares: Sequence[float],
    generator: np.random.Generator,
    where: str,
) -> Codes:
    """Deal whole groups to the parts ``names``, class by class, in random order: ``(G,)``.

    A group is dealt with those of its rarest class, to the part that lacks the largest share of
    the images it should get; every part gets one group of every class at least. Groups without
    any label go to the first part, unless nothing has a label. Where images may have several
    labels, the classes are the combinations that groups show, rare ones pooled.

    Raises:
        UserError: if there are fewer groups than parts, of all or of a class.
    """
    labels = None
    if groups.strata.holds is not None:
        groups, labels = pooled(groups, shares)
    _refuse_few_groups(groups, names, where)
    part = np.zeros(len(groups.size), np.int64)
    for code in range(len(groups.classes)) or [UNLABELLED]:
        members = generator.permutation(np.flatnonzero(groups.stratum == code))
        part[members] = _deal(groups.size[members], np.asarray(shares))
    for code, name in enumerate(groups.classes):
        without = np.setdiff1d(np.arange(len(names)), part[groups.shows[:, code]])
        if len(without):
            # Its groups all show a rarer class as well, with which they were dealt.
            raise UserError(
                f"{where}: no group with the class {name!r} came to {names[without[0]]}; set "
                "another `split_seed`, or ask for fewer folds"
            )
    if labels is not None:
        _tell_absent(labels, part, names, where)
    return part


def _tell_absent(labels: Groups, part: Codes, names: Sequence[str], where: str) -> None:
    """Warn of labels that did not come to every part, as rare ones of several may not."""
    for code, name in enumerate(labels.classes):
        held = set(part[labels.shows[:, code]])
        absent = [names[k] for k in range(len(names)) if k not in held]
        if absent:
            log.warning(
                "%s: no group with the label %r came to %s (it has %s in all)",
                where,
                name,
                listed(absent),
                count(int(labels.shows[:, code].sum()), "group"),
            )


def _deal(size: Codes, shares: NDArray[np.float64]) -> Codes:
    """Give each group in turn to the part that lacks most, the last ones to those with none.

    Only the part that was given to lacks less than before: a heap finds the next one without
    looking at all of them, which counts for a million groups.
    """
    wanted = (shares * size.sum()).tolist()
    given, without = [0] * len(wanted), set(range(len(wanted)))
    lacking = [(-1.0, part) for part in range(len(wanted))]
    dealt: list[int] = []
    for left, images in zip(range(len(size), 0, -1), size.tolist(), strict=True):
        if len(without) >= left:  # and so for all that follow
            lacking = [(lack, part) for lack, part in sorted(lacking) if part in without]
        part = lacking[0][1]
        given[part] += images
        heapreplace(lacking, ((given[part] - wanted[part]) / wanted[part], part))
        without.discard(part)
        dealt.append(part)
    return np.array(dealt, np.int64)


def _refuse_few_groups(groups: Groups, names: Sequence[str], where: str) -> None:
    parts = f"{len(names)} parts ({', '.join(names)})"
    remedy = "add images, ask for fewer folds, or set `label: null` to pre-train without labels"
    if len(groups.size) < len(names):
        raise UserError(
            f"{where}: {count(groups.size.sum(), 'image')} in "
            f"{count(len(groups.size), 'group')} (same patient or duplicates) cannot "
            f"be divided into {parts}; {remedy}"
        )
    for code, name in enumerate(groups.classes):
        sizes = groups.size[groups.shows[:, code]]
        if len(sizes) < len(names):
            raise UserError(
                f"{where}: the class {name!r} has {count(len(sizes), 'group')} "
                f"({count(sizes.sum(), 'image')}), fewer than the {parts} that each need one; "
                f"{remedy}"
            )


def refuse_leaks(splits: pd.DataFrame, manifest: pd.DataFrame) -> None:
    """Raise ``UserError`` if a group or a patient stands in two of our splits."""
    folds = count_folds(splits)
    part = splits["fold"].to_numpy() if folds else pd.factorize(splits["split"])[0]
    names = [f"fold {f}" for f in range(folds)] or list(pd.factorize(splits["split"])[1])
    for column in ("group", "patient"):
        if column not in manifest:
            continue
        owner, owners = pd.factorize(manifest[column], sort=True)
        inside = owner >= 0
        first = np.full(len(owners), len(names))
        last = np.full(len(owners), -1)
        np.minimum.at(first, owner[inside], part[inside])
        np.maximum.at(last, owner[inside], part[inside])
        several = np.flatnonzero(first < last)
        if len(several):
            one = several[0]
            raise UserError(
                f"the {column} {owners[one]!r} stands in {names[first[one]]} and "
                f"{names[last[one]]} (and {len(several) - 1} more do so); a split of our own "
                "must keep it together, but the manifest gives it several groups: run ingest "
                "again"
            )


def _table(
    manifest: pd.DataFrame, split: NDArray[np.object_], fold: Codes | None = None
) -> pd.DataFrame:
    fold = np.full(len(manifest), -1) if fold is None else fold
    columns = (manifest["image_id"], manifest["group"], pd.array(split, dtype="str"), fold)
    return pd.DataFrame(dict(zip(COLUMNS, columns, strict=True))).reset_index(drop=True)
