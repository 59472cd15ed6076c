"""Whether a source has labels, and so something to fine-tune for."""

from collections.abc import Iterable, Mapping
from typing import Any

from maskwise.errors import UserError
from maskwise.experiment import EXPERIMENT
from maskwise.pipelines import parsing
from maskwise.replicates import Study


def check_labels(parameters: Mapping[str, Any], study: Study, stages: Iterable[str]) -> None:
    """Raise ``UserError`` where a run would fine-tune for labels that the source has not.

    Args:
        parameters: All parameters, checked.
        study: One source.
        stages: What this run does of it.
    """
    source = study.source
    if "finetune" in stages and _lacks_label(parameters[source], source):
        raise UserError(
            f"{source}.preprocess.label: null, so there is nothing to fine-tune for; for "
            "pre-training and its report alone write `fractions: []` under "
            f"experiment.sources.{source} in {EXPERIMENT}, or name a label"
        )


def _lacks_label(block: Mapping[str, Any], source: str) -> bool:
    if _labelled(block):
        return False
    if "finetune" not in block:
        return True
    task = parsing.finetune_source(block["finetune"], f"{source}.finetune").task
    return bool(task.needs_label)


def needless(block: Mapping[str, Any], stage: str, study: Study) -> bool:
    """Return whether a source without labels leaves out what only labels need."""
    if stage != "finetune" or stage in block:
        return False
    return not study.finetunes or not _labelled(block)


def _labelled(block: Mapping[str, Any]) -> bool:
    preprocess = block.get("preprocess")
    return not isinstance(preprocess, Mapping) or preprocess.get("label") is not None
