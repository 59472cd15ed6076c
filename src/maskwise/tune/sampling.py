"""Who proposes a trial's values: the same ones for the same seed and trials before."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Protocol, runtime_checkable

from maskwise.bounds import Seed, Within

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler  # takes a second to import


@runtime_checkable
class Sampler(Protocol):
    """A way to search; a frozen dataclass of its options."""

    def build(self) -> "BaseSampler":
        """Return it as Optuna has it."""


@dataclass(frozen=True)
class TpeConfig:
    """Tree-structured Parzen estimator (Bergstra et al. 2011, as in Optuna)."""

    seed: Seed = 0
    startup: Annotated[int, Within(1, 10_000)] = 10
    """Trials at random, before those before tell where to look."""

    def build(self) -> "BaseSampler":
        from optuna.samplers import TPESampler

        from maskwise.tune.per_trial import PerTrial

        # Several workers: a trial that still runs counts as a bad one, so that none repeats it.
        return PerTrial(
            self.seed,
            lambda seed: TPESampler(
                seed=seed, n_startup_trials=self.startup, constant_liar=True
            ),
        )


@dataclass(frozen=True)
class RandomConfig:
    """Values at random."""

    seed: Seed = 0

    def build(self) -> "BaseSampler":
        from optuna.samplers import RandomSampler

        from maskwise.tune.per_trial import PerTrial

        return PerTrial(self.seed, lambda seed: RandomSampler(seed=seed))


SAMPLERS: dict[str, type[Any]] = {"tpe": TpeConfig, "random": RandomConfig}
