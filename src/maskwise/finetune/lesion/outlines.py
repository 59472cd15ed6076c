"""What is outlined in the images of a store, and which kinds of image that makes."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskwise.artefacts.outlines import NOTHING
from maskwise.artefacts.store import Store
from maskwise.errors import UserError

IMAGES_AT_ONCE = 1024


@dataclass(frozen=True)
class Outlines:
    """The masks of a store."""

    masks: NDArray[np.bool_] | NDArray[np.uint8]
    """``(N, H, W)``: class i of ``classes`` is i + 1, 0 = background."""
    classes: tuple[str, ...]

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Gather ``(B, H, W)``."""
        return np.asarray(self.masks[rows]).astype(np.uint8)

    def kinds(self, rows: NDArray[np.int64]) -> NDArray[np.object_]:
        """Say which classes each image shows: "a", "a + b", or ``NOTHING``; ``(n,)``."""
        shown = self.shown(rows)
        sets, which = np.unique(shown, axis=0, return_inverse=True)
        names = [
            " + ".join(np.asarray(self.classes, dtype=object)[one]) or NOTHING for one in sets
        ]
        return np.asarray(names, dtype=object)[which]

    def shown(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Say of each image and class whether any pixel shows it, ``(n, K)``."""
        nothing = np.zeros((0, len(self.classes)), bool)
        return np.concatenate([*self._shown(rows), nothing])

    def _shown(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.bool_]]:
        """Yield the same per block of images."""
        numbers = np.arange(1, len(self.classes) + 1, dtype=np.uint8)
        for start in range(0, len(rows), IMAGES_AT_ONCE):
            masks = self.of(rows[start : start + IMAGES_AT_ONCE])
            flat = masks.reshape(len(masks), -1)
            yield np.stack([(flat == number).any(axis=1) for number in numbers], axis=1)


def read_outlines(store: Store, where: str) -> Outlines:
    """Return the outlines of a store; ``where`` is the task's path in the YAML.

    Raises:
        UserError: if there are none.
    """
    if store.masks is None or not store.index["has_mask"].any():
        raise UserError(
            f"{where}: no image of {store.path} is outlined, so there is nothing to learn to "
            "outline; name the masks in the source's block `ingest`, or choose another task"
        )
    return Outlines(store.masks, store.header.mask_classes or ("lesion",))
