"""What a parameter of a search space may be: a number between two ends, or one of several."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Protocol, runtime_checkable

from maskwise.bounds import Length, Within
from maskwise.errors import hint, shown

if TYPE_CHECKING:
    from optuna.trial import Trial  # takes a second to import, and every run reads options

Number = Annotated[float, Within(-(10**9), 10**9)]
Whole = Annotated[int, Within(-(10**9), 10**9)]
When = Mapping[str, tuple[Any, ...]]
"""Path of another parameter of the space -> its values for which this one is searched."""


@runtime_checkable
class ParameterConfig(Protocol):
    """One parameter; a frozen dataclass of its options."""

    @property
    def when(self) -> When:
        """Under what other choices it is searched; empty = always."""

    def suggest(self, trial: "Trial", path: str) -> Any:
        """Return the trial's value for the option at ``path``."""

    def restored(self, stored: Any) -> Any:
        """Return the option's value from what Optuna keeps of it."""

    def extremes(self) -> list[Any]:
        """Return values to be checked beforehand: both ends, or all choices."""

    def cannot_be(self, values: Iterable[Any]) -> Iterator[str]:
        """Yield what is wrong with ``values`` as the condition of another parameter."""


def _check_ends(low: float, high: float, log: bool, step: float | None) -> None:
    """Raise ``ValueError`` where nothing, or not what was meant, lies between the ends."""
    if not low < high:
        raise ValueError(
            f"low is {shown(low)} and high {shown(high)}, so there is nothing to choose from; "
            "low must be the smaller"
        )
    if log and low <= 0:
        raise ValueError(f"low is {shown(low)}, but log: true asks for one above 0")
    if step is not None and log:
        raise ValueError("step and log exclude each other; leave one of them out")
    if step is not None and step > high - low:
        raise ValueError(f"step is {shown(step)}, which leads from low beyond high")


@dataclass(frozen=True)
class FloatConfig:
    """A number, uniform between its ends, or its logarithm."""

    low: Number
    high: Number
    log: bool = False
    """Whether its logarithm is uniform: 0.001 to 0.01 is as wide as 0.01 to 0.1."""
    step: Annotated[float, Within(0, 10**9, above=True)] | None = None
    """Only ``low``, ``low + step``, ... are tried."""
    when: When = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_ends(self.low, self.high, self.log, self.step)

    def suggest(self, trial: "Trial", path: str) -> float:
        _, end = self.extremes()
        return trial.suggest_float(path, self.low, end, step=self.step, log=self.log)

    def restored(self, stored: Any) -> Any:
        return stored

    def extremes(self) -> list[Any]:
        if self.step is None:
            return [self.low, self.high]
        steps = int((self.high - self.low) / self.step + 1e-9)  # the last one may be cut off
        return [self.low, self.low + steps * self.step]

    def cannot_be(self, values: Iterable[Any]) -> Iterator[str]:
        yield "is a float, which is hardly ever equal to a value; make it categorical"


@dataclass(frozen=True)
class IntConfig:
    """A whole number, uniform between its ends, or its logarithm."""

    low: Whole
    high: Whole
    log: bool = False
    """Whether its logarithm is uniform."""
    step: Annotated[int, Within(1, 10**9)] | None = None
    """Only ``low``, ``low + step``, ... are tried."""
    when: When = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_ends(self.low, self.high, self.log, self.step)

    def suggest(self, trial: "Trial", path: str) -> int:
        _, end = self.extremes()
        return trial.suggest_int(path, self.low, end, step=self.step or 1, log=self.log)

    def restored(self, stored: Any) -> Any:
        return stored

    def extremes(self) -> list[Any]:
        step = self.step or 1
        return [self.low, self.low + (self.high - self.low) // step * step]

    def cannot_be(self, values: Iterable[Any]) -> Iterator[str]:
        low, high = self.extremes()
        for value in values:
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not whole or value not in range(low, high + 1, self.step or 1):
                steps = f" in steps of {self.step}" if self.step else ""
                yield f"{shown(value)} is none of its values, {low} to {high}{steps}"


@dataclass(frozen=True)
class CategoricalConfig:
    """One of several values: words, numbers, null, lists."""

    choices: Annotated[tuple[Any, ...], Length(1, 1_000)]
    when: When = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = [_stored(choice) for choice in self.choices]
        if len(set(map(repr, known))) < len(known):
            raise ValueError("choices should each stand there once")

    def suggest(self, trial: "Trial", path: str) -> Any:
        return self.restored(trial.suggest_categorical(path, list(map(_stored, self.choices))))

    def restored(self, stored: Any) -> Any:
        # By identity of kind as well: to Python 1, 1.0 and true are one.
        return next(one for one in self.choices if repr(_stored(one)) == repr(stored))

    def extremes(self) -> list[Any]:
        return list(self.choices)

    def cannot_be(self, values: Iterable[Any]) -> Iterator[str]:
        for value in values:
            if value not in self.choices:
                known = hint(str(value), map(str, self.choices))
                yield f"{shown(value)} is none of its choices; {known}"


PARAMETERS: dict[str, type[Any]] = {
    "float": FloatConfig,
    "int": IntConfig,
    "categorical": CategoricalConfig,
}


def _stored(choice: Any) -> Any:
    """Return a choice as Optuna takes it, whose databases know no lists."""
    if choice is None or isinstance(choice, bool | int | float | str):
        return choice
    return json.dumps(choice)
