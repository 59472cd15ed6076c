"""Fixes what the registry knows of a node (its replicate, its source) and keeps its name."""

import inspect
import multiprocessing
from collections.abc import Callable
from functools import partial, update_wrapper
from typing import Any

from kedro.framework import project


class _Bound(partial[Any]):
    """What multiprocessing sends whole: of a plain ``partial`` it leaves the name behind."""

    def __setstate__(self, state: Any) -> None:
        """Arrive; in a worker that was spawned, say whose nodes these are.

        Kedro does not, and without that it calls no hooks there, which tell a node where it
        writes.
        """
        super().__setstate__(state)  # type: ignore[misc] # which typeshed leaves out
        if multiprocessing.parent_process() is not None and project.PACKAGE_NAME is None:
            project.configure_project(__name__.partition(".")[0])


def bind(function: Callable[..., Any], **known: Any) -> Callable[..., Any]:
    """Return ``function`` with ``known`` filled in; Kedro and kedro-viz still see its name."""
    bound = _Bound(function, **known)
    signature = inspect.signature(bound)
    update_wrapper(bound, function)
    vars(bound)["__signature__"] = signature  # not that of a function that lacks ``known``
    return bound
