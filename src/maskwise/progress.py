"""What is happening: bars with time left, and the figures of a run that go into ``run.json``."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass
class RunFacts:
    """Figures of one node's run that differ from run to run, so that no artefact may hold them."""

    values: dict[str, float | str] = field(default_factory=dict)


_FACTS: ContextVar[RunFacts | None] = ContextVar("maskwise_run_facts", default=None)


@contextmanager
def collecting_facts() -> Iterator[RunFacts]:
    """Collect what ``note`` is told while the block runs."""
    facts = RunFacts()
    token = _FACTS.set(facts)
    try:
        yield facts
    finally:
        _FACTS.reset(token)


def note(**values: float | str) -> None:
    """Tell whoever collects facts (``images_per_second=412.0``); otherwise do nothing."""
    facts = _FACTS.get()
    if facts is not None:
        facts.values.update(values)
