"""A long run can be watched while it is at work, and an absent tracker is one sentence."""

from pathlib import Path

import pytest

from maskwise.errors import UserError
from maskwise.pretrain import trackers
from pretrain.toys import RANDOM_BOX, make_run, make_store, pretrain


def test_tensorboard_is_shown_the_history(tmp_path: Path) -> None:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="tensorboard is not installed",
    )
    run = make_run(tmp_path / "run", RANDOM_BOX, trackers=("tensorboard",))
    history = pretrain(*make_store(tmp_path / "store"), run).history
    written = accumulator.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    written.Reload()
    shown = [(event.step, event.value) for event in written.Scalars("epoch/loss")]
    expected = list(zip(history["step"], history["loss"], strict=True))
    assert [step for step, _ in shown] == [step for step, _ in expected]
    assert [value for _, value in shown] == pytest.approx([loss for _, loss in expected])


def test_a_tracker_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(trackers.NEEDED, "dvclive", ("no_such_package",))
    with pytest.raises(UserError, match=r"pretrain.trackers: dvclive needs the package"):
        trackers.check_trackers(("dvclive",))
