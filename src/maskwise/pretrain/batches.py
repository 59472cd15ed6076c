"""Which images each step sees: a function of the seed and the step, without a state."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskwise import seeds
from maskwise.artefacts.store import Laterality, Store
from maskwise.pretrain.augmentation import AugmentationConfig, augment, step_seeds
from maskwise.pretrain.contracts import Batch


@dataclass(frozen=True)
class Batches:
    """Step s takes positions [s B, (s + 1) B) of all epochs' permutations in a row.

    So every batch is full, every image is seen once per epoch, and a resumed run needs only the
    number of its step.
    """

    store: Store
    rows: NDArray[np.int64]
    """Rows of the store to train on."""
    batch_size: int
    seed: int
    augmentation: AugmentationConfig
    laterality: Laterality
    device: torch.device
    groups: NDArray[np.int64]
    """One number per row of the *store*, equal for images that are not strangers."""

    @property
    def steps_per_epoch(self) -> float:
        """Number of images over batch size."""
        return len(self.rows) / self.batch_size

    def batch(self, step: int, progress: float, places: range | None = None) -> Batch:
        """Return the batch of ``step`` (from 0), or of its images those at ``places`` alone."""
        rows = self._rows(step)
        augmentation_seed = step_seeds(
            seeds.torch_seed(self.seed, "augmentation"), step, self.batch_size
        )
        if places is not None:
            here = slice(places.start, places.stop)
            rows, augmentation_seed = rows[here], augmentation_seed[here]
        index = torch.from_numpy(rows)
        fine = self._kept(index, augmentation_seed)
        times = self.store.header.preparation.fine
        return Batch(
            images=_seen(fine, times),
            fine=fine if times > 1 else None,
            index=index.to(self.device),
            group=torch.from_numpy(self.groups[rows]).to(self.device),
            augmentation_seed=augmentation_seed.to(self.device),
            progress=progress,
        )

    def images(self, index: Tensor, augmentation_seed: Tensor) -> Tensor:
        """Rebuild the images ``(B, C, H, W)`` of a batch bit for bit, on the device."""
        kept = self._kept(index, augmentation_seed)
        return _seen(kept, self.store.header.preparation.fine)

    def _kept(self, index: Tensor, augmentation_seed: Tensor) -> Tensor:
        """Return them as the store keeps them, augmented: ``(B, C, H fine, W fine)``."""
        rows, fine = index.cpu().numpy(), self.store.header.preparation.fine
        images = torch.from_numpy(self.store.fine_normalised(rows)).to(self.device)
        on_device = augmentation_seed.to(self.device)
        return augment(images, on_device, self.augmentation, self.laterality, fine)

    def lesions(self, index: Tensor, augmentation_seed: Tensor | None) -> Tensor:
        """Return where a lesion is outlined, ``(B, 1, H, W)`` float32, moved as the images are.

        Without seeds nothing is moved.
        """
        outlined = self.store.lesions(index.cpu().numpy())[:, None].astype(np.float32)
        lesions = torch.from_numpy(outlined).to(self.device)
        if augmentation_seed is None:
            return lesions
        on_device = augmentation_seed.to(self.device)
        return augment(lesions, on_device, self.augmentation, self.laterality)

    def _rows(self, step: int) -> NDArray[np.int64]:
        positions = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs, places = np.divmod(positions, len(self.rows))
        rows = np.empty(self.batch_size, np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            order = _order(self.seed, int(epoch), len(self.rows))
            rows[here] = self.rows[order[places[here]]]
        return rows


@lru_cache(maxsize=2)  # a batch may lie in two epochs
def _order(seed: int, epoch: int, images: int) -> NDArray[np.int64]:
    """Return the order of an epoch's images; of millions, it takes longer than a step."""
    order = seeds.stream(seed, "order", epoch).permutation(images)
    order.flags.writeable = False
    return order


def _seen(kept: Tensor, times: int) -> Tensor:
    return torch.nn.functional.avg_pool2d(kept, times) if times > 1 else kept
