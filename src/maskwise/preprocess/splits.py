"""One split for all stages: the official one if there is one, else stratified and grouped."""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskwise.artefacts.manifest import LABEL, label_columns
from maskwise.artefacts.splits import (
    COLUMNS,
    SPLITS,
    count_folds,
    leaking_groups,
    split_of_fold,
)
from maskwise.errors import UserError, hint
from maskwise.preprocess.config import SourcePreprocessConfig
from maskwise.seeds import stream

log = logging.getLogger(__name__)

UNLABELLED = "(no label)"


def make_splits(
    manifest: pd.DataFrame, config: SourcePreprocessConfig, where: str
) -> pd.DataFrame:
    """Return ``image_id, group, split, fold``, a row an image, in the manifest's order.

    ``where`` names the source's block in messages.

    Raises:
        UserError: if the label or an official split is missing, if there is one class only, or
            if there are fewer groups, of all or of a class, than splits or folds.
    """
    strata = label_of(manifest, config.label, where)
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


def label_of(manifest: pd.DataFrame, label: str | None, where: str) -> pd.Series:
    """Return each image's class, ``UNLABELLED`` where it has none."""
    if label is None:
        return pd.Series(UNLABELLED, index=manifest.index)
    known = [name.removeprefix(LABEL) for name in label_columns(manifest)]
    if label not in known:
        raise UserError(f"{where}.label: there is no label {label!r}; {hint(label, known)}")
    return manifest[f"{LABEL}{label}"].astype(object).fillna(UNLABELLED).astype(str)


def _refuse_one_class(strata: pd.Series, config: SourcePreprocessConfig, where: str) -> None:
    classes = strata[strata != UNLABELLED].value_counts()
    if config.label is None or len(classes) > 1:
        return
    found = ", ".join(f"{count} images of {name!r}" for name, count in classes.items())
    raise UserError(
        f"{where}.label: the label {config.label!r} has one class only "
        f"({found or 'no image has a label'} among {len(strata)} images), so there is nothing "
        "to tell apart; add the other classes, or set `label: null` to pre-train without labels"
    )


def _own(
    manifest: pd.DataFrame, strata: pd.Series, config: SourcePreprocessConfig, where: str
) -> pd.DataFrame:
    groups = _group_table(manifest["group"], strata)
    generator = stream(config.split_seed, "split")
    if config.folds:
        names = [f"fold {fold}" for fold in range(config.folds)]
        part = allocate(groups, names, [1 / config.folds] * config.folds, generator, where)
        # Nothing can be tested on an image without a label: it is trained on by every seed.
        part = np.where(
            (groups["stratum"] == UNLABELLED) & (config.label is not None), -1, part
        )
        fold = part[_codes(manifest["group"], groups)]
        split = split_of_fold(fold, config.folds, seed=0)
    else:
        shares = [
            1 - config.validation_share - config.share_of_test,
            config.validation_share,
            config.share_of_test,
        ]
        count = 3 if config.share_of_test else 2
        part = allocate(groups, SPLITS[:count], shares[:count], generator, where)
        split = np.array(SPLITS, object)[part[_codes(manifest["group"], groups)]]
        fold = np.full(len(manifest), -1)
    splits = _table(manifest, split, fold)
    refuse_leaks(splits, manifest)
    return splits


def _official(
    manifest: pd.DataFrame, strata: pd.Series, config: SourcePreprocessConfig, where: str
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
    splits = _table(manifest, split, np.full(len(manifest), -1))
    if config.split == "corrected":
        refuse_leaks(splits, manifest)
    leaks = leaking_groups(splits)
    if len(leaks):
        log.warning(
            "%s: the official split leaks: %d groups (%d of %d images) stand in several parts. "
            "It is kept as published; `split: corrected` makes one without leaks.",
            where,
            leaks["group"].nunique(),
            len(leaks),
            len(splits),
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
    strata: pd.Series,
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
    groups = _group_table(group[inside], strata[inside])
    generator = stream(config.split_seed, "split")
    part = allocate(groups, names, parts, generator, where)
    drawn = split.copy()
    drawn[inside] = np.array(names, object)[part[_codes(group[inside], groups)]]
    return drawn


def allocate(
    groups: pd.DataFrame,
    names: Sequence[str],
    shares: Sequence[float],
    generator: np.random.Generator,
    where: str,
) -> NDArray[np.int64]:
    """Deal whole groups to parts, class by class, in random order; return the part of each.

    ``groups`` has ``stratum`` and ``size`` (images). A group goes to the part that lacks the
    largest share of the images it should get; every part gets one group of every class at
    least. Groups without any label go to the first part, unless nothing has a label.

    Raises:
        UserError: if there are fewer groups than parts, of all or of a class.
    """
    _refuse_few_groups(groups, names, where)
    part = np.zeros(len(groups), np.int64)
    only_unlabelled = bool((groups["stratum"] == UNLABELLED).all())
    stratum, size = groups["stratum"].to_numpy(), groups["size"].to_numpy(np.float64)
    for name in sorted(set(stratum)):
        if name == UNLABELLED and not only_unlabelled:
            continue
        members = generator.permutation(np.flatnonzero(stratum == name))
        part[members] = _deal(size[members], np.asarray(shares))
    return part


def _deal(size: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.int64]:
    wanted = shares * size.sum()
    given, count = np.zeros(len(shares)), np.zeros(len(shares), np.int64)
    part = np.empty(len(size), np.int64)
    for i, images in enumerate(size):
        lack = (wanted - given) / wanted
        empty = count == 0
        if empty.sum() >= len(size) - i:
            lack = np.where(empty, lack, -np.inf)
        part[i] = int(lack.argmax())
        given[part[i]] += images
        count[part[i]] += 1
    return part


def _refuse_few_groups(groups: pd.DataFrame, names: Sequence[str], where: str) -> None:
    parts = f"{len(names)} parts ({', '.join(names)})"
    remedy = "add images, ask for fewer folds, or set `label: null` to pre-train without labels"
    if len(groups) < len(names):
        raise UserError(
            f"{where}: {int(groups['size'].sum())} images in {len(groups)} groups (same "
            f"patient or duplicates) cannot be divided into {parts}; {remedy}"
        )
    labelled = groups[groups["stratum"] != UNLABELLED].groupby("stratum")["size"]
    for name, sizes in labelled:
        if len(sizes) < len(names):
            raise UserError(
                f"{where}: the class {name!r} has {len(sizes)} groups ({int(sizes.sum())} "
                f"images), fewer than the {parts} that each need one; {remedy}"
            )


def refuse_leaks(splits: pd.DataFrame, manifest: pd.DataFrame) -> None:
    """Raise ``UserError`` if a group or a patient stands in two of our splits."""
    part = splits["fold"].map("fold {}".format) if count_folds(splits) else splits["split"]
    for column in ("group", "patient"):
        if column not in manifest:
            continue
        owner = manifest[column].to_numpy(object)
        table = pd.DataFrame({"owner": owner, "split": part.to_numpy()}).dropna()
        several = table.groupby("owner")["split"].unique()
        several = several[several.map(len) > 1]
        if len(several):
            raise UserError(
                f"the {column} {several.index[0]!r} stands in {' and '.join(several.iloc[0])} "
                f"(and {len(several) - 1} more do so); a split of our own must keep it "
                "together, but the manifest gives it several groups: run ingest again"
            )


def _group_table(group: pd.Series, strata: pd.Series) -> pd.DataFrame:
    """Return a row a group, by name: ``size`` and ``stratum``, the rarest of its classes."""
    frequency = strata.map(strata.value_counts())
    frequency = frequency.mask(strata == UNLABELLED, len(strata) + 1)
    order = pd.DataFrame({"group": group, "stratum": strata, "frequency": frequency})
    order = order.sort_values(["group", "frequency", "stratum"])
    return order.groupby("group").agg(stratum=("stratum", "first"), size=("stratum", "size"))


def _codes(group: pd.Series, groups: pd.DataFrame) -> NDArray[np.int64]:
    codes: NDArray[np.int64] = groups.index.get_indexer(pd.Index(group))
    return codes


def _table(
    manifest: pd.DataFrame, split: NDArray[np.object_], fold: NDArray[np.int64]
) -> pd.DataFrame:
    columns = (manifest["image_id"], manifest["group"], split, fold.astype(np.int64))
    named = dict(zip(COLUMNS, columns, strict=True))
    return pd.DataFrame(named).astype({"split": str}).reset_index(drop=True)
