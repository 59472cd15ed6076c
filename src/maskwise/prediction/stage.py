"""The stage: a trained model over a folder or a table of scans that nobody labelled."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any, cast

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
from maskwise.bounds import Within
from maskwise.config import parse
from maskwise.device import choose_device
from maskwise.encoders.classifier import Classifier
from maskwise.encoders.segmenter import Segmenter
from maskwise.errors import UserError, hint, shown
from maskwise.prediction.classes import Classes
from maskwise.prediction.contracts import Answers, Card, Look, ModelKind, Refused, Scan
from maskwise.prediction.dicom import DicomOutlines, check_dicom
from maskwise.prediction.labels import Labels
from maskwise.prediction.outlines import Outlines
from maskwise.prediction.page import Summary, called, render, thumbnail
from maskwise.prediction.reading import (
    AT_ONCE,
    Colour,
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
from maskwise.workers import LONGEST, SECONDS_PER_FILE, Pool

log = logging.getLogger(__name__)

SCANS_AT_ONCE = 64
Network = Classifier | Segmenter
MODEL_KINDS: dict[str, Callable[[Any, Any], ModelKind]] = {
    ModelMetadata.block: Classes,
    MultilabelMetadata.block: Labels,
    SegmenterMetadata.block: Outlines,
}
"""Block of a model's metadata -> what it answers, of the network and its metadata."""


@dataclass(frozen=True)
class PredictConfig:
    """How scans are found, read and shown."""

    modality: str | None = None
    """What the scans are, where you know it; refused unless it is the model's."""
    column: str = "path"
    """The table's column of paths."""
    root: Path | None = None
    """What a table's paths are relative to; its own folder by default."""
    colour: Colour = "refuse"
    """What becomes of coloured scans that a model for grey ones is to look at."""
    sort_by: str | None = None
    """The class whose probability, or outlined area, orders the page; by default the
    probability of each scan's prediction, class by class, or the area of all outlines."""
    shown: Annotated[int, Within(1, 10_000)] = 200
    """Scans on the page at most; the table holds all."""
    reading: Reading | None = None
    """How files are read that leave a choice; by default as the model's images were."""
    seconds_per_file: Annotated[float, Within(0.1, LONGEST)] = SECONDS_PER_FILE
    """A scan that takes longer to read is refused."""
    dicom: DicomOutlines = "none"
    """Outlines of DICOM scans as DICOM, too: segmentations, pictures with outlines, or both."""


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
    reading = _reading(config, metadata, str(model))
    with Pool(torch.get_num_threads(), config.seconds_per_file) as pool:
        found = find_scans(scans, config.column, config.root, reading, pool)
        run = _Run.of(network, found, config, reading, pool)
        table, refused, outlines = _answers(run)
        _check_answers(table, len(found.scans), scans, str(model))
        kind = run.kind
        seen = kind.order(table[table["refused"].eq("")], config.sort_by)
        cards = _cards(run, seen.assign(called=called(seen, names)), outlines)
        table, outlines = _with_dicom(run, table, outlines)
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
    reading = _reading(config, network.metadata, name)
    with Pool(torch.get_num_threads(), config.seconds_per_file) as pool:
        if len(places) == 1 and not is_scan(places[0]):
            found = find_scans(places[0], config.column, config.root, reading, pool)
            table = _answers(_Run.of(network, found, config, reading, pool))[0]
        else:
            found = list_scans(places, reading, pool)
            table = _answers(_Run.of(network, found, config, reading, pool))[0]
            named = {below_root(place): str(place) for place in places}
            table["path"] = table["path"].map(named)
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
    try:
        check_modality(config.modality, metadata.encoder.preparation.modality)
    except RefusedError as error:
        raise UserError(f"predict.modality: {error} ({model})") from None
    if config.dicom != "none":
        check_dicom(isinstance(metadata, SegmenterMetadata), model)
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


@dataclass(frozen=True)
class _Run:
    """What all scans share."""

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
        found: Scans,
        config: PredictConfig,
        reading: Reading,
        pool: Pool,
    ) -> "_Run":
        metadata: Metadata = network.metadata
        weight = next(network.parameters())  # a head or a decoder has some
        kind = MODEL_KINDS[metadata.block](network, metadata)
        return cls(kind, metadata, weight.device, found, config, reading, pool)

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


def _with_dicom(
    run: _Run, table: pd.DataFrame, outlines: dict[str, bytes]
) -> tuple[pd.DataFrame, dict[str, bytes]]:
    """Add DICOM files to the outlines where they are asked for, and name them in the table."""
    if run.config.dicom == "none" or not isinstance(run.metadata, SegmenterMetadata):
        return table, outlines
    from maskwise.prediction.dicom.writing import Source, write_dicom  # of the extra `dicom`

    source = Source(run.found.root, run.found.scans, run.reading)
    table, files = write_dicom(source, table, outlines, run.metadata, run.config.dicom)
    return table, outlines | files


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
    texts = ["prediction", *run.kind.texts]
    columns = ["path", "frame", "prediction", *run.kind.numbers, *run.kind.texts, "refused"]
    # Where all were refused there is no text yet, and a column of numbers takes none.
    table = table.reindex(columns=columns).astype(dict.fromkeys(texts, object))
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
        picture = thumbnail(look.intensities)
        cards.append(Card(row["called"], row["prediction"], figures, picture))
    return cards
