"""What a task's predictions are scored by."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskwise.array_types import Floats
from maskwise.errors import UserError
from maskwise.evaluate.scales import Scale
from maskwise.evaluate.weighing import Weights

Asides = dict[str, dict[str, float]]
"""Metric -> further figures beside its value, by name."""


class Measures(Protocol):
    """How the predictions of one source are scored, read off their columns.

    Shapes: ``values`` ``(n, C)``, the ``columns`` of n test images; D draws.
    """

    @property
    def task(self) -> str:
        """Its name in ``maskwise.evaluate.tasks.TASKS``."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names, in the order of ``scores.json``."""

    @property
    def leading(self) -> str:
        """The metric to speak of first; better when larger."""

    @property
    def chance(self) -> float:
        """What of the leading metric knowing nothing gives."""

    @property
    def smaller_is_better(self) -> tuple[str, ...]: ...

    @property
    def partly_defined(self) -> tuple[str, ...]:
        """Metrics of the images alone that a recipe's answer makes measurable."""

    def rests_on(self, metric: str) -> tuple[str, ...]:
        """Return those of ``classes`` on the rarest of which a metric depends.

        As a mean over classes does, in which each counts as much as another; none where it
        depends on all images alike.
        """

    def scale(self, metric: str) -> Scale:
        """Return what a metric's interval must keep to."""

    @property
    def surely_defined(self) -> tuple[str, ...]:
        """Metrics that should have a value in every draw; where not, a note says so."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """What ``truth`` may be."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Of which images and groups are counted."""

    @property
    def noun(self) -> str:
        """What a reader calls one of ``classes``."""

    @property
    def shows(self) -> NDArray[np.bool_]:
        """Which classes an image of each kind shows, ``(kinds, classes)``."""

    @property
    def columns(self) -> tuple[str, ...]: ...

    @property
    def conventions(self) -> Mapping[str, Any]:
        """Further entries of ``scores.json``: whatever a figure's meaning depends on."""

    def check(self, test: pd.DataFrame, where: str) -> None:
        """Raise ``UserError`` naming the first row that is impossible."""

    def score(self, values: Floats, weights: Weights) -> Floats:
        """Return all ``metrics`` ``(M, D)``; NaN where one is undefined."""

    def together(self, one: Floats, other: Floats) -> tuple[Floats, Floats, int]:
        """Return the values of two recipes without what only one of them has.

        And the number of images on which ``partly_defined`` metrics then rest.
        """

    def asides(self, values: Floats, weights: Weights) -> Asides:
        """Return what stands beside a metric's value, of the images as they are."""

    def undefined(self, draws: int, of: int) -> str:
        """Say that so many draws of all had some metric undefined."""

    def stuck(self, values: Floats, weights: Weights) -> str:
        """Say that nearly all images got one answer or a perfect one, if so; else nothing.

        A difference between two such recipes says nothing about either.
        """

    def notes(self) -> list[str]:
        """Return what else a reader must know, in sentences."""


def nothing_to_score(where: str) -> UserError:
    """Return the error about predictions ``where`` there is nothing to score."""
    return UserError(
        f"{where}: holds no labelled test image of two or more classes, so there is nothing to "
        "score; look at the split of the source"
    )


def other_task(where: str, task: str, column: str) -> UserError:
    """Return the error about predictions that lack the column by which a task's are known."""
    return UserError(
        f"{where}: there is no column {column}..., so these are not the predictions of the "
        f"task {task}, which the source names; run its finetune again"
    )
