"""Of which recipe a referee's page speaks: settled by no score on test images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from maskwise.array_types import Floats
from maskwise.errors import UserError, hint
from maskwise.evaluate.arrangement import Arrangement, Curve
from maskwise.evaluate.config import EvaluateConfig
from maskwise.evaluate.referee.config import Referee
from maskwise.evaluate.resampling import Draws
from maskwise.evaluate.tasks.contract import Measures
from maskwise.evaluate.weighing import TestSet, Weigh, Weights

Rule = str
"""``option``, ``primary`` or ``validation``."""

_NAMES = ("recipe", "mode", "fraction")
"""Options that name a curve, in its order."""


@dataclass(frozen=True)
class Chosen:
    """One recipe, mode and fraction, and what settled them."""

    curve: Curve
    rule: Rule
    value: float
    """The leading metric on validation images, the mean over seeds; NaN where undefined."""
    of: int
    """Among how many curves validation chose."""
    options: tuple[str, ...]
    """Which options had a say; none where all is as it was named beforehand."""


def choose(
    arrangement: Arrangement, predictions: pd.DataFrame, config: EvaluateConfig, source: str
) -> Chosen:
    """Settle the curve by options, by what was named beforehand, or by validation images.

    Raises:
        UserError: if the options name what was not run.
    """
    asked = config.referee.get(source, Referee())
    curves = list(arrangement.curves())
    left = _asked_for(curves, asked, source)
    primary, rule = config.primary.get(source), "validation"
    if asked.recipe is not None:
        rule = "option"
    elif primary is not None:
        recipe = primary.comparisons[0][0]
        point = (asked.mode or primary.mode, asked.fraction or primary.fraction)
        named = [curve for curve in left if curve[0] == recipe and curve[1:] == point]
        as_named = point == (primary.mode, primary.fraction)
        if named:
            left, rule = named, "primary" if as_named else "option"
    if asked.fraction is None and rule != "primary":
        largest = max(curve[2] for curve in left)
        left = [curve for curve in left if curve[2] == largest]
    validation = predictions[predictions["split"] == "validation"]
    values = [_on_validation(validation, curve, arrangement, config.weigh) for curve in left]
    best = int(np.argmax(np.nan_to_num(values, nan=-np.inf)))
    options = () if rule == "primary" else _options(asked)
    return Chosen(left[best], rule, values[best], len(left), options)


def _options(asked: Referee) -> tuple[str, ...]:
    return tuple(name for name in _NAMES if getattr(asked, name) is not None)


def _asked_for(curves: Sequence[Curve], asked: Referee, source: str) -> list[Curve]:
    left = list(curves)
    for place, name in enumerate(_NAMES):
        wanted = getattr(asked, name)
        if wanted is None:
            continue
        known = {curve[place] for curve in left}
        left = [curve for curve in left if curve[place] == wanted]
        if not left:
            raise UserError(
                f"evaluate.referee.{source}.{name}: {wanted} was not run; "
                f"{hint(str(wanted), map(str, known))}"
            )
    return left


def _on_validation(
    validation: pd.DataFrame, curve: Curve, arrangement: Arrangement, weigh: Weigh
) -> float:
    """Return the leading metric, the mean over seeds, each by validation images of its own."""
    recipe, mode, fraction = curve
    rows = validation[
        (validation["recipe"] == recipe)
        & (validation["mode"] == mode)
        & (validation["fraction"] == fraction)
        & validation["truth"].notna()
    ]
    measures = arrangement.measures
    place = measures.metrics.index(measures.leading)
    found = [
        float(
            measures.score(values_of(own, measures), as_they_are(own, measures, weigh))[
                place, 0
            ]
        )
        for _, own in rows.groupby("seed")
    ]
    return float(np.mean(found)) if found else float("nan")


def values_of(rows: pd.DataFrame, measures: Measures) -> Floats:
    """Return the measures' columns, ``(n, C)``."""
    values: Floats = rows[list(measures.columns)].to_numpy(np.float64)
    return values


def as_they_are(rows: pd.DataFrame, measures: Measures, weigh: Weigh) -> Weights:
    """Weigh images once, without a draw."""
    groups, codes = np.unique(rows["group"].to_numpy(str), return_inverse=True)
    unit = pd.factorize(rows["unit"])[0] if "unit" in rows else np.arange(len(rows))
    test = TestSet(
        rows["image_id"].to_numpy(object),
        pd.Index(measures.kinds).get_indexer(pd.Index(rows["truth"])).astype(np.int64),
        codes.reshape(-1).astype(np.int64),
        unit.astype(np.int64),
    )
    draws = Draws(np.zeros(0), np.ones((len(groups), 1)), (len(groups),), 1)
    return Weights(test, draws, weigh)
