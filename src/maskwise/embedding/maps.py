"""Features become places in the plane: equal features, method and seed give equal places."""

from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from maskwise.cosine import of_length_one
from maskwise.embedding.config import Projection
from maskwise.errors import UserError

LEAST = 5
"""Scans from which UMAP has neighbours to look at."""
UMAP_NEIGHBOURS = 15
"""The library's default."""


@dataclass(frozen=True)
class Map:
    """Where each scan lies."""

    places: NDArray[np.float64]
    """``(N, 2)``."""
    method: Projection
    explained: tuple[float, float] | None
    """Shares of the variance along each axis; of the principal components alone."""


def check_installed(method: Projection) -> None:
    """Raise ``UserError`` where UMAP is asked for and not installed."""
    if method == "umap" and find_spec("umap") is None:
        raise UserError(
            "embed.map: umap needs umap-learn, which is not installed: pip install "
            '"maskwise[umap]", or take pca'
        )


def project(vectors: NDArray[np.float32], method: Projection, seed: int) -> Map:
    """Lay features ``(N, F)`` out in the plane.

    They are brought to length 1 before, so that the map shows what neighbours are told by: the
    angle between features.

    Raises:
        UserError: if UMAP is asked for, and is not installed or there are too few scans.
    """
    if method == "umap":
        return Map(_umap(of_length_one(vectors), seed), method, None)
    return _pca(of_length_one(vectors), seed)


def _pca(rows: NDArray[np.float64], seed: int) -> Map:
    from sklearn.decomposition import PCA  # takes a second to import

    places, shares = np.zeros((len(rows), 2)), np.zeros(2)
    axes = min(2, *rows.shape)
    if np.ptp(rows, axis=0).any():  # else all scans are one point, and no axis is defined
        model = PCA(axes, random_state=seed)
        places[:, :axes] = model.fit_transform(rows)
        shares[:axes] = model.explained_variance_ratio_
    return Map(places, "pca", (float(shares[0]), float(shares[1])))


def _umap(rows: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    if len(rows) < LEAST:
        raise UserError(
            f"embed.map: umap needs {LEAST} scans or more, but there are {len(rows)}; take pca"
        )
    check_installed("umap")
    from umap import UMAP  # which compiles for seconds

    neighbours = min(UMAP_NEIGHBOURS, len(rows) - 1)
    # One thread: only then do equal seeds give equal places.
    model = UMAP(n_neighbors=neighbours, metric="cosine", random_state=seed, n_jobs=1)
    return np.asarray(model.fit_transform(rows), np.float64)
