"""The task ``multilabel``: options, and what they make of a source."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Annotated, ClassVar, Literal

import numpy as np
import pandas as pd

from maskwise.array_types import Floats
from maskwise.artefacts.model import ClassifierMetadata, ModelMetadata, MultilabelMetadata
from maskwise.bounds import Length
from maskwise.combinations import BETWEEN, NONE, pool_rare, shown_by
from maskwise.finetune.classification.contract import Likelihood
from maskwise.finetune.classification.labels import label_of
from maskwise.finetune.contracts import Mode
from maskwise.finetune.multilabel.reading import Cells, read_cells, read_kinds
from maskwise.finetune.multilabel.sigmoid import Sigmoid
from maskwise.finetune.multilabel.thresholds import RULE, choose_thresholds
from maskwise.finetune.subsets import Validation, draw_stratified
from maskwise.wording import count

log = logging.getLogger(__name__)

MOST_LABELS = 1_000
HEAVIEST = 20.0
"""Weight of a rare label's positives at most; 1 / 20 of a frequent one's at least."""
LEAST_GROUPS = 10
"""Groups, below which a combination of labels is pooled with others: subsets and folds keep the
shares of strata, and cannot keep those of a handful."""


@dataclass(frozen=True)
class MultilabelConfig:
    """Which labels are learnt, and how a cell names them."""

    scored_as: ClassVar[str] = "multilabel"
    model: ClassVar[str] = MultilabelMetadata.block
    modes: ClassVar[tuple[Mode, ...]] = ("probe", "full", "knn")
    trained: ClassVar[tuple[Mode, ...]] = ("full",)
    needs_label: ClassVar[bool] = True

    label: str
    """The store's column ``label_<label>``. An image without a value was not rated: it takes no
    part in this task."""
    labels: Annotated[tuple[str, ...], Length(1, MOST_LABELS)] | None = None
    """What a cell may name; null = whatever a training image is labelled with."""
    separator: Annotated[str, Length(1, 10)] = "|"
    """Stands between the labels of an image, as in ``SPICULATED|OBSCURED``."""
    none: str | None = None
    """What a cell says where an image was rated and shows no label, as ``No Finding``."""
    class_weights: Literal["none", "balanced"] = "balanced"
    """``balanced`` weighs the positives of label c by (N - n_c) / n_c, at most 20; what that
    adds to the logits is taken off again."""

    def __post_init__(self) -> None:
        named = self.labels or ()
        if len(set(named)) < len(named):
            raise ValueError("labels: a name appears twice")
        for name in (*named, *([] if self.none is None else [self.none])):
            if self.separator in name:
                raise ValueError(f"labels: {name!r} holds the separator {self.separator!r}")
        if self.none in named:
            raise ValueError(f"none: {self.none!r} is one of labels as well")

    @property
    def _asked(self) -> Cells:
        return Cells(self.label, self.labels, self.separator, self.none)

    def check(self, index: pd.DataFrame, where: str) -> None:
        """Look at the cells of a manifest or a store's index before anything is trained.

        Raises:
            UserError: if there is no such column, or a cell names what it must not.
        """
        read_kinds(label_of(index, self.label, where), self._asked, where)

    def build(self, index: pd.DataFrame, splits: pd.DataFrame, where: str) -> "Multilabel":
        """Read the labels off a store's index; ``where`` is the task's path in the YAML.

        Raises:
            UserError: if there is no such column, if a cell names a label that ``labels`` does
                not hold, or if no training image shows one.
        """
        cells = label_of(index, self.label, where)
        read = read_cells(cells, index["image_id"], splits, self._asked, where)
        return Multilabel("multilabel", self, read.labels, read.shown)


@dataclass(frozen=True)
class Multilabel:
    """The task on one source."""

    name: str
    config: MultilabelConfig
    classes: tuple[str, ...]
    """The labels, in the order of ``labels``, else by name."""
    shown: pd.Series
    """Of every image of the store: the combination of labels that it shows, missing where it
    was not rated."""
    likelihood: Likelihood = field(default_factory=Sigmoid)

    def labelled(self, index: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
        table = rows.assign(label=self.shown.to_numpy(dtype=object)[rows["row"]])
        table = table[table["label"].notna()].reset_index(drop=True)
        return table.assign(stratum=self._strata(table))

    def _strata(self, labelled: pd.DataFrame) -> "pd.Series[str]":
        """Pool rare combinations of the groups that are not tested: those decide nothing."""
        learnt = labelled[labelled["split"] != "test"]
        code, groups = pd.factorize(learnt["group"])
        shows = np.zeros((len(groups), len(self.classes)), bool)
        np.logical_or.at(shows, code, self.targets(learnt["label"]) > 0)
        pooled = pd.Series(pool_rare(shows, self.classes, LEAST_GROUPS), groups)
        return labelled["group"].map(pooled).fillna(labelled["label"])

    def subsets(
        self,
        labelled: pd.DataFrame,
        fractions: Sequence[float],
        validation: Validation,
        seed: int,
    ) -> pd.DataFrame:
        subsets = draw_stratified(labelled, fractions, validation, seed)
        train = subsets[subsets["role"] == "train"]
        for fraction, chosen in train.groupby("fraction", sort=False):
            shown = self.targets(chosen["label"]).sum(axis=0)
            for name, images in zip(self.classes, shown, strict=True):
                if images in (0, len(chosen)):
                    log.warning(
                        "Seed %d, %g of the labels: %s of the %s show %r, so that its "
                        "probability is the same for every image.",
                        seed,
                        fraction,
                        "all" if images else "none",
                        count(len(chosen), "training image"),
                        name,
                    )
        return subsets

    def targets(self, labels: "pd.Series[str]") -> Floats:
        """Turn combinations into 1 and 0, ``(N, K)``."""
        kinds, which = np.unique(labels.to_numpy(dtype=str), return_inverse=True)
        named = [() if kind == NONE else tuple(kind.split(BETWEEN)) for kind in kinds]
        return shown_by(named, self.classes).astype(np.float64)[which.reshape(-1)]

    def weights(self, targets: Floats) -> Floats:
        """Return the weight of each label's positives ``(K,)``."""
        if self.config.class_weights == "none":
            return np.ones(len(self.classes))
        positive = targets.sum(axis=0)
        balanced = (len(targets) - positive) / np.maximum(positive, 1)
        return np.asarray(balanced.clip(1 / HEAVIEST, HEAVIEST))

    def completed(
        self, metadata: ModelMetadata, logits: Floats, targets: Floats
    ) -> ClassifierMetadata:
        """Choose the thresholds by validation images."""
        chances = self.likelihood.chances(logits / metadata.temperature)
        common = {each.name: getattr(metadata, each.name) for each in fields(metadata)}
        thresholds = choose_thresholds(chances, targets)
        return MultilabelMetadata(**common, thresholds=thresholds, threshold_rule=RULE)

    def answers(
        self, metadata: ClassifierMetadata, logits: Floats, targets: Floats
    ) -> pd.DataFrame:
        """Return ``p_<label>`` (calibrated), ``truth_<label>`` and ``threshold_<label>``."""
        assert isinstance(metadata, MultilabelMetadata)  # as `completed` made it
        chances = self.likelihood.chances(logits / metadata.temperature)
        thresholds = np.tile(metadata.thresholds, (len(chances), 1))
        columns = {"p": chances, "truth": targets, "threshold": thresholds}
        return pd.concat(
            [
                pd.DataFrame(values, columns=[f"{kind}_{name}" for name in self.classes])
                for kind, values in columns.items()
            ],
            axis=1,
        )
