"""The edge: YAML becomes frozen dataclasses here, or one message names every key to correct.

What an option may be stands at its field: its type, its bounds (``maskwise.bounds``), and of a
block whose ``name`` says what it is, a ``Choice``.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache, partial
from typing import Any, TypeVar, cast, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from maskwise.annotations import members, nullable, option_kinds, plain, stated
from maskwise.errors import UserError, closest, cut, hint, refuse, shown
from maskwise.wording import count

C = TypeVar("C")


@dataclass(frozen=True)
class Choice:
    """Of an option: a block whose ``name`` picks its dataclass.

    The option becomes that dataclass; where its type is a mapping it stays the block that was
    written, which then is known to be right.
    """

    choices: Callable[[], Mapping[str, type[Any]]]
    """Late, because what there is to choose from may hold the option's own dataclass."""
    shared: type[Any] | None = None
    """A dataclass whose options stand in the block beside those of any name. The option then
    becomes its own type, made of the dataclass that was picked and of this one."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Tell pydantic that ``parse`` has looked at it."""
        from pydantic_core.core_schema import no_info_plain_validator_function

        return no_info_plain_validator_function(_known_right)


def choose(
    choices: Mapping[str, type[C]], block: Any, where: str, beside: Collection[str] = ()
) -> C:
    """Parse the config that the block's ``name`` picks; ``where`` is its path in the YAML.

    Files and command line are merged key by key, so that a block can hold options of the name
    that it had before; null takes such a one away. ``beside`` are options that another parses:
    one that is misspelt may have been meant to be one of them.
    """
    block = _mapping(block, where)
    name = block.get("name")
    if name is None:
        raise UserError(f"{where}.name: missing; {hint('', choices)}")
    if not isinstance(name, str) or name not in choices:
        raise UserError(f"{where}.name: there is no {shown(name)}; {hint(str(name), choices)}")
    config = choices[name]
    others = {key for other in choices.values() for key in _options(other)} - _options(config)
    options = {
        key: value
        for key, value in block.items()
        if key != "name" and not (value is None and key in others)
    }
    left_over = {key: _left_over(key, name) for key in others}
    return _parse(config, options, where, left_over, beside)


def choose_beside(
    choices: Mapping[str, type[Any]], shared: type[Any], block: Any, where: str
) -> tuple[Any, Any]:
    """Parse the config that ``name`` picks, and ``shared``, whose options stand beside its own.

    Raises:
        UserError: naming all that is wrong with either.
    """
    block = _mapping(block, where)
    known = option_kinds(shared)
    common = {key: value for key, value in block.items() if key in known}
    own = {key: value for key, value in block.items() if key not in known}
    problems: list[str] = []
    parsed: list[Any] = []
    for read in (
        partial(choose, choices, own, where, known),
        partial(parse, shared, common, where),
    ):
        try:
            parsed.append(read())
        except UserError as error:
            problems.append(str(error))
    refuse(problems)
    return parsed[0], parsed[1]


def parse(config: type[C], block: Any, where: str) -> C:
    """Build the frozen dataclass ``config`` from ``block``, and those inside it.

    A config with a class attribute ``PRESETS`` (name -> options) accepts the key ``preset``;
    keys written out win over those of the preset, in blocks inside the block as well. One with
    ``MOVED`` (key -> where it stands now) says so of an option that it had once.

    Raises:
        UserError: naming *all* unknown keys (with the close match), wrong types and refused
            values, of blocks inside the block as well, each by its path in the YAML.
    """
    return _parse(config, block, where, {})


def _parse(
    config: type[C],
    block: Any,
    where: str,
    left_over: Mapping[str, str],
    beside: Collection[str] = (),
) -> C:
    """Parse as ``parse``; ``left_over`` says what is wrong with keys of other choices."""
    reading = _Reading([])
    left_over = {**left_over, **getattr(config, "MOVED", {})}
    block = reading.with_preset(config, _mapping(block, where), where)
    kinds = option_kinds(config)
    given: dict[str, Any] = {}
    for key, value in block.items():
        if isinstance(key, str) and key in kinds:
            given[key] = reading.opened(kinds[key], value, below(where, key))
        else:
            why = left_over.get(key) if isinstance(key, str) else None
            why = why or no_option(key, dict.fromkeys([*kinds, *beside]))
            reading.problems.append(f"{below(where, key)}: {why}")
    try:
        parsed: C = _adapter(cast(Any, config)).validate_python(given)
    except ValidationError as error:
        reading.problems.extend(_told(error, where, kinds))
    refuse(reading.problems)
    return parsed


def _options(config: type[Any]) -> set[str]:
    preset = {"preset"} if getattr(config, "PRESETS", None) else set()
    return {field.name for field in fields(config) if field.init} | preset


def _left_over(key: str, name: str) -> str:
    return (
        f"there is no such option of {shown(name)}, but of another name; options are merged "
        f"over those of conf/base, so an option written there remains: write `{key}: null` "
        f"beside `name` to remove it (in a file of conf/local, or with --params ….{key}=null)"
    )


def below(where: str, key: Any) -> str:
    """Return the path of ``key`` in the block at ``where``."""
    return f"{where}.{cut(key if isinstance(key, str) else shown(key))}"


def no_option(key: Any, known: Mapping[str, Any]) -> str:
    """Say that a block has no such option, and which was meant."""
    if isinstance(key, bool):
        return f"on, off, yes and no are {shown(key)} to YAML; put the key in quotes"
    return f"there is no such option; {hint(str(key), known)}"


class _Refused:
    """Stands where a block stood whose problems were told already."""


_REFUSED = _Refused()


@dataclass(frozen=True)
class _Reading:
    """Parses the blocks inside a block, and gathers what is wrong with them."""

    problems: list[str]

    def with_preset(
        self, config: type[Any], block: dict[Any, Any], where: str
    ) -> dict[Any, Any]:
        """Return the block over the options of the preset that it names."""
        presets: Mapping[str, Mapping[str, Any]] | None = getattr(config, "PRESETS", None)
        name = block.get("preset")
        if presets is None or name is None:
            return block
        if isinstance(name, str) and name in presets:
            return overlaid(presets[name], block)
        self.problems.append(
            f"{where}.preset: there is no {shown(name)}; {hint(str(name), presets)}"
        )
        return {key: value for key, value in block.items() if key != "preset"}

    def opened(self, kind: Any, value: Any, where: str) -> Any:
        """Return ``value`` with each block inside it parsed, whatever holds the blocks."""
        if value is None and nullable(kind):
            return None
        kinds = members(kind)
        for each in kinds:
            for choice in stated(each, Choice):
                return self._chosen(choice, plain(each), value, where)
        configs = [plain(each) for each in kinds if is_dataclass(plain(each))]
        only_blocks = len(configs) == len([each for each in kinds if each is not type(None)])
        if configs and not is_dataclass(value) and (only_blocks or isinstance(value, Mapping)):
            return self._attempt(partial(_parse_fitting, configs, value, where))
        if list(map(plain, kinds)) == [bool] and not isinstance(value, bool):
            # To pydantic 1 and "yes" are true as well.
            self.problems.append(f"{where}: should be true or false, but is {shown(value)}")
            return _REFUSED
        for each in filter(_may_hold_blocks, map(plain, kinds)):
            origin = get_origin(each)
            if origin in (list, tuple) and isinstance(value, list | tuple):
                return list(self._entries(each, value, where))
            if isinstance(value, Mapping):
                return self._values(each, value, where)
        return value

    def _chosen(self, choice: Choice, kind: Any, value: Any, where: str) -> Any:
        if is_dataclass(value):  # it was chosen already
            return value
        if choice.shared is not None:
            both = partial(choose_beside, choice.choices(), choice.shared, value, where)
            found = self._attempt(both)
            return found if found is _REFUSED else kind(*found)
        chosen = self._attempt(partial(choose, choice.choices(), value, where))
        as_written = issubclass(get_origin(kind) or kind, Mapping)
        return value if as_written and chosen is not _REFUSED else chosen

    def _entries(self, kind: Any, value: Sequence[Any], where: str) -> Iterator[Any]:
        """Yield the entries of a list; of a tuple each place may have a type of its own."""
        kinds = [each for each in get_args(kind) if each is not Ellipsis]
        for i, entry in enumerate(value):
            yield self.opened(kinds[min(i, len(kinds) - 1)], entry, f"{where}[{i}]")

    def _values(self, kind: Any, value: Mapping[Any, Any], where: str) -> Any:
        """Return a mapping whose keys are the user's own, but for those that YAML mistook."""
        mistaken = [key for key in value if isinstance(key, bool)]
        self.problems.extend(f"{below(where, key)}: {no_option(key, {})}" for key in mistaken)
        inside = get_args(kind)[1]
        return {
            key: self.opened(inside, entry, below(where, key))
            for key, entry in value.items()
            if not isinstance(key, bool)
        }

    def _attempt(self, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except UserError as error:
            self.problems.append(str(error))
            return _REFUSED


@lru_cache(maxsize=256)
def _may_hold_blocks(kind: Any) -> bool:
    """Return whether a value of type ``kind`` is a mapping, or a list of more than leaves."""
    origin = get_origin(kind)
    if origin in (list, tuple):
        inside = [plain(each) for entry in get_args(kind) for each in members(entry)]
        return any(is_dataclass(each) or each is bool or get_origin(each) for each in inside)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _parse_fitting(configs: list[type[Any]], block: Any, where: str) -> Any:
    """Parse the one of several dataclasses that knows most of the block's keys."""
    given = _mapping(block, where).keys()

    def strange(config: Any) -> tuple[int, int]:
        known = option_kinds(config)
        unknown = given - known
        unlike = [key for key in unknown if closest(str(key), known) is None]
        return len(unlike), len(unknown)

    return parse(min(configs, key=strange) if configs[1:] else configs[0], block, where)


@lru_cache(maxsize=256)
def _adapter(config: Any) -> TypeAdapter[Any]:
    return TypeAdapter(config)


def _known_right(value: Any) -> Any:
    if value is _REFUSED:
        raise ValueError
    return value


def _told(error: ValidationError, where: str, kinds: Mapping[str, Any]) -> Iterator[str]:
    """Yield what pydantic found, each problem with its path; ``kinds`` as of the options."""
    for entry in error.errors(include_url=False):
        if entry["input"] is _REFUSED:
            continue
        for choice in stated(kinds.get(str(entry["loc"][0])) if entry["loc"] else None, Choice):
            yield f"{where}.{entry['loc'][0]}.name: missing; {hint('', choice.choices())}"
            break
        else:
            yield _placed(dict(entry), where)


def _placed(entry: dict[str, Any], where: str) -> str:
    """Return a problem with its path."""
    path, key = where, False
    for part in entry["loc"]:
        key = key or part == "[key]"
        if not key:
            path = f"{path}[{part}]" if isinstance(part, int) else below(path, part)
    return f"{path}: {'as a key ' if key else ''}{_said(entry)}"


def _said(entry: dict[str, Any]) -> str:
    """Return a problem in the words of YAML, which has lists and no tuples."""
    kind, message = entry["type"], str(entry["msg"])
    if kind == "missing":
        return "missing"
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    if kind == "too_long":
        message = f"should hold {count(entry['ctx']['max_length'], 'entry', 'entries')}"
    message = _WORDS.get(kind, message.removeprefix("Input "))
    return f"{message}, but is {shown(entry['input'])}"


_WORDS = {
    "tuple_type": "should be a list, such as [a, b]",
    "dict_type": "should be a block of names",
    "mapping_type": "should be a block of names",
    "string_type": "should be text",
}
"""By pydantic's kind of problem; its own words for the others."""


def _mapping(block: Any, where: str) -> dict[Any, Any]:
    if not isinstance(block, Mapping):
        raise UserError(f"{where}: should be a block of options, but is {shown(block)}")
    return dict(block)


def overlaid(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return both; where both have a key ``over`` wins, key by key where it holds blocks."""
    both = {
        key: overlaid(under[key], value)
        for key, value in over.items()
        if isinstance(value, Mapping) and isinstance(under.get(key), Mapping)
    }
    return {**under, **over, **both}
