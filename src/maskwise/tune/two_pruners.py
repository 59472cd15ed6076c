"""One pruner that looks at a trial's epochs, and one that looks at its seeds.

Both kinds of report stand among the trial's intermediate values: report r of the first seed's
pre-training at step r, from 1 on, and the score of the i-th seed at step ``SCORES + i``. Each
pruner is shown those of its own kind alone.
"""

import copy
from types import SimpleNamespace
from typing import cast

from optuna.pruners import BasePruner
from optuna.study import Study
from optuna.trial import FrozenTrial

SCORES = 10_000
"""The first step that is a seed's score; more than there are reports."""


class TwoPruners(BasePruner):
    """Asks one pruner after a report of an epoch, and the other after the score of a seed."""

    def __init__(self, epochs: BasePruner | None, seeds: BasePruner | None) -> None:
        self._epochs, self._seeds = epochs, seeds

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        step = trial.last_step
        if step is None:
            return False
        if step < SCORES:
            return self._epochs is not None and self._by_epochs(self._epochs, study, trial)
        return self._seeds is not None and self._by_seeds(self._seeds, study, trial)

    def _by_epochs(self, pruner: BasePruner, study: Study, trial: FrozenTrial) -> bool:
        own = copy.copy(study)
        own.pruner = pruner  # Hyperband looks itself up there
        return pruner.prune(own, trial)

    def _by_seeds(self, pruner: BasePruner, study: Study, trial: FrozenTrial) -> bool:
        try:
            best = study.best_trial
        except ValueError:  # none is complete
            return False
        # All that WilcoxonPruner asks of a study.
        seen = SimpleNamespace(best_trial=scores_only(best), direction=study.direction)
        return pruner.prune(cast(Study, seen), scores_only(trial))


def scores_only(trial: FrozenTrial) -> FrozenTrial:
    """Return the trial with the scores of its seeds as its only intermediate values."""
    own = copy.copy(trial)
    own.intermediate_values = {
        step: value for step, value in trial.intermediate_values.items() if step >= SCORES
    }
    return own
