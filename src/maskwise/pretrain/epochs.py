"""The epochs of a run: when they end, the figures of each and the pictures of a few."""

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
from torch import Generator

from maskwise import seeds
from maskwise.artefacts.gallery import Gallery
from maskwise.errors import UserError
from maskwise.pretrain.contracts import Policy
from maskwise.pretrain.diagnostics import Frame, Probe, Watch, draw, measure, pack, warnings
from maskwise.pretrain.diagnostics.symptoms import COLLAPSED, collapsed
from maskwise.pretrain.diagnostics.watching import told
from maskwise.pretrain.learner import Learner
from maskwise.pretrain.means import Means
from maskwise.pretrain.plan import Plan
from maskwise.pretrain.records import framed, plain, table_of
from maskwise.pretrain.schedule import epoch_ends, moments

if TYPE_CHECKING:
    from lightning_fabric import Fabric

log = logging.getLogger(__name__)


class Epochs:
    """What a run says of itself, epoch by epoch; none of it changes anything of the run.

    Args:
        plan: Of the run.
        fabric: What the networks run on.
        learner: Of the network.
        policy: On the device of ``fabric``.
        probe: The images that the policy is asked about, and the network draws.
        watch: Those whose features are measured, if any are.
        steps_per_epoch: Of the batches; an epoch may end within a step.
    """

    def __init__(
        self,
        plan: Plan,
        fabric: "Fabric",
        learner: Learner,
        policy: Policy[Any],
        probe: Probe,
        watch: Watch | None,
        steps_per_epoch: float,
    ) -> None:
        self.plan, self.fabric, self.device = plan, fabric, fabric.device
        self.learner, self.policy, self.watch = learner, policy, watch
        self.probe = probe.to(self.device)
        self.means = Means(self.device)
        """Of the steps since the last epoch ended."""
        self.history: list[dict[str, float]] = []
        self.frames: dict[int, Frame] = {}
        self._ends = epoch_ends(plan.course.timeline.steps, steps_per_epoch)
        """Steps after which each epoch is over."""
        self.number = len(self._ends)
        self._drawn = moments(self.number, plan.gallery_moments)
        looks = self.number if plan.stop_collapsed else plan.watches
        self._watched = moments(self.number, looks) if looks else set()

    @property
    def now(self) -> int:
        """The epoch that is under way, from 1."""
        return len(self.history) + 1

    @property
    def begun(self) -> int:
        """Steps made before the epoch that is under way."""
        return self._ends[len(self.history) - 1] if self.history else 0

    def over(self, step: int) -> bool:
        """Return whether the epoch that is under way ends after ``step`` steps."""
        return step == self._ends[len(self.history)]

    def begin(self) -> None:
        """Say how the watched images' features lie before the first step."""
        if self._watched and self.watch is not None:
            figures = told(self.watch.measure(self.learner.objective, self.device))
            log.info("pretrain %s: before the first step: %s.", self.plan.replicate, figures)

    def end(self, step: int, say: Callable[[str], None]) -> None:
        """Measure the epoch that is over after ``step`` steps, and ``say`` what is watched.

        Raises:
            UserError: if features collapsed, where that is to end the run.
        """
        epoch, objective = self.now, self.learner.objective
        row = {"epoch": epoch, "step": step, **self.means.read()}
        row["learning_rate"] = max(group["lr"] for group in self.learner.optimiser.param_groups)
        row |= measure(self.probe, self.policy, self._looking(epoch))
        if epoch in self._drawn:
            with self.fabric.autocast():
                # The same stream: what is drawn and kept is what was measured.
                frame = draw(self.probe, self.policy, objective, self._looking(epoch))
            self.frames[epoch] = frame
            row |= frame.errors
        if epoch in self._watched and self.watch is not None:
            figures = self.watch.measure(objective, self.device)
            say(told(figures))
            row |= figures
        self.history.append(row)
        if self.plan.live:
            self.fabric.log_dict({f"epoch/{name}": each for name, each in row.items()}, step)
        if self.plan.stop_collapsed and collapsed(table_of(self.history)):
            raise UserError(
                f"pretrain {self.plan.replicate}: {COLLAPSED} (epoch {epoch}; "
                "pretrain.on_collapse: warn goes on all the same)"
            )
        if self.plan.report is not None:
            self.plan.report(row)

    def _looking(self, epoch: int) -> Generator:
        """Return a generator of its own: looking at the policy changes nothing of the run."""
        generator = Generator(self.device)
        return generator.manual_seed(seeds.torch_seed(self.plan.seed, "measure", epoch))

    def results(self) -> tuple[pd.DataFrame, Gallery]:
        """Return the history and the gallery, and warn of what looks wrong in the former."""
        history = table_of(self.history)
        for sentence in warnings(history):
            log.warning("pretrain %s: %s.", self.plan.replicate, sentence)
        frames = list(self.frames.values())
        return history, pack(self.probe, list(self.frames), frames, self.policy.learns)

    def state_dict(self) -> dict[str, Any]:
        return {
            "means": self.means.state_dict(),
            "history": self.history,
            "frames": {epoch: plain(frame) for epoch, frame in self.frames.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.means.load_state_dict(state["means"])
        self.history = state["history"]
        self.frames = {epoch: framed(plain) for epoch, plain in state["frames"].items()}
