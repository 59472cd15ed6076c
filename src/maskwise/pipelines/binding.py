"""Fixes what the registry knows of a node (its replicate, its source) and keeps its name."""

import inspect
import multiprocessing
from collections.abc import Callable
from functools import cache, partial, update_wrapper
from typing import Any

from kedro.framework import project


class _Bound(partial[Any]):
    """What multiprocessing sends whole: of a plain ``partial`` it leaves the name behind."""

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state)  # type: ignore[misc] # which typeshed leaves out
        _introduce()


@cache
def _introduce() -> None:
    """Tell Kedro in a worker that was spawned whose hooks to call: it is not told by itself.

    The hooks tell a node where it writes. Not by ``configure_project``: where the package's
    name is known, Kedro 1.7 configures logging before each node, and at the second recurses
    for ever.
    """
    if multiprocessing.parent_process() is not None and project.PACKAGE_NAME is None:
        project.settings.configure(f"{__name__.partition('.')[0]}.settings")


def bind(function: Callable[..., Any], **known: Any) -> Callable[..., Any]:
    """Return ``function`` with ``known`` filled in; Kedro and kedro-viz still see its name."""
    bound = _Bound(function, **known)
    signature = inspect.signature(bound)
    update_wrapper(bound, function)
    vars(bound)["__signature__"] = signature  # not that of a function that lacks ``known``
    return bound
