"""The stage: a search space and a recipe in; the study's trials and the best values out."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
from filelock import FileLock
from optuna.trial import TrialState

from maskwise.artefacts.splits import count_folds
from maskwise.artefacts.store import Store
from maskwise.errors import UserError
from maskwise.evaluate.config import EvaluateConfig
from maskwise.finetune.run import FinetuneConfig
from maskwise.pretrain.recipe import PretrainConfig
from maskwise.tune.config import TuneConfig
from maskwise.tune.objective import Training, parse_blocks, refuse_folds
from maskwise.tune.space import Blocks, Space, build_space, overlay
from maskwise.tune.storage import open_study, reached, url_of
from maskwise.tune.table import best_yaml, curves, importances, trials_table
from maskwise.tune.trials import METRIC, Trials, counting

__all__ = ["TuneConfig", "TuneRun", "Tuned", "check_study", "tune"]


_NO_SCORE = {
    "pretrain": {
        "device",
        "channels_last",
        "deterministic",
        "checkpoint_every",
        "checkpoints",
        "gallery_moments",
        "watches",
        "processes",
        "finite_checks",
        "trackers",
        "second_run",
    },
    "finetune": {"modes", "keep", "device"},
    "evaluate": {"draws", "seed", "against", "except_recipes", "pairs", "primary", "test"},
}
"""Options of the stages that change no trial's score, or that a study overrides."""


@dataclass(frozen=True)
class TuneRun:
    """A study of one recipe on one source."""

    config: TuneConfig
    source: str
    recipe: str
    base: Blocks
    """``recipe``, ``pretrain`` and ``finetune`` as conf has them."""
    pretrain: PretrainConfig
    finetune: FinetuneConfig
    evaluate: EvaluateConfig
    folder: Path
    """Of the study's own, outside all outputs: its database and its trials' checkpoints."""

    @property
    def space(self) -> Space:
        """What is searched."""
        return build_space(self.config.space(self.recipe), f"tune.spaces.{self.recipe}")

    @property
    def name(self) -> str:
        """Of the study, where the options give it none."""
        return f"{self.source}.{self.recipe}"

    def facts(self) -> dict[str, Any]:
        """Return what makes the study's trials comparable with one another, as JSON has it."""
        facts = {
            "space": self.space.described(),
            "objective": asdict(self.config.objective),
            "seeds": list(self.config.seeds),
            **self.base,
            "options": {
                f"{stage}.{name}": value
                for stage in _NO_SCORE
                for name, value in asdict(getattr(self, stage)).items()
                if name not in _NO_SCORE[stage]
            },
        }
        found: dict[str, Any] = json.loads(json.dumps(facts, default=str))
        return found


@dataclass(frozen=True)
class Tuned:
    """What the stage hands on."""

    trials: pd.DataFrame
    """``tables.TRIALS``."""
    best: str
    """YAML to be laid over ``conf/``."""
    facts: dict[str, Any]
    """For the page: ``study``, ``source``, ``recipe``, ``objective``, ``seeds``, ``reports``,
    ``parameters`` (path -> whether its axis is logarithmic), ``importances``, ``curves``
    (trial -> report -> figure), ``counted`` (how many trials count, those that were tried again
    left out), ``best`` (a trial), ``changes`` (path -> [before, best])."""


def check_study(run: TuneRun) -> None:
    """Raise ``UserError`` where the study cannot be opened, or differs from it."""
    open_study(run.config, run.folder, run.name, run.facts())


def tune(store: Store, splits: pd.DataFrame, run: TuneRun) -> Tuned:
    """Make the study's trials, or those that are left; other workers may be at it as well.

    Raises:
        UserError: as ``check_study``; if the images are not those of the study, the database
            goes away, or no trial could be completed.
    """
    with reached(url_of(run.config, run.folder)):
        return _tune(store, splits, run)


def _tune(store: Store, splits: pd.DataFrame, run: TuneRun) -> Tuned:
    config, space = run.config, run.space
    refuse_folds(count_folds(splits), run.source)
    study = open_study(config, run.folder, run.name, run.facts())
    _check_images(study, store.header.data_hash)
    own = own_folder(run.folder, study.study_name)
    own.mkdir(exist_ok=True)
    training = Training(
        store=store,
        splits=splits,
        source=run.source,
        recipe=run.recipe,
        base=run.base,
        objective=config.objective,
        pretrain=run.pretrain,
        finetune=run.finetune,
        evaluate=run.evaluate,
        reports=config.prune_epochs.reports,
        folder=own,
    )
    turn = FileLock(own / "turn.lock")
    Trials(study, space, config, training, training.finished, turn).run()
    return summarise(study, run, space)


def own_folder(folder: Path, name: str) -> Path:
    """Return where a study's checkpoints lie: the recipe may have another study, too."""
    return folder / f"study_{quote(name, safe='')}"


def summarise(study: Any, run: TuneRun, space: Space) -> Tuned:
    """Return what a finished study says."""
    counted = counting(study.get_trials(deepcopy=False))
    if not any(trial.state is TrialState.COMPLETE for trial in counted):
        raise UserError(
            f"tune: none of {len(counted)} trials of {study.study_name} was completed; ask for "
            "more with tune.trials, or look at the messages above"
        )
    best = study.best_trial
    values = space.values_of(best.params)
    facts = {
        "study": study.study_name,
        "source": run.source,
        "recipe": run.recipe,
        "objective": asdict(run.config.objective),
        "seeds": list(run.config.seeds),
        "metric": best.user_attrs[METRIC],
        "reports": run.config.prune_epochs.reports,
        "parameters": {
            path: bool(getattr(parameter, "log", False))
            for path, parameter in space.parameters.items()
        },
        "importances": importances(study),
        "curves": curves(study),
        "counted": len(counted),
        "best": best.number,
        "changes": {path: [_before(run, path), value] for path, value in values.items()},
    }
    return Tuned(
        trials=trials_table(study, run.config.seeds, space),
        best=best_yaml(study, overlay(values, run.base), run.source, run.recipe),
        facts=facts,
    )


def _before(run: TuneRun, path: str) -> Any:
    """Return what stands at ``path`` without the study, defaults included; None = nothing."""
    parsed = parse_blocks(run.base, "")
    roots = {"recipe": parsed.recipe, "pretrain": parsed.budget, "finetune": parsed.tuning}
    written: Any = run.base
    built: Any = roots
    for key in path.split("."):
        written = written.get(key) if isinstance(written, dict) else None
        built = built.get(key) if isinstance(built, dict) else getattr(built, key, None)
    return built if written is None else written


def _check_images(study: Any, data_hash: str) -> None:
    known = study.user_attrs.get("images")
    if known is None or not study.get_trials(deepcopy=False):
        study.set_user_attr("images", data_hash)
    elif known != data_hash:
        raise UserError(
            f"tune.study: {study.study_name!r} was made on other images or another split, so "
            "that its trials tell nothing about these; name a new one with tune.study"
        )
