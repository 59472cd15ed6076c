"""What surrounds a node's function until its outputs are saved: lock, facts, interruption.

Kedro saves what a generator yields before it lets the generator go on. So a node yields its
outputs once, inside all that may only be left when they are on disk, whichever runner, thread
or process it runs in. The hooks only tell it where its outputs lie.
"""

import inspect
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from kedro.pipeline import Node

from maskwise import interruption, run_facts
from maskwise.replicates import address

log = logging.getLogger(__name__)

T = TypeVar("T")

PROJECT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Place:
    """What a node's function does not know: what it is called, and where its outputs go."""

    address: str
    """As DVC calls it."""
    output: Path | None
    """The first of its outputs; none for a node that joins tables in memory."""
    locks: bool
    """Whether no second run of it may begin; one that can also wait has a lock of its own."""
    options: dict[str, Any] = field(default_factory=dict)
    """What ``run.json`` says that it was asked for."""


_PLACE: ContextVar[Place | None] = ContextVar("maskwise_place", default=None)
_AT: dict[int, Place] = {}
"""By thread, where its node writes, where it was told."""
_HELD: dict[int, ExitStack] = {}
"""By thread, what its node holds: a generator that was never resumed is closed from outside."""


def stands_alone(function: Callable[..., Any]) -> Callable[..., Iterator[Any]]:
    """Make a generator of a node's function: it ends when what it yielded is saved."""

    @wraps(function)
    def node(*inputs: Any, **known: Any) -> Iterator[Any]:
        with _surroundings():
            yield function(*inputs, **known)

    # Kedro compares it with the node's inputs, and does not look behind decorators.
    vars(node)["__signature__"] = inspect.signature(function)
    return node


def until_saved(context: AbstractContextManager[T]) -> T:
    """Enter ``context`` in a node, and leave it when the node's outputs are saved."""
    stack = _HELD.get(threading.get_ident())
    if stack is None:
        raise ValueError("until_saved() is for functions that stand alone, while they run")
    return stack.enter_context(context)


def folder() -> Path | None:
    """Return where the node at work in this thread writes; None where nothing was told."""
    place = _AT.get(threading.get_ident())
    return None if place is None or place.output is None else place.output.parent


def address_of(node: Node) -> str:
    """Return what messages call a node: its stage and whose it is."""
    return address(min(node.tags), node.outputs[0])


def tell(place: Place) -> None:
    """Say where the next node of this thread writes; without it there are no lock and facts."""
    _PLACE.set(place)


def abandon(error: BaseException) -> None:
    """Let nodes whose outputs could not be saved know, which the error's frames keep open."""
    for stack in list(_HELD.values()):
        stack.__exit__(type(error), error, error.__traceback__)


@contextmanager
def _surroundings() -> Iterator[None]:
    thread = threading.get_ident()
    place = _PLACE.get()
    _PLACE.set(None)
    with ExitStack() as stack:
        _HELD[thread] = stack
        stack.callback(_HELD.pop, thread, None)
        if place is not None:
            _AT[thread] = place
            stack.callback(_AT.pop, thread, None)
        stack.enter_context(interruption.at_work())
        if place is not None and place.output is not None:
            if place.locks:
                stack.enter_context(run_facts.alone(place.output, place.address))
            stack.enter_context(_facts(place, place.output.parent))
        yield


@contextmanager
def _facts(place: Place, folder: Path) -> Iterator[None]:
    log.info("%s", place.address)
    watch = run_facts.Watch()
    try:
        yield
    except BaseException:
        watch.stop()
        raise
    facts = watch.stop()
    log.info("%s took %.1f s", place.address, facts["seconds"])
    facts |= {**run_facts.describe_machine(PROJECT), "options": place.options}
    run_facts.write_facts(folder, place.address, facts)
