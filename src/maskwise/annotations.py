"""What the types of options say, to YAML and to JSON. Needs nothing but Python."""

from dataclasses import fields
from functools import lru_cache
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

S = TypeVar("S")


def option_kinds(config: Any) -> dict[str, Any]:
    """Return the type of each option of the dataclass ``config``, annotations included."""
    return _option_kinds(config)


@lru_cache(maxsize=256)
def _option_kinds(config: Any) -> dict[str, Any]:
    kinds = get_type_hints(config, include_extras=True)
    return {field.name: kinds[field.name] for field in fields(config) if field.init}


def plain(kind: Any) -> Any:
    """Return a type without what is annotated about it."""
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def members(kind: Any) -> tuple[Any, ...]:
    """Return the types that a value of type ``kind`` may have, annotations included."""
    bare = plain(kind)
    if get_origin(bare) not in (Union, UnionType):
        return (kind,)
    return tuple(each for member in get_args(bare) for each in members(member))


def nullable(kind: Any) -> bool:
    """Return whether null is a value of type ``kind``."""
    return type(None) in members(kind)


def stated(kind: Any, what: type[S]) -> tuple[S, ...]:
    """Return what is annotated about ``kind`` itself and is a ``what``."""
    about = get_args(kind)[1:] if get_origin(kind) is Annotated else ()
    return tuple(each for each in about if isinstance(each, what))
