"""A model that tells any number of labels: of each a probability, and whether it is called."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from maskwise.artefacts.model import MultilabelMetadata
from maskwise.combinations import BETWEEN, NONE
from maskwise.encoders.classifier import Classifier
from maskwise.limits.conformal import chances_of_labels
from maskwise.prediction.contracts import Answers, Figure, Look
from maskwise.prediction.limits import Told


@dataclass(frozen=True)
class Labels:
    """Columns ``p_<label>``, each by itself, and ``called_<label>``, 1 or 0.

    The prediction is the combination of the labels that are called: of those whose probability
    is at least the model's threshold.
    """

    network: Classifier
    metadata: MultilabelMetadata
    told: Told
    template: ClassVar[str] = "labels.html.jinja"
    texts: ClassVar[tuple[str, ...]] = ()

    def _columns(self, kind: str) -> tuple[str, ...]:
        return tuple(f"{kind}_{name}" for name in self.metadata.classes)

    @property
    def measured(self) -> tuple[str, ...]:
        return (*self._columns("p"), *self.told.worst)

    @property
    def worst(self) -> tuple[str, ...]:
        return self.told.worst

    @property
    def numbers(self) -> tuple[str, ...]:
        return (*self._columns("p"), *self._columns("called"), *self.told.numbers)

    @property
    def sets(self) -> tuple[str, ...]:
        return () if self.told.calibration is None else self._columns("set")

    def answer(self, images: Tensor, looks: Sequence[Look], rows: Sequence[int]) -> Answers:
        features = self.network.pooled(images)
        logits = self.network.head(features)
        chances = self.network.activated(logits).double().cpu().numpy()
        # A sigmoid would turn infinity into certainty.
        finite = torch.isfinite(logits).all(dim=1).cpu().numpy()
        chances[~finite] = np.nan
        before = chances_of_labels(logits.double().sigmoid().cpu().numpy())
        table = pd.DataFrame(chances, columns=list(self._columns("p")))
        return Answers(self.judge(table.join(self.told.measured(before, features))), {})

    def judge(self, measured: pd.DataFrame) -> pd.DataFrame:
        chances = measured[list(self._columns("p"))].to_numpy(np.float64)
        called = chances >= np.asarray(self.metadata.thresholds)
        names = np.asarray(self.metadata.classes, dtype=object)
        prediction = [
            (BETWEEN.join(names[calls]) or NONE) if known else ""
            for calls, known in zip(called, np.isfinite(chances).all(axis=1), strict=True)
        ]
        calls = pd.DataFrame(
            called.astype(float), measured.index, list(self._columns("called"))
        )
        judged = self.told.flagged(measured.join(calls).assign(prediction=prediction))
        if not self.sets:
            return judged
        sets = {
            f"set_{name}": self.told.sets(judged, [(name, "yes"), (f"not {name}", "no")])
            for name in self.metadata.classes
        }
        return judged.assign(**sets)

    def order(self, table: pd.DataFrame, sort_by: str | None) -> pd.DataFrame:
        """Order by the probability of ``sort_by``, or of whatever is likeliest."""
        columns = [f"p_{name}" for name in self.metadata.classes]
        columns = columns if sort_by is None else [f"p_{sort_by}"]
        highest = table[columns].max(axis=1)
        return table.loc[highest.sort_values(ascending=False, kind="stable").index]

    def tally(self, predictions: "pd.Series[str]") -> list[tuple[str, int]]:
        """Count the scans of which each label is called, and those of which none is."""
        called = [set(prediction.split(BETWEEN)) for prediction in predictions]
        names = (*self.metadata.classes, NONE)
        return [(name, sum(name in calls for calls in called)) for name in names]

    def figures(
        self, row: "pd.Series[float]", files: Mapping[str, bytes]
    ) -> tuple[Figure, ...]:
        return tuple(
            Figure(name, float(row[f"p_{name}"]), called=bool(row[f"called_{name}"]))
            for name in self.metadata.classes
        )
