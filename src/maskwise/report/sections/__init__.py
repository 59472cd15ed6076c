"""One section of the page per file; their order is the page's."""

from collections.abc import Callable, Mapping

from maskwise.report.elements import Section
from maskwise.report.facts import Facts
from maskwise.report.sections import (
    agent,
    classes,
    data,
    efficiency,
    glossary,
    making,
    methods,
    numbers,
    outlines,
    reconstructions,
    run,
    training,
    warnings,
)

Build = Callable[[Facts], Section]

SHOWN: Mapping[str, Build] = {"diagnosis": classes.build, "lesion": outlines.build}
"""What each task's predictions look like."""


def sections(task: str) -> tuple[Build, ...]:
    """Return the sections of a task's page."""
    return (*_BEFORE, SHOWN[task], *_AFTER)


_BEFORE: tuple[Build, ...] = (
    run.build,
    data.build,
    methods.build,
    efficiency.build,
    agent.build,
    reconstructions.build,
)
_AFTER: tuple[Build, ...] = (
    training.build,
    warnings.build,
    numbers.build,
    glossary.build,
    making.build,
)
