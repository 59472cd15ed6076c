"""The training scans that the model's encoder sees most like a new one. Never a test scan."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskwise.artefacts.embeddings import Embeddings, check_same, fingerprint, read_embeddings
from maskwise.artefacts.labels import label_columns
from maskwise.artefacts.prepared import PreparedSources
from maskwise.artefacts.store import Store
from maskwise.cosine import nearest, of_length_one
from maskwise.encoders.contract import Encoder
from maskwise.errors import UserError
from maskwise.inline import scan_uri
from maskwise.prediction.contracts import Look, Neighbour
from maskwise.prediction.looking import Looking


@dataclass(frozen=True)
class TrainingScans:
    """Those of the training part, as the model's encoder sees them."""

    encoder: Encoder
    embeddings: Embeddings
    sides: NDArray[np.float64]
    """``(N, F)``, of length 1."""
    store: Store
    """Out of which their pictures come."""

    @classmethod
    def of(
        cls, path: Path | None, network: Any, model: str, sources: PreparedSources | None
    ) -> "TrainingScans | None":
        """Read them from what embed wrote to ``path``; None where no path is named.

        Raises:
            UserError: if the file is of another encoder or another source than the model's, if
                nobody knows which of its scans were trained on, or if the images were made anew
                since.
        """
        if path is None:
            return None
        where, made = f"predict.embeddings: {path}", read_embeddings(path)
        encoder, header = network.encoder, made.header
        own = fingerprint(encoder, header.stage, header.pooling)
        check_same(header, own, where, f"the model {model} has")
        source = encoder.metadata.source
        command = f"kedro run --pipelines embed --params embed.encoder={model},"
        if header.source != source or sources is None:
            raise UserError(
                f"{where}: its scans are not those of {source!r}, which the model learnt from, "
                f"so that none is known to be a training scan; {command}embed.source={source}"
            )
        store = sources.open_store(source, where)
        if store.header.data_hash != header.data_hash:
            raise UserError(
                f"{where}: the images of {source!r} were made anew since; {command}"
                f"embed.source={source}"
            )
        if encoder.metadata.data_hash != header.data_hash:
            raise UserError(
                f"{where}: the images of {source!r} were made anew since the model learnt from "
                "them, so that none is known to be a training scan; run pretrain and finetune "
                "again, or leave predict.embeddings out"
            )
        train = made.take(np.flatnonzero(made.table["split"].eq("train").fillna(False)))
        if not len(train):
            raise UserError(f"{where}: holds no training scan; {command}embed.source={source}")
        return cls(encoder, train, of_length_one(train.vectors), store)

    def nearest(self, images: Tensor, most: int) -> list[tuple[Neighbour, ...]]:
        """Return the ``most`` training scans nearest to each of normalised images."""
        header = self.embeddings.header
        with torch.inference_mode():
            features = self.encoder.pooled(images, header.stage, header.pooling)
        similar = of_length_one(features.float().cpu().numpy()) @ self.sides.T  # (B, N)
        columns, closeness = nearest(similar, most)
        rows, where = np.unique(columns, return_inverse=True)
        places = self.store.rows(self.embeddings.table["id"].iloc[rows])
        pictures = [scan_uri(each.mean(axis=0)) for each in self.store.intensities(places)]
        labels = [self._label(int(row)) for row in rows]
        return [
            tuple(
                Neighbour(labels[place], float(cosine), pictures[place])
                for place, cosine in zip(places_of, cosines, strict=True)
            )
            for places_of, cosines in zip(where.reshape(columns.shape), closeness, strict=True)
        ]

    def _label(self, row: int) -> str:
        table = self.embeddings.table
        said = [table[name].iloc[row] for name in label_columns(table)]
        return " · ".join(str(value) for value in said if isinstance(value, str) and value)


def nearest_to(
    looking: Looking, alike: TrainingScans | None, seen: Sequence[Look], most: int
) -> list[tuple[Neighbour, ...]]:
    """Return the training scans nearest to each of what was seen; none where none are known."""
    if alike is None or not seen:
        return [()] * len(seen)
    return alike.nearest(looking.images(seen), most)
