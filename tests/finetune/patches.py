"""A miniature of what preprocess hands on: grey images, a patch of one class per brightness."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from maskwise.artefacts.store import Store, StoreHeader, open_store, writing_store
from maskwise.encoders import ENCODERS
from maskwise.encoders.contract import Encoder
from maskwise.encoders.metadata import EncoderMetadata
from preparations import preparation

MEAN, STD = 0.5, 0.2
SPLIT_SHARES = (("train", 0.6), ("validation", 0.2), ("test", 0.2))


def write_patches(
    path: Path,
    groups: dict[str, int],
    images_a_group: int = 2,
    side: int = 16,
    seed: int = 0,
) -> tuple[Store, pd.DataFrame]:
    """Write a store with ``groups`` groups of each class; return it with its splits.

    The k-th class shows a patch that is brighter by 25 k grey levels, under noise.
    """
    generator = np.random.default_rng(seed)
    table = pd.DataFrame(
        [
            (f"{name}{group:03d}_{image}", f"g_{name}{group:03d}", name, order, group / count)
            for order, (name, count) in enumerate(groups.items())
            for group in range(count)
            for image in range(images_a_group)
        ],
        columns=["image_id", "group", "label_diagnosis", "order", "place"],
    )
    table = table.sample(frac=1, random_state=seed).reset_index(drop=True)
    pixels = generator.normal(100, 20, (len(table), 1, side, side))
    pixels[:, :, 4:10, 5:11] += 25 * table["order"].to_numpy()[:, None, None, None]
    with writing_store(path, pixels.shape, "uint8", masks=False) as writer:
        np.save(writer.images, pixels.clip(0, 255).astype(np.uint8))
        index = table[["image_id", "group", "label_diagnosis"]].assign(
            has_mask=False, scale=1 / 255, offset=0.0
        )
        writer.finish(index, header(side))
    edges = np.cumsum([share for _, share in SPLIT_SHARES])
    names = np.array([name for name, _ in SPLIT_SHARES])
    split = names[np.searchsorted(edges - 1e-9, table["place"], side="right")]
    splits = table[["image_id", "group"]].assign(split=split, fold=-1)
    return open_store(path), splits


def header(side: int) -> StoreHeader:
    """Describe a store of grey images of ``side`` x ``side`` pixels."""
    return StoreHeader(
        preparation=preparation(side, mean=(MEAN,), std=(STD,)),
        laterality="free",
        largest_rounding_error=0.0,
        data_hash="d",
    )


def small_encoder(
    architecture: str = "context_cnn", seed: int = 0, channels: int = 1
) -> Encoder:
    """Build an encoder with its metadata, as ``load_encoder`` would return it."""
    arguments = SMALL[architecture]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = ENCODERS[architecture](**arguments).build(channels)
    encoder.metadata = metadata(architecture, dict(arguments))
    return encoder.eval()


SMALL: dict[str, dict[str, object]] = {
    "context_cnn": {"widths": (8, 16), "convolutions": (1, 1)},
    "resnet18": {"width": 8},
    "pixels": {},
    "vit": {"patch": 8},
}


def metadata(
    architecture: str, arguments: dict[str, object], side: int = 16
) -> EncoderMetadata:
    """Describe an encoder of grey images of ``side`` x ``side`` pixels."""
    return EncoderMetadata(
        architecture=architecture,
        arguments=arguments,
        preparation=preparation(side, mean=(MEAN,), std=(STD,)),
        source="patches",
        recipe="scratch",
        seed=0,
        data_hash="d",
        version="0",
    )
