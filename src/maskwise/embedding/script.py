"""Features in a script: a table, and nothing on the disk."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from maskwise.config import parse
from maskwise.device import choose_device
from maskwise.embedding.config import EmbedConfig
from maskwise.embedding.stage import as_frame, load, of_files
from maskwise.encoders.contract import Encoder
from maskwise.errors import UserError
from maskwise.prediction.looking import not_learning, places_of


def embed(
    paths: str | Path | Sequence[str | Path],
    encoder: str | Path | Encoder,
    options: Mapping[str, Any],
) -> pd.DataFrame:
    """Return the table that ``maskwise.embed`` describes."""
    config = parse(EmbedConfig, options, "embed")
    places = places_of(paths)
    if isinstance(encoder, str | Path):
        network, name = load(Path(encoder)).to(choose_device()), str(encoder)
    else:
        network, name = encoder, "the encoder"
        if "metadata" not in vars(network):
            raise UserError(
                "encoder.metadata: missing, so that nothing is known about the images that it "
                "takes; load one with maskwise.load_encoder"
            )
    with not_learning(network):
        embeddings, refused = of_files(network, places, config, name)
    table = as_frame(embeddings)
    table.attrs["encoder"] = embeddings.header.fingerprint
    table.attrs["refused"] = {
        f"{path}, frame {frame}" if frame else path: why.detail
        for (path, frame), why in refused.items()
    }
    return table
