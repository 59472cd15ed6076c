"""A study's trials: the same for the same seed, given up in time, gone on with after a kill."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.trial import TrialState

from maskwise.artefacts.atomic import explained
from maskwise.errors import UserError
from maskwise.tune import trials
from maskwise.tune.storage import queue_again, reached, retrying, url_of
from maskwise.tune.table import importances, trials_table
from maskwise.tune.trials import Figure, Progress, Score
from tune.toys import EPOCHS, RATE, Toy, config, open_toy, run, space

QUICK: dict[str, Any] = {"trials": 4, "seeds": [0, 1]}
TO_THE_END = {"prune_epochs": {"name": "none"}, "prune_seeds": {"name": "none"}}


def rates(study: Any) -> list[float]:
    return [trial.params[RATE] for trial in study.get_trials()]


def test_the_same_seed_proposes_the_same_values_and_another_seed_others(folder: Path) -> None:
    sampler = {"name": "tpe", "startup": 2}
    first, _ = run(folder / "a", sampler=sampler, **QUICK)
    again, _ = run(folder / "b", sampler=sampler, **QUICK)
    other, _ = run(folder / "c", sampler={**sampler, "seed": 1}, **QUICK)

    assert rates(first) == rates(again)
    assert rates(first) != rates(other)


def test_a_study_that_is_gone_on_with_ends_as_if_it_had_never_stopped(folder: Path) -> None:
    sampler = {"name": "tpe", "startup": 2}
    run(folder / "a", sampler=sampler, **{**QUICK, "trials": 3})
    gone_on, trained = run(folder / "a", sampler=sampler, **QUICK)
    whole, _ = run(folder / "b", sampler=sampler, **QUICK)

    assert rates(gone_on) == rates(whole)
    assert {trial for _, _, trial in trained.asked} == {3}


def test_a_finished_study_trains_nothing_more(folder: Path) -> None:
    run(folder, **QUICK)

    _, trained = run(folder, **QUICK)

    assert trained.asked == []


def test_a_trial_scores_the_mean_over_its_seeds(folder: Path) -> None:
    study, _ = run(folder, **QUICK, **TO_THE_END)

    for trial in study.get_trials():
        assert trial.value == pytest.approx(trial.params[RATE] + 0.0005)


def test_hyperband_gives_up_bad_trials_early_and_keeps_the_best(folder: Path) -> None:
    never, _ = run(folder / "a", trials=16, seeds=[0], sampler={"name": "random"}, **TO_THE_END)
    study, _ = run(folder / "b", trials=16, seeds=[0], sampler={"name": "random"})

    spent = sum(trial.user_attrs["epochs"] for trial in study.get_trials())
    assert study.best_value == never.best_value
    assert spent < 0.75 * 16 * EPOCHS
    given_up = study.get_trials(states=(TrialState.PRUNED,))
    assert all("of 9 of seed 0" in trial.user_attrs["pruned_by"] for trial in given_up)


def test_a_trial_is_measured_where_that_decides_and_of_the_first_seed_alone(
    folder: Path,
) -> None:
    measured: list[tuple[int, float]] = []

    class Counting(Toy):
        def __call__(self, values: Any, seed: int, trial: int, progress: Progress) -> Score:
            def heard(share: float, figure: Figure) -> None:
                def counted() -> float | None:
                    measured.append((seed, round(share * EPOCHS)))
                    return figure()

                progress(share, counted)

            return super().__call__(values, seed, trial, heard)

    run(folder, Counting(), trials=1, seeds=[3, 4])

    assert measured == [(3, 2), (3, 6)]


def test_wilcoxon_gives_up_after_the_fourth_seed_and_not_before(folder: Path) -> None:
    seeds = [0, 1, 2, 3, 4, 5]
    study, _ = run(
        folder,
        trials=8,
        seeds=seeds,
        sampler={"name": "random"},
        prune_epochs={"name": "none"},
    )

    worse = study.get_trials(states=(TrialState.PRUNED,))
    assert worse
    assert all(len(trial.user_attrs["scores"]) == 4 for trial in worse)
    assert all(trial.params[RATE] < study.best_params[RATE] for trial in worse)


class Reluctant(Toy):
    """Refuses values above one half, as training does that diverges."""

    def __call__(self, values: Any, seed: int, trial: int, progress: Progress) -> Score:
        if values[RATE] > 0.5:
            raise UserError("the loss is no longer finite")
        return super().__call__(values, seed, trial, progress)


def test_a_refused_trial_says_why_and_the_study_goes_on(folder: Path) -> None:
    options = {**QUICK, "trials": 8, "sampler": {"name": "random"}}
    study, _ = run(folder, Reluctant(), **options)

    table = trials_table(study, (0, 1), space(config()))

    refused = table[table["state"] == "refused"]
    assert (refused[RATE] > 0.5).all()
    assert set(refused["why"]) == {"the loss is no longer finite"}
    assert len(table) == 8


def test_a_study_of_which_no_trial_can_be_made_stops_after_three(folder: Path) -> None:
    class Never(Toy):
        def __call__(self, values: Any, seed: int, trial: int, progress: Progress) -> Score:
            raise UserError("the disk is full")

    with pytest.raises(UserError, match="none of 3 trials could be made: the disk is full"):
        run(folder, Never(), **QUICK)


def test_a_full_disk_ends_the_run_and_uses_up_no_trial(folder: Path) -> None:
    class Full(Toy):
        def __call__(self, values: Any, seed: int, trial: int, progress: Progress) -> Score:
            with explained(folder / "last.pt"):
                raise OSError(errno.ENOSPC, "No space left on device")

    options: dict[str, Any] = {"trials": 1, "seeds": [0], "retries": 0}
    for _ in range(2):
        with pytest.raises(UserError, match="the disk is full"):
            run(folder, full := Full(), **options)
        assert full.done == []  # its checkpoints are still needed

    study, _ = run(folder, **options)

    table = trials_table(study, (0,), space(config()))
    assert list(table["state"]) == ["interrupted", "interrupted", "complete"]


class Interrupted(Toy):
    """Is interrupted in the second seed of its second trial."""

    def __call__(self, values: Any, seed: int, trial: int, progress: Progress) -> Score:
        if len(self.asked) == 3:
            raise KeyboardInterrupt
        return super().__call__(values, seed, trial, progress)


def test_an_interrupted_trial_goes_on_with_its_values_and_the_seeds_it_has(
    folder: Path,
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(folder, Interrupted(), **QUICK, **TO_THE_END)

    study, trained = run(folder, **QUICK, **TO_THE_END)

    rate = study.get_trials()[1].params[RATE]
    assert trained.asked[0] == (rate, 1, 1)  # the second seed, in the folder of trial 1
    table = trials_table(study, (0, 1), space(config()))
    assert list(table["state"]) == ["complete", "interrupted", *["complete"] * 3]
    assert list(table["again"])[:3] == [-1, -1, 1]
    assert sorted(trained.done) == [1, 3, 4]


def test_of_two_interrupted_workers_each_puts_its_own_trial_back_once(folder: Path) -> None:
    class Second(Toy):
        def __call__(self, *asked: Any) -> Score:
            raise KeyboardInterrupt

    class First(Toy):
        """Is interrupted after another worker was, whose trial is the later one."""

        def __call__(self, *asked: Any) -> Score:
            with pytest.raises(KeyboardInterrupt):
                run(folder, Second(), trials=2, seeds=[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(folder, First(), trials=2, seeds=[0])
    study, trained = run(folder, trials=2, seeds=[0])

    assert sorted(trial for _, _, trial in trained.asked) == [0, 1]
    assert len(study.get_trials()) == 4


WORKER = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from tune.toys import Toy, run
    class Slow(Toy):
        def __call__(self, *asked):
            Path(sys.argv[1], "begun").touch()
            time.sleep(float(sys.argv[3]))
            return super().__call__(*asked)
    run(Path(sys.argv[1]), Slow(), trials=int(sys.argv[2]), seeds=[0], heartbeat=1, grace=2)
    """
)


class Slow(Toy):
    """Leaves another worker the time to make a trial."""

    def __call__(self, values: Any, seed: int, trial: int, progress: Progress) -> Score:
        time.sleep(0.1)
        return super().__call__(values, seed, trial, progress)


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    while not path.exists():
        assert process.poll() is None
        time.sleep(0.05)


def worker(folder: Path, trials: int, seconds: float) -> subprocess.Popen[bytes]:
    path = os.pathsep.join(sys.path)
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder), str(trials), str(seconds)],
        env={**os.environ, "PYTHONPATH": path},
    )


def test_a_trial_whose_process_was_killed_is_marked_and_tried_again(folder: Path) -> None:
    killed = worker(folder, 2, 600)
    wait_for(folder / "begun", killed)
    killed.send_signal(signal.SIGKILL)
    killed.wait()

    study, trained = run(folder, trials=2, seeds=[0], heartbeat=1, grace=2)

    table = trials_table(study, (0,), space(config()))
    dead, again = table.iloc[0], table[table["again"] == 0].iloc[0]
    assert dead["state"] == "interrupted"
    assert again["state"] == "complete"
    assert again[RATE] == dead[RATE]
    assert (dead[RATE], 0, 0) in trained.asked  # in the folder of its checkpoints
    assert (table["state"] == "complete").sum() == 2


@pytest.mark.parametrize(
    "end",
    [None, UserError("the loss is no longer finite"), KeyboardInterrupt()],
    ids=["scored", "refused", "interrupted"],
)
def test_a_worker_that_was_taken_for_dead_too_early_says_so_and_goes_on(
    folder: Path, end: BaseException | None, caplog: pytest.LogCaptureFixture
) -> None:
    options: dict[str, Any] = {"trials": 2, "seeds": [0], "grace": 60}

    class TakenForDead(Toy):
        """Is at its first trial when another worker marks that and queues it again."""

        def __call__(self, values: Any, seed: int, trial: int, progress: Progress) -> Score:
            if self.asked:
                return super().__call__(values, seed, trial, progress)
            study = open_toy(folder, config(**options))
            (running,) = study.get_trials(states=(TrialState.RUNNING,))
            study.tell(running.number, state=TrialState.FAIL)
            retrying(config(**options))(study, running)
            score = super().__call__(values, seed, trial, lambda *_: None)
            if end is not None:
                raise end
            return score

    if isinstance(end, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            run(folder, TakenForDead(), **options)
        study, _ = run(folder, **options)
    else:
        study, _ = run(folder, TakenForDead(), **options)

    assert caplog.text.count("trial 0 was taken for dead by another worker after 60 s") == 1
    table = trials_table(study, (0,), space(config()))
    assert list(table["state"]) == ["interrupted", "complete", "complete"]


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
def test_of_all_that_ends_a_trial_only_deaths_use_up_its_retries(folder: Path) -> None:
    options = config(retries=1)
    study, died = open_toy(folder, options), retrying(options)
    study.ask()
    for again in (queue_again, queue_again, died):  # Ctrl-C twice, and a death
        again(study, study.get_trials()[-1])
        assert study.get_trials()[-1].state is TrialState.WAITING
        study.ask()

    died(study, study.get_trials()[-1])

    assert study.get_trials()[-1].state is TrialState.RUNNING  # nothing was queued again


class Clock:
    """Time that passes only while somebody sleeps, for two minutes in all."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        assert self.now < 120, "waited for ever"


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
def test_a_process_killed_before_its_trial_began_is_not_waited_for_for_ever(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_toy(folder, config()).ask()  # and nobody ever trains it
    monkeypatch.setattr(trials, "time", clock := Clock())

    study, _ = run(folder, trials=1, seeds=[0], grace=60, heartbeat=30)

    assert 60 < clock.now < 70
    assert [trial.state for trial in study.get_trials()] == [
        TrialState.FAIL,
        TrialState.COMPLETE,
    ]


def test_a_study_that_can_give_nothing_up_by_epochs_says_so_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Blind(Toy):
        def __call__(self, values: Any, seed: int, trial: int, progress: Progress) -> Score:
            return super().__call__(
                values, seed, trial, lambda share, _: progress(share, lambda: None)
            )

    trials._say_never_looked_at.cache_clear()
    run(folder, Blind(), trials=3, seeds=[0])

    assert caplog.text.count("tune.prune_epochs gives no trial up") == 1


def test_two_workers_share_a_study_and_make_no_trial_twice(folder: Path) -> None:
    other = worker(folder, 8, 0.1)
    wait_for(folder / "begun", other)

    study, trained = run(folder, Slow(), trials=8, seeds=[0])

    assert other.wait() == 0
    assert [trial.number for trial in study.get_trials()] == list(range(8))
    assert len(set(rates(study))) == 8
    assert 0 < len(trained.asked) < 8


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("postgresql://me:secret@127.0.0.1:9/db", r"tune\.storage: .*(driver|reached)"),
        (
            "no secret",
            r"tune\.storage: what stands there is no address of a database.*sqlite:///",
        ),
        ("postgresql://me:secret@host:port/db", r"tune\.storage: what stands there cannot be"),
        ("postgresql://me:my@secret@127.0.0.1:9/db", r"tune\.storage: what stands there "),
        ("postgresql://127.0.0.1:9/db?password=secret", r"tune\.storage: postgresql.*:9/db "),
        ("sqlite:////proc/nowhere/study.db", r"tune\.storage: sqlite.*cannot be reached"),
    ],
)
def test_a_storage_that_cannot_be_reached_is_told_without_its_password(
    folder: Path, storage: str, message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        open_toy(folder, config(storage=storage))

    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_database_that_goes_away_during_a_study_is_told_in_one_sentence(
    folder: Path,
) -> None:
    class Spoils(Toy):
        def __call__(self, *asked: Any) -> Score:
            (folder / "study.db").write_bytes(b"gone" * 1024)
            return super().__call__(*asked)

    with (
        pytest.raises(UserError, match=r"tune\.storage: sqlite.* cannot be reached"),
        reached(url_of(config(), folder)),
    ):
        run(folder, Spoils(), **QUICK)


def test_a_study_of_another_space_is_refused_and_left_as_it_is(folder: Path) -> None:
    run(folder, **QUICK)
    wider = config(spaces={"toy": {RATE: {"name": "float", "low": 0.0, "high": 2.0}}})

    with pytest.raises(UserError, match=rf"'toy' in .*its space \({RATE}\).*tune\.study"):
        open_toy(folder, wider)

    assert len(open_toy(folder, config()).get_trials()) == 4


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
def test_a_study_with_other_seeds_is_another_study_once_it_has_a_trial(folder: Path) -> None:
    open_toy(folder, config(), seeds=[5])
    open_toy(folder, config(), seeds=[0]).ask()

    with pytest.raises(UserError, match=r"its seeds \(\[0\], not \[1\]\)"):
        open_toy(folder, config(), seeds=[1])


def test_what_alone_decides_the_score_is_all_that_matters(folder: Path) -> None:
    aside = "recipe.optimisation.weight_decay"
    number = {"name": "float", "low": 0.0, "high": 1.0}
    options = config(spaces={"toy": {RATE: number, aside: number}})
    study = open_toy(folder, options)
    study.optimize(lambda trial: space(options).suggest(trial)[RATE], n_trials=12)

    shares = importances(study)

    assert shares[RATE] > 0.8
    assert np.isclose(sum(shares.values()), 1)
