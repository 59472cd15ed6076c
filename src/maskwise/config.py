"""The edge: YAML becomes frozen dataclasses here, or one message names every key to mend."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from maskwise.errors import UserError, hint

C = TypeVar("C")


def choose(choices: Mapping[str, type[C]], block: Any, where: str) -> C:
    """Parse the config that the block's ``name`` picks; ``where`` is its path in the YAML.

    Files and command line are merged key by key, so that a block can hold options of the name
    that it had before; null takes such a one away.
    """
    block = _mapping(block, where)
    name = block.get("name")
    if name is None:
        raise UserError(f"{where}.name: missing; {hint('', choices)}")
    if not isinstance(name, str) or name not in choices:
        raise UserError(f"{where}.name: there is no {name!r}; {hint(str(name), choices)}")
    config = choices[name]
    others = {key for other in choices.values() for key in _options(other)} - _options(config)
    options = {
        key: value
        for key, value in block.items()
        if key != "name" and not (value is None and key in others)
    }
    return _parse(config, options, where, {key: _left_over(key, name) for key in others})


def parse(config: type[C], block: Any, where: str) -> C:
    """Build the frozen dataclass ``config`` from ``block``.

    A config with a class attribute ``PRESETS`` (name -> options) accepts the key ``preset``;
    keys written out win over those of the preset, in blocks inside the block as well.

    Raises:
        UserError: naming *all* unknown keys (with the close match), wrong types and refused
            values of the block, each by its path in the YAML.
    """
    return _parse(config, block, where, {})


def _options(config: type[Any]) -> set[str]:
    preset = {"preset"} if getattr(config, "PRESETS", None) else set()
    return {field.name for field in fields(config) if field.init} | preset


def _left_over(key: str, name: str) -> str:
    return (
        f"there is no such option of {name!r}, but of another name; options are merged over "
        f"those of conf/base, so that one written there stays: write `{key}: null` beside "
        f"`name` to take it away (in a file of conf/local, or with --params ….{key}=null)"
    )


def _parse(config: type[C], block: Any, where: str, left_over: Mapping[str, str]) -> C:
    """Parse as ``parse``; ``left_over`` says what is wrong with keys of other choices."""
    block = _with_preset(config, _mapping(block, where), where)
    known = [field.name for field in fields(config) if field.init]  # type: ignore[arg-type]
    problems = [
        f"{where}.{key}: "
        + left_over.get(key, f"there is no such option; {hint(str(key), known)}")
        for key in block
        if key not in known
    ]
    try:
        parsed = TypeAdapter(config).validate_python(
            {key: value for key, value in block.items() if key in known}
        )
    except ValidationError as error:
        for entry in error.errors():
            path = ".".join([where, *(str(part) for part in entry["loc"])])
            problems.append(f"{path}: {_said(entry['type'], entry['msg'])}")
    else:
        problems += _numbers_from_truth(block, parsed, where)
    if problems:
        raise UserError("\n".join(problems))
    return parsed


def check_range(config: object, low: float, high: float, *names: str) -> None:
    """Raise ``ValueError`` unless the options lie in [low, high] or are None."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not low <= value <= high:
            raise ValueError(f"{name} is {value}, but must lie between {low:g} and {high:g}")


def _said(kind: str, message: str) -> str:
    """Return a problem in the words of YAML, which has lists and no tuples."""
    if kind == "tuple_type":
        return "should be a list, such as [a, b]"
    return message.removeprefix("Value error, ")


def _numbers_from_truth(given: Any, parsed: Any, where: str) -> list[str]:
    """Return the places where true or false was taken as 1 or 0, as pydantic does."""
    if isinstance(given, bool):
        wrong = not isinstance(parsed, bool)
        return [f"{where}: should not be {str(given).lower()}"] if wrong else []
    inside: list[tuple[Any, Any, str]] = []
    if isinstance(given, Mapping) and isinstance(parsed, Mapping):
        inside = [(value, parsed.get(key), f"{where}.{key}") for key, value in given.items()]
    elif isinstance(given, Mapping) and is_dataclass(parsed):
        inside = [
            (value, getattr(parsed, key), f"{where}.{key}")
            for key, value in given.items()
            if isinstance(key, str) and hasattr(parsed, key)
        ]
    elif isinstance(given, list) and isinstance(parsed, list | tuple):
        inside = [(*pair, where) for pair in zip(given, parsed, strict=False)]
    return [problem for entry in inside for problem in _numbers_from_truth(*entry)]


def _mapping(block: Any, where: str) -> dict[str, Any]:
    if not isinstance(block, Mapping):
        raise UserError(f"{where}: should be a block of options, but is {block!r}")
    return dict(block)


def _with_preset(config: type[Any], block: dict[str, Any], where: str) -> dict[str, Any]:
    presets: Mapping[str, Mapping[str, Any]] | None = getattr(config, "PRESETS", None)
    if presets is None or block.get("preset") is None:
        return block
    name = block["preset"]
    if not isinstance(name, str) or name not in presets:
        raise UserError(f"{where}.preset: there is no {name!r}; {hint(str(name), presets)}")
    return _overlaid(presets[name], block)


def _overlaid(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return both; where both have a key ``over`` wins, key by key where it holds blocks."""
    both = {
        key: _overlaid(under[key], value)
        for key, value in over.items()
        if isinstance(value, Mapping) and isinstance(under.get(key), Mapping)
    }
    return {**under, **over, **both}
