"""Raw files in; manifest, rejects and a summary out."""

from pathlib import Path
from typing import Any

from kedro.pipeline import Node, Pipeline

from maskwise.pipelines.binding import bind
from maskwise.pipelines.standing import stands_alone, until_saved
from maskwise.replicates import Study


@stands_alone
def ingest(
    raw: Path, settings: dict[str, Any], options: dict[str, Any], *, source: str
) -> tuple[Any, Any, Any, bytes]:
    """Read what the source's folder holds."""
    from maskwise.ingest import stage
    from maskwise.pipelines import parsing
    from maskwise.scans.objects import in_use

    until_saved(in_use(raw))
    reader = parsing.ingest_source(settings, f"{source}.ingest")
    result = stage.ingest(raw, reader, parsing.ingest(options, "ingest"), source)
    return result.manifest, result.rejects, result.summary, result.figure


def create_pipeline(study: Study) -> Pipeline:
    """The stage of one source."""
    artefacts = ("manifest", "rejects", "data_summary", "data_figure")
    node = Node(
        bind(ingest, source=study.source),
        [study.raw, study.parameters("ingest"), "params:ingest"],
        [study.dataset(artefact) for artefact in artefacts],
        name="ingest",
        tags="ingest",
    )
    return Pipeline([node])
