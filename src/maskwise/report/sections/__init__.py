"""One section of the page a file; their order is the page's."""

from collections.abc import Callable

from maskwise.report.blocks import Section
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
    reconstructions,
    run,
    training,
    warnings,
)

SECTIONS: tuple[Callable[[Facts], Section], ...] = (
    run.build,
    data.build,
    methods.build,
    efficiency.build,
    agent.build,
    reconstructions.build,
    classes.build,
    training.build,
    warnings.build,
    numbers.build,
    glossary.build,
    making.build,
)
