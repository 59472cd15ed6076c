"""Fixes what the registry knows of a node (its replicate, its source) and keeps its name."""

import inspect
from collections.abc import Callable
from functools import partial, update_wrapper
from typing import Any


class _Bound(partial[Any]):
    """What multiprocessing sends whole: of a plain ``partial`` it leaves the name behind."""


def bind(function: Callable[..., Any], **known: Any) -> Callable[..., Any]:
    """Return ``function`` with ``known`` filled in; Kedro and kedro-viz still see its name."""
    bound = _Bound(function, **known)
    signature = inspect.signature(bound)
    update_wrapper(bound, function)
    vars(bound)["__signature__"] = signature  # not that of a function that lacks ``known``
    return bound
