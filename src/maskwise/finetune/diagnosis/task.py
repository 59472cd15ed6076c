"""The task ``diagnosis``: one of several classes per image."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskwise.array_types import Floats
from maskwise.artefacts.labels import LABEL
from maskwise.artefacts.model import ClassifierMetadata, ModelMetadata
from maskwise.errors import UserError, shown
from maskwise.finetune.classification.contract import Likelihood, Targets
from maskwise.finetune.classification.labels import label_of
from maskwise.finetune.classification.softmax import Softmax
from maskwise.finetune.contracts import Mode
from maskwise.finetune.subsets import Validation, draw_subsets


@dataclass(frozen=True)
class DiagnosisConfig:
    """Which label is learnt, and what about it matters for learning it."""

    scored_as: ClassVar[str] = "diagnosis"
    model: ClassVar[str] = ModelMetadata.block
    modes: ClassVar[tuple[Mode, ...]] = ("probe", "full", "knn")
    trained: ClassVar[tuple[Mode, ...]] = ("full",)
    needs_label: ClassVar[bool] = True

    label: str = "diagnosis"
    """The store's column ``label_<label>``."""
    class_weights: Literal["none", "balanced"] = "none"
    """``balanced`` weighs class c by N / (K n_c); it distorts the probabilities."""

    def build(self, index: pd.DataFrame, splits: pd.DataFrame, where: str) -> "Diagnosis":
        """Read the classes off a store's index; ``where`` is the task's path in the YAML.

        Raises:
            UserError: if there is no such label, or fewer than two classes have images.
        """
        found = label_of(index, self.label, where)
        classes = tuple(sorted(found.dropna().astype(str).unique()))
        if len(classes) < 2:
            raise UserError(
                f"{where}.label: {shown(self.label)} has {len(classes)} class "
                f"({', '.join(classes) or 'no image is labelled'}); a diagnosis needs at least "
                "two: add images of another class, or stop after pretrain"
            )
        return Diagnosis("diagnosis", self, classes)


@dataclass(frozen=True)
class Diagnosis:
    """The task on one source."""

    name: str
    config: DiagnosisConfig
    classes: tuple[str, ...]
    """Sorted; position = class index."""
    likelihood: Likelihood = field(default_factory=Softmax)

    def labels(self, index: pd.DataFrame) -> pd.Series:
        """Return a store's labels, missing where an image has none."""
        return index[f"{LABEL}{self.config.label}"]

    def labelled(self, index: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
        table = rows.assign(label=self.labels(index).to_numpy(dtype=object)[rows["row"]])
        table = table[table["label"].notna()].reset_index(drop=True)
        table["label"] = table["label"].astype(str)
        return table.assign(stratum=table["label"])

    def subsets(
        self,
        labelled: pd.DataFrame,
        fractions: Sequence[float],
        validation: Validation,
        seed: int,
    ) -> pd.DataFrame:
        return draw_subsets(labelled, fractions, validation, seed)

    def targets(self, labels: pd.Series) -> NDArray[np.int64]:
        """Turn class names into class indices."""
        found = pd.Index(self.classes).get_indexer(pd.Index(labels.astype(str)))
        return np.asarray(found, np.int64)

    def weights(self, targets: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the weight of each class ``(K,)``, by class index."""
        counts = np.bincount(targets, minlength=len(self.classes))
        if self.config.class_weights == "none":
            return np.ones(len(self.classes))
        return np.asarray(len(targets) / (len(self.classes) * np.maximum(counts, 1)))

    def completed(
        self, metadata: ModelMetadata, logits: Floats, targets: Targets
    ) -> ModelMetadata:
        return metadata

    def answers(
        self, metadata: ClassifierMetadata, logits: Floats, targets: Targets
    ) -> pd.DataFrame:
        names = [f"p_{name}" for name in self.classes]
        return pd.DataFrame(self.likelihood.chances(logits), columns=names)
