"""Where patches are cut out of normal films: at the places and in the sizes of lesions.

Place and size must tell nothing: patches out of the densest tissue, say, can be told from
lesions by their brightness alone. So every normal film is given the square of a lesion of the
same side, each of these as often as the others as far as the film's breast reaches there.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskwise.ingest.sources.mini_mias_info import SIDE
from maskwise.scans.breast import find_breast
from maskwise.scans.pictures import read_image
from maskwise.scans.reasons import Reject, RejectedError
from maskwise.seeds import stream
from maskwise.workers import Pool, workers_for

INSIDE = 0.9
"""Of a patch: as much of it should be breast."""
GRID = 256
"""Pixels of the film's longer side at most, on which that is measured."""
_AT_ONCE = 16
"""Films that a worker looks at before the next are named."""


class Place(NamedTuple):
    """A square, in pixels of the published film."""

    film: str
    """Of the lesion."""
    x: float
    """Of the centre, as all places from the upper left pixel's centre on."""
    y: float
    side: float


class Look(NamedTuple):
    """What was seen of a film."""

    width: int
    """Pixels of the file; its height is the same."""
    breast: NDArray[np.bool_] | None
    """On a grid of ``GRID`` x ``GRID`` at most; None = none was found."""


def look(raw: Path, films: Mapping[str, str]) -> tuple[dict[str, Look], list[Reject]]:
    """Look at films, name -> path, in processes that may die of it.

    Returns:
        what was seen by name, and a reject for each film that cannot be read, or is no square.
    """
    paths = list(films.values())
    with Pool(workers_for(len(paths), None)) as pool:
        chunks = (paths[start : start + _AT_ONCE] for start in range(0, len(paths), _AT_ONCE))
        found = pool.map(
            partial(_look, raw),
            chunks,
            lambda path, loss: Reject(path, loss.reason, loss.detail),
        )
        seen = dict(zip(films, chain.from_iterable(found), strict=True))
    looks = {film: one for film, one in seen.items() if isinstance(one, Look)}
    return looks, [one for one in seen.values() if isinstance(one, Reject)]


def deal_places(
    films: Mapping[str, Look], places: Sequence[Place], seed: int, side: str
) -> dict[str, Place]:
    """Return film -> place: of those used least often, the first inside the film's breast.

    The order of the places is drawn by ``seed``. Where no place lies inside by ``INSIDE``, it
    is the one with most breast in it. Of places there is one at least.
    """
    order = stream(seed, "negatives", side).permutation(len(places))
    used = np.zeros(len(places), np.int64)
    dealt = {}
    for film in sorted(films):
        shares = np.array([_share(films[film], places[i]) for i in order])
        inside = shares >= INSIDE
        first = np.lexsort((np.arange(len(order)), used[order], ~inside))[0]
        chosen = order[first if inside.any() else int(shares.argmax())]
        used[chosen] += 1
        dealt[film] = places[chosen]
    return dealt


def _look(raw: Path, path: str) -> Look | Reject:
    try:
        pixels = read_image(raw, path)
    except RejectedError as error:
        return error.reject
    height, width = pixels.shape[:2]
    if height != width:
        detail = f"is {width} x {height} pixels, where films are squares, so that no place fits"
        return Reject(path, "unsupported", detail)
    breast = find_breast(pixels)
    whole = None if breast is None else breast.mask(slice(0, height), slice(0, width))
    step = -(-width // GRID)
    return Look(width, None if whole is None else whole[::step, ::step])


def _share(film: Look, place: Place) -> float:
    """Return how much of a place is breast."""
    if film.breast is None:
        return 0.0
    scale = len(film.breast) / SIDE
    top, left = ((at + 0.5 - place.side / 2) * scale for at in (place.y, place.x))
    length = place.side * scale
    inside = film.breast[
        max(0, round(top)) : max(0, round(top + length)),
        max(0, round(left)) : max(0, round(left + length)),
    ]
    return float(inside.sum()) / max(1.0, round(length) ** 2)
