"""What a history says went wrong, each with its likely cause and a remedy."""

import pandas as pd

FLAT, RISE = 0.01, 1.5
"""A loss is flat when it moved less than 1 %, diverged at 1.5 times its best."""
COLLAPSED_ENTROPY, COLLAPSED_TOP, IGNORES_IMAGE, TEXTURE = 0.3, 0.5, 0.9, 0.9
"""Bounds on the last epoch's figures of a policy that learns."""


def warnings(history: pd.DataFrame) -> list[str]:
    """Return one sentence a symptom of a history (a row an epoch), none for a healthy run."""
    return _loss(history) + _policy(history) + _reconstruction(history)


def _loss(history: pd.DataFrame) -> list[str]:
    if "loss" not in history or not len(history):
        return []
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
    if last > RISE * best and best > 0:
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
    if share is None:  # no map, so no opinion of the image that could collapse
        return []
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
            "map; try dueling, a baseline per image, or more steps"
        )
    texture = _last(history, "variance_correlation")
    if texture is not None and texture > TEXTURE:
        found.append(
            f"the policy found texture: its map follows local variance (rank correlation "
            f"{texture:.2f}); a larger pool_px averages speckle out of the reward"
        )
    return found


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
