"""The registries of the stages agree on what tasks there are."""

import pytest

from maskwise.evaluate.tasks import TASKS as SCORED
from maskwise.finetune.tasks import TASKS
from maskwise.prediction.stage import MODEL_KINDS
from maskwise.report.sections import SHOWN
from maskwise.report.tasks import WORDS


@pytest.mark.parametrize("name", TASKS)
def test_what_can_be_learnt_can_be_scored_put_in_words_shown_and_predicted(name: str) -> None:
    config = TASKS[name].config
    assert config.scored_as in SCORED
    assert config.scored_as in WORDS
    assert config.scored_as in SHOWN
    assert config.model in MODEL_KINDS


def test_no_stage_knows_a_task_that_nothing_learns() -> None:
    kinds = {task.config.scored_as for task in TASKS.values()}
    assert set(SCORED) == set(WORDS) == set(SHOWN) == kinds
    assert set(MODEL_KINDS) == {task.config.model for task in TASKS.values()}
