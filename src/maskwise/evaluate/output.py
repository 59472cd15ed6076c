"""Results as they are written: JSON and tables, of 6 digits."""

from typing import Any

import numpy as np
import pandas as pd

from maskwise.artefacts.tables import LABEL_EFFICIENCY
from maskwise.evaluate import scales
from maskwise.evaluate.arrangement import Curve
from maskwise.evaluate.comparisons import COVERS
from maskwise.evaluate.config import EvaluateConfig, Primary
from maskwise.evaluate.figures import rounded
from maskwise.evaluate.notes import Validation, about_primary, class_counts, write_notes
from maskwise.evaluate.results import Results

Figures = dict[Curve, dict[str, dict[str, float | None]]]
"""Curve -> metric -> ``value``, ends of intervals, and what stands beside them."""


def all_figures(results: Results) -> Figures:
    """Return every curve's figures."""
    found = {}
    for curve, beside in results.asides.items():
        found[curve] = {
            metric: _figures(results, curve, metric)
            | {name: rounded(value) for name, value in beside.get(metric, {}).items()}
            for metric in results.arrangement.measures.metrics
        }
    return found


def scores_of(
    results: Results,
    figures: Figures,
    config: EvaluateConfig,
    source: str,
    validation: Validation,
) -> dict[str, Any]:
    """Return ``scores.json``."""
    arrangement, primary = results.arrangement, config.primary.get(source)
    counts = class_counts(arrangement)
    measures = arrangement.measures
    nested: dict[str, Any] = {}
    for (recipe, mode, fraction), metrics in figures.items():
        nested.setdefault(recipe, {}).setdefault(mode, {})[str(float(fraction))] = metrics
    undefined = max(
        int(np.isnan(values[results.place(name), :, 1:].mean(axis=0)).sum())
        for values in results.values.values()
        for name in measures.surely_defined
    )
    folds = len(arrangement.repetitions) if arrangement.folds else 0
    return {
        "source": source,
        "task": measures.task,
        "leading": measures.leading,
        "smaller_is_better": list(measures.smaller_is_better),
        **measures.conventions,
        "n_images": len(arrangement.images()),
        "n_groups": arrangement.n_groups,
        "n_seeds": sum(map(len, arrangement.repetitions)),
        "n_repetitions": len(arrangement.repetitions),
        "n_folds": folds,
        "networks_a_fold": arrangement.networks if folds else None,
        "draws": config.draws,
        "undefined_draws": undefined,
        "covers": COVERS[results.draws.tells_training],
        "primary": _written(primary, measures.leading),
        "weigh": config.weigh,
        "test": config.test,
        "classes": counts,
        "stuck": [stuck.entry() for stuck in results.stuck],
        "validation": validation.entry(),
        "notes": about_primary(primary, frozenset(results.values))
        + write_notes(arrangement, counts, undefined, config)
        + [stuck.note() for stuck in results.stuck]
        + validation.notes(),
        "scores": nested,
    }


def _written(primary: Primary | None, leading: str) -> dict[str, Any] | None:
    """Return what was named beforehand as JSON."""
    if primary is None:
        return None
    return {
        "metric": primary.metric or leading,
        "mode": primary.mode,
        "fraction": primary.fraction,
        "comparisons": [list(pair) for pair in primary.comparisons],
        "written": primary.written.isoformat(),
    }


def _figures(results: Results, curve: Curve, metric: str) -> dict[str, float | None]:
    found, groups = results.resampled(curve, metric), results.arrangement.n_groups
    scale = results.arrangement.measures.scale(metric)
    figures = {"value": found.value}
    for name, part in (("", found.both), ("seeds_", found.training), ("groups_", found.test)):
        ends = (float("nan"), float("nan"))
        if part is not None:
            ends = scales.interval(found.value, part, groups, scale)
        figures |= dict(zip((f"{name}low", f"{name}high"), ends, strict=True))
    return {name: rounded(value) for name, value in figures.items()}


def label_efficiency(figures: Figures, subsets: pd.DataFrame) -> pd.DataFrame:
    """Return ``tables.LABEL_EFFICIENCY``."""
    train = subsets[subsets["role"] == "train"]
    counted = train.groupby(["fraction", "recipe", "seed"]).agg(
        n_images=("image_id", "nunique"), n_groups=("group", "nunique")
    )
    sizes = counted.groupby("fraction").mean()
    rows = []
    for (recipe, mode, fraction), metrics in figures.items():
        n_images, n_groups = (
            sizes.loc[fraction] if fraction in sizes.index else (np.nan, np.nan)
        )
        for name, found in metrics.items():
            numbers = [found[end] for end in ("value", "low", "high")]
            rows.append([mode, fraction, n_images, n_groups, recipe, name, *numbers])
    return pd.DataFrame(rows, columns=list(LABEL_EFFICIENCY))
