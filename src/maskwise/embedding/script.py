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
from maskwise.errors import UserError, shown


def embed(
    paths: str | Path | Sequence[str | Path],
    encoder: str | Path | Encoder,
    options: Mapping[str, Any],
) -> pd.DataFrame:
    """Return the table that ``maskwise.embed`` describes."""
    config = parse(EmbedConfig, options, "embed")
    places = [paths] if isinstance(paths, str | Path) else list(paths)
    if not places or not all(isinstance(place, str | Path) for place in places):
        raise UserError(f"paths: {shown(paths)} is not a folder, table, file or list of files")
    if isinstance(encoder, str | Path):
        network, name = load(Path(encoder)).to(choose_device()), str(encoder)
    else:
        network, name = encoder, "the encoder"
        if "metadata" not in vars(network):
            raise UserError(
                "encoder.metadata: missing, so that nothing is known about the images that it "
                "takes; load one with maskwise.load_encoder"
            )
    learning = network.training
    network.eval()
    try:
        embeddings, refused = of_files(network, [Path(place) for place in places], config, name)
    finally:
        network.train(learning)
    table = as_frame(embeddings)
    table.attrs["encoder"] = embeddings.header.fingerprint
    table.attrs["refused"] = {
        f"{path}, frame {frame}" if frame else path: why.detail
        for (path, frame), why in refused.items()
    }
    return table
