"""The stage: a trained model over a folder or a table of scans that nobody labelled."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch

from maskwise.artefacts.model import (
    Metadata,
    ModelMetadata,
    MultilabelMetadata,
    SegmenterMetadata,
    load_model,
)
from maskwise.config import parse
from maskwise.device import choose_device
from maskwise.encoders.classifier import Classifier
from maskwise.encoders.segmenter import Segmenter
from maskwise.errors import UserError, hint, shown
from maskwise.prediction.aggregation import RULES, Units, aggregate, units_of
from maskwise.prediction.classes import Classes
from maskwise.prediction.config import PredictConfig, options_of, parse_request
from maskwise.prediction.contracts import Answers, Card, Look, ModelKind, Refused, Scan
from maskwise.prediction.header import HASH_DIGITS, describe
from maskwise.prediction.labels import Labels
from maskwise.prediction.limits import Told
from maskwise.prediction.occlusion import Place, occlude, places
from maskwise.prediction.outlines import Outlines
from maskwise.prediction.page import Summary, called, render, thumbnail
from maskwise.prediction.reading import (
    AT_ONCE,
    RefusedError,
    Way,
    check_modality,
    see,
    unseen,
)
from maskwise.prediction.scans import Scans, find_scans, is_scan, list_scans
from maskwise.progress import bar, note
from maskwise.scans.one import below_root
from maskwise.scans.reading import SEEN, Reading
from maskwise.wording import count
from maskwise.workers import Pool

__all__ = [
    "MODEL_KINDS",
    "Network",
    "PredictConfig",
    "Predicted",
    "options_of",
    "parse_request",
    "predict",
    "tabulate",
]

log = logging.getLogger(__name__)

SCANS_AT_ONCE = 64
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
    segmenter ``area_<class>`` and ``outline``; where a coverage is asked for
    ``conformal_p_<answer>`` and ``set``, or ``set_<label>``; ``typicality`` and ``unlike``;
    ``model`` and ``data_hash``, the first digits of what the header says in full; and
    ``refused``, the reason why there is no prediction."""
    outlines: dict[str, bytes]
    """PNG files by the names in the column ``outline``; none of a classifier."""
    page: str
    """HTML, needs no other file."""
    aggregated: pd.DataFrame
    """One row per patient or volume; without rows where ``per`` asks for neither."""
    header: dict[str, Any]
    """What the table was made with: model, data, thresholds."""


def predict(model: Path, scans: Path, config: PredictConfig, names: bool = False) -> Predicted:
    """Let the model in ``model`` look at every scan; ``names`` prints files' on the page.

    A scan that cannot be read, or is not like the model's training images, costs its own
    prediction only; it stays in the table with the reason.

    Raises:
        UserError: if there is no model or no scan, if the modality is another, if all scans
            are refused, or if the model answers a scan with no number.
    """
    network = load_model(model).to(choose_device())
    metadata: Metadata = network.metadata
    _check(config, metadata, str(model))
    told = Told.of(network.limits, config.coverage, config.false_alarms)
    reading = _reading(config, metadata, str(model))
    with Pool(torch.get_num_threads(), config.seconds_per_file) as pool:
        found = find_scans(scans, config.column, config.root, reading, pool)
        units = None if config.per is None else units_of(found, config.per)
        run = _Run.of(network, told, found, config, reading, pool)
        table, refused, outlines = _answers(run)
        _check_answers(table, len(found.scans), scans, str(model))
        kind = run.kind
        seen = kind.order(table[table["refused"].eq("")], config.sort_by)
        cards = _cards(run, seen.assign(called=called(seen, names)), outlines)
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
    reading = _reading(config, network.metadata, name)
    with Pool(torch.get_num_threads(), config.seconds_per_file) as pool:
        if len(places) == 1 and not is_scan(places[0]):
            found = find_scans(places[0], config.column, config.root, reading, pool)
            named = None
        else:
            found = list_scans(places, reading, pool)
            named = {below_root(place): str(place) for place in places}
        units = None if config.per is None else units_of(found, config.per)
        run = _Run.of(network, told, found, config, reading, pool)
        table = _answers(run)[0]
    if named is not None:
        table["path"] = table["path"].map(named)
    _check_answers(table, len(found.scans), places[0], name)
    if units is None:
        return table
    units = units if named is None else replace(units, names=units.names.replace(named))
    return _aggregated(run, table, units)


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
    try:
        check_modality(config.modality, metadata.encoder.preparation.modality)
    except RefusedError as error:
        raise UserError(f"predict.modality: {error} ({model})") from None
    if config.occlusion is not None and isinstance(metadata, SegmenterMetadata):
        raise UserError(
            "predict.occlusion: the model outlines, and its page draws the outlines; leave it "
            "out"
        )
    if config.sort_by is not None and config.sort_by not in metadata.classes:
        raise UserError(
            f"predict.sort_by: the model has no class {shown(config.sort_by)}; "
            f"{hint(config.sort_by, metadata.classes)}"
        )


def _reading(config: PredictConfig, metadata: Metadata, model: str) -> Reading:
    """Return how files are read: as the model's images were, or as the user says.

    Raises:
        UserError: where the user says what would make images look unlike the model's.
    """
    learnt_from = parse(Reading, metadata.encoder.preparation.reading, f"{model}: reading")
    if config.reading is None:
        return learnt_from
    for option in SEEN:
        asked, had = getattr(config.reading, option), getattr(learnt_from, option)
        if asked != had:
            raise UserError(
                f"predict.reading.{option}: is {asked}, but the images that the model learnt "
                f"from were read with {had} ({model}); leave predict.reading out, or write "
                f"{option}: {had}"
            )
    return config.reading


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
    metadata: Metadata
    device: torch.device
    found: Scans
    config: PredictConfig
    reading: Reading
    pool: Pool

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
        weight = next(network.parameters())  # a head or a decoder has some
        kind = MODEL_KINDS[metadata.block](network, metadata, told)
        return cls(network, kind, metadata, weight.device, found, config, reading, pool)

    def read(self, chunks: Iterable[Sequence[Scan]]) -> Iterator[Look | Refused]:
        """Yield what the network sees of each scan, or the reason why it sees nothing."""
        seen = self.metadata.encoder.preparation
        way = Way(self.found.root, seen, self.config.colour, self.reading)
        return chain.from_iterable(self.pool.map(partial(see, way), chunks, unseen))

    def answer(self, seen: Mapping[int, Look]) -> Answers:
        """Let the model look at scans, by their row in the table, which the answers keep."""
        rows, looks = list(seen), list(seen.values())
        intensities = np.stack([look.intensities for look in looks])
        normalised = self.metadata.encoder.preparation.normalised(intensities)
        images = torch.from_numpy(normalised).to(self.device)
        with torch.inference_mode():
            answers = self.kind.answer(images, looks, rows)
        return replace(answers, table=answers.table.set_axis(rows))


def _answers(run: _Run) -> tuple[pd.DataFrame, dict[int, Refused], dict[str, bytes]]:
    """Return one row per scan as found, then one per file that is none; refusals; outlines."""
    scans, name = run.found.scans, run.found.root.name
    refused: dict[int, Refused] = {}
    tables: list[pd.DataFrame] = []
    files: dict[str, bytes] = {}
    batches = range(0, len(scans), SCANS_AT_ONCE)
    with bar("predict", name, len(batches), SCANS_AT_ONCE, images=len(scans)) as shown:
        looks = run.read(_chunks(scans))
        for start in batches:
            read = list(islice(looks, SCANS_AT_ONCE))
            rows = dict(enumerate(read, start))
            refused |= {row: e for row, e in rows.items() if isinstance(e, Refused)}
            seen = {row: e for row, e in rows.items() if not isinstance(e, Refused)}
            if seen:
                answers = run.answer(seen)
                tables.append(answers.table)
                files.update(answers.files)
            shown.step()
        note(predict_images_per_second=shown.images_per_second)
    for row, (_, why) in enumerate(run.found.passed_over, len(scans)):
        refused[row] = Refused(f"no scan: {why.detail}", f"no scan: {why.nameless}")
    return _table(run, refused, tables), refused, files


def _chunks(scans: Sequence[Scan]) -> Iterator[Sequence[Scan]]:
    return (scans[start : start + AT_ONCE] for start in range(0, len(scans), AT_ONCE))


def _table(
    run: _Run, refused: Mapping[int, Refused], answers: list[pd.DataFrame]
) -> pd.DataFrame:
    rows = [(scan.path, scan.frame) for scan in run.found.scans]
    rows += [(path, 0) for path, _ in run.found.passed_over]
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
    hashes = (run.network.sha256, run.metadata.encoder.data_hash)
    table[made_by] = [each[:HASH_DIGITS] for each in hashes]
    return table.fillna(dict.fromkeys(texts, ""))


def _cards(run: _Run, table: pd.DataFrame, outlines: Mapping[str, bytes]) -> list[Card]:
    """Read what the page shows once more: memory stays flat however many scans there are."""
    cards, shown = [], table.head(run.config.shown)
    looks = run.read(
        _chunks([run.found.scans[cast(int, position)] for position in shown.index])
    )
    for look, (_, row) in zip(looks, shown.iterrows(), strict=True):
        if isinstance(look, Refused):
            continue  # It was there a moment ago; the table keeps its prediction.
        figures = run.kind.figures(row, outlines)
        cards.append(
            Card(
                name=row["called"],
                prediction=row["prediction"],
                figures=figures,
                picture=thumbnail(look.intensities),
                unlike=bool(row.get("unlike", 0)),
                notes=tuple(run.kind.told.notes(row)),
                places=_places(run, look),
            )
        )
    return cards


def _places(run: _Run, look: Look) -> tuple[Place, ...]:
    if run.config.occlusion is None or not isinstance(run.network, Classifier):
        return ()
    preparation = run.metadata.encoder.preparation
    image = torch.from_numpy(preparation.normalised(look.intensities[None]))[0].to(run.device)
    changes = occlude(run.network, image, run.config.occlusion)
    return places(changes, preparation.height, preparation.width)
