"""Writes the raw files of a source that the project makes itself."""

from typing import Any

from kedro.pipeline import Node, Pipeline

from maskwise.pipelines.binding import bind
from maskwise.pipelines.standing import stands_alone
from maskwise.replicates import Study


@stands_alone
def generate(settings: dict[str, Any], *, source: str) -> Any:
    """Yield the source's files one after another; the data set writes them as they come."""
    from maskwise.pipelines import parsing

    return parsing.ingest_source(settings, f"{source}.ingest").files()


def create_pipeline(study: Study) -> Pipeline:
    """The stage of one source; empty for raw files that somebody else made."""
    if not study.generated:
        return Pipeline([])
    node = Node(
        bind(generate, source=study.source),
        study.parameters("ingest"),
        study.raw,
        name="generate",
        tags="generate",
    )
    return Pipeline([node])
