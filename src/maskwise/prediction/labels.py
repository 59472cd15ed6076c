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
from maskwise.prediction.contracts import Answers, Figure, Look


@dataclass(frozen=True)
class Labels:
    """Columns ``p_<label>``, each by itself, and ``called_<label>``, 1 or 0.

    The prediction is the combination of the labels that are called: of those whose probability
    is at least the model's threshold.
    """

    network: Classifier
    metadata: MultilabelMetadata
    template: ClassVar[str] = "labels.html.jinja"
    texts: ClassVar[tuple[str, ...]] = ()

    @property
    def numbers(self) -> tuple[str, ...]:
        kinds = ("p", "called")
        return tuple(f"{kind}_{name}" for kind in kinds for name in self.metadata.classes)

    def answer(self, images: Tensor, looks: Sequence[Look], rows: Sequence[int]) -> Answers:
        logits = self.network(images)
        chances = self.network.activated(logits).double().cpu().numpy()
        # A sigmoid would turn infinity into certainty.
        finite = torch.isfinite(logits).all(dim=1).cpu().numpy()
        chances[~finite] = np.nan
        called = chances >= np.asarray(self.metadata.thresholds)
        names = np.asarray(self.metadata.classes, dtype=object)
        prediction = [
            (BETWEEN.join(names[calls]) or NONE) if known else ""
            for calls, known in zip(called, finite, strict=True)
        ]
        values = np.concatenate([chances, called.astype(np.float64)], axis=1)
        table = pd.DataFrame(values, columns=list(self.numbers))
        return Answers(table.assign(prediction=prediction), {})

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
