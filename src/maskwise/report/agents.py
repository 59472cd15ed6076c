"""Does an agent look at the image? What content lift shows, of one seed and of several.

The interval over probe images knows nothing of training: an agent that learnt nothing still has
some preference, the same for all images, and its content lift lies away from 0, on either side.
Only several seeds, or a control that is told the rewards of other images, tell one from the
other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from maskwise.report.formatting import interval, number, signed
from maskwise.report.pretraining_facts import PretrainingFacts
from maskwise.wording import count

LEAST = 3
"""Seeds from which their chance is estimated."""
ABOVE_VARIANCE = "content_lift_above_variance"
"""Column of a history: the paired difference from the places that vary most."""


@dataclass(frozen=True)
class OverSeeds:
    """A mean over seeds with its 95 % t interval; NaN ends of one seed or two."""

    value: float
    low: float
    high: float
    seeds: int


def over_seeds(values: Sequence[float]) -> OverSeeds:
    """Average what each seed gave; the interval speaks of another training."""
    found = np.asarray(values, np.float64)
    n = len(found)
    if n < LEAST:
        return OverSeeds(float(found.mean()), float("nan"), float("nan"), n)
    half = stats.t.ppf(0.975, n - 1) * found.std(ddof=1) / np.sqrt(n)
    return OverSeeds(
        float(found.mean()), float(found.mean() - half), float(found.mean() + half), n
    )


def above_control(facts: PretrainingFacts, recipe: str) -> tuple[str, OverSeeds] | None:
    """Return the control with shuffled rewards, and how far the recipe lies above it.

    That is in content lift, seed by seed; None where no such control ran with its seeds.
    """
    control = facts.shuffled(recipe)
    if control is None:
        return None
    own, other = (
        facts.lifts(name).set_index("seed")["content_lift"] for name in (recipe, control)
    )
    differences = (own - other).dropna()
    return (control, over_seeds(list(differences))) if len(differences) else None


def agent_sentence(facts: PretrainingFacts, recipe: str) -> str:
    """Say where the recipe's masks lay, beside what needs no learning, and what that shows."""
    title, last = facts.title(recipe), facts.lifts(recipe)
    if last.empty:
        return f"{title}: no outlined lesion to measure it on."
    shown = spares(last) or (
        f"hid {number(last['lift'].mean(), 1)} times as much of a lesion as of the image"
    )
    return (
        f"{title} {shown} ({_yardsticks(last)}); {_finding(last)}{_beside_variance(last)}"
        f"{_beside_control(facts, recipe)}."
    )


def spares(last: pd.DataFrame) -> str | None:
    """Say how much less of a lesion was hidden than by chance; None where that is not shown.

    It is where the whole interval of mask lift, over seeds or of one seed over images, lies
    below the lift of masks anywhere: ``last`` is ``PretrainingFacts.lifts``. Where an objective
    compares views that is no failure, and may be what an agent was rewarded for.
    """
    lift, chance = over_seeds(list(last["lift"])), float(last["lift_uniform"].mean())
    high = float(last["lift_high"].iloc[0]) if lift.seeds == 1 else lift.high
    # Cells have the lift 1 by chance; boxes inside the image favour its middle.
    anywhere = "random cells" if chance == 1 else "such masks anywhere"
    if not high < chance:
        return None
    if lift.value <= 0:
        return f"spares the lesion: it hides none of it, of which {anywhere} would hide some"
    times = number(chance / lift.value, 1)
    return f"spares the lesion: it hides {times} times less of it than {anywhere} would"


def sparing_sentences(facts: PretrainingFacts) -> list[str]:
    """Say of each recipe whose masks spare lesions that they do, learnt or not."""
    measured = {name: facts.lifts(name) for name in facts.masking}
    found = {name: spares(last) for name, last in measured.items() if len(last)}
    return [f"{facts.title(name)} {shown}." for name, shown in found.items() if shown]


def _yardsticks(last: pd.DataFrame) -> str:
    told = f"masks anywhere: {number(last['lift_uniform'].mean(), 1)}"
    if "lift_variance" in last:
        variance = number(last["lift_variance"].mean(), 1)
        told += f", the untrained rule “most variance”: {variance}"
    return told


def _beside_variance(last: pd.DataFrame) -> str:
    """Compare content lift with the rule's on the same images; nothing of an old history."""
    if ABOVE_VARIANCE not in last:
        return ""
    gap = over_seeds(list(last[ABOVE_VARIANCE]))
    low, high = gap.low, gap.high
    if gap.seeds == 1:
        low, high = (last[f"{ABOVE_VARIANCE}_{end}"].iloc[0] for end in ("low", "high"))
    return (
        "; content lift minus that of “most variance” on the same images: "
        f"{signed(gap.value, 2)} {interval(low, high, 2)}".rstrip()
    )


def _finding(last: pd.DataFrame) -> str:
    lift = over_seeds(list(last["content_lift"]))
    if lift.seeds == 1:
        row = last.iloc[0]
        ends = row["content_lift_low"], row["content_lift_high"]
        shown = f"content lift {signed(lift.value, 2)} {interval(*ends, 2)}".strip()
        if ends[0] > 0 or ends[1] < 0:
            return (
                f"{shown}: where it hides depends on the image (one seed cannot tell learning "
                "from a random preference)"
            )
        return f"{shown}: not shown to depend on the image"
    if lift.seeds < LEAST:
        return (
            f"content lift {signed(lift.value, 2)} over {count(lift.seeds, 'seed')}, too few "
            "to say whether it follows the image"
        )
    shown = (
        f"content lift {signed(lift.value, 2)} {interval(lift.low, lift.high, 2)} over "
        f"{count(lift.seeds, 'seed')} (t interval)"
    )
    if lift.low > 0:
        return f"{shown}: the seeds agree that its masks go to lesions"
    if lift.high < 0:
        return f"{shown}: the seeds agree that its masks avoid lesions"
    return f"{shown}: not shown to follow the image"


def _beside_control(facts: PretrainingFacts, recipe: str) -> str:
    found = above_control(facts, recipe)
    if found is None:
        return ""
    control, gap = found
    size = f"{signed(gap.value, 2)} {interval(gap.low, gap.high, 2)}".strip()
    return (
        f"; against {facts.title(control)}, the same agent told the rewards of other images, "
        f"{size} in {count(gap.seeds, 'paired seed')}"
    )
