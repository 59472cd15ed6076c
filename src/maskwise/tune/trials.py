"""The trials of a study, one after another, by as many workers as there are."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol

import optuna
from filelock import BaseFileLock
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import fail_stale_trials
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from maskwise.errors import HinderedError, UserError, shown
from maskwise.tune.config import TuneConfig
from maskwise.tune.space import Space, Values
from maskwise.tune.storage import queue_again, quietly, retrying
from maskwise.tune.two_pruners import SCORES
from maskwise.wording import count

log = logging.getLogger(__name__)

DONE = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
STOPS = (KeyboardInterrupt, HinderedError)
"""Ends a worker, and not its trial."""
MOST_REFUSED = 3
"""Trials that fail at the start, one after another, after which the study is given up."""
SECONDS_BETWEEN_LOOKS = 1.0
"""At the trials of other workers."""

EPOCHS, SEED_SCORES, METRIC, REFUSED, PRUNED_BY, BEGUN = (
    "epochs",
    "scores",
    "metric",
    "refused",
    "pruned_by",
    "begun",
)
"""Attributes of a trial."""

Figure = Callable[[], float | None]
"""Measures what a pruner looks at; None = it cannot be measured now."""
Progress = Callable[[float, Figure], None]
"""Called after each epoch with the share of the steps that are done."""


class RefusedError(Exception):
    """A trial's values cannot be trained with; the next trial may do better."""


ENDS = (RefusedError, optuna.TrialPruned, UpdateFinishedTrialError)
"""Ends a trial, and not its worker."""


@dataclass(frozen=True)
class Score:
    """Of one seed, on validation images; more is better."""

    metric: str
    value: float


class Train(Protocol):
    """Whatever makes a score of a trial's values and a seed."""

    def __call__(self, values: Values, seed: int, trial: int, progress: Progress) -> Score:
        """Return the score.

        Args:
            values: of the trial.
            seed: of the replicate.
            trial: number of the trial that first had these values.
            progress: called after every epoch; what it raises ends the training.
        """


@dataclass(frozen=True)
class Trials:
    """What the workers of a study do."""

    study: Study
    space: Space
    config: TuneConfig
    train: Train
    finished: Callable[[int], None]
    """Called with a trial, by its number as ``Train`` has it, that needs no checkpoint."""
    turn: BaseFileLock
    """Held from looking how many trials there are until one more is there."""
    _lifeless: dict[int, float] = field(default_factory=dict, init=False)
    """Trials that nobody has begun -> when they were first seen."""

    def run(self) -> None:
        """Make trials until the study has all of them, those of other workers included.

        Raises:
            UserError: if nothing but refused trials comes of it.
            HinderedError: passed on; the trial goes on when the study does.
            KeyboardInterrupt: as ``HinderedError``.
        """
        waits = False
        while True:
            with self._at_turn():
                trials = self._looked_at()
                running = sum(trial.state is TrialState.RUNNING for trial in trials)
                waiting = any(trial.state is TrialState.WAITING for trial in trials)
                if waiting or len(counting(trials)) + running < self.config.trials:
                    self._one()
                    continue
            if not running:
                return
            if not waits:
                log.info(
                    "tune: waiting for %s of other workers; one that is dead is tried again "
                    "%d s after its last sign of life.",
                    count(running, "trial"),
                    self.config.grace,
                )
                waits = True
            time.sleep(SECONDS_BETWEEN_LOOKS)

    @contextmanager
    def _at_turn(self) -> Iterator[None]:
        self.turn.acquire()
        try:
            yield
        finally:
            self.turn.release(force=True)

    def _looked_at(self) -> list[FrozenTrial]:
        """Return all trials, after dead ones were marked and queued again."""
        with quietly():
            fail_stale_trials(self.study)
        self._fail_lifeless()
        return self.study.get_trials(deepcopy=False)

    def _fail_lifeless(self) -> None:
        """Mark and queue again what died before its first sign of life: Optuna leaves it."""
        for trial in self.study.get_trials(deepcopy=True, states=(TrialState.RUNNING,)):
            # A trial that is tried again has the attributes of the one before it.
            if trial.user_attrs.get(BEGUN) == trial.number:
                continue
            since = self._lifeless.setdefault(trial.number, time.monotonic())
            if time.monotonic() - since > self.config.grace:
                self.study.tell(trial.number, state=TrialState.FAIL)
                retrying(self.config)(self.study, trial)

    def _one(self) -> None:
        numbers: list[int] = []
        raised: list[BaseException] = []

        def objective(trial: Trial) -> float:
            numbers.append(trial.number)
            try:
                return self._objective(trial)
            except BaseException as error:
                raised.append(error)
                if isinstance(error, STOPS):
                    # Until it is put back: another worker would take the study for finished.
                    self.turn.acquire()
                raise

        try:
            with quietly():
                self.study.optimize(objective, n_trials=1, catch=(RefusedError,))
        except STOPS:
            for number in numbers:
                self._put_back(number)
            raise
        # What Optuna's bookkeeping trips over:
        except (AssertionError, ValueError, UpdateFinishedTrialError) as error:
            if error in raised or not self._ended_elsewhere(numbers):
                raise
            log.warning(
                "tune: trial %d was taken for dead by another worker after %d s without a sign "
                "of life, and what it made here does not count; if that happens again, let "
                "tune.grace be longer.",
                numbers[0],
                self.config.grace,
            )
            for own in raised:
                if not isinstance(own, ENDS):
                    raise own from None
        self._give_up_if_all_are_refused()

    def _ended_elsewhere(self, numbers: list[int]) -> bool:
        """Say whether the trial at hand has ended, which this worker could not book."""
        trials = self.study.get_trials(deepcopy=False)
        return any(trials[number].state.is_finished() for number in numbers)

    def _put_back(self, number: int) -> None:
        """Queue a trial that did not end by itself, however often that happens."""
        trial = self.study.get_trials(deepcopy=True)[number]
        if trial.state is TrialState.FAIL and REFUSED not in trial.user_attrs:
            queue_again(self.study, trial)

    def _give_up_if_all_are_refused(self) -> None:
        trials = counting(self.study.get_trials(deepcopy=False))
        refused = [trial.user_attrs.get(REFUSED) for trial in trials]
        if len(refused) >= MOST_REFUSED and all(refused):
            raise UserError(f"tune: none of {len(refused)} trials could be made: {refused[-1]}")

    def _objective(self, trial: Trial) -> float:
        values = self.space.suggest(trial)
        trial.set_user_attr(BEGUN, trial.number)
        self.turn.release()  # the study knows of this trial: the next worker may look
        first = first_number(self.study.get_trials(deepcopy=False)[trial.number])
        log.info("tune: trial %d: %s", trial.number, in_words(values))
        state = _Running(trial, self.config, trial.user_attrs.get(EPOCHS, 0))
        try:
            score = state.all_seeds(self.train, values, first)
        except HinderedError:
            raise
        except UserError as error:
            trial.set_user_attr(REFUSED, str(error))
            log.warning("tune: trial %d was refused: %s", trial.number, error)
            self.finished(first)
            raise RefusedError from error
        except optuna.TrialPruned as pruned:
            trial.set_user_attr(PRUNED_BY, str(pruned))
            log.info("tune: trial %d was given up %s", trial.number, pruned)
            self.finished(first)
            raise
        log.info("tune: trial %d: score %.4f", trial.number, score)
        self.finished(first)
        return score


@dataclass
class _Running:
    """One trial, with what it reported."""

    trial: Trial
    config: TuneConfig
    epochs: int
    """Of pre-training so far."""

    def all_seeds(self, train: Train, values: Values, first: int) -> float:
        """Return the mean score of all seeds.

        Raises:
            optuna.TrialPruned: naming what gave it up.
        """
        known: dict[str, float] = dict(self.trial.user_attrs.get(SEED_SCORES, {}))
        for place, seed in enumerate(self.config.seeds):
            if str(seed) not in known:
                progress = self._progress(seed, by_epochs=place == 0)
                try:
                    score = train(values, seed, first, progress)
                finally:
                    with suppress(UpdateFinishedTrialError):  # which must not hide Ctrl-C
                        self.trial.set_user_attr(EPOCHS, self.epochs)
                if not math.isfinite(score.value):
                    raise UserError(
                        f"the {score.metric} of seed {seed} is undefined; look at how many "
                        "validation images of each class there are"
                    )
                known[str(seed)] = score.value
                self.trial.set_user_attr(METRIC, score.metric)
                self.trial.set_user_attr(SEED_SCORES, known)
            self.trial.report(known[str(seed)], SCORES + place)
            last = place + 1 == len(self.config.seeds)
            if not last and self.trial.should_prune():
                raise optuna.TrialPruned(
                    f"after {place + 1} of {len(self.config.seeds)} seeds, which score below "
                    "those of the best trial"
                )
        return sum(known[str(seed)] for seed in self.config.seeds) / len(self.config.seeds)

    def _progress(self, seed: int, by_epochs: bool) -> Progress:
        pruner = self.config.prune_epochs
        reports, due = pruner.reports, list(pruner.decides) if by_epochs else []

        def progress(share: float, figure: Figure) -> None:
            self.epochs += 1
            report = math.floor(reports * share + 1e-9)
            # Measured where it decides, and nowhere else: it may take as long as an epoch.
            # After the last report there is nothing left to save but scores.
            if not due or not due[0] <= report < reports:
                return
            value = figure()
            if value is None:
                if due[-1] <= report:
                    _say_never_looked_at(self.trial.study.study_name)
                return
            due[:] = [later for later in due if later > report]
            self.trial.report(value, report)
            if self.trial.should_prune():
                raise optuna.TrialPruned(
                    f"at report {report} of {reports} of seed {seed}, at {value:.3f}"
                )

        return progress


@cache
def _say_never_looked_at(study: str) -> None:
    """Say once per study that its trials cannot be given up while they are pre-trained."""
    log.warning(
        "tune: %s: what nearest neighbours make of the validation images was not measured in "
        "pre-training, so that tune.prune_epochs gives no trial up; look at whether validation "
        "and training images have labels, or set it to {name: none}.",
        study,
    )


def counting(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Return the finished trials that count, those that were tried again left out."""
    again = {
        number for trial in trials for number in trial.system_attrs.get("retry_history", [])
    }
    return [trial for trial in trials if trial.state in DONE and trial.number not in again]


def first_number(trial: FrozenTrial) -> int:
    """Return the number of the trial that first had this one's values, and its checkpoints."""
    found: Any = trial.system_attrs.get("failed_trial")
    return trial.number if found is None else int(found)


def in_words(values: Values) -> str:
    """Return a trial's values for a line of the log."""
    return ", ".join(
        f"{path} {value:.4g}" if isinstance(value, float) else f"{path} {shown(value)}"
        for path, value in values.items()
    )
