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


@dataclass(frozen=True)
class Classes:
    """Columns ``p_<class>``, which add to 1; the likeliest class is the prediction."""

    network: Classifier
    metadata: ModelMetadata
    template: ClassVar[str] = "classes.html.jinja"
    texts: ClassVar[tuple[str, ...]] = ()

    @property
    def numbers(self) -> tuple[str, ...]:
        return tuple(f"p_{name}" for name in self.metadata.classes)

    def answer(self, images: Tensor, looks: Sequence[Look], rows: Sequence[int]) -> Answers:
        chances = self.network.probabilities(images).double().cpu().numpy()
        names = np.asarray(self.metadata.classes, dtype=object)
        finite = np.isfinite(chances).all(axis=1)
        prediction = np.where(finite, names[np.nan_to_num(chances).argmax(axis=1)], "")
        table = pd.DataFrame(chances, columns=list(self.numbers))
        return Answers(table.assign(prediction=prediction), {})

    def order(self, table: pd.DataFrame, sort_by: str | None) -> pd.DataFrame:
        """Order by the probability of ``sort_by``, or of the prediction within its class."""
        if sort_by is not None:
            return table.sort_values(f"p_{sort_by}", ascending=False, kind="stable")
        top = table[list(self.numbers)].max(axis=1)
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
        names = zip(self.metadata.classes, self.numbers, strict=True)
        return tuple(Figure(name, float(row[column])) for name, column in names)
