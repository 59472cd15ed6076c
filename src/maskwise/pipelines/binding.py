"""Fixes what the registry knows of a node (its replicate, its source) and keeps its name."""

import inspect
from collections.abc import Callable
from functools import partial, update_wrapper
from typing import Any


def bind(function: Callable[..., Any], **known: Any) -> Callable[..., Any]:
    """Return ``function`` with ``known`` filled in; Kedro and kedro-viz still see its name."""
    bound = partial(function, **known)
    signature = inspect.signature(bound)
    update_wrapper(bound, function)
    vars(bound)["__signature__"] = signature  # not that of a function that lacks ``known``
    return bound
