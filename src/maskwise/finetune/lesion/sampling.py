"""Which images a step sees: a share of each batch shows something to outline.

As nnU-Net oversamples foreground (Isensee et al., Nature Methods 18, 2021): where most images
show nothing, a batch of them by chance teaches little but the background.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from maskwise.array_types import Rows
from maskwise.finetune.optimisation import batches
from maskwise.seeds import stream


def draw_plan(
    shown: NDArray[np.bool_], steps: int, batch_size: int, share: float, seed: int
) -> Iterator[Rows]:
    """Yield the positions ``(batch_size,)`` of every step's images.

    Args:
        shown: ``(n, K)``: does the image show the class?
        steps: how many batches.
        batch_size: images of each.
        share: of each batch, rounded to whole images, that are drawn from those which show a
            class: in turn from those of each class. The others are drawn from all images; of
            either, none comes again before all have come.
        seed: of the replicate.
    """
    some = [np.flatnonzero(column) for column in shown.T if column.any()]
    chosen = round(share * batch_size) if some else 0
    wanted = [_endlessly(rows, seed, number) for number, rows in enumerate(some)]
    rest = batches(len(shown), steps, max(batch_size - chosen, 0), seed)
    for step, others in enumerate(rest):
        # The classes take turns over the places of all steps, so that few places serve all.
        places = (np.arange(chosen) + step * chosen) % max(len(some), 1)
        counts = np.bincount(places, minlength=len(some))
        drawn = [_take(one, int(n)) for one, n in zip(wanted, counts, strict=True)]
        yield np.concatenate([*drawn, others])


def _endlessly(rows: Rows, seed: int, number: int) -> Iterator[np.int64]:
    epoch = 0
    while True:
        yield from stream(seed, "finetune", "foreground", number, epoch).permutation(rows)
        epoch += 1


def _take(rows: Iterator[np.int64], count: int) -> Rows:
    return np.fromiter((next(rows) for _ in range(count)), np.int64, count)
