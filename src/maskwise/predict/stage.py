"""The stage: a trained model over a folder or a table of scans that nobody labelled."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import pandas as pd
import torch

from maskwise.artefacts.model import Metadata, ModelMetadata, SegmenterMetadata, load_model
from maskwise.bounds import Within
from maskwise.config import choose, parse
from maskwise.errors import UserError, hint, shown
from maskwise.predict.classes import Classes
from maskwise.predict.contracts import Answers, Card, Kind, Look
from maskwise.predict.outlines import Outlines
from maskwise.predict.page import Summary, called, render, thumbnail
from maskwise.predict.reading import Colour, RefusedError, check_modality, read_scan
from maskwise.predict.scans import Scan, Scans, find_scans
from maskwise.progress import bar, note
from maskwise.scans.geometry import GEOMETRIES
from maskwise.scans.intensity import INTENSITIES
from maskwise.scans.reading import DEFAULT, Reading

log = logging.getLogger(__name__)

SCANS_AT_ONCE = 64
KINDS: dict[str, Callable[[Any, Any], Kind]] = {
    ModelMetadata.block: Classes,
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
    reading: Reading = DEFAULT
    """How files are read that leave a choice; as the source of the model's images says."""


@dataclass(frozen=True)
class Predicted:
    """What the stage hands on."""

    table: pd.DataFrame
    """A row a scan or file: ``path, frame, prediction``, then of a classifier ``p_<class>``
    (calibrated), of a segmenter ``area_<class>`` and ``outline``, and ``refused``, the reason
    why there is no prediction."""
    outlines: dict[str, bytes]
    """PNG files by the names in the column ``outline``; none of a classifier."""
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
                "name that looks like a number stands in quotation marks"
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
    network = load_model(model)
    metadata = cast(Metadata, network.metadata)
    _check(config, metadata, model)
    found = find_scans(scans, config.column, config.root, config.reading)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind = KINDS[metadata.block](network.to(device), metadata)
    run = _Run(kind, metadata, device, found, config)
    table, outlines = _answers(run)
    refused = table["refused"].ne("")
    if refused[: len(found.scans)].all():
        reasons = Counter(table["refused"][: len(found.scans)])
        commonest = "; ".join(f"{n} times: {why}" for why, n in reasons.most_common(3))
        raise UserError(f"{scans}: all {len(found.scans)} scans were refused ({commonest})")
    unanswered = table[~refused & table["prediction"].eq("")]
    if len(unanswered):
        raise UserError(
            f"{model}: gives no finite probability for {len(unanswered)} scans, as for "
            f"{unanswered['path'].iloc[0]!r}; its training diverged: take another model"
        )
    log.info(
        "%s: %d scans have a prediction, %d files have none (column `refused` says why)",
        scans, (~refused).sum(), refused.sum(),
    )  # fmt: skip
    ordered = kind.order(table[~refused], config.sort_by)
    cards = _cards(run, ordered.assign(called=called(ordered, names)), outlines)
    summary = Summary(metadata, model.name, scans.name, table, config.sort_by, names)
    return Predicted(table, outlines, render(kind, summary, cards))


def _check(config: PredictConfig, metadata: Metadata, model: Path) -> None:
    try:
        check_modality(config.modality, metadata.encoder)
    except RefusedError as error:
        raise UserError(f"predict.modality: {error} ({model})") from None
    # Of a damaged model; otherwise each scan would be refused with it.
    choose(GEOMETRIES, metadata.encoder.geometry, f"{model}: geometry")
    choose(INTENSITIES, metadata.encoder.intensity, f"{model}: intensity")
    if config.sort_by is not None and config.sort_by not in metadata.classes:
        raise UserError(
            f"predict.sort_by: the model has no class {shown(config.sort_by)}; "
            f"{hint(config.sort_by, metadata.classes)}"
        )


@dataclass(frozen=True)
class _Run:
    """What all scans share."""

    kind: Kind
    metadata: Metadata
    device: torch.device
    found: Scans
    config: PredictConfig

    def read(self, scan: Scan) -> Look | str:
        """Return what the network sees, or the reason why it sees nothing."""
        try:
            return read_scan(
                self.found.root,
                scan,
                self.metadata.encoder,
                self.config.colour,
                self.config.reading,
            )
        except RefusedError as error:
            return str(error)

    def answer(self, seen: Mapping[int, Look]) -> Answers:
        """Let the model look at scans, by their row in the table, which the answers keep."""
        rows, looks = list(seen), list(seen.values())
        mean, std = (
            np.asarray(values, np.float32)[:, None, None]
            for values in (self.metadata.encoder.mean, self.metadata.encoder.std)
        )
        intensities = np.stack([look.intensities for look in looks])
        images = torch.from_numpy((intensities - mean) / std).to(self.device)
        with torch.inference_mode():
            answers = self.kind.answer(images, looks, rows)
        return replace(answers, table=answers.table.set_axis(rows))


def _answers(run: _Run) -> tuple[pd.DataFrame, dict[str, bytes]]:
    """Return a row a scan, in the order found, then a row a file that is none; the outlines."""
    scans, name = run.found.scans, run.found.root.name
    refused: list[str] = []
    tables: list[pd.DataFrame] = []
    files: dict[str, bytes] = {}
    batches = range(0, len(scans), SCANS_AT_ONCE)
    with bar("predict", name, len(batches), SCANS_AT_ONCE, images=len(scans)) as shown:
        with ThreadPoolExecutor(max_workers=torch.get_num_threads()) as readers:
            for start in batches:
                read = list(readers.map(run.read, scans[start : start + SCANS_AT_ONCE]))
                refused += [each if isinstance(each, str) else "" for each in read]
                seen = {start + i: e for i, e in enumerate(read) if not isinstance(e, str)}
                if seen:
                    answers = run.answer(seen)
                    tables.append(answers.table)
                    files.update(answers.files)
                shown.step()
        note(predict_images_per_second=shown.images_per_second)
    return _table(run, refused, tables), files


def _table(run: _Run, refused: list[str], answers: list[pd.DataFrame]) -> pd.DataFrame:
    listed = zip(run.found.scans, refused, strict=True)
    rows = [(scan.path, scan.frame, reason) for scan, reason in listed]
    rows += [(path, 0, f"no scan: {detail}") for path, _, detail in run.found.passed_over]
    table = pd.DataFrame(rows, columns=["path", "frame", "refused"])
    if answers:
        table = table.join(pd.concat(answers))
    texts = ["prediction", *run.kind.texts]
    columns = ["path", "frame", "prediction", *run.kind.numbers, *run.kind.texts, "refused"]
    # Where all were refused there is no text yet, and a column of numbers takes none.
    table = table.reindex(columns=columns).astype(dict.fromkeys(texts, object))
    return table.fillna(dict.fromkeys(texts, ""))


def _cards(run: _Run, table: pd.DataFrame, outlines: Mapping[str, bytes]) -> list[Card]:
    """Read what the page shows once more: memory stays flat however many scans there are."""
    cards = []
    for position, row in table.head(run.config.shown).iterrows():
        look = run.read(run.found.scans[cast(int, position)])
        if isinstance(look, str):
            continue  # It was there a moment ago; the table keeps its prediction.
        figures = run.kind.figures(row, outlines)
        picture = thumbnail(look.intensities)
        cards.append(Card(row["called"], row["prediction"], figures, picture))
    return cards
