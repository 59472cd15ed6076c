"""What is refused before any stage runs: inputs that are not there, each with its remedy."""

from typing import Any

from kedro.pipeline import Pipeline

from maskwise.errors import refuse
from maskwise.replicates import RAW_ROOT


def check_inputs(
    pipeline: Pipeline, whole: Pipeline, catalog: Any, name: str, env: str | None = None
) -> None:
    """Raise ``UserError`` for each input that no node of the run makes and that is not there.

    Args:
        pipeline: What this run is about to do.
        whole: All nodes of the source, to say which command makes what is missing.
        catalog: Kedro's catalog.
        name: The registered name of ``whole``.
        env: What ``--env`` said.
    """
    problems = [
        _missing(dataset, whole, catalog, name, env)
        for dataset in sorted(pipeline.inputs())
        if not dataset.startswith("params:") and not catalog.exists(dataset)
    ]
    refuse(problems)


def _missing(dataset: str, whole: Pipeline, catalog: Any, name: str, env: str | None) -> str:
    path = getattr(catalog.get(dataset), "_filepath", None)
    makers = [node for node in whole.nodes if dataset in node.outputs]
    if path is None:
        return f"{dataset}: is never on disk; run its stage as a whole, with --tags"
    if not makers:
        return (
            f"{path}: absent or empty. Put the raw files of {name!r} there (docs/sources.md "
            f"says where to get them), or say where they are: --params {RAW_ROOT}=FOLDER"
        )
    maker = makers[0]
    environment = f" --env {env}" if env else ""
    command = f"kedro run{environment} --pipelines {name} --tags {min(maker.tags)}"
    if maker.namespace:
        command += f" --namespaces {maker.namespace}"
    return f"{path}: not made yet. Make it: {command}   (or, if it was pushed: dvc pull)"
