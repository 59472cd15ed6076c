"""The frames of a training become the gallery that is written to disk."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwise.artefacts.gallery import Gallery
from maskwise.pretrain.diagnostics.drawing import SHOWN, Frame
from maskwise.pretrain.diagnostics.probe import Probe


def pack(
    probe: Probe,
    epochs: Sequence[int] = (),
    frames: Sequence[Frame] = (),
    learns: bool = False,
) -> Gallery:
    """Join the frames drawn at ``epochs`` into what is written to disk."""
    images = probe.images[:SHOWN]
    none = np.zeros((len(images), *images.shape[2:]), bool)
    return Gallery(
        epochs=np.asarray(epochs, np.int64),
        image_ids=probe.image_ids[:SHOWN],
        images=probe.grey(images),
        lesions=none if probe.lesions is None else probe.lesions[:SHOWN].cpu().numpy(),
        masks=_stack([frame.masks for frame in frames], np.bool_),
        maps=_stack([frame.maps for frame in frames], np.float16),
        map_box=np.asarray(frames[0].map_box if frames else (0, 0), np.int64),
        map_stride=np.asarray(frames[0].map_stride if frames else 0, np.int64),
        learns=np.asarray(learns),
        reconstructions=_stack([frame.reconstructions for frame in frames], np.uint8),
        probe_ids=probe.image_ids,
        probe_masks=_stack([frame.probe_masks for frame in frames], np.uint8),
    )


def _stack(arrays: Sequence[NDArray[Any]], dtype: type[np.generic]) -> NDArray[Any]:
    if not arrays or any(array.size == 0 for array in arrays):
        return np.zeros(0, dtype)
    return np.stack(arrays)
