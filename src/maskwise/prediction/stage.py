"""The stage: a trained model over a folder or a table of scans that nobody labelled."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

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
from maskwise.artefacts.spool import Spool
from maskwise.device import choose_device
from maskwise.encoders.classifier import Classifier
from maskwise.encoders.segmenter import Segmenter
from maskwise.errors import UserError, hint, shown
from maskwise.inline import scan_uri
from maskwise.prediction.aggregation import RULES, Units, aggregate, units_of
from maskwise.prediction.classes import Classes
from maskwise.prediction.config import PredictConfig, parse_request
from maskwise.prediction.contracts import Answers, Card, Look, ModelKind, Refused
from maskwise.prediction.dicom import check_dicom
from maskwise.prediction.header import HASH_DIGITS, describe
from maskwise.prediction.labels import Labels
from maskwise.prediction.limits import Told
from maskwise.prediction.looking import (
    SCANS_AT_ONCE,
    Looking,
    check_known_modality,
    commonest,
    find,
    reading_of,
)
from maskwise.prediction.neighbours import TrainingScans, nearest_to
from maskwise.prediction.occlusion import Place, occlude, places
from maskwise.prediction.outlines import Outlines
from maskwise.prediction.page import Summary, called, render
from maskwise.prediction.scans import Scans, find_scans
from maskwise.scans.reading import Reading
from maskwise.wording import count
from maskwise.workers import Pool

__all__ = [
    "MODEL_KINDS",
    "Network",
    "PredictConfig",
    "Predicted",
    "parse_request",
    "predict",
    "tabulate",
]

log = logging.getLogger(__name__)

Network = Classifier | Segmenter
MODEL_KINDS: dict[str, Callable[[Any, Any, Told], ModelKind]] = {
    ModelMetadata.block: Classes,
    MultilabelMetadata.block: Labels,
    SegmenterMetadata.block: Outlines,
}
"""Block of a model's metadata -> what it answers, of the network, its metadata and limits."""


@dataclass(frozen=True)
class Predicted:
    """What the stage hands on."""

    table: pd.DataFrame
    """One row per scan or file: ``path, frame, prediction``, then of a classifier ``p_<class>``
    (calibrated), where a scan may have several labels ``called_<label>`` as well, of a
    segmenter ``area_<class>`` and ``outline`` (with ``dicom`` also ``segmentation``,
    ``capture`` and ``no_dicom``); where a coverage is asked for ``conformal_p_<answer>`` and
    ``set``, or ``set_<label>``; ``typicality`` and ``unlike``; ``model`` and ``data_hash``, the
    first digits of what the header says in full; and ``refused``, the reason why there is no
    prediction."""
    outlines: Mapping[str, bytes]
    """PNG files by the names in the column ``outline``, and DICOM files; none of a
    classifier. They lie on the disk, and each is read when it is asked for."""
    page: str
    """HTML, needs no other file."""
    aggregated: pd.DataFrame
    """One row per patient or volume; without rows where ``per`` asks for neither."""
    header: dict[str, Any]
    """What the table was made with: model, data, thresholds."""


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
    told = Told.of(network.limits, config.coverage, config.false_alarms)
    reading = reading_of(config, metadata.encoder.preparation, str(model), "predict")
    alike = TrainingScans.of(config.embeddings, network, str(model), sources)
    with Pool(torch.get_num_threads(), config.seconds_per_file) as pool:
        found = find_scans(scans, config.column, config.root, pool, reading)
        units = None if config.per is None else units_of(found, config.per)
        run = _Run.of(network, told, found, config, reading, pool)
        table, refused, outlines = _answers(run)
        _check_answers(table, len(found.scans), scans, str(model))
        kind = run.kind
        seen = kind.order(table[table["refused"].eq("")], config.sort_by)
        cards = _cards(run, seen.assign(called=called(seen, names)), outlines, alike)
        table = _with_dicom(run, metadata, table, outlines)
    summary = Summary(
        metadata, model.name, scans.name, table, refused, config.sort_by, names, told
    )
    aggregated = table.iloc[:0] if units is None else _aggregated(run, table, units)
    page = render(kind, summary, cards)
    header = describe(network, model.name, told, config.per, config.aggregate)
    return Predicted(table, outlines, page, aggregated, header)


def tabulate(
    places: Sequence[Path], network: Network, config: PredictConfig, name: str
) -> pd.DataFrame:
    """Return the table alone: of a folder, a table or a file of scans, or of several files.

    With ``config.per`` it is that of patients or volumes. ``network`` is looked through where
    it is; ``name`` is what messages call it. Raises what ``predict`` does.
    """
    _check(config, network.metadata, name)
    told = Told.of(network.limits, config.coverage, config.false_alarms)
    reading = reading_of(config, network.metadata.encoder.preparation, name, "predict")
    with Pool(torch.get_num_threads(), config.seconds_per_file) as pool:
        found, named = find(places, config, reading, pool, "predict")
        units = None if config.per is None else units_of(found, config.per)
        run = _Run.of(network, told, found, config, reading, pool)
        table = _answers(run)[0]
    table["path"] = table["path"].map(lambda path: named.get(path, path))
    _check_answers(table, len(found.scans), places[0], name)
    if units is None:
        return table
    units = replace(units, names=units.names.replace(named)) if named else units
    return _aggregated(run, table, units)


def _check_answers(table: pd.DataFrame, looked_at: int, scans: Path, model: str) -> None:
    """Refuse answers that are none; say how many of the first ``looked_at`` rows are."""
    refused = table["refused"].ne("")
    if refused[:looked_at].all():
        why = commonest(table["refused"][:looked_at])
        asked = "the one scan was" if looked_at == 1 else f"all {looked_at:,} scans were"
        raise UserError(f"{scans}: {asked} refused ({why})")
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
    if config.occlusion is not None and isinstance(metadata, SegmenterMetadata):
        raise UserError(
            "predict.occlusion: the model outlines, and its page draws the outlines; leave it "
            "out"
        )
    if config.dicom != "none":
        check_dicom(isinstance(metadata, SegmenterMetadata), model)
    if config.sort_by is not None and config.sort_by not in metadata.classes:
        raise UserError(
            f"predict.sort_by: the model has no class {shown(config.sort_by)}; "
            f"{hint(config.sort_by, metadata.classes)}"
        )


def _aggregated(run: "_Run", table: pd.DataFrame, units: Units) -> pd.DataFrame:
    found = aggregate(run.kind, table, units, run.config.aggregate)
    log.info(
        "One answer for each of %s: probabilities are %s.",
        count(len(found), units.per),
        RULES[run.config.aggregate],
    )
    return found


@dataclass(frozen=True)
class _Run:
    """What all scans share."""

    network: Network
    kind: ModelKind
    config: PredictConfig
    looking: Looking

    @classmethod
    def of(
        cls,
        network: Network,
        told: Told,
        found: Scans,
        config: PredictConfig,
        reading: Reading,
        pool: Pool,
    ) -> "_Run":
        metadata: Metadata = network.metadata
        device = next(network.parameters()).device  # a head or a decoder has some
        kind = MODEL_KINDS[metadata.block](network, metadata, told)
        seen = metadata.encoder.preparation
        looking = Looking(found, seen, device, config, reading, pool, "predict")
        return cls(network, kind, config, looking)

    def answer(self, seen: Mapping[int, Look]) -> Answers:
        """Let the model look at scans, by their row in the table, which the answers keep."""
        rows, looks = list(seen), list(seen.values())
        images = self.looking.images(looks)
        with torch.inference_mode():
            answers = self.kind.answer(images, looks, rows)
        return replace(answers, table=answers.table.set_axis(rows))


def _answers(run: _Run) -> tuple[pd.DataFrame, dict[int, Refused], Spool]:
    """Return one row per scan as found, then one per file that is none; refusals; outlines."""
    refused: dict[int, Refused] = {}
    tables: list[pd.DataFrame] = []
    files = Spool()
    for seen in run.looking.batches(refused):
        answers = run.answer(seen)
        tables.append(answers.table)
        files.update(answers.files)
    refused |= run.looking.passed_over()
    return _table(run, refused, tables), refused, files


def _with_dicom(
    run: _Run, metadata: Metadata, table: pd.DataFrame, outlines: Spool
) -> pd.DataFrame:
    """Add DICOM files to the outlines where they are asked for, and name them in the table."""
    if run.config.dicom == "none" or not isinstance(metadata, SegmenterMetadata):
        return table
    # Of the extra `dicom`.
    from maskwise.prediction.dicom.writing import Source, author_of, write_dicom

    found, looking = run.looking.found, run.looking
    source = Source(
        found.root, found.scans, looking.reading, looking.pool, run.config.seconds_per_file
    )
    author = author_of(metadata, run.network.sha256)
    return write_dicom(source, table, outlines, author, run.config.dicom)


def _table(
    run: _Run, refused: Mapping[int, Refused], answers: list[pd.DataFrame]
) -> pd.DataFrame:
    rows = [(scan.path, scan.frame) for scan in run.looking.found.scans]
    rows += [(path, 0) for path, _ in run.looking.found.passed_over]
    table = pd.DataFrame(rows, columns=["path", "frame"])
    table["refused"] = [refused[row].detail if row in refused else "" for row in table.index]
    if answers:
        table = table.join(pd.concat(answers))
    beside = [*run.kind.sets, *run.kind.texts]
    texts, made_by = ["prediction", *beside], ["model", "data_hash"]
    front = ["path", "frame", "prediction", *run.kind.numbers]
    columns = [*front, *beside, *made_by, "refused"]
    # Where all were refused there is no text yet, and a column of numbers takes none.
    table = table.reindex(columns=columns).astype(dict.fromkeys([*texts, *made_by], object))
    hashes = (run.network.sha256, run.network.metadata.encoder.data_hash)
    table[made_by] = [each[:HASH_DIGITS] for each in hashes]
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
            cards.append(
                Card(
                    name=row["called"],
                    prediction=row["prediction"],
                    figures=run.kind.figures(row, outlines),
                    picture=scan_uri(look.intensities.mean(axis=0)),
                    unlike=bool(row.get("unlike", 0)),
                    notes=tuple(run.kind.told.notes(row)),
                    places=_places(run, look),
                    neighbours=neighbours,
                )
            )
    return cards


def _places(run: _Run, look: Look) -> tuple[Place, ...]:
    if run.config.occlusion is None or not isinstance(run.network, Classifier):
        return ()
    preparation = run.looking.preparation
    image = run.looking.images([look])[0]
    changes = occlude(run.network, image, run.config.occlusion)
    return places(changes, preparation.height, preparation.width)
