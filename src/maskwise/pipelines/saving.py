"""Keeps open, beyond a node's function, what may only be left once its outputs are on disk."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")

_OPEN: ContextVar[ExitStack | None] = ContextVar("maskwise_until_saved", default=None)


@contextmanager
def saving() -> Iterator[None]:
    """Leave, with the block, all that ``until_saved`` enters in it.

    The hooks open it before a node runs, and leave it after the node's last output is saved, or
    with the error that prevented it.
    """
    with ExitStack() as stack:
        before = _OPEN.get()
        _OPEN.set(stack)
        try:
            yield
        finally:
            _OPEN.set(before)


def until_saved(context: AbstractContextManager[T]) -> T:
    """Enter ``context`` in a node, and leave it when the node's outputs are saved."""
    stack = _OPEN.get()
    if stack is None:
        raise ValueError("until_saved() is for nodes that run between the project's hooks")
    return stack.enter_context(context)
