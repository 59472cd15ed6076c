"""A trial's score: pre-train, learn the task from some labels, look at validation images.

While it is pre-trained, a pruner looks at the score that it would have by now, of modes that
are solved and not trained by steps; of others at what nearest neighbours say.

The test part is taken out of the splits, and its labels out of the index, before anything is
trained: no trial can read it, whatever its recipe is.
"""

import copy
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout

from maskwise.artefacts.labels import label_columns
from maskwise.artefacts.store import Store
from maskwise.config import parse
from maskwise.encoders.contract import Encoder
from maskwise.errors import UserError, hint
from maskwise.evaluate.arrangement import arrange
from maskwise.evaluate.config import EvaluateConfig
from maskwise.evaluate.resampling import draw
from maskwise.evaluate.weighing import Weights
from maskwise.finetune.contracts import TaskConfig
from maskwise.finetune.run import Budget as FinetuneBudget
from maskwise.finetune.run import FinetuneConfig, FinetuneRun, parse_budget
from maskwise.finetune.stage import finetune
from maskwise.pretrain.recipe import Budget, PretrainConfig, Recipe, parse_recipe
from maskwise.pretrain.replicate import PretrainRun, pretraining
from maskwise.tune.config import ObjectiveConfig
from maskwise.tune.space import Blocks, Values, laid
from maskwise.tune.trials import Progress, Score


@dataclass(frozen=True)
class Parsed:
    """A trial's blocks as configs."""

    recipe: Recipe
    budget: Budget
    tuning: FinetuneBudget


def parse_blocks(blocks: Blocks, where: str) -> Parsed:
    """Parse ``recipe``, ``pretrain`` and ``finetune`` as the stages do."""
    return Parsed(
        parse_recipe(blocks["recipe"], f"{where}recipe"),
        parse(Budget, blocks["pretrain"], f"{where}pretrain"),
        parse_budget(blocks["finetune"], f"{where}finetune"),
    )


@dataclass(frozen=True)
class Training:
    """Makes scores of one recipe on one source: a ``trials.Train``."""

    store: Store
    splits: pd.DataFrame
    source: str
    recipe: str
    base: Blocks
    """What a trial's values are laid over."""
    objective: ObjectiveConfig
    pretrain: PretrainConfig
    finetune: FinetuneConfig
    evaluate: EvaluateConfig
    reports: int
    """Times that features are looked at in pre-training where a score takes training by steps;
    0 = as ``pretrain.watches`` says."""
    folder: Path
    """Of the trials' checkpoints."""

    def __call__(self, values: Values, seed: int, trial: int, progress: Progress) -> Score:
        parsed = parse_blocks(laid(values, self.base), "")
        store, splits = without_test(self.store, self.splits)
        steps = parsed.recipe.timeline(parsed.budget.steps).steps
        by_steps = self.objective.mode in parsed.tuning.task.trained

        def report(row: Mapping[str, float], encoder: Encoder) -> None:
            def figure() -> float | None:
                if by_steps:  # training it would take longer than the epoch
                    return row.get(watched_figure(parsed.tuning.task))
                # A copy: what is trained is left where, and as, it is.
                return score(copy.deepcopy(encoder).cpu()).value

            progress(row["step"] / steps, figure)

        run = PretrainRun(
            recipe=parsed.recipe,
            budget=parsed.budget,
            config=replace(
                self.pretrain,
                # The first look is after the first epoch, whatever its share of the steps.
                watches=self.reports + 1
                if by_steps and self.reports
                else self.pretrain.watches,
                gallery_moments=1,
            ),
            source=self.source,
            recipe_name=self.recipe,
            seed=seed,
            checkpoints=self.checkpoints(trial) / f"s{seed}",
            report=report,
        )
        learnt = FinetuneRun(
            budget=parsed.tuning,
            config=replace(self.finetune, modes=(self.objective.mode,), keep="none"),
            fractions=(self.objective.fraction,),
            source=self.source,
            recipe=self.recipe,
            seed=seed,
        )

        def score(encoder: Encoder) -> Score:
            found = finetune(encoder, store, splits, learnt)
            return validation_score(
                found.predictions, found.subsets, parsed.tuning.task, self.objective,
                self.evaluate,
            )  # fmt: skip

        with pretraining(store, splits, run) as result:
            result.encoder.metadata = result.metadata
            return score(result.encoder)

    def checkpoints(self, trial: int) -> Path:
        """Return the folder of a trial's own."""
        return self.folder / f"trial_{trial}"

    def finished(self, trial: int) -> None:
        """Remove the checkpoints of a trial that will not go on, unless one still trains there.

        Which one does that was taken for dead too early.
        """
        with ExitStack() as stack:
            try:
                for path in self.checkpoints(trial).glob("*/lock"):
                    stack.enter_context(FileLock(path, blocking=False))
            except Timeout:
                return
            shutil.rmtree(self.checkpoints(trial), ignore_errors=True)


def refuse_folds(folds: int, source: str) -> None:
    """Raise ``UserError`` where each seed tests other images, and all of them validate."""
    if folds:
        raise UserError(
            f"{source}.preprocess.folds: {folds}, with which an image that validates one seed "
            "tests another, so that tune would choose by test images; tune on a source with "
            "folds: 0, whose split is official or own"
        )


def without_test(store: Store, splits: pd.DataFrame) -> tuple[Store, pd.DataFrame]:
    """Return store and splits in which test images have no place and no label."""
    kept = splits[splits["split"] != "test"].reset_index(drop=True)
    labels = label_columns(store.index)
    index = store.index.copy()
    index[labels] = index[labels].where(index["image_id"].isin(kept["image_id"]))
    return replace(store, index=index), kept


def watched_figure(task: TaskConfig) -> str:
    """Return the column of a history that says most about the task during pre-training."""
    label = getattr(task, "label", None)
    return "knn_dice" if label is None else f"knn_{label}"


def validation_score(
    predictions: pd.DataFrame,
    subsets: pd.DataFrame,
    task: TaskConfig,
    objective: ObjectiveConfig,
    config: EvaluateConfig,
) -> Score:
    """Return the metric of the validation images that the fraction may use.

    Raises:
        UserError: if the task has no such metric, or one of which less is better is asked for.
    """
    chosen = subsets.loc[subsets["role"] == "validation", "image_id"]
    rows = predictions[
        (predictions["split"] == "validation") & predictions["image_id"].isin(chosen)
    ]
    # Evaluate scores what stands under `test`; of that part there is no row here.
    arrangement = arrange(
        rows.assign(split="test"), task.scored_as, config, "tune.objective: the validation part"
    )
    measures = arrangement.measures
    metric = objective.metric or measures.leading
    usable = [name for name in measures.metrics if name not in measures.smaller_is_better]
    if metric not in usable:
        raise UserError(
            f"tune.objective.metric: the task has no {metric!r} of which more is better; "
            f"{hint(metric, usable)}"
        )
    (test,) = arrangement.tests
    weights = Weights(test, draw(1, arrangement.sizes, 0, config.seed), config.weigh)
    ((values,),) = next(iter(arrangement.values.values()))
    scores = measures.score(values, weights)  # (metrics, 1)
    return Score(metric, float(scores[measures.metrics.index(metric), 0]))
