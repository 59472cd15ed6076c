"""The stage: which scans to label next, within a budget and patient by patient."""

import logging
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskwise.array_types import Floats
from maskwise.artefacts.embeddings import Embeddings, joined, read_embeddings
from maskwise.artefacts.labels import named_column
from maskwise.artefacts.tables import read_table, rearmed
from maskwise.bounds import Seed, Within
from maskwise.config import Choice
from maskwise.errors import UserError, cut, listed, shown
from maskwise.request import missing, options
from maskwise.scans.tables import parse_table
from maskwise.seeds import stream
from maskwise.selection.budget import Pool, Turns, choose
from maskwise.selection.contracts import Rule
from maskwise.selection.rules import RULES
from maskwise.selection.rules.random import Random
from maskwise.selection.rules.typicality import Typicality
from maskwise.selection.unsure import Measure, of_predictions
from maskwise.wording import count

log = logging.getLogger(__name__)

EMBEDDINGS = "embeddings"
HELD_OUT = ("validation", "test")
"""Parts that are never chosen from: a test part that a rule chose would say nothing of patients
to come."""
Unit = Literal["patient", "scan"]


@dataclass(frozen=True)
class SelectConfig:
    """Which rule, how many scans, and what is labelled already."""

    rule: Annotated[Rule, Choice(lambda: RULES)] = field(default_factory=Typicality)
    """By what the next scans are chosen."""
    budget: Annotated[int, Within(1, 1_000_000)] = 20
    """Scans to label."""
    unit: Unit = "patient"
    """What is chosen: a patient with all scans (where no patient is known, near-duplicates), or
    single scans."""
    label: str | None = None
    """A column of the embeddings: scans with a value in it are labelled already."""
    labelled: Path | None = None
    """A table of scans that are labelled already, by `id` or `path`: an earlier selection."""
    predictions: Path | None = None
    """What predict wrote of the same scans, for the rule `uncertainty`."""
    measure: Measure = "margin"
    """Of unsureness: one minus the two largest probabilities' difference, the entropy, or one
    minus the largest; each brought to [0, 1]."""
    seed: Seed = 0
    """Of whatever a rule draws, and of the control."""


@dataclass(frozen=True)
class Selected:
    """What the stage hands on."""

    selection: pd.DataFrame
    """``order, id, path, frame, patient``, the figure that the rule went by, and an empty
    column ``label``; one row per scan, whole patients below one another."""
    control: pd.DataFrame
    """The same by chance alone: as many scans as the budget has, to compare with."""


parse_options = partial(options, SelectConfig, (EMBEDDINGS,))
"""The options of the block ``select``; out of which embeddings, only a run must say."""


def parse_request(block: Any, where: str) -> tuple[list[Path], SelectConfig]:
    """Parse the block ``select``: ``embeddings``, a path or a list of them, and the options."""
    config = parse_options(block, where)
    given = block.get(EMBEDDINGS)
    paths = given if isinstance(given, list | tuple) else [given]
    if given in (None, "", [], ()):
        raise missing(where, EMBEDDINGS, "the file that embed wrote")
    if not all(isinstance(path, str) for path in paths):
        raise UserError(
            f"{where}.{EMBEDDINGS}: should be a file or a list of files, but is {shown(given)}"
        )
    return [Path(path) for path in paths], config


def read(paths: list[Path]) -> Embeddings:
    """Read one file of embeddings, or several of one encoder."""
    return joined([read_embeddings(path) for path in paths], [str(path) for path in paths])


def select(embeddings: Embeddings, config: SelectConfig) -> Selected:
    """Choose scans by the rule, and as many by chance.

    Raises:
        UserError: if nothing is left to label, the budget holds no whole patient, or the rule
            lacks a model's predictions.
    """
    table = embeddings.table
    unsure: Floats | None = None
    if config.rule.asks_a_model:
        unsure = _unsure(table, config)
    done = _labelled(table, config)
    units = table["group"] if config.unit == "patient" else table["id"]
    codes: NDArray[np.int64] = pd.factorize(units)[0].astype(np.int64)
    # A patient of whom one scan is labelled is known, and counts as labelled.
    known = np.isin(codes, codes[done])
    free = ~known & ~table["split"].isin(HELD_OUT).to_numpy(bool)
    if not free.any():
        raise UserError(
            f"select: nothing is left to label: of {count(len(table), 'scan')} {known.sum():,} "
            f"are labelled, or another of the same {config.unit} is, and the others are of the "
            "validation or test part"
        )
    pool = Pool(embeddings.vectors, codes, done, free, unsure)
    rules = {"rule": config.rule, "control": Random()}
    made = []
    for name, rule in rules.items():
        turns = choose(pool, rule, config.budget, stream(config.seed, "select", name))
        made.append(_tabulated(pool, table, turns, rule.figure))
    left = int(free.sum())
    log.info(
        "%s, %s, chosen out of %s without a label",
        count(len(made[0]), "scan"),
        count(made[0]["order"].nunique(), _noun(table, config)),
        count(left, "scan"),
    )
    if len(made[0]) < config.budget:
        log.warning(
            "select.budget: %d, but only %s could be chosen", config.budget, len(made[0])
        )
    return Selected(*made)


def _noun(table: pd.DataFrame, config: SelectConfig) -> str:
    """Return what is chosen: where no patient is known, groups of near-duplicates are."""
    whole = config.unit == "patient"
    return "group" if whole and table["patient"].isna().any() else config.unit


def _tabulated(pool: Pool, table: pd.DataFrame, turns: Turns, figure: str) -> pd.DataFrame:
    """Return one row per scan, in the order of its unit's turn."""
    rows = pool.scans(turns.units)
    turn = pd.Series(np.arange(len(turns.units)), index=turns.units)
    order = turn.loc[pool.unit[rows]].to_numpy(np.int64)
    own = table.loc[rows, ["id", "path", "frame", "patient"]].reset_index(drop=True)
    own.insert(0, "order", order + 1)
    if figure:
        own[figure] = np.round(turns.figures[order], 6)
    return own.assign(label="")


def _labelled(table: pd.DataFrame, config: SelectConfig) -> NDArray[np.bool_]:
    done = np.zeros(len(table), bool)
    if config.label is not None:
        column = named_column(table, config.label, "select.label")
        done |= (table[column].notna() & table[column].ne("")).to_numpy(bool)
    if config.labelled is not None:
        known = _typed(config.labelled)
        done |= _named(table, known, config.labelled)
    return done


def _named(table: pd.DataFrame, known: pd.DataFrame, path: Path) -> NDArray[np.bool_]:
    """Say which scans ``known`` names; one whose cell `label` is blank is not labelled yet."""
    if "label" in known.columns:
        known = known[known["label"].notna() & known["label"].astype(str).str.strip().ne("")]
    by = next((name for name in ("id", "path") if name in known.columns), None)
    if by is None:
        raise UserError(
            f"select.labelled: {path}: has neither a column `id` nor `path`, only "
            f"{listed(map(str, known.columns))}"
        )
    names = known[by].astype(str)
    strange = names[~names.isin(table[by])]
    if len(strange):
        raise UserError(
            f"select.labelled: {path}: {cut(str(strange.iloc[0]))!r} is no {by} of the "
            "embeddings; name scans as embed does"
        )
    named: NDArray[np.bool_] = table[by].isin(names).to_numpy(bool)
    return named


def _unsure(table: pd.DataFrame, config: SelectConfig) -> Floats:
    if config.predictions is None:
        raise UserError(
            "select.predictions: missing, and the rule uncertainty asks a model; name what "
            "predict wrote of the same scans (data/07_model_output/predict/predictions.csv)"
        )
    where = f"select.predictions: {config.predictions}"
    said = _read(config.predictions, "select.predictions")
    return of_predictions(said, table, config.measure, where)


def _typed(path: Path) -> pd.DataFrame:
    """Read what people and spreadsheets write."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"select.labelled: {path}: {error.strerror}") from None
    return rearmed(parse_table(data, f"select.labelled: {path}"))


def _read(path: Path, where: str) -> pd.DataFrame:
    if not path.is_file():
        raise UserError(f"{where}: {path}: no such file")
    try:
        return read_table(path)
    except UserError:
        raise
    except (ValueError, OSError) as error:  # pandas' and Arrow's are ValueErrors
        raise UserError(f"{where}: {path}: is no readable table ({cut(str(error))})") from None
