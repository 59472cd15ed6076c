"""What a history says went wrong, each with its likely cause and a remedy."""

import math

import pandas as pd

FLAT, RISE = 0.01, 1.5
"""A loss is flat when it moved less than 1 %, diverged at 1.5 times its best."""
COLLAPSED_ENTROPY, COLLAPSED_TOP, IGNORES_IMAGE, TEXTURE = 0.3, 0.5, 0.5, 0.9
"""Bounds on the last epoch's figures of a policy that learns."""
ALIKE, SKIPPED = 0.9, 0.5
"""Bounds on the overlap of two draws, and on the share of updates without a signal."""
ONE_WAY, KNEW = 0.05, 0.3
"""Rewards have drifted where so few advantages have the other sign, or where values that once
explained so much explain nothing."""
SWING, SWINGS = 0.5, 3
"""A lift that turned so far, so often, chases a network that adapts."""
SPREAD, RANK, IN_A_ROW = 0.25, 0.1, 2
"""Below both, so often one after the other, features have collapsed."""
COLLAPSED = (
    "the features collapsed: all images are projected to nearly one point, along few "
    "directions; lower the learning rate, take a larger batch, or for swav a smaller epsilon"
)


def warnings(history: pd.DataFrame) -> list[str]:
    """Return one sentence per symptom of a history (one row per epoch); none if healthy."""
    found = _loss(history) + _policy(history) + _reconstruction(history)
    return found + ([COLLAPSED] if collapsed(history) else [])


def collapsed(history: pd.DataFrame) -> bool:
    """Say whether the last measured rows all have little spread and few directions."""
    if not {"projection_rank", "projection_spread"} <= set(history.columns):
        return False
    measured = history[["projection_rank", "projection_spread"]].dropna().tail(IN_A_ROW)
    low = (measured["projection_rank"] < RANK) & (measured["projection_spread"] < SPREAD)
    return len(measured) == IN_A_ROW and bool(low.all())


def _loss(history: pd.DataFrame) -> list[str]:
    if "loss" not in history or not len(history):
        return []
    if "gradient_norm" in history:  # against a frozen network a rising loss is what is wanted
        learns = history["gradient_norm"].notna() | ~history["loss"].map(math.isfinite)
        history = history[learns]
    loss = history["loss"]
    broken = history.loc[~loss.between(-float("inf"), float("inf"), inclusive="neither")]
    if len(broken):
        return [
            f"the loss is not a number from epoch {int(broken['epoch'].iloc[0])} on: the "
            "learning rate is too high, or an image holds values that are not finite"
        ]
    if len(history) < 4:
        return []
    first, last, best = (float(value) for value in (loss.iloc[0], loss.iloc[-1], loss.min()))
    # A target that moves makes its own loss: after an early dip it rises in a healthy run.
    moves = "target_momentum" in history
    if last > RISE * best and best > 0 and not moves:
        return [
            f"the loss rose from {best:.3g} to {last:.3g}: training diverges (lower the "
            "learning rate, clip gradients), or the policy finds harder places faster than the "
            "network learns"
        ]
    if abs(first - last) < FLAT * abs(first):
        return [
            f"the loss stayed at {last:.3g} (moved by less than 1 %): the learning rate is too "
            "low, the images are all alike, or nothing is hidden"
        ]
    return []


def _policy(history: pd.DataFrame) -> list[str]:
    share = _last(history, "position_share")
    if share is None:
        # No map, or one that never came to differ: no opinion of the image that could collapse.
        return _signal(history)
    found = []
    entropy, top = _last(history, "entropy"), _last(history, "top_share")
    if (entropy is not None and entropy < COLLAPSED_ENTROPY) or (
        top is not None and top > COLLAPSED_TOP
    ):
        found.append(
            f"the policy collapsed: it hides the same place in {_percent(top)} of the images "
            f"(entropy {_number(entropy)}): explore more (epsilon), subtract the baseline "
            "of the place, or give it more steps"
        )
    if share > IGNORES_IMAGE:
        found.append(
            f"the policy ignores the image: position alone explains {_percent(share)} of its "
            "map; try another baseline (advantage, or dueling), relative rewards, the balance "
            "term, or more steps"
        )
    texture = _last(history, "variance_correlation")
    # The control *is* the local variance. A teacher is no loss of the policy's, but learns.
    learns = any(_last(history, name) is not None for name in ("policy_loss", "hard_share"))
    if learns and texture is not None and texture > TEXTURE:
        found.append(
            f"the policy found texture: its map follows local variance (rank correlation "
            f"{texture:.2f}); a larger pool_px or reward.blur_px takes speckle out of the "
            "reward, and so does a target that is normalised per cell"
        )
    return found + _draws(history)


def _signal(history: pd.DataFrame) -> list[str]:
    """Return why the policy was taught nothing, if so."""
    skipped = _last(history, "skipped_updates")
    if skipped is None or skipped <= SKIPPED:
        return []
    return [
        f"the policy got no signal: {_percent(skipped)} of its updates were skipped, because "
        "all rewards were the same, or its gradient was not a number; train the network "
        "longer before the policy, and look at the reward's options (an objective that has "
        "one error per image, such as simclr, needs `reward: {credit: image}`) and at "
        "policy.learning_rate"
    ]


def _draws(history: pd.DataFrame) -> list[str]:
    """Return what is wrong with a policy that draws its masks."""
    found = []
    alike = _last(history, "overlap")
    spread = _last(history, "policy_entropy")
    if alike is not None and spread is not None and alike > ALIKE:
        found.append(
            f"the policy leaves nothing to chance: two draws for an image share "
            f"{_percent(alike)} of their cells; bound the logits (bound), or let the "
            "temperature rise (temperature.most_overlap)"
        )
    found += _signal(history)
    found += _drift(history)
    swings = _swings(history)
    if swings >= SWINGS:
        found.append(
            f"the lift turned {swings} times by more than {SWING:g}: the network adapts as "
            "fast as the policy finds what is hard; slow the policy down (learning_rate), or "
            "use `schedule: {name: staged}`"
        )
    return found


def _drift(history: pd.DataFrame) -> list[str]:
    above = _last(history, "advantage_above")
    if above is not None and not ONE_WAY <= above <= 1 - ONE_WAY:
        way = "above" if above > 0.5 else "below"
        seen = f"{_percent(max(above, 1 - above))} of its advantages are {way} 0"
    elif (explained := _last(history, "value_explained")) is not None and (
        explained < 0 and history["value_explained"].max() > KNEW
    ):
        best = _percent(history["value_explained"].max())
        seen = f"its values explained {best} of the rewards once and now nothing"
    else:
        return []
    return [
        f"the rewards drift: {seen}, because they change faster than they are learnt; use "
        "`reward: {scale: relative}` or an advantage over the batch (image_batch), or slow "
        "the network down (optimisation.learning_rate)"
    ]


def _swings(history: pd.DataFrame) -> int:
    """Count how often the lift, smoothed over three epochs, turned by more than ``SWING``."""
    if "lift" not in history:
        return 0
    smooth = history["lift"].dropna().rolling(3, min_periods=1).mean().tolist()
    turns, extreme, rising = 0, smooth[0] if smooth else 0.0, None
    for lift in smooth:
        if rising is not False and lift < extreme - SWING:
            turns, extreme, rising = turns + (rising is not None), lift, False
        elif rising is not True and lift > extreme + SWING:
            turns, extreme, rising = turns + (rising is not None), lift, True
        elif rising is not None:
            extreme = max(extreme, lift) if rising else min(extreme, lift)
    return turns


def _reconstruction(history: pd.DataFrame) -> list[str]:
    error, smooth = _last(history, "error"), _last(history, "error_smooth_fill")
    mean = _last(history, "error_mean_image")
    if error is None or smooth is None or mean is None or error < min(smooth, mean):
        return []
    better = "smooth filling from the border" if smooth <= mean else "the mean image"
    return [
        f"the reconstruction (error {error:.3g}) is no better than {better} "
        f"({min(smooth, mean):.3g}): the network has learnt little; train longer or enlarge it"
    ]


def _last(history: pd.DataFrame, column: str) -> float | None:
    if column not in history:
        return None
    values = history[column].dropna()
    return float(values.iloc[-1]) if len(values) else None


def _percent(share: float | None) -> str:
    return "?" if share is None else f"{100 * share:.0f} %"


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f}"
