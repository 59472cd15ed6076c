"""Sets of answers, and the flag of scans unlike those of training, as columns of the table."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from maskwise.array_types import Floats
from maskwise.combinations import NONE
from maskwise.errors import UserError, shown
from maskwise.limits.conformal import NEAR, Calibration
from maskwise.limits.record import Limits
from maskwise.limits.typical import FALSE_ALARMS, unlike
from maskwise.wording import count

log = logging.getLogger(__name__)

OR = " | "
"""Stands between the answers of a set."""
P = "conformal_p_"
"""Prefix of the columns by which sets are made, one per answer."""
NO_LIMITS = (
    "the model's file is of a version that kept nothing of held-out scans: run finetune again"
)


@dataclass(frozen=True)
class Told:
    """What a run says of a model's limits."""

    limits: Limits | None
    coverage: float | None
    """Of the sets; None = there are none."""
    false_alarms: float
    """Share of patients like those of training whom the flag may call unlike them."""

    @classmethod
    def of(
        cls, limits: Limits | None, coverage: float | None, false_alarms: float | None
    ) -> "Told":
        """Hold what is asked against what the model's file allows.

        Raises:
            UserError: if it lacks what is asked, or too few patients were held out for it.
        """
        if limits is None:
            for name, asked in (("coverage", coverage), ("false_alarms", false_alarms)):
                if asked is not None:
                    raise UserError(f"predict.{name}: is {asked:g}, but {NO_LIMITS}")
            log.warning("No scan is held against those of training: %s.", NO_LIMITS)
            return cls(None, None, 0.0)
        if coverage is not None:
            if limits.calibration is None:
                raise UserError(
                    f"predict.coverage: is {coverage:g}, but the model outlines, and names no "
                    "class of a scan; leave it out"
                )
            _check_different(limits.calibration.answers)
            limits.calibration.check(coverage, "predict.coverage")
        allowed = limits.space.false_alarms(false_alarms, "predict.false_alarms")
        if false_alarms is None and allowed > FALSE_ALARMS + NEAR:
            log.warning(
                "Of patients like those of training %.3g %% may be marked as unlike them, not "
                "%.3g %%: no less can be told with %s.",
                100 * allowed,
                100 * FALSE_ALARMS,
                count(len(limits.space.held_out), "held-out patient"),
            )
        return cls(limits, coverage, allowed)

    @property
    def calibration(self) -> Calibration | None:
        """What sets are made by; None = there are none."""
        return None if self.coverage is None or self.limits is None else self.limits.calibration

    @property
    def worst(self) -> tuple[str, ...]:
        """Columns of which the smallest speaks for several scans of a patient."""
        answers = self.calibration.answers if self.calibration else ()
        typicality = () if self.limits is None else ("typicality",)
        return (*(f"{P}{name}" for name in answers), *typicality)

    @property
    def numbers(self) -> tuple[str, ...]:
        """All columns of numbers."""
        return self.worst if self.limits is None else (*self.worst, "unlike")

    def measured(self, chances: Floats | None, features: Tensor | None) -> pd.DataFrame:
        """Return the columns ``worst``.

        Args:
            chances: ``(B, A)``, the probability of each answer before the temperature; None of
                a model that outlines.
            features: ``(B, F)``; None where nothing is held against those of training.
        """
        columns: dict[str, Floats] = {}
        if self.calibration is not None and chances is not None:
            p = self.calibration.p_values(chances)
            columns = {f"{P}{name}": p[:, k] for k, name in enumerate(self.calibration.answers)}
        if self.limits is not None and features is not None:
            seen = features.double().cpu().numpy()
            columns["typicality"] = self.limits.space.p_values(seen)
        return pd.DataFrame(columns)

    def flagged(self, table: pd.DataFrame) -> pd.DataFrame:
        """Add the column ``unlike``, 1 or 0, where there is a ``typicality``."""
        if self.limits is None:
            return table
        return table.assign(unlike=unlike(table["typicality"], self.false_alarms).astype(float))

    def sets(self, table: pd.DataFrame, answers: Iterable[tuple[str, str]]) -> list[str]:
        """Join what is in each row's set, of ``answers``: the column behind ``P``, its word."""
        named = list(answers)
        if self.coverage is None or table.empty:
            return [""] * len(table)
        p = table[[f"{P}{name}" for name, _ in named]].to_numpy(np.float64)
        held = p > 1 - self.coverage + NEAR
        words = [word for _, word in named]
        return [_joined(words, row) for row in held]

    def notes(self, row: "pd.Series[Any]") -> Iterator[str]:
        """Yield what a card says of its scan."""
        if self.coverage is None:
            return
        level = f"{100 * self.coverage:.3g} %"
        for column in map(str, row.index):
            if column == "set":
                yield f"{level} set: {row[column]}"
            elif column.startswith("set_"):
                yield f"{level} set of {column.removeprefix('set_')}: {row[column]}"

    def described(self) -> dict[str, Any]:
        """Return what stands beside the table: the bounds, and what they rest on."""
        if self.limits is None:
            return {"unlike": None, "sets": None}
        space, sets = self.limits.space, None
        patients = len(space.held_out)
        # p <= a where at most so many held-out patients are as far: the distance of the next.
        beyond = int((1 + patients) * self.false_alarms + NEAR) - 1
        if self.calibration is not None:
            pairs = zip(self.calibration.answers, self.calibration.scores, strict=True)
            sets = {
                "coverage": self.coverage,
                "conformal_p_above": round(1 - (self.coverage or 0), 12),
                "held_out_patients": {name: len(scores) for name, scores in pairs},
            }
        return {
            "unlike": {
                "false_alarms": self.false_alarms,
                "typicality_at_most": self.false_alarms,
                "distance_above": float(space.held_out[::-1][beyond]),
                "held_out_patients": patients,
            },
            "sets": sets,
        }


def _check_different(answers: tuple[str, ...]) -> None:
    """Refuse labels such as "x" and "not x", of which one is called as the other's absence."""
    twice = [name for name, times in Counter(answers).items() if times > 1]
    if twice:
        raise UserError(
            f"predict.coverage: the model has a label {shown(twice[0])}, which is also what "
            "the absence of another label is called; leave it out, or rename the label and run "
            "finetune again"
        )


def _joined(words: Iterable[str], held: NDArray[np.bool_]) -> str:
    return OR.join(word for word, yes in zip(words, held, strict=True) if yes) or NONE
