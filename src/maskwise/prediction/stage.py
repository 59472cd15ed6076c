"""The stage: a trained model over a folder or a table of scans that nobody labelled."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, cast

import pandas as pd
import torch

from maskwise.artefacts.model import (
    Metadata,
    ModelMetadata,
    MultilabelMetadata,
    SegmenterMetadata,
    load_model,
)
from maskwise.artefacts.prepared import PreparedSources
from maskwise.bounds import Within
from maskwise.config import parse
from maskwise.device import choose_device
from maskwise.encoders.classifier import Classifier
from maskwise.encoders.segmenter import Segmenter
from maskwise.errors import UserError, hint, shown
from maskwise.prediction.classes import Classes
from maskwise.prediction.contracts import Answers, Card, Look, ModelKind, Refused
from maskwise.prediction.dicom import DicomOutlines, check_dicom
from maskwise.prediction.labels import Labels
from maskwise.prediction.looking import (
    SCANS_AT_ONCE,
    LookConfig,
    Looking,
    check_known_modality,
    find,
    reading_of,
)
from maskwise.prediction.neighbours import TrainingScans, nearest_to
from maskwise.prediction.outlines import Outlines
from maskwise.prediction.page import Summary, called, render, thumbnail
from maskwise.prediction.scans import Scans, find_scans
from maskwise.scans.reading import Reading
from maskwise.wording import count
from maskwise.workers import Pool

log = logging.getLogger(__name__)

Network = Classifier | Segmenter
MODEL_KINDS: dict[str, Callable[[Any, Any], ModelKind]] = {
    ModelMetadata.block: Classes,
    MultilabelMetadata.block: Labels,
    SegmenterMetadata.block: Outlines,
}
"""Block of a model's metadata -> what it answers, of the network and its metadata."""


@dataclass(frozen=True)
class PredictConfig(LookConfig):
    """How scans are found, read and shown."""

    sort_by: str | None = None
    """The class whose probability, or outlined area, orders the page; by default the
    probability of each scan's prediction, class by class, or the area of all outlines."""
    shown: Annotated[int, Within(1, 10_000)] = 200
    """Scans on the page at most; the table holds all."""
    dicom: DicomOutlines = "none"
    """Outlines of DICOM scans as DICOM, too: segmentations, pictures with outlines, or both."""
    embeddings: Path | None = None
    """What embed made of the model's source with the model's own file: the page then shows
    beside each scan the training scans most like it."""
    neighbours: Annotated[int, Within(1, 20)] = 3
    """How many of them."""


@dataclass(frozen=True)
class Predicted:
    """What the stage hands on."""

    table: pd.DataFrame
    """One row per scan or file: ``path, frame, prediction``, then of a classifier ``p_<class>``
    (calibrated), where a scan may have several labels ``called_<label>`` as well, of a
    segmenter ``area_<class>`` and ``outline`` (with ``dicom`` also ``segmentation``,
    ``capture`` and ``no_dicom``), and ``refused``, the reason why there is no prediction."""
    outlines: dict[str, bytes]
    """PNG files by the names in the column ``outline``, and DICOM files; none of a
    classifier."""
    page: str
    """HTML, needs no other file."""


def parse_request(block: Any, where: str) -> tuple[Path, Path, PredictConfig]:
    """Parse the block ``predict``: ``model``, ``scans``, and a ``PredictConfig``'s options."""
    config = parse(PredictConfig, options_of(block, where), where)
    for key, what in (("model", "a model file"), ("scans", "a folder or table of scans")):
        if block.get(key) in (None, ""):
            raise UserError(f"{where}.{key}: missing; name {what}: --params {where}.{key}=PATH")
        if not isinstance(block[key], str):  # 007 is 7 to YAML, and cannot be had back
            raise UserError(
                f"{where}.{key}: should be {what}, but is {shown(block[key])}; in a file, a "
                "name that looks like a number needs quotation marks"
            )
    return Path(block["model"]), Path(block["scans"]), config


def options_of(block: Any, where: str) -> dict[str, Any]:
    """Return the ``PredictConfig`` part of the block ``predict``."""
    if not isinstance(block, Mapping):
        raise UserError(f"{where}: should be a block of options, but is {shown(block)}")
    return {key: value for key, value in block.items() if key not in ("model", "scans")}


def predict(
    model: Path,
    scans: Path,
    config: PredictConfig,
    names: bool = False,
    sources: PreparedSources | None = None,
) -> Predicted:
    """Let the model in ``model`` look at every scan; ``names`` prints files' on the page.

    A scan that cannot be read, or is not like the model's training images, costs its own
    prediction only; it stays in the table with the reason. Pictures of training scans come out
    of the store that ``sources`` knows.

    Raises:
        UserError: if there is no model or no scan, if the modality is another, if all scans
            are refused, or if the model answers a scan with no number.
    """
    network = load_model(model).to(choose_device())
    metadata: Metadata = network.metadata
    _check(config, metadata, str(model))
    reading = reading_of(config, metadata.encoder.preparation, str(model), "predict")
    alike = TrainingScans.of(config.embeddings, network, str(model), sources)
    with Pool(torch.get_num_threads(), config.seconds_per_file) as pool:
        found = find_scans(scans, config.column, config.root, reading, pool)
        run = _Run.of(network, found, config, reading, pool)
        table, refused, outlines = _answers(run)
        _check_answers(table, len(found.scans), scans, str(model))
        kind = run.kind
        seen = kind.order(table[table["refused"].eq("")], config.sort_by)
        cards = _cards(run, seen.assign(called=called(seen, names)), outlines, alike)
        table, outlines = _with_dicom(run, metadata, table, outlines)
    summary = Summary(metadata, model.name, scans.name, table, refused, config.sort_by, names)
    return Predicted(table, outlines, render(kind, summary, cards))


def tabulate(
    places: Sequence[Path], network: Network, config: PredictConfig, name: str
) -> pd.DataFrame:
    """Return the table alone: of a folder, a table or a file of scans, or of several files.

    ``network`` is looked through where it is; ``name`` is what messages call it. Raises what
    ``predict`` does.
    """
    _check(config, network.metadata, name)
    reading = reading_of(config, network.metadata.encoder.preparation, name, "predict")
    with Pool(torch.get_num_threads(), config.seconds_per_file) as pool:
        found, named = find(places, config, reading, pool, "predict")
        table = _answers(_Run.of(network, found, config, reading, pool))[0]
    table["path"] = table["path"].map(lambda path: named.get(path, path))
    _check_answers(table, len(found.scans), places[0], name)
    return table


def _check_answers(table: pd.DataFrame, looked_at: int, scans: Path, model: str) -> None:
    """Refuse answers that are none; say how many of the first ``looked_at`` rows are."""
    refused = table["refused"].ne("")
    if refused[:looked_at].all():
        reasons = Counter(table["refused"][:looked_at])
        commonest = "; ".join(f"{count(n, 'time')}: {why}" for why, n in reasons.most_common(3))
        asked = "the one scan was" if looked_at == 1 else f"all {looked_at:,} scans were"
        raise UserError(f"{scans}: {asked} refused ({commonest})")
    unanswered = table[~refused & table["prediction"].eq("")]
    if len(unanswered):
        raise UserError(
            f"{model}: gives no finite probability for {count(len(unanswered), 'scan')}, as "
            f"for {unanswered['path'].iloc[0]!r}; its training diverged: take another model"
        )
    log.info(
        "%s: a prediction for %s, none for %s (column `refused` says why)",
        scans,
        count((~refused).sum(), "scan"),
        count(refused.sum(), "file"),
    )


def _check(config: PredictConfig, metadata: Metadata, model: str) -> None:
    check_known_modality(config, metadata.encoder.preparation, model, "predict")
    if config.dicom != "none":
        check_dicom(isinstance(metadata, SegmenterMetadata), model)
    if config.sort_by is not None and config.sort_by not in metadata.classes:
        raise UserError(
            f"predict.sort_by: the model has no class {shown(config.sort_by)}; "
            f"{hint(config.sort_by, metadata.classes)}"
        )


@dataclass(frozen=True)
class _Run:
    """What all scans share."""

    kind: ModelKind
    config: PredictConfig
    looking: Looking

    @classmethod
    def of(
        cls,
        network: Network,
        found: Scans,
        config: PredictConfig,
        reading: Reading,
        pool: Pool,
    ) -> "_Run":
        metadata: Metadata = network.metadata
        device = next(network.parameters()).device  # a head or a decoder has some
        kind = MODEL_KINDS[metadata.block](network, metadata)
        seen = metadata.encoder.preparation
        looking = Looking(found, seen, device, config, reading, pool, "predict")
        return cls(kind, config, looking)

    def answer(self, seen: Mapping[int, Look]) -> Answers:
        """Let the model look at scans, by their row in the table, which the answers keep."""
        rows, looks = list(seen), list(seen.values())
        images = self.looking.images(looks)
        with torch.inference_mode():
            answers = self.kind.answer(images, looks, rows)
        return replace(answers, table=answers.table.set_axis(rows))


def _answers(run: _Run) -> tuple[pd.DataFrame, dict[int, Refused], dict[str, bytes]]:
    """Return one row per scan as found, then one per file that is none; refusals; outlines."""
    refused: dict[int, Refused] = {}
    tables: list[pd.DataFrame] = []
    files: dict[str, bytes] = {}
    for rows in run.looking.batches():
        refused |= {row: e for row, e in rows.items() if isinstance(e, Refused)}
        seen = {row: e for row, e in rows.items() if not isinstance(e, Refused)}
        if seen:
            answers = run.answer(seen)
            tables.append(answers.table)
            files.update(answers.files)
    refused |= run.looking.passed_over()
    return _table(run, refused, tables), refused, files


def _with_dicom(
    run: _Run, metadata: Metadata, table: pd.DataFrame, outlines: dict[str, bytes]
) -> tuple[pd.DataFrame, dict[str, bytes]]:
    """Add DICOM files to the outlines where they are asked for, and name them in the table."""
    if run.config.dicom == "none" or not isinstance(metadata, SegmenterMetadata):
        return table, outlines
    from maskwise.prediction.dicom.writing import Source, write_dicom  # of the extra `dicom`

    found = run.looking.found
    source = Source(found.root, found.scans, run.looking.reading)
    table, files = write_dicom(source, table, outlines, metadata, run.config.dicom)
    return table, outlines | files


def _table(
    run: _Run, refused: Mapping[int, Refused], answers: list[pd.DataFrame]
) -> pd.DataFrame:
    rows = [(scan.path, scan.frame) for scan in run.looking.found.scans]
    rows += [(path, 0) for path, _ in run.looking.found.passed_over]
    table = pd.DataFrame(rows, columns=["path", "frame"])
    table["refused"] = [refused[row].detail if row in refused else "" for row in table.index]
    if answers:
        table = table.join(pd.concat(answers))
    texts = ["prediction", *run.kind.texts]
    columns = ["path", "frame", "prediction", *run.kind.numbers, *run.kind.texts, "refused"]
    # Where all were refused there is no text yet, and a column of numbers takes none.
    table = table.reindex(columns=columns).astype(dict.fromkeys(texts, object))
    return table.fillna(dict.fromkeys(texts, ""))


def _cards(
    run: _Run,
    table: pd.DataFrame,
    outlines: Mapping[str, bytes],
    alike: TrainingScans | None,
) -> list[Card]:
    """Read what the page shows once more: memory stays flat however many scans there are."""
    cards: list[Card] = []
    shown, scans = table.head(run.config.shown), run.looking.found.scans
    looks = run.looking.read([scans[cast(int, position)] for position in shown.index])
    for start in range(0, len(shown), SCANS_AT_ONCE):
        rows = [row for _, row in shown.iloc[start : start + SCANS_AT_ONCE].iterrows()]
        # One that is refused was there a moment ago; the table keeps its prediction.
        read = [
            (row, look)
            for row, look in zip(rows, looks, strict=False)
            if isinstance(look, Look)
        ]
        seen = [look for _, look in read]
        nearest = nearest_to(run.looking, alike, seen, run.config.neighbours)
        for (row, look), neighbours in zip(read, nearest, strict=True):
            figures = run.kind.figures(row, outlines)
            picture = thumbnail(look.intensities)
            cards.append(Card(row["called"], row["prediction"], figures, picture, neighbours))
    return cards
