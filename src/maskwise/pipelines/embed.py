"""An encoder and scans in; their features, those that were refused and a page out."""

from typing import Any

from kedro.pipeline import Node, Pipeline

from maskwise.pipelines.standing import stands_alone


@stands_alone
def embed(
    request: dict[str, Any], pages: dict[str, Any], prepared: Any
) -> tuple[Any, Any, str]:
    """Let the encoder look at every scan; ``pages`` says whether pages name files."""
    from maskwise.embedding import stage
    from maskwise.embedding.config import parse_request
    from maskwise.pipelines import parsing

    asked, config = parse_request(request, "embed")
    names = parsing.report(pages, "report").names
    result = stage.embed(asked, prepared, config, names)
    return result.embeddings, result.refused, result.page


def create_pipeline() -> Pipeline:
    """The stage; it belongs to no source."""
    inputs = ["params:embed", "params:report", "prepared"]
    outputs = ["embed.embeddings", "embed.refused", "embed.page"]
    return Pipeline([Node(embed, inputs, outputs, name="embed", tags="embed")])
