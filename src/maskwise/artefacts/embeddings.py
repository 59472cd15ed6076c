"""``embeddings.parquet``: one row per scan, what an encoder makes of it, and which encoder.

The schema's metadata hold the ``EmbeddingsHeader``, and each row repeats the fingerprint of its
encoder: rows of two encoders have no distance from each other, and whatever joined them, they
are told apart.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from maskwise.artefacts.atomic import replacing
from maskwise.bounds import Within
from maskwise.description import from_json
from maskwise.encoders.contract import Encoder
from maskwise.errors import UserError, cut, listed
from maskwise.wording import count

COLUMNS = ("id", "path", "frame", "patient", "group", "split")
"""What every table holds, beside columns of the source's or the table's own.

``id`` str names a row; ``path`` and ``frame`` say where its scan lies; ``patient`` and
``split`` (``train``, ``validation``, ``test``) are null where they are not known; ``group`` str
is what belongs together: a patient's scans, or near-duplicates."""
ENCODER, VECTOR = "encoder", "vector"
"""Columns of the file alone: the fingerprint, and a list of float32."""
_KEY = b"maskwise"
_SHORT = 12
"""Digits of a fingerprint by which messages and rows name an encoder."""


@dataclass(frozen=True)
class EmbeddingsHeader:
    """What made the vectors."""

    fingerprint: str
    """Of the encoder's weights, of how it prepares images, and of the pooling."""
    architecture: str
    recipe: str
    seed: int
    trained_on: str
    """The source that the encoder learnt from."""
    width: Annotated[int, Within(1, 10**7)]
    """Numbers per vector."""
    stage: int
    """Position in the encoder's list of feature maps; -1 = the last."""
    pooling: str
    source: str | None = None
    """Whose store the scans are in; None = files that were read for this."""
    data_hash: str | None = None
    """Of that store."""

    @property
    def encoder(self) -> str:
        """Return what messages call the encoder."""
        return f"{self.recipe} on {self.trained_on}, seed {self.seed} ({self.short})"

    @property
    def short(self) -> str:
        """Return the fingerprint's first digits."""
        return self.fingerprint[:_SHORT]


@dataclass(frozen=True)
class Embeddings:
    """Scans as one encoder sees them."""

    table: pd.DataFrame
    """``COLUMNS`` and further ones, one row per scan, the index from 0."""
    vectors: NDArray[np.float32]
    """``(N, width)``."""
    header: EmbeddingsHeader

    def __len__(self) -> int:
        return len(self.table)

    def take(self, rows: Any) -> "Embeddings":
        """Return some rows, by position or by a mask."""
        table = self.table.loc[rows].reset_index(drop=True)
        return Embeddings(table, self.vectors[np.asarray(rows)], self.header)


def fingerprint(encoder: Encoder, stage: int, pooling: str) -> str:
    """Return a hash of all that a vector depends on, the scan apart: 64 hexadecimal digits.

    A model whose encoder was frozen when it was fine-tuned has its encoder's.
    """
    metadata = encoder.metadata
    described = {
        "architecture": metadata.architecture,
        "arguments": metadata.arguments,
        "preparation": asdict(metadata.preparation),
        "source": metadata.source,
        "recipe": metadata.recipe,
        "seed": metadata.seed,
        "stage": stage % len(encoder.channels),
        "pooling": pooling,
    }
    digest = hashlib.sha256(json.dumps(described, sort_keys=True, default=list).encode())
    for name, tensor in sorted(encoder.state_dict().items()):
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def write_embeddings(embeddings: Embeddings, path: Path) -> None:
    """Write embeddings after checking them."""
    table, vectors = embeddings.table, embeddings.vectors
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing or vectors.shape != (len(table), embeddings.header.width):
        raise ValueError(f"the table lacks {missing}, or vectors are {vectors.shape}")
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    flat = pa.array(np.ascontiguousarray(vectors, np.float32).reshape(-1))
    lists = pa.FixedSizeListArray.from_arrays(flat, embeddings.header.width)
    repeated = pa.array([embeddings.header.short] * len(table)).dictionary_encode()
    arrow = arrow.append_column(ENCODER, repeated).append_column(VECTOR, lists)
    header = json.dumps(asdict(embeddings.header), sort_keys=True).encode()
    arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), _KEY: header})
    with replacing(path) as temporary:
        pq.write_table(arrow, temporary)


def read_embeddings(path: Path) -> Embeddings:
    """Read what ``write_embeddings`` wrote.

    Raises:
        UserError: if there is no such file, it holds something else, or rows of another encoder
            were put into it.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; make it with: kedro run --pipelines embed")
    try:
        arrow = pq.read_table(path)
        block = (arrow.schema.metadata or {}).get(_KEY)
        if block is None:
            raise UserError(
                f"{path}: does not say which encoder made it, so that it cannot be compared "
                "with anything; take the file that embed wrote, not a copy of its columns"
            )
        header = from_json(EmbeddingsHeader, json.loads(block))
        column = arrow.column(VECTOR).combine_chunks()
        vectors = column.flatten().to_numpy(zero_copy_only=False)
        table = arrow.drop_columns([VECTOR]).to_pandas()
    except UserError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError, pa.ArrowException) as e:
        raise UserError(
            f"{path}: is not a readable file of embeddings ({cut(str(e), 200)}); run embed "
            "again"
        ) from None
    missing = [name for name in (*COLUMNS, ENCODER) if name not in table.columns]
    if missing or len(vectors) != len(table) * header.width:
        raise UserError(
            f"{path}: its columns do not fit its header ({listed(missing) or 'vectors'}); run "
            "embed again"
        )
    others = set(table[ENCODER].astype(str)) - {header.short}
    if others:
        number = int((table[ENCODER].astype(str) != header.short).sum())
        raise UserError(
            f"{path}: {count(number, 'row')} of {len(table):,} were made by another encoder "
            f"({min(others)}) than the file's, {header.encoder}; vectors of two encoders "
            "cannot be compared: embed all scans with one"
        )
    values = vectors.reshape(len(table), header.width).astype(np.float32, copy=False)
    if not np.isfinite(values).all():
        raise UserError(
            f"{path}: holds vectors that are not finite; embed with another encoder"
        )
    return Embeddings(table.drop(columns=ENCODER), values, header)


def joined(parts: Sequence[Embeddings], names: Sequence[str]) -> Embeddings:
    """Put embeddings of one encoder below one another; ``names`` are what messages call them.

    Raises:
        UserError: if they were made by different encoders, or name a scan twice.
    """
    first = parts[0]
    for part, name in zip(parts[1:], names[1:], strict=True):
        check_same(part.header, first.header.fingerprint, name, f"{names[0]} was made by")
    table = pd.concat([part.table for part in parts], ignore_index=True)
    repeated = table["id"][table["id"].duplicated()]
    if len(repeated):
        raise UserError(
            f"{listed(names)}: the scan {cut(str(repeated.iloc[0]))!r} stands in them twice; "
            "name each file of embeddings once"
        )
    same = len({(part.header.source, part.header.data_hash) for part in parts}) == 1
    header = first.header
    if not same:
        header = EmbeddingsHeader(**{**asdict(header), "source": None, "data_hash": None})
    return Embeddings(table, np.concatenate([part.vectors for part in parts]), header)


def check_same(header: EmbeddingsHeader, wanted: str, where: str, whose: str) -> None:
    """Raise ``UserError`` unless ``header`` is of the encoder of that fingerprint."""
    if header.fingerprint != wanted:
        raise UserError(
            f"{where}: was made by the encoder {header.encoder}, but {whose} another "
            f"({wanted[:_SHORT]}); vectors of two encoders cannot be compared: embed these "
            "scans with that one"
        )
