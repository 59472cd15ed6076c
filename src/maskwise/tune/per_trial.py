"""A sampler whose draws follow from a seed and the trial's number."""

from collections.abc import Callable
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from maskwise.seeds import torch_seed


class PerTrial(BaseSampler):
    """Another sampler, seeded anew for every trial by its number.

    Two workers with one seed would otherwise propose the same values, and a study that was
    broken off would go on with those it began with.
    """

    def __init__(self, seed: int, build: Callable[[int], BaseSampler]) -> None:
        self._seed, self._build = seed, build
        self._samplers: dict[int, BaseSampler] = {}

    def _of(self, trial: FrozenTrial) -> BaseSampler:
        if trial.number not in self._samplers:
            seed = torch_seed(self._seed, "tune", trial.number) % 2**32
            self._samplers = {trial.number: self._build(seed)}
        return self._samplers[trial.number]

    def reseed_rng(self) -> None:
        """Do nothing: no generator outlives a trial."""

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._of(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._of(trial).sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._of(trial).before_trial(study, trial)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Any,
    ) -> None:
        self._of(trial).after_trial(study, trial, state, values)
