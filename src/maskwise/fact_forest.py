"""What facts that are no anatomy tell of a label: a small random forest, and how sure that is.

Facts about files (ingest) and facts about stored pixels (preprocess) are asked in the same way,
so that their figures can stand beside each other; and beside a network's score, for the images
of a group share the weight 1 here as they do there (`evaluate.weigh: group`).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from maskwise.array_types import Floats
from maskwise.seeds import stream
from maskwise.weighted import ranking, shared_weight

DRAWS = 500
"""Of the bootstrap over groups."""
TREES = 20
"""A forest; most of its time is Python's, a tree."""
LARGEST = 4_000
"""Images that are audited; of more, some are drawn."""
MOST_CLASSES = 50
NOTHING_TOLD = {"auroc": 0.5, "low": 0.5, "high": 0.5, "importances": {}}
"""The answer where all facts are the same of every image."""
_SEED = 0
_NAMED = 5
"""Facts that an answer names, those that say most."""


def telling(facts: pd.DataFrame) -> pd.DataFrame:
    """Leave out facts that are the same of every image.

    They tell nothing, and the classes' shares, which differ between the images that are learnt
    from and those that are judged, would be taken for an answer.
    """
    return facts.loc[:, (facts != facts.iloc[0]).any()]


def grown(values: Floats, truth: NDArray[np.int64]) -> RandomForestClassifier:
    """Return a forest that was fitted on ``values`` ``(N, F)`` and ``truth`` ``(N,)``."""
    forest = RandomForestClassifier(TREES, min_samples_leaf=5, random_state=_SEED)
    return forest.fit(values, truth)


def drawn(groups: int, purpose: str) -> NDArray[np.int64]:
    """Return how often each group stands in each draw of the bootstrap, ``(B, groups)``."""
    shares = np.full(groups, 1 / groups)
    return stream(_SEED, purpose, "bootstrap").multinomial(groups, shares, size=DRAWS)


def judged(
    scores: Floats,
    truth: NDArray[np.int64],
    groups: NDArray[np.int64],
    counts: NDArray[np.int64],
    importances: dict[str, float],
) -> dict[str, Any]:
    """Return the macro AUROC with its 95 % interval over groups, and the ``importances``.

    Every group counts once, however many images it has. ``scores`` is ``(N, K)``, ``truth`` and
    ``groups`` are ``(N,)``, ``counts`` ``(B, G)``.
    """
    own = shared_weight(groups)
    areas = np.concatenate(
        [
            macro_auroc(scores, truth, own * part[:, groups])
            for part in np.array_split(counts, 20)
        ]
    )
    low, high = np.nanquantile(areas, [0.025, 0.975])
    return {
        "auroc": float(macro_auroc(scores, truth, own[None])[0]),
        "low": float(low),
        "high": float(high),
        "importances": importances,
    }


def strongest(importances: Floats, names: Sequence[str]) -> dict[str, float]:
    """Return the facts that say most, the strongest first."""
    order = np.argsort(-importances, kind="stable")[:_NAMED]
    return {names[i]: float(importances[i]) for i in order}


def macro_auroc(scores: Floats, truth: NDArray[np.int64], weights: NDArray[Any]) -> Floats:
    """Return the AUROC, averaged over classes, under each row of ``weights``.

    ``scores`` is ``(N, K)``, a row's sum 1, ``truth`` ``(N,)``, ``weights`` ``(B, N)``; ties
    count one half; NaN where a class has no weight.
    """
    number = scores.shape[1]
    asked = range(number) if number > 2 else [1]  # of two, one is the other turned round
    columns = np.ascontiguousarray(weights.T, dtype=np.float64)
    areas = [ranking(scores[:, k], truth == k, columns)[0] for k in asked]
    mean: Floats = np.mean(areas, axis=0)
    return mean
