"""A model that classifies: calibrated probabilities of each scan."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from torch import Tensor

from maskwise.artefacts.model import ModelMetadata
from maskwise.encoders.classifier import Classifier
from maskwise.prediction.contracts import Answers, Figure, Look
from maskwise.prediction.limits import Told


@dataclass(frozen=True)
class Classes:
    """Columns ``p_<class>``, which add to 1; the likeliest class is the prediction."""

    network: Classifier
    metadata: ModelMetadata
    told: Told
    template: ClassVar[str] = "classes.html.jinja"
    texts: ClassVar[tuple[str, ...]] = ()

    @property
    def chances(self) -> tuple[str, ...]:
        """Columns of calibrated probabilities."""
        return tuple(f"p_{name}" for name in self.metadata.classes)

    @property
    def measured(self) -> tuple[str, ...]:
        return (*self.chances, *self.told.worst)

    @property
    def worst(self) -> tuple[str, ...]:
        return self.told.worst

    @property
    def numbers(self) -> tuple[str, ...]:
        return (*self.chances, *self.told.numbers)

    @property
    def sets(self) -> tuple[str, ...]:
        return () if self.told.calibration is None else ("set",)

    def answer(self, images: Tensor, looks: Sequence[Look], rows: Sequence[int]) -> Answers:
        features = self.network.pooled(images)
        logits = self.network.head(features)
        chances = self.network.activated(logits).double().cpu().numpy()
        before = logits.double().softmax(dim=1).cpu().numpy()
        table = pd.DataFrame(chances, columns=list(self.chances))
        return Answers(self.judge(table.join(self.told.measured(before, features))), {})

    def judge(self, measured: pd.DataFrame) -> pd.DataFrame:
        chances = measured[list(self.chances)].to_numpy(np.float64)
        names = np.asarray(self.metadata.classes, dtype=object)
        finite = np.isfinite(chances).all(axis=1)
        prediction = np.where(finite, names[np.nan_to_num(chances).argmax(axis=1)], "")
        judged = self.told.flagged(measured.assign(prediction=prediction))
        if not self.sets:
            return judged
        answers = [(name, name) for name in self.metadata.classes]
        return judged.assign(set=self.told.sets(judged, answers))

    def order(self, table: pd.DataFrame, sort_by: str | None) -> pd.DataFrame:
        """Order by the probability of ``sort_by``, or of the prediction within its class."""
        if sort_by is not None:
            return table.sort_values(f"p_{sort_by}", ascending=False, kind="stable")
        top = table[list(self.chances)].max(axis=1)
        order = table.assign(_top=top).sort_values(
            ["prediction", "_top"], ascending=[True, False], kind="stable"
        )
        return order.drop(columns="_top")

    def tally(self, predictions: "pd.Series[str]") -> list[tuple[str, int]]:
        """Count every class of the model, also one that no scan shows."""
        counts = predictions.value_counts()
        return [(name, int(counts.get(name, 0))) for name in self.metadata.classes]

    def figures(
        self, row: "pd.Series[float]", files: Mapping[str, bytes]
    ) -> tuple[Figure, ...]:
        names = zip(self.metadata.classes, self.chances, strict=True)
        return tuple(Figure(name, float(row[column])) for name, column in names)
