"""A study's trials as a table, its best values as YAML, and what mattered."""

import json
from collections.abc import Mapping
from typing import Any

import optuna
import pandas as pd
import yaml
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from maskwise.tune.parameters import CategoricalConfig
from maskwise.tune.space import Blocks, Space
from maskwise.tune.trials import EPOCHS, PRUNED_BY, REFUSED, SEED_SCORES, counting, first_number
from maskwise.tune.two_pruners import SCORES

STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "given up",
    TrialState.FAIL: "refused",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}
"""In the table's column ``state``; one that was tried again is ``interrupted``."""
FEWEST = 4
"""Complete trials from which on importances are computed."""


def trials_table(study: Study, seeds: tuple[int, ...], space: Space) -> pd.DataFrame:
    """Return one row per trial, ``artefacts.tables.TRIALS`` and then its values and scores."""
    trials = study.get_trials(deepcopy=False)
    counted = {trial.number for trial in counting(trials)}
    return pd.DataFrame([_row(trial, seeds, space, counted) for trial in trials])


def _row(
    trial: FrozenTrial, seeds: tuple[int, ...], space: Space, counted: set[int]
) -> dict[str, Any]:
    refused = trial.user_attrs.get(REFUSED)
    interrupted = trial.state is TrialState.FAIL and not (refused and trial.number in counted)
    scores: Mapping[str, float] = trial.user_attrs.get(SEED_SCORES, {})
    reports = [step for step in trial.intermediate_values if step < SCORES]
    last = max(reports, default=None)
    complete = trial.state is TrialState.COMPLETE
    first = first_number(trial)
    return {
        "trial": trial.number,
        "state": "interrupted" if interrupted else STATES[trial.state],
        "score": trial.value if complete else float("nan"),
        "epochs": int(trial.user_attrs.get(EPOCHS, 0)),
        "seeds": len(scores),
        "report": -1 if last is None else last,
        "reported": float("nan") if last is None else trial.intermediate_values[last],
        "why": trial.user_attrs.get(PRUNED_BY) or refused or "",
        "again": -1 if first == trial.number else first,
        "seconds": trial.duration.total_seconds() if trial.duration else float("nan"),
        **{
            path: _cell(trial.params, path, isinstance(parameter, CategoricalConfig))
            for path, parameter in space.parameters.items()
        },
        **{f"score_s{seed}": scores.get(str(seed), float("nan")) for seed in seeds},
    }


def _cell(params: Mapping[str, Any], path: str, categorical: bool) -> Any:
    """Return a number, or a choice as text: a column of Parquet holds one kind of value."""
    if not categorical:
        return float(params.get(path, float("nan")))
    if path not in params:
        return ""
    return params[path] if isinstance(params[path], str) else json.dumps(params[path])


def curves(study: Study) -> dict[str, dict[str, float]]:
    """Return what each trial's first seed reported: trial -> report -> figure."""
    return {
        str(trial.number): {
            str(step): round(value, 6)
            for step, value in sorted(trial.intermediate_values.items())
            if step < SCORES
        }
        for trial in study.get_trials(deepcopy=False)
    }


def best_yaml(study: Study, best: Blocks, source: str, recipe: str) -> str:
    """Return the best trial's changes as a file that is laid over ``conf/``."""
    trial = study.best_trial
    blocks: Blocks = {}
    if "recipe" in best:
        blocks[recipe] = best["recipe"]
    own = {stage: best[stage] for stage in ("pretrain", "finetune") if stage in best}
    if own:
        blocks[source] = own
    head = (
        f"# The best of {len(counting(study.get_trials(deepcopy=False)))} trials of the study "
        f"{study.study_name}: trial {trial.number}, validation score {trial.value:.4f}.\n"
        "# Chosen on validation images: its score there is too good by the choice alone.\n"
        "# To use it: cp this file to conf/local/parameters_tuned.yml, or into an environment "
        "of its own.\n"
        "# To add trials to the study, take it away there first.\n"
    )
    return head + yaml.safe_dump(blocks, sort_keys=False, default_flow_style=False)


def importances(study: Study) -> dict[str, float]:
    """Return each parameter's share of what the complete trials' scores differ by.

    By fANOVA (Hutter et al. 2014); empty of too few trials, or where all scored alike.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < FEWEST or len({trial.value for trial in complete}) < 2:
        return {}
    try:
        found = optuna.importance.get_param_importances(
            study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
        )
    except (RuntimeError, ValueError):  # no parameter stands in all trials, or none varies
        return {}
    return {path: round(float(share), 6) for path, share in found.items()}
