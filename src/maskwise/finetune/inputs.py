"""What every task checks and opens before it learns."""

import pandas as pd
from torch import nn

from maskwise.artefacts.splits import for_seed
from maskwise.artefacts.store import Store
from maskwise.encoders.contract import Encoder
from maskwise.encoders.metadata import EncoderMetadata
from maskwise.errors import UserError


def as_seen(encoder: Encoder, store: Store) -> tuple[EncoderMetadata, Store]:
    """Return the encoder's metadata, and the store normalised as the encoder is used to.

    Raises:
        UserError: if it was trained on another split, and may have seen this one's test part.
    """
    metadata = encoder.metadata
    if metadata.data_hash != store.header.data_hash:
        raise UserError(
            f"{store.path}: the encoder ({metadata.recipe}, seed {metadata.seed}) was trained "
            "on other images or another split, and may have seen this test part; run pretrain "
            "again"
        )
    seen = metadata.preparation
    return metadata, store.normalised_by(seen.mean, seen.std)


def learns(encoder: nn.Module) -> bool:
    """Say whether the encoder has parameters."""
    return any(True for _ in encoder.parameters())


def split_rows(store: Store, splits: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the seed's split with each image's ``row`` in the store.

    Columns ``image_id, group, split, fold, row``.
    """
    own = for_seed(splits, seed)
    rows = store.rows(own["image_id"])
    return own[["image_id", "group", "split", "fold"]].assign(row=rows)
