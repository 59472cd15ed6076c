"""The stage: a trained model over a folder or a table of scans that nobody labelled."""

import logging
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from maskwise.artefacts.model import ModelMetadata, load_model
from maskwise.config import parse
from maskwise.encoders.classifier import Classifier
from maskwise.encoders.segmenter import Segmenter
from maskwise.errors import UserError, hint
from maskwise.predict.page import Card, Summary, render, thumbnail
from maskwise.predict.reading import Colour, RefusedError, check_modality, read_scan
from maskwise.predict.scans import Scan, Scans, find_scans
from maskwise.progress import bar, note

log = logging.getLogger(__name__)

SCANS_AT_ONCE = 64


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
    """The class whose probability orders the page; by default that of the prediction."""
    shown: int = 200
    """Scans on the page at most; the table holds all."""

    def __post_init__(self) -> None:
        if self.shown < 1:
            raise ValueError(f"shown is {self.shown}, but should be 1 or more")


@dataclass(frozen=True)
class Predicted:
    """What the stage hands on."""

    table: pd.DataFrame
    """A row a scan or file: ``path, frame, prediction``, ``p_<class>`` (calibrated), and
    ``refused``, the reason why there is no prediction."""
    page: str
    """HTML, needs no other file."""


def parse_request(block: Any, where: str) -> tuple[Path, Path, PredictConfig]:
    """Parse the block ``predict``: ``model``, ``scans``, and a ``PredictConfig``'s options."""
    config = parse(PredictConfig, options_of(block, where), where)
    for key, what in (("model", "a model file"), ("scans", "a folder or table of scans")):
        if block.get(key) in (None, ""):
            raise UserError(f"{where}.{key}: missing; name {what}: --params {where}.{key}=PATH")
        if type(block[key]) not in (str, int):  # a name of digits is a number to YAML
            raise UserError(f"{where}.{key}: should be {what}, but is {block[key]!r}")
    return Path(str(block["model"])), Path(str(block["scans"])), config


def options_of(block: Any, where: str) -> dict[str, Any]:
    """Return the ``PredictConfig`` part of the block ``predict``."""
    if not isinstance(block, Mapping):
        raise UserError(f"{where}: should be a block of options, but is {block!r}")
    return {key: value for key, value in block.items() if key not in ("model", "scans")}


def predict(model: Path, scans: Path, config: PredictConfig) -> Predicted:
    """Let the model in ``model`` look at every scan.

    A scan that cannot be read, or is not like the model's training images, costs its own
    prediction only; it stays in the table with the reason.

    Raises:
        UserError: if there is no model or no scan, if the modality is another, if all scans
            are refused, or if the model answers a scan with no number.
    """
    network = load_model(model)
    if isinstance(network, Segmenter):
        raise UserError(
            f"{model}: outlines lesions, and predict tells classes; in Python, "
            "maskwise.load_model(path).outline(images) outlines new scans"
        )
    metadata = cast(ModelMetadata, network.metadata)
    _check(config, metadata, model)
    found = find_scans(scans, config.column, config.root)
    table = _table(network, metadata, found, config)
    refused = table["refused"].ne("")
    if refused[: len(found.scans)].all():
        reasons = Counter(table["refused"][: len(found.scans)])
        commonest = "; ".join(f"{n} times: {why}" for why, n in reasons.most_common(3))
        raise UserError(f"{scans}: all {len(found.scans)} scans were refused ({commonest})")
    unanswered = table[~refused & table[_columns(metadata)].isna().any(axis=1)]
    if len(unanswered):
        raise UserError(
            f"{model}: gives no finite probability for {len(unanswered)} scans, as for "
            f"{unanswered['path'].iloc[0]!r}; its training diverged: take another model"
        )
    log.info(
        "%s: %d scans have a prediction, %d files have none (column `refused` says why)",
        scans, (~refused).sum(), refused.sum(),
    )  # fmt: skip
    cards = _cards(_ordered(table[~refused], metadata, config), found, metadata, config)
    page = render(Summary(metadata, model.name, scans.name, table, config.sort_by), cards)
    return Predicted(table, page)


def _check(config: PredictConfig, metadata: ModelMetadata, model: Path) -> None:
    try:
        check_modality(config.modality, metadata.encoder)
    except RefusedError as error:
        raise UserError(f"predict.modality: {error} ({model})") from None
    if config.sort_by is not None and config.sort_by not in metadata.classes:
        raise UserError(
            f"predict.sort_by: the model has no class {config.sort_by!r}; "
            f"{hint(config.sort_by, metadata.classes)}"
        )


def _table(
    network: Classifier, metadata: ModelMetadata, found: Scans, config: PredictConfig
) -> pd.DataFrame:
    """Return a row a scan, in the order found, then a row a file that is none."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = network.to(device)
    parts = []
    batches = range(0, len(found.scans), SCANS_AT_ONCE)
    number = len(found.scans)
    with bar("predict", found.root.name, len(batches), SCANS_AT_ONCE, images=number) as shown:
        with ThreadPoolExecutor(max_workers=torch.get_num_threads()) as readers:
            for start in batches:
                scans = found.scans[start : start + SCANS_AT_ONCE]
                read = readers.map(
                    lambda scan: _read(found.root, scan, metadata, config), scans
                )
                parts.append(_rows(network, metadata, scans, list(read), device))
                shown.step()
        note(predict_images_per_second=shown.images_per_second)
    passed_over = [
        {"path": path, "frame": 0, "prediction": "", "refused": f"no scan: {detail}"}
        for path, _, detail in found.passed_over
    ]
    return pd.concat([*parts, pd.DataFrame(passed_over)], ignore_index=True)[
        ["path", "frame", "prediction", *_columns(metadata), "refused"]
    ]


def _rows(
    network: Classifier,
    metadata: ModelMetadata,
    scans: tuple[Scan, ...],
    read: list[NDArray[np.float32] | str],
    device: torch.device,
) -> pd.DataFrame:
    seen = [i for i, answer in enumerate(read) if not isinstance(answer, str)]
    chances = np.full((len(scans), len(metadata.classes)), np.nan)
    if seen:
        intensities = np.stack([cast(NDArray[np.float32], read[i]) for i in seen])
        mean, std = (
            np.asarray(values, np.float32)[:, None, None]
            for values in (metadata.encoder.mean, metadata.encoder.std)
        )
        images = torch.from_numpy((intensities - mean) / std).to(device)
        with torch.inference_mode():
            chances[seen] = network.probabilities(images).double().cpu().numpy()
    names = np.asarray(metadata.classes, dtype=object)
    known = ~np.isnan(chances[:, 0])
    prediction = np.where(known, names[np.nan_to_num(chances).argmax(axis=1)], "")
    table = pd.DataFrame(
        {
            "path": [scan.path for scan in scans],
            "frame": [scan.frame for scan in scans],
            "prediction": prediction,
            "refused": [answer if isinstance(answer, str) else "" for answer in read],
        }
    )
    return table.join(pd.DataFrame(chances, columns=_columns(metadata)))


def _read(
    root: Path, scan: Scan, metadata: ModelMetadata, config: PredictConfig
) -> NDArray[np.float32] | str:
    """Return intensities ``(C, H, W)``, or the reason why not."""
    try:
        return read_scan(root, scan, metadata.encoder, config.colour)
    except RefusedError as error:
        return str(error)


def _columns(metadata: ModelMetadata) -> list[str]:
    return [f"p_{name}" for name in metadata.classes]


def _ordered(
    table: pd.DataFrame, metadata: ModelMetadata, config: PredictConfig
) -> pd.DataFrame:
    """Order by the probability of ``sort_by``, or of the prediction within its class."""
    if config.sort_by is not None:
        return table.sort_values(f"p_{config.sort_by}", ascending=False, kind="stable")
    top = table[_columns(metadata)].max(axis=1)
    order = table.assign(_top=top).sort_values(
        ["prediction", "_top"], ascending=[True, False], kind="stable"
    )
    return order.drop(columns="_top")


def _cards(
    table: pd.DataFrame, found: Scans, metadata: ModelMetadata, config: PredictConfig
) -> list[Card]:
    """Read what the page shows once more: memory stays flat however many scans there are."""
    cards = []
    for position, row in table.head(config.shown).iterrows():
        intensities = _read(found.root, found.scans[cast(int, position)], metadata, config)
        if isinstance(intensities, str):
            continue  # It was there a moment ago; the table keeps its prediction.
        chances = tuple((name, float(row[f"p_{name}"])) for name in metadata.classes)
        frame = f", frame {row['frame']}" if row["frame"] else ""
        cards.append(
            Card(f"{row['path']}{frame}", row["prediction"], chances, thumbnail(intensities))
        )
    return cards
