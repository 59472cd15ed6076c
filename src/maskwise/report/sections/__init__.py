"""One section of the page per file; their order is the page's."""

from collections.abc import Callable, Mapping

from maskwise.report.elements import Section
from maskwise.report.facts import Facts
from maskwise.report.pretraining_facts import PretrainingFacts
from maskwise.report.sections import (
    agent,
    classes,
    data,
    efficiency,
    glossary,
    labels,
    loading,
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

SHOWN: Mapping[str, Build] = {
    "diagnosis": classes.build,
    "lesion": outlines.build,
    "multilabel": labels.build,
}
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
OF_PRETRAINING: tuple[Callable[[PretrainingFacts], Section], ...] = (
    loading.build,
    run.build_pretraining,
    training.build,
    agent.build,
    reconstructions.build,
    data.build,
    warnings.build_pretraining,
    glossary.build_pretraining,
    making.build_pretraining,
)
"""The page of a study that stops after pre-training."""
