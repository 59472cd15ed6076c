"""How large a number and how long a list may be, stated where its option is.

    rate: Annotated[float, Within(0, 1)] = 0.5

``maskwise.config`` checks YAML against it, ``maskwise.artefacts.description`` JSON, both at
every depth and before anything is built. Needs nothing but Python.
"""

from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from typing import Annotated, Any

from maskwise.errors import shown
from maskwise.wording import count


@dataclass(frozen=True)
class Within:
    """Of a number: from ``low`` to ``high``. NaN lies nowhere, and true is no 1."""

    low: float
    high: float
    above: bool = False
    """Whether ``low`` itself is too small."""
    below: bool = False
    """Whether ``high`` itself is too large."""

    def check(self, number: Any) -> None:
        """Raise ``ValueError`` unless ``number`` lies within."""
        if isinstance(number, bool):
            raise ValueError(f"should not be {str(number).lower()}, but a number")
        enough = number > self.low if self.above else number >= self.low
        if not (enough and (number < self.high if self.below else number <= self.high)):
            raise ValueError(f"is {shown(number)}, but must {self}")

    def __str__(self) -> str:
        low, high = _figure(self.low), _figure(self.high)
        if not (self.above or self.below):
            return f"lie between {low} and {high}"
        least = f"above {low}" if self.above else f"{low} or more"
        return f"be {least} and {'below' if self.below else 'at most'} {high}"

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Tell pydantic, where that is what reads the option."""
        from pydantic_core.core_schema import no_info_wrap_validator_function

        def checked(value: Any, inner: Callable[[Any], Any]) -> Any:
            if isinstance(value, bool):
                self.check(value)
            number = inner(value)
            self.check(number)
            return number

        return no_info_wrap_validator_function(checked, handler(source))


@dataclass(frozen=True)
class Length:
    """Of a list: how many entries it has, looked at before any of them is."""

    low: int
    high: int

    def check(self, entries: Any) -> None:
        """Raise ``ValueError`` unless ``entries`` are as many; what has no length is let by."""
        if isinstance(entries, list | tuple) and not self.low <= len(entries) <= self.high:
            raise ValueError(
                f"holds {count(len(entries), 'entry', 'entries')}, but must hold {self.low} to "
                f"{self.high:,}"
            )

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Tell pydantic, where that is what reads the option."""
        from pydantic_core.core_schema import no_info_before_validator_function

        def checked(value: Any) -> Any:
            self.check(value)
            return value

        return no_info_before_validator_function(checked, handler(source))


@dataclass(frozen=True)
class WordOr:
    """Of an option that is one word, or else a number within bounds or a block."""

    word: str
    other: Within | str
    """A number's bounds; or what a block looks like, which is a dataclass when it was read."""

    def check(self, value: Any) -> None:
        """Raise ``ValueError`` unless ``value`` is the word, or the other thing."""
        if value == self.word:
            return
        if isinstance(self.other, str):
            if not is_dataclass(value):
                raise ValueError(
                    f"should be {self.word} or {self.other}, but is {shown(value)}"
                )
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(
                f"should be {self.word}, or a number that must {self.other}, but is "
                f"{shown(value)}"
            )
        else:
            self.other.check(value)

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Tell pydantic, whose own words about several types name none of them."""
        from pydantic_core.core_schema import no_info_plain_validator_function

        def checked(value: Any) -> Any:
            self.check(value)
            return value

        return no_info_plain_validator_function(checked)


LARGEST = 4_096
"""Pixels per side, channels of a layer: no larger number describes a network."""
MOST_CHANNELS = 64
"""Of an image."""
MOST_STEPS = 10**7
"""Of a run: what is planned for each of its epochs must fit into memory."""

Share = Annotated[float, Within(0, 1)]
PartShare = Annotated[float, Within(0, 1, above=True, below=True)]
"""Some, and not all."""
Decay = Annotated[float, Within(0, 1, below=True)]
"""What is kept of a running mean; never all."""
LearningRate = Annotated[float, Within(0, 100, above=True)]
Weight = Annotated[float, Within(0, 10**6)]
"""Of one term of a loss; 0 = it does not count."""
Positive = Annotated[float, Within(0, 10**6, above=True)]
Seed = Annotated[int, Within(0, 2**32 - 1)]
"""As large as NumPy takes them."""
Steps = Annotated[int, Within(1, MOST_STEPS)]
BatchSize = Annotated[int, Within(1, 65_536)]
Workers = Annotated[int, Within(1, 256)]
"""Processes."""
Side = Annotated[int, Within(1, LARGEST)]
"""Pixels, or cells of a grid."""
Width = Annotated[int, Within(1, LARGEST)]
"""Channels of a layer."""
PolicyWidth = Annotated[int, Within(1, 1_024)]
"""The same, of the small network of a policy."""
Boxes = Annotated[int, Within(1, LARGEST)]
"""That hide cells, per image."""
Deviation = Annotated[float, Within(0, 100, above=True)]
"""Standard deviation in sides of the image; at the largest all places have long weighed the
same."""


def _figure(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"
