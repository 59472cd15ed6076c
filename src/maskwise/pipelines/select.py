"""Embeddings in; which scans to label next, and as many by chance, out."""

from typing import Any

from kedro.pipeline import Node, Pipeline

from maskwise.pipelines.standing import stands_alone


@stands_alone
def select(request: dict[str, Any]) -> tuple[Any, Any]:
    """Choose by the rule, and by chance alone."""
    from maskwise.selection import stage

    paths, config = stage.parse_request(request, "select")
    result = stage.select(stage.read(paths), config)
    return result.selection, result.control


def create_pipeline() -> Pipeline:
    """The stage; it belongs to no source."""
    outputs = ["select.selection", "select.control"]
    return Pipeline([Node(select, "params:select", outputs, name="select", tags="select")])
