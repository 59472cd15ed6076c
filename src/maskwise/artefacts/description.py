"""JSON to the record that was written as it; needs nothing but Python.

``maskwise.config`` does the same for YAML, says more, and needs pydantic, which a user of an
encoder need not have.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_args, get_origin

D = TypeVar("D")
_PLAIN: dict[Any, tuple[type, ...]] = {str: (str,), int: (int,), float: (int, float)}


def from_json(kind: type[D], block: Any) -> D:
    """Build the dataclass ``kind`` from a block that holds its fields, all and no other.

    Raises:
        ValueError: naming what is missing, unknown or of another type.
    """
    if not isinstance(block, Mapping):
        raise ValueError(f"{kind.__name__} is {block!r:.40}")
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    for word, wrong in (("lacks", names - set(block)), ("knows no", set(block) - names)):
        if wrong:
            raise ValueError(f"{kind.__name__} {word} {', '.join(sorted(wrong))}")
    values = {
        field.name: _value(field.type, block[field.name], field.name)
        for field in fields(kind)  # type: ignore[arg-type]
    }
    return kind(**values)


def _value(kind: Any, value: Any, name: str) -> Any:
    if is_dataclass(kind):
        return from_json(kind, value)  # type: ignore[arg-type]
    if get_origin(kind) is tuple and isinstance(value, list):
        return tuple(_value(get_args(kind)[0], entry, name) for entry in value)
    if get_origin(kind) is dict and isinstance(value, dict):
        return value
    if isinstance(value, _PLAIN.get(kind, ())) and not isinstance(value, bool):
        return kind(value)
    raise ValueError(f"{name} is {value!r:.40}")
