"""The stage: an encoder over a folder, a table or files, or over a source's prepared images."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from maskwise.artefacts.embeddings import VECTOR, Embeddings, EmbeddingsHeader, fingerprint
from maskwise.artefacts.encoder import load_encoder, read_tensors
from maskwise.artefacts.labels import label_columns, named_column
from maskwise.artefacts.model import load_model
from maskwise.artefacts.prepared import PreparedSources
from maskwise.device import choose_device
from maskwise.embedding.config import EmbedConfig, Request
from maskwise.embedding.maps import check_installed, project
from maskwise.embedding.rows import FOLDER, rows_of
from maskwise.embedding.scoring import KnnScore, check_columns, score_by_neighbours
from maskwise.encoders.contract import Encoder
from maskwise.errors import UserError, shown
from maskwise.finetune.classification.features import extract
from maskwise.prediction.contracts import Refused
from maskwise.prediction.looking import (
    Looking,
    check_known_modality,
    commonest,
    find,
    reading_of,
)
from maskwise.preparation import Preparation
from maskwise.report.embedding import Facts, Shown, render
from maskwise.wording import count
from maskwise.workers import Pool

log = logging.getLogger(__name__)

ALIKE = ("height", "width", "channels", "geometry", "intensity", "modality")
"""What prepared images must have in common with those that an encoder takes."""
NO_CLASSES = 30
"""More different texts than that colour nothing unless they are asked for."""


@dataclass(frozen=True)
class Embedded:
    """What the stage hands on."""

    embeddings: Embeddings
    refused: pd.DataFrame
    """``path, frame, refused``: one row per scan or file without features."""
    page: str
    """HTML, needs no other file."""


def embed(
    request: Request, sources: PreparedSources, config: EmbedConfig, names: bool = False
) -> Embedded:
    """Let the encoder look at every scan, and draw the page; ``names`` prints files' there.

    Raises:
        UserError: if there is no encoder, no scan or no such source, if all scans are refused,
            or if an option names a column that there is not.
    """
    encoder = load(request.encoder).to(choose_device())
    name = str(request.encoder)
    check_installed(config.map)
    refused: dict[tuple[str, int], Refused] = {}
    if request.source is not None:
        embeddings = of_source(encoder, request.source, sources, config)
        whose = request.source
    else:
        place = Path(request.scans or "")
        embeddings, refused = of_files(encoder, [place], config, name)
        whose = place.name
    table = pd.DataFrame(
        [(path, frame, why.detail) for (path, frame), why in refused.items()],
        columns=["path", "frame", "refused"],
    )
    page = _page(embeddings, config, whose if names or request.source else "", refused, names)
    return Embedded(embeddings, table, page)


def load(path: Path) -> Encoder:
    """Return the encoder in ``path``, an encoder's file or a fine-tuned model's."""
    _, blocks = read_tensors(path)
    if "encoder" in blocks:
        return load_encoder(path)
    encoder: Encoder = load_model(path).encoder
    return encoder


def of_files(
    encoder: Encoder, places: Sequence[Path], config: EmbedConfig, name: str
) -> tuple[Embeddings, dict[tuple[str, int], Refused]]:
    """Embed the scans of a folder, a table or a file, or of several files.

    They are found, read and refused as ``predict`` does; ``name`` is what messages call the
    encoder. What was refused is told by path and frame.
    """
    header = _header(encoder, config)
    seen = encoder.metadata.preparation
    check_known_modality(config, seen, name, "embed")
    reading = reading_of(config, seen, name, "embed")
    rows: list[int] = []
    parts: list[NDArray[np.float32]] = []
    refused: dict[int, Refused] = {}
    with Pool(torch.get_num_threads(), config.seconds_per_file) as pool:
        found, named = find(places, config, reading, pool, "embed")
        keys = [(named.get(scan.path, scan.path), scan.frame) for scan in found.scans]
        table = rows_of(keys, found.table, config)
        check_columns(table, config)  # before anything is computed
        device = _device(encoder)
        looking = Looking(found, seen, device, config, reading, pool, "embed")
        for looks in looking.batches(refused):
            images = looking.images(list(looks.values()))
            with torch.inference_mode():
                pooled = encoder.pooled(images, config.stage, config.pooling)
            parts.append(pooled.float().cpu().numpy())
            rows += looks
    if not rows:
        reasons = commonest(why.detail for why in refused.values())
        raise UserError(f"{places[0]}: all scans were refused ({reasons})")
    refused |= looking.passed_over()
    vectors = np.concatenate(parts)
    _check_finite(vectors, name)
    keys += [(path, 0) for path, _ in found.passed_over]
    table = table.iloc[rows].reset_index(drop=True)
    log.info(
        "%s: features of %s, none of %s",
        places[0],
        count(len(rows), "scan"),
        count(len(refused), "file"),
    )
    return Embeddings(table, vectors, header), {keys[row]: why for row, why in refused.items()}


def of_source(
    encoder: Encoder, source: str, sources: PreparedSources, config: EmbedConfig
) -> Embeddings:
    """Embed the prepared images of a source, with what is known of them.

    Raises:
        UserError: if there is no such source, or its images are prepared in another way than
            the encoder's.
    """
    header = _header(encoder, config)
    store = sources.open_store(source, "embed.source")
    seen = encoder.metadata.preparation
    _check_alike(store.header.preparation, seen, source)
    store = store.normalised_by(seen.mean, seen.std)
    table = sources.rows(source, encoder.metadata.seed, store)
    check_columns(table, config)
    rows = np.arange(len(store), dtype=np.int64)
    features = extract(encoder, store, rows, config.pooling, _device(encoder))[config.stage]
    _check_finite(features, "the encoder")
    log.info("%s: features of %s", source, count(len(table), "image"))
    described = replace(header, source=source, data_hash=store.header.data_hash)
    return Embeddings(table, features, described)


def as_frame(embeddings: Embeddings) -> pd.DataFrame:
    """Return one table, the vectors in its column ``vector``."""
    return embeddings.table.assign(**{VECTOR: list(embeddings.vectors)})


def _header(encoder: Encoder, config: EmbedConfig) -> EmbeddingsHeader:
    metadata, stages = encoder.metadata, len(encoder.channels)
    if not -stages <= config.stage < stages:
        raise UserError(
            f"embed.stage: is {config.stage}, but the encoder has the stages 0 (the finest) to "
            f"{stages - 1}; -1 is the last"
        )
    seen = metadata.preparation
    weight = next(encoder.parameters(), torch.zeros(0))
    image = torch.zeros(
        1, seen.channels, seen.height, seen.width, device=weight.device, dtype=weight.dtype
    )
    with torch.inference_mode():
        width = encoder.pooled(image, config.stage, config.pooling).shape[1]
    return EmbeddingsHeader(
        fingerprint=fingerprint(encoder, config.stage, config.pooling),
        architecture=metadata.architecture,
        recipe=metadata.recipe,
        seed=metadata.seed,
        trained_on=metadata.source,
        width=width,
        stage=config.stage,
        pooling=config.pooling,
    )


def _device(encoder: Encoder) -> torch.device:
    weight = next(encoder.parameters(), None)
    return choose_device() if weight is None else weight.device


def _check_finite(vectors: NDArray[np.float32], name: str) -> None:
    if not np.isfinite(vectors).all():
        raise UserError(
            f"{name}: makes features that are no finite numbers; its training diverged: take "
            "another encoder"
        )


def _check_alike(store: Preparation, seen: Preparation, source: str) -> None:
    for option in ALIKE:
        has, takes = getattr(store, option), getattr(seen, option)
        if has != takes:
            raise UserError(
                f"embed.source: the images of {source!r} were prepared with {option} "
                f"{shown(has)}, but the encoder takes {shown(takes)}; give it the files "
                "themselves, which it prepares as its own: embed.scans=FOLDER"
            )


def _page(
    embeddings: Embeddings,
    config: EmbedConfig,
    name: str,
    refused: Mapping[tuple[str, int], Refused],
    names: bool,
) -> str:
    score = score_by_neighbours(embeddings, config)
    column = _colour(embeddings.table, config)
    lie = project(embeddings.vectors, config.map, config.seed)
    reasons = [
        (path, why.detail) if names else (f"row {row} of refused.csv", why.nameless)
        for row, ((path, _), why) in enumerate(refused.items(), 1)
    ]
    facts = Facts(
        name=name,
        header=embeddings.header,
        patients=_count_patients(embeddings.table),
        score=None if score is None else _told(score),
        refused=reasons,
    )
    values = None if column is None else embeddings.table[column]
    if values is not None and column == FOLDER and not names and config.label != FOLDER:
        values = _numbered(values)
    return render(Shown(lie.places, lie.method, lie.explained, column, values), facts)


def _colour(table: pd.DataFrame, config: EmbedConfig) -> str | None:
    """Return the column that colours the map: what was asked for, or what there is."""
    if config.colour_by is not None:
        return named_column(table, config.colour_by, "embed.colour_by")
    if config.label is not None:
        return named_column(table, config.label, "embed.label")
    for name in (*label_columns(table), "split", FOLDER):
        if name in table.columns and 2 <= table[name].nunique() <= NO_CLASSES:
            return name
    return None


def _numbered(folders: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return "folder 1", … for their names, in which a patient's may be."""
    number = folders.rank(method="dense")
    return number.map(lambda place: f"folder {place:.0f}", na_action="ignore")


def _count_patients(table: pd.DataFrame) -> int | None:
    known = table["patient"].dropna()
    return int(known.nunique()) if len(known) else None


def _told(score: KnnScore) -> list[str]:
    """Return what the page says of the score, one sentence each, the figures first."""
    words = {
        "macro_auroc": "AUROC (mean over classes)",
        "balanced_accuracy": "balanced accuracy",
    }
    figures = "; ".join(
        f"{words[each.metric]} {each.value:.3f} [{each.low:.3f}, {each.high:.3f}]"
        for each in score.figures
    )
    whose = "patients" if score.patients_known else "groups"
    lines = [
        f"{count(score.neighbours, 'neighbour')} of other {whose} tell {score.label!r} with "
        f"{figures}: {count(score.scans, 'scan')} of {score.groups:,} {whose}, "
        f"{count(len(score.classes), 'class', 'classes')}.",
        f"The 95 % intervals are of other {whose} of the same kind, drawn anew; the encoder is "
        "this one, trained once.",
    ]
    if not score.patients_known:
        lines.append(
            "Whose scans these are is not known for all of them. Where one person has several, "
            "they vote for one another, the score is too good, and the interval too narrow."
        )
    if score.test_left_out:
        lines.append(
            f"{count(score.test_left_out, 'scan')} of the test part neither voted nor were "
            "asked about: the test part answers once, in evaluate."
        )
    if score.left_out:
        lines.append(
            f"Left out, because one of the {whose} alone shows it: {', '.join(score.left_out)}."
        )
    return lines
