"""Ways to give a trial up: by its first seed's epochs, and by its seeds' scores."""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Protocol, runtime_checkable

from maskwise.bounds import Within

if TYPE_CHECKING:
    from optuna.pruners import BasePruner  # takes a second to import

MOST_REPORTS = 1_000


@runtime_checkable
class EpochPruner(Protocol):
    """A way to give a trial up by its epochs; a frozen dataclass of its options."""

    @property
    def reports(self) -> int:
        """In how many parts a seed's pre-training is reported; 0 = not at all."""

    @property
    def decides(self) -> tuple[int, ...]:
        """After which of them a trial may be given up, in ascending order."""

    def build(self) -> "BasePruner | None":
        """Return it as Optuna has it; None = no trial is given up."""


@runtime_checkable
class SeedPruner(Protocol):
    """A way to give a trial up by its seeds; a frozen dataclass of its options."""

    def build(self) -> "BasePruner | None":
        """Return it as Optuna has it; None = no trial is given up."""


@dataclass(frozen=True)
class HyperbandConfig:
    """Hyperband (Li et al. 2018), by asynchronous successive halving, as in Optuna."""

    reports: Annotated[int, Within(2, MOST_REPORTS)] = 9
    """Parts of a seed's pre-training after which it is looked at, evenly spread."""
    least: Annotated[int, Within(1, MOST_REPORTS)] = 2
    """Reports before the first decision."""
    reduction: Annotated[int, Within(2, 100)] = 3
    """Of so many trials one goes on to so many times as many reports."""

    def __post_init__(self) -> None:
        if self.least >= self.reports:
            raise ValueError(
                f"least is {self.least}, but must be below reports ({self.reports}), or "
                "nothing is ever decided"
            )

    @property
    def decides(self) -> tuple[int, ...]:
        found = [self.least]
        while found[-1] * self.reduction < self.reports:
            found.append(found[-1] * self.reduction)
        return tuple(found)

    def build(self) -> "BasePruner | None":
        from optuna.pruners import HyperbandPruner

        return HyperbandPruner(
            min_resource=self.least,
            max_resource=self.reports,
            reduction_factor=self.reduction,
        )


@dataclass(frozen=True)
class WilcoxonConfig:
    """Wilcoxon's signed-rank test of a trial's seeds against those of the best trial so far.

    Of n seeds the smallest p is 2 ** -n: with p .1 nothing is given up before the fourth.
    """

    p: Annotated[float, Within(0, 1, above=True, below=True)] = 0.1
    """A trial is given up below it."""

    def build(self) -> "BasePruner | None":
        from optuna.exceptions import ExperimentalWarning
        from optuna.pruners import WilcoxonPruner

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return WilcoxonPruner(p_threshold=self.p)


@dataclass(frozen=True)
class NeverConfig:
    """All trials are trained to their end."""

    @property
    def reports(self) -> int:
        return 0

    @property
    def decides(self) -> tuple[int, ...]:
        return ()

    def build(self) -> "BasePruner | None":
        return None


EPOCH_PRUNERS: dict[str, type[Any]] = {"hyperband": HyperbandConfig, "none": NeverConfig}
SEED_PRUNERS: dict[str, type[Any]] = {"wilcoxon": WilcoxonConfig, "none": NeverConfig}
