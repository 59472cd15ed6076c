"""Predictions in a script: a table, and nothing on the disk."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from maskwise.artefacts.model import load_model
from maskwise.config import parse
from maskwise.device import choose_device
from maskwise.encoders.classifier import Classifier
from maskwise.encoders.segmenter import Segmenter
from maskwise.errors import UserError
from maskwise.prediction.looking import not_learning, places_of
from maskwise.prediction.stage import Network, PredictConfig, tabulate


def predict(
    paths: str | Path | Sequence[str | Path],
    model: str | Path | Classifier | Segmenter,
    options: Mapping[str, Any],
) -> pd.DataFrame:
    """Return the table that ``maskwise.predict`` describes.

    An outline's file is the stage's; without one, there is no column that names it.
    """
    config = parse(PredictConfig, options, "predict")
    if config.dicom != "none":
        raise UserError(
            "predict.dicom: a script gets the table alone; run the stage, which writes files: "
            "kedro run --pipelines predict --params predict.dicom=segmentation,…"
        )
    places = places_of(paths)
    if isinstance(model, str | Path):
        network: Network = load_model(model)
        network.to(choose_device())
        name = str(model)
    else:
        network, name = model, "the model"
    with not_learning(network):
        table = tabulate(places, network, config, name)
    return table.drop(columns="outline", errors="ignore")
