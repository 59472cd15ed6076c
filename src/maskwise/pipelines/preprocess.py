"""Manifest and raw files in; store and splits out."""

from pathlib import Path
from typing import Any

from kedro.pipeline import Node, Pipeline

from maskwise.pipelines.binding import bind
from maskwise.pipelines.standing import stands_alone, until_saved
from maskwise.replicates import Study


@stands_alone
def preprocess(
    raw: Path,
    manifest: Any,
    settings: dict[str, Any],
    options: dict[str, Any],
    *,
    source: str,
) -> tuple[Any, Any]:
    """Bring all images to one size and scale, and split them once for all stages."""
    from maskwise.pipelines import parsing
    from maskwise.preprocess import stage
    from maskwise.scans.objects import in_use

    until_saved(in_use(raw))
    result = stage.preprocess(
        raw,
        manifest,
        parsing.preprocess_source(settings, f"{source}.preprocess"),
        parsing.preprocess(options, "preprocess"),
        source,
    )
    return result.write_store, result.splits


@stands_alone
def summarise_store(store: Any, splits: Any) -> dict[str, Any]:
    """Say what about the stored images should be distrusted."""
    from maskwise.preprocess.summary import summarise

    return summarise(store, splits)


def create_pipeline(study: Study) -> Pipeline:
    """The stage of one source: the store, then a look at what is in it."""
    node = Node(
        bind(preprocess, source=study.source),
        [
            study.raw,
            study.dataset("manifest"),
            study.parameters("preprocess"),
            "params:preprocess",
        ],
        [study.dataset("store"), study.dataset("splits")],
        name="preprocess",
        tags="preprocess",
    )
    summary = Node(
        summarise_store,
        [study.dataset("store"), study.dataset("splits")],
        study.dataset("store_summary"),
        name="summarise_store",
        tags="preprocess",
    )
    return Pipeline([node, summary])
