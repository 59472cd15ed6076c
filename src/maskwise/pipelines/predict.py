"""A trained model and scans that nobody labelled in; outlines, a table and a page out."""

from typing import Any

from kedro.pipeline import Node, Pipeline

from maskwise.pipelines.standing import stands_alone


@stands_alone
def predict(
    request: dict[str, Any], pages: dict[str, Any], prepared: Any
) -> tuple[Any, Any, str]:
    """Let the model look at every scan; ``pages`` says whether pages name files."""
    from maskwise.pipelines import parsing
    from maskwise.prediction import stage

    model, scans, config = stage.parse_request(request, "predict")
    names = parsing.report(pages, "report").names
    result = stage.predict(model, scans, config, names, prepared)
    return result.outlines, result.table, result.page


def create_pipeline() -> Pipeline:
    """The stage; it belongs to no source."""
    # Saved in this order: no earlier run's outlines ever stand beside a new table.
    outputs = ["predict.outlines", "predict.predictions", "predict.page"]
    inputs = ["params:predict", "params:report", "prepared"]
    return Pipeline([Node(predict, inputs, outputs, name="predict", tags="predict")])
