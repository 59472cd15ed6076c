"""The options of tune: how a study searches, what a trial is judged by, when it is given up."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from maskwise.bounds import Length, Seed, Within
from maskwise.config import Choice
from maskwise.finetune.contracts import Mode
from maskwise.tune.parameters import PARAMETERS, ParameterConfig
from maskwise.tune.pruning import (
    EPOCH_PRUNERS,
    SEED_PRUNERS,
    EpochPruner,
    HyperbandConfig,
    SeedPruner,
    WilcoxonConfig,
)
from maskwise.tune.sampling import SAMPLERS, Sampler, TpeConfig

Space = Mapping[str, Annotated[ParameterConfig, Choice(lambda: PARAMETERS)] | None]
"""Path of an option -> what it may be; null takes a path away that another file names."""


@dataclass(frozen=True)
class ObjectiveConfig:
    """What a trial's score is: always of validation images."""

    mode: Mode = "probe"
    """How the encoder is turned into a classifier."""
    fraction: Annotated[float, Within(0, 1, above=True)] = 1.0
    """Share of the labels, with ``finetune.validation: subset`` of those of validation too."""
    metric: str | None = None
    """One of which more is better; null = the task's leading one."""


@dataclass(frozen=True)
class TuneConfig:
    """The block ``tune``."""

    trials: Annotated[int, Within(1, 100_000)] = 20
    """Of the study as a whole, whoever runs them and however often it is interrupted."""
    seeds: Annotated[tuple[Seed, ...], Length(1, 100)] = (0, 1, 2, 3, 4)
    """Each trial is trained with each of them, and scored by the mean."""
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    sampler: Annotated[Sampler, Choice(lambda: SAMPLERS)] = field(default_factory=TpeConfig)
    prune_epochs: Annotated[EpochPruner, Choice(lambda: EPOCH_PRUNERS)] = field(
        default_factory=HyperbandConfig
    )
    """Gives a trial up while its first seed is pre-trained."""
    prune_seeds: Annotated[SeedPruner, Choice(lambda: SEED_PRUNERS)] = field(
        default_factory=WilcoxonConfig
    )
    """Gives a trial up between two seeds."""
    study: str | None = None
    """Its name in the storage; null = ``<source>.<recipe>``."""
    storage: str | None = None
    """Optuna's URL of a database; null = an SQLite file of the study's own."""
    heartbeat: Annotated[int, Within(1, 86_400)] = 30
    """Seconds between two signs of life of a trial."""
    grace: Annotated[int, Within(2, 86_400)] = 120
    """Seconds without one after which a trial is taken for dead, and tried again."""
    retries: Annotated[int, Within(0, 1_000)] = 3
    """How often a trial is tried again whose process died."""
    spaces: Mapping[str, Space] = field(default_factory=dict)
    """Recipe -> what is searched."""

    def __post_init__(self) -> None:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds should each stand there once")
        if self.grace <= self.heartbeat:
            raise ValueError(
                f"grace is {self.grace} s, but must be longer than heartbeat "
                f"({self.heartbeat} s), or every trial is taken for dead"
            )

    def space(self, recipe: str) -> dict[str, Any]:
        """Return what is searched of ``recipe``, without what was taken away."""
        return {
            path: parameter
            for path, parameter in self.spaces.get(recipe, {}).items()
            if parameter is not None
        }
