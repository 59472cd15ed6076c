"""What is refused when a source's files were read, and before an encoder is trained for hours.

A task, a subgroup or a small fraction for which they do not suffice.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from maskwise.artefacts.labels import LABEL, label_names
from maskwise.artefacts.store import Store
from maskwise.checks.labels import needless
from maskwise.checks.names import unknown
from maskwise.errors import UserError, refuse
from maskwise.evaluate.referee.columns import known_columns
from maskwise.evaluate.referee.config import LESION_SIZE, Referee
from maskwise.finetune.classification.labels import label_of
from maskwise.finetune.diagnosis.task import DiagnosisConfig
from maskwise.finetune.inputs import split_rows
from maskwise.finetune.multilabel.task import MultilabelConfig
from maskwise.finetune.subsets import shortage
from maskwise.pipelines import parsing
from maskwise.replicates import Study


def check_task(parameters: Mapping[str, Any], study: Study, columns: Iterable[str]) -> None:
    """Raise ``UserError`` where the source's task learns a label that its images do not have.

    Which labels there are, only its files say; so this is looked at when they were read, and
    before an encoder is trained for hours.

    Args:
        parameters: All parameters, checked.
        study: The source whose task it is.
        columns: Of the source's manifest, or of its store's index.
    """
    block = parameters[study.source]
    if not study.finetunes or needless(block, "finetune", study):
        return
    where = f"{study.source}.finetune"
    # A task that learns no label has no such option.
    label = getattr(parsing.finetune_source(block["finetune"], where).task, "label", None)
    if label is not None:
        refuse([unknown(f"{where}.task.label", "label", label, label_names(columns))])


def check_fractions(
    parameters: Mapping[str, Any], study: Study, store: Store, splits: pd.DataFrame
) -> None:
    """Raise ``UserError`` where a fraction leaves a class without a training group.

    Subsets depend on the split and the seed alone, so this is known of all seeds when the
    images are split. The seed is named whose fraction has to grow most: what it needs is enough
    for all.

    Args:
        parameters: All parameters, checked.
        study: The source whose fractions and seeds they are.
        store: Its images, whose labels ``check_task`` has seen.
        splits: Which of them train.
    """
    block = parameters[study.source]
    if not study.finetunes or needless(block, "finetune", study):
        return
    where = f"{study.source}.finetune"
    task = parsing.finetune_source(block["finetune"], where).task
    if (
        not isinstance(task, DiagnosisConfig)
        or label_of(store.index, task.label, f"{where}.task").nunique() < 2
    ):
        return  # of one class there is nothing to draw, which fine-tuning says
    question = task.build(store.index, splits, f"{where}.task")
    found = []
    for seed in study.seeds:
        labelled = question.labelled(store.index, split_rows(store, splits, seed))
        found.append(shortage(labelled, study.fractions, seed))
    short = [each for each in found if each is not None]
    if short:
        raise UserError(max(short, key=lambda each: each.needed).sentence)


def check_subgroups(
    parameters: Mapping[str, Any], study: Study, columns: Iterable[str]
) -> None:
    """Raise ``UserError`` where a referee's subgroup is no column of the source's manifest.

    As ``check_task``: when the files were read, and before an encoder is trained for hours.

    Args:
        parameters: All parameters, checked.
        study: The source whose images they are.
        columns: Of the source's manifest.
    """
    config = parsing.evaluate(parameters["evaluate"], "evaluate")
    asked = config.referee.get(study.source, Referee())
    known = [*known_columns(columns), LESION_SIZE]
    where = f"evaluate.referee.{study.source}.subgroups"
    refuse(
        unknown(where, "column", name.removeprefix(LABEL), known) for name in asked.subgroups
    )


def check_terms(parameters: Mapping[str, Any], study: Study, images: Any) -> None:
    """Raise ``UserError`` where an image is labelled with what the source's task does not know.

    Args:
        parameters: All parameters, checked.
        study: The source whose task it is.
        images: The source's manifest, or its store's index, which ``check_task`` has seen.
    """
    block = parameters[study.source]
    if not study.finetunes or needless(block, "finetune", study):
        return
    where = f"{study.source}.finetune"
    task = parsing.finetune_source(block["finetune"], where).task
    if isinstance(task, MultilabelConfig):
        task.check(images, f"{where}.task")
