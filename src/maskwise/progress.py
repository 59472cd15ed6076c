"""What is happening: bars with time left, and a run's figures that go into ``run.json``."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TextIO

from tqdm import tqdm

from maskwise.wording import count

log = logging.getLogger(__name__)

ESTIMATE_AFTER = 20
"""Steps after which a bar says how long it will take; the very first are slower."""
SECONDS_BETWEEN_LINES = 10.0
"""Where there is no terminal to redraw a bar on."""


@dataclass
class RunFacts:
    """Figures of one node's run that differ from run to run: no artefact may hold them."""

    values: dict[str, float | str] = field(default_factory=dict)


@dataclass
class Plan:
    """The optimiser steps of all replicates that this process is going to run."""

    total_steps: int
    done_steps: int = 0


_FACTS: ContextVar[RunFacts | None] = ContextVar("maskwise_run_facts", default=None)
_PLAN: ContextVar[Plan | None] = ContextVar("maskwise_plan", default=None)


@contextmanager
def collecting_facts() -> Iterator[RunFacts]:
    """Collect what ``note`` is told while the block runs."""
    facts, before = RunFacts(), _FACTS.get()
    _FACTS.set(facts)
    try:
        yield facts
    finally:
        # A run that is told to stop may end it in another context, where a token is none.
        _FACTS.set(before)


def note(**values: float | str) -> None:
    """Tell whoever collects facts (``images_per_second=412.0``); otherwise do nothing."""
    facts = _FACTS.get()
    if facts is not None:
        facts.values.update(values)


@contextmanager
def planning(total_steps: int) -> Iterator[Plan]:
    """Let the bars opened in the block know how many steps the whole run has."""
    plan, before = Plan(total_steps), _PLAN.get()
    _PLAN.set(plan)
    try:
        yield plan
    finally:
        _PLAN.set(before)


class Bar:
    """A running bar; ``step`` after every optimiser step."""

    def __init__(
        self,
        name: str,
        steps: int,
        images_per_step: int,
        done: int,
        images: int,
        estimate_after: int,
        may_stop: bool,
        out: TextIO,
    ) -> None:
        self._estimate_after, self._may_stop = estimate_after, may_stop
        self._name, self._steps, self._images = name, steps, images_per_step
        self._first, self._done, self._start = done, done, time.perf_counter()
        self._plan = _PLAN.get()
        self._count_in_plan(done)
        terminal = out.isatty()
        self._tqdm = tqdm(
            desc=name,
            total=images,
            initial=done * images_per_step,
            unit=" images",
            file=out if terminal else _Lines(out),
            mininterval=0.1 if terminal else SECONDS_BETWEEN_LINES,
            miniters=1,
            dynamic_ncols=terminal,
        )

    @property
    def images_per_second(self) -> float:
        """Of the steps made since the bar was opened."""
        seconds = time.perf_counter() - self._start
        return float(self._tqdm.n - self._tqdm.initial) / max(seconds, 1e-9)

    def epoch(self, epoch: int, epochs: int) -> None:
        """Show which epoch has begun, counted from 1."""
        self._tqdm.set_description_str(
            f"{self._name}, epoch {epoch} of {epochs}", refresh=False
        )

    def step(self) -> None:
        """Count one optimiser step; say once how long the rest will take."""
        self._done += 1
        self._count_in_plan(1)
        left = int(self._tqdm.total) - int(self._tqdm.n)
        self._tqdm.update(min(self._images, left))
        if self._done - self._first == self._estimate_after and self._done < self._steps:
            self._estimate()

    def say(self, text: str) -> None:
        """Show ``text`` beside the bar until something else is said."""
        self._tqdm.set_postfix_str(text, refresh=False)

    def leave_out(self, steps: int) -> None:
        """Take ``steps`` that will not be made from what is left, here and in the plan."""
        self._steps -= steps
        self._tqdm.total -= min(steps * self._images, int(self._tqdm.total) - int(self._tqdm.n))
        if self._plan is not None:
            self._plan.total_steps -= steps

    def close(self) -> None:
        self._tqdm.close()

    def _count_in_plan(self, steps: int) -> None:
        if self._plan is not None:
            self._plan.done_steps += steps

    def _estimate(self) -> None:
        seconds = (time.perf_counter() - self._start) / self._estimate_after
        left = self._steps - self._done
        about = "at most" if self._may_stop else "about"
        message = f"{self._name}: {count(left, 'step')} left, {about} {spoken(left * seconds)}"
        if self._plan is not None and self._plan.total_steps > self._plan.done_steps:
            whole = (self._plan.total_steps - self._plan.done_steps) * seconds
            message += f"; at this speed all training takes {about} {spoken(whole)} more"
        log.info("%s", message)


@contextmanager
def bar(
    stage: str,
    replicate: str,
    steps: int,
    images_per_step: int,
    done: int = 0,
    images: int | None = None,
    estimate_after: int = ESTIMATE_AFTER,
    may_stop: bool = False,
) -> Iterator[Bar]:
    """Show a bar on stderr: stage, replicate, epoch, images/s and the time left.

    Without a terminal it writes a line every ten seconds. ``steps`` is the number of optimiser
    steps of the bar, ``done`` how many of them an earlier, interrupted run already made;
    ``images`` is their number where the last step has fewer than the others. How long it will
    take is said after ``estimate_after`` steps: there may be work between steps that counts.
    With ``may_stop`` the steps are the most that there can be, and so is the time.
    """
    every = steps * images_per_step if images is None else images
    shown = Bar(
        f"{stage} {replicate}",
        steps,
        images_per_step,
        done,
        every,
        estimate_after,
        may_stop,
        sys.stderr,
    )
    try:
        yield shown
    finally:
        shown.close()


def spoken(seconds: float) -> str:
    """Say a duration as people do: ``40 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


class _Lines:
    """Turns a bar that redraws itself into lines, for logs and CI."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, text: str) -> int:
        line = text.strip("\r\n\x1b[A ")
        return self._out.write(f"{line}\n") if line else 0

    def flush(self) -> None:
        self._out.flush()

    def isatty(self) -> bool:
        return False
