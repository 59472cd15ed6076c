"""Bars and figures: what a user sees while a run goes on."""

import contextvars
import io
import logging
from contextlib import ExitStack
from typing import Any

import pytest

from maskwise import progress


def lines(text: str) -> list[str]:
    return text.strip().splitlines()


def test_without_a_terminal_a_bar_is_lines_with_stage_replicate_speed_and_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    with progress.bar("pretrain", "dqn seed 0", steps=4, images_per_step=32) as bar:
        for epoch in (1, 2):
            bar.epoch(epoch, 2)
            bar.step()
            bar.step()
    shown = capsys.readouterr().err
    assert "\r" not in shown
    assert "pretrain dqn seed 0, epoch 2 of 2" in lines(shown)[-1]
    assert "128/128" in lines(shown)[-1]
    assert "images/s" in lines(shown)[-1]


def test_a_slow_line_writer_is_not_asked_at_every_step(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress.bar("pretrain", "dqn seed 0", steps=500, images_per_step=1) as bar:
        for _ in range(500):
            bar.step()
    assert len(lines(capsys.readouterr().err)) <= 3


def test_on_a_terminal_the_bar_redraws_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with progress.bar("finetune", "scratch seed 1", steps=2, images_per_step=8) as bar:
        bar.step()
        bar.step()
    assert "\r" in terminal.getvalue()
    assert "finetune scratch seed 1" in terminal.getvalue()


def test_after_20_steps_it_says_once_how_long_the_rest_will_take(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    with progress.bar("pretrain", "dqn seed 0", steps=50, images_per_step=32) as bar:
        for step in range(50):
            assert len(caplog.messages) == (step >= 20)
            bar.step()
    assert caplog.messages[0].startswith("pretrain dqn seed 0: 30 steps left, about ")


def test_it_also_says_how_long_the_whole_run_will_take(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    with (
        progress.planning(total_steps=1000) as plan,
        progress.bar("pretrain", "dqn seed 0", steps=50, images_per_step=32, done=10) as bar,
    ):
        for _ in range(20):
            bar.step()
        assert plan.done_steps == 30
    assert "at this speed all training takes about" in caplog.messages[0]


def test_a_resumed_bar_begins_where_the_run_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.bar("pretrain", "dqn seed 0", steps=4, images_per_step=32, done=3) as bar:
        bar.step()
    shown = lines(capsys.readouterr().err)
    assert "96/128" in shown[0]
    assert "128/128" in shown[-1]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (40.4, "40 s"), (720, "12 min"), (12_000, "3 h 20 min")],
)
def test_a_duration_is_said_as_people_say_it(seconds: float, words: str) -> None:
    assert progress.spoken(seconds) == words


def test_noted_figures_reach_whoever_collects_them_and_nobody_else() -> None:
    progress.note(images_per_second=1.0)
    with progress.collecting_facts() as facts:
        progress.note(images_per_second=412.0)
        progress.note(device="cpu")
    progress.note(images_per_second=2.0)
    assert facts.values == {"images_per_second": 412.0, "device": "cpu"}


def test_a_bar_whose_last_step_is_not_full_ends_at_the_number_of_images(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress.bar("predict", "scans", 2, 64, images=70) as shown:
        shown.step()
        shown.step()
    assert "70/70" in capsys.readouterr().err


@pytest.mark.parametrize("opened", [progress.collecting_facts, lambda: progress.planning(3)])
def test_what_a_run_opened_may_be_closed_from_another_context(opened: Any) -> None:
    with ExitStack() as stack:
        contextvars.copy_context().run(stack.enter_context, opened())
