"""Fixes what the registry knows of a node (its replicate, its source) and keeps its name."""

from collections.abc import Callable
from functools import partial, update_wrapper
from typing import Any


def bind(function: Callable[..., Any], **known: Any) -> Callable[..., Any]:
    """Return ``function`` with ``known`` filled in; Kedro and kedro-viz still see its name."""
    return update_wrapper(partial(function, **known), function)
