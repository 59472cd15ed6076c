"""What a frozen encoder makes of images: extracted once, pooled per stage."""

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskwise.artefacts.store import Store
from maskwise.encoders.contract import Encoder

IMAGES_AT_ONCE = 256

Features = list[NDArray[np.float32]]
"""One ``(N, F_i)`` per stage, finest first."""


def extract(
    encoder: Encoder,
    store: Store,
    rows: NDArray[np.int64],
    pooling: str,
    device: torch.device,
) -> Features:
    """Return the pooled features of ``rows`` of the store.

    The encoder is left as it was: a copy in eval mode does the work, so that not even the
    running statistics of a batch norm move.
    """
    frozen = copy.deepcopy(encoder).to(device).eval()
    batches: list[list[Tensor]] = []
    with torch.inference_mode():
        for start in range(0, len(rows), IMAGES_AT_ONCE):
            images = torch.from_numpy(store.normalised(rows[start : start + IMAGES_AT_ONCE]))
            pooled = frozen.pooled_stages(images.to(device), pooling)
            batches.append([features.cpu() for features in pooled])
    return [torch.cat(stage).numpy() for stage in zip(*batches, strict=True)]
