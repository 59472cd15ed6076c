"""JSON to the record that was written as it; needs nothing but Python.

``maskwise.config`` does the same for YAML, says more, and needs pydantic, which a user of an
encoder need not have. The bounds of ``maskwise.bounds`` hold here as there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, Literal, TypeVar, cast, get_args, get_origin

from maskwise.annotations import members, nullable, option_kinds, plain, stated
from maskwise.bounds import Length, Within
from maskwise.errors import cut, hint, listed, shown

D = TypeVar("D")
_PLAIN: dict[Any, tuple[type, ...]] = {
    str: (str,),
    bool: (bool,),
    int: (int,),
    float: (int, float),
}
LONGEST_TEXT = 4_096
"""Characters."""


def from_json(kind: type[D], block: Any) -> D:
    """Build the dataclass ``kind`` from a block that holds its fields, and no other.

    What has a default may be left out: a later version may know more of it.

    Raises:
        ValueError: naming what is missing, unknown, of another type or out of bounds.
    """
    if not isinstance(block, Mapping):
        raise ValueError(f"{kind.__name__} is {shown(block)}")
    known: dict[str, Field[Any]] = {field.name: field for field in fields(cast(Any, kind))}
    needed = {name for name, field in known.items() if _needed(field)}
    for word, wrong in (("lacks", needed - set(block)), ("knows no", set(block) - set(known))):
        if wrong:
            raise ValueError(f"{kind.__name__} {word} {listed(sorted(map(str, wrong)), 10)}")
    kinds = option_kinds(kind)
    return kind(**{name: _value(kinds[name], value, name) for name, value in block.items()})


def choose_from(choices: Mapping[str, type[D]], block: Any, where: str) -> D:
    """Build the dataclass that the ``name`` in a block picks, of the block's other entries.

    Raises:
        ValueError: as ``maskwise.config.choose`` does, beginning with ``where``.
    """
    name = block.get("name") if isinstance(block, Mapping) else None
    if not isinstance(name, str) or name not in choices:
        raise ValueError(f"{where}.name: there is no {shown(name)}; {hint(str(name), choices)}")
    config = choices[name]
    given: dict[str, Any] = {}
    known = option_kinds(config)
    for key, value in block.items():
        if key == "name":
            continue
        if key not in known:
            told = f"there is no such option; {hint(str(key), known)}"
            raise ValueError(f"{where}.{cut(str(key))}: {told}")
        given[key] = _value(known[key], value, f"{where}.{key}:")
    for field in fields(cast(Any, config)):
        if _needed(field) and field.name not in given:
            raise ValueError(f"{where}.{field.name}: missing")
    try:
        return config(**given)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _needed(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _value(kind: Any, value: Any, name: str) -> Any:
    """Return ``value`` as what ``kind`` says; ``ValueError`` begins with ``name``."""
    if value is None and nullable(kind):
        return None
    kind = next(each for each in members(kind) if each is not type(None))
    _hold(stated(kind, Length), value, name)
    found = _read(plain(kind), value, name)
    _hold(stated(kind, Within), found, name)
    return float(found) if plain(kind) is float else found


def _hold(bounds: tuple[Length, ...] | tuple[Within, ...], value: Any, name: str) -> None:
    for each in bounds:
        try:
            each.check(value)
        except ValueError as error:
            raise ValueError(f"{name} {error}") from None


def _read(kind: Any, value: Any, name: str) -> Any:
    origin, inside = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return from_json(kind, value)  # type: ignore[arg-type]
    if origin is tuple and isinstance(value, list | tuple):
        return _entries(inside, value, name)
    if origin is Literal and any(_same(value, each) for each in inside):
        return value
    if origin is dict and isinstance(value, dict):
        return value
    right = isinstance(value, _PLAIN.get(kind, ())) and isinstance(value, bool) == (
        kind is bool
    )
    if not right or (isinstance(value, str) and len(value) > LONGEST_TEXT):
        raise ValueError(f"{name} is {shown(value)}")
    return value


def _entries(kinds: tuple[Any, ...], value: Sequence[Any], name: str) -> tuple[Any, ...]:
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(value) != len(kinds):
        raise ValueError(f"{name} is {shown(value)}")
    pairs = zip(kinds, value, strict=True)
    return tuple(_value(kind, entry, f"{name}[{i}]") for i, (kind, entry) in enumerate(pairs))


def _same(value: Any, other: Any) -> bool:
    return type(value) is type(other) and value == other
