"""Hide what is hard now: AnatoMask's teacher or HPM's predictor says which cells that are.

``docs/methods/hardest.md`` says what is the papers', what their releases', and what is ours.
"""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Generator, Tensor

from maskwise.bounds import LearningRate, PartShare, Share
from maskwise.masks import Grid, highest
from maskwise.pretrain.contracts import Batch, Outcome, PlaceMap, Proposal, Setting
from maskwise.pretrain.policies.cells import hidden_cells, ranked, uniform
from maskwise.pretrain.policies.hardest.predictor import Predictor
from maskwise.pretrain.policies.hardest.teacher import Teacher
from maskwise.pretrain.policies.momentum import Momentum


@dataclass(frozen=True)
class HardestConfig:
    """From masks at random to masks of which half are the hardest cells."""

    ratio: PartShare = 0.5
    """Share of the cells that is hidden, to the nearest cell."""
    source: Literal["teacher_loss", "predictor"] = "teacher_loss"
    """Who says what is hard: a slow copy of the network, by its error on cells at random; or a
    small network that learns to predict the error."""
    coverage: Literal["single", "complementary"] = "single"
    """``single`` tests the teacher on as many cells as are hidden; ``complementary`` on all, in
    1 / ratio passes instead of one."""
    share_start: Share = 0.0
    """Share of the hidden cells that are the hardest ones; the others are drawn at random."""
    share_end: Share = 0.5
    order: Literal["easy_to_hard", "hard_to_easy", "constant"] = "easy_to_hard"
    """From ``share_start`` to ``share_end``, back, or at ``share_end`` throughout."""
    teacher: Momentum = field(default_factory=Momentum)
    relative: bool = True
    """The predictor learns which of two cells is the harder; false: how hard each is."""
    learning_rate: LearningRate = 1e-3
    """Of the predictor, by Adam."""

    def __post_init__(self) -> None:
        if self.source == "predictor" and self.coverage != "single":
            raise ValueError("coverage: complementary needs source: teacher_loss")
        if self.source == "teacher_loss" and not self.relative:
            raise ValueError("relative: false needs source: predictor")

    def share(self, progress: float) -> float:
        """Return the share of hard cells after the share ``progress`` of the run."""
        if self.order == "constant":
            return self.share_end
        done = progress if self.order == "easy_to_hard" else 1 - progress
        return self.share_start + (self.share_end - self.share_start) * done

    def comparing(self) -> str | None:
        """All of it does: what is hard is found among the cells of one image."""
        return "name: hardest; take dqn, or a3c with reward: {credit: image}"

    def build(self, setting: Setting) -> "Hardest":
        """Build the policy round a copy of ``setting.objective``, or round a new predictor.

        Raises:
            ValueError: if the setting has no objective for the teacher to copy.
        """
        number = hidden_cells(self.ratio, setting.grid)
        if self.source == "predictor":
            predictor = Predictor(setting, number, self.relative, self.learning_rate)
            return Hardest(self, setting, predictor, number)
        if setting.objective is None:
            raise ValueError("objective is None, but the teacher is a copy of it")
        cells = setting.grid[0] * setting.grid[1]
        passes = 1 if self.coverage == "single" else math.ceil(cells / number)
        teacher = Teacher(setting, setting.objective, self.teacher, number, passes)
        return Hardest(self, setting, teacher, number)


@dataclass(frozen=True)
class HardestProposal(Proposal):
    """The mask, what it was chosen for, and how many of its cells are the hardest ones."""

    batch: Batch
    hard: int


class Hardest:
    """Hides the cells that its judge finds hardest, and fills up at random."""

    learns = True

    def __init__(
        self, config: HardestConfig, setting: Setting, judge: Teacher | Predictor, number: int
    ) -> None:
        self.config, self.judge, self.number = config, judge, number
        self.chunk = max(1, setting.batch_size)
        self.progress: float | None = None

    def propose(self, batch: Batch, grid: Grid, generator: Generator) -> HardestProposal:
        hard = self._hard(batch.progress)
        lots, tests = (uniform(batch.images, grid, generator) for _ in range(2))
        return HardestProposal(self._mask(batch, lots, tests, hard, grid), batch, hard)

    def _hard(self, progress: float) -> int:
        """Return how many hidden cells are to be hard ones; none before anything was learnt."""
        if self.progress is None:
            return 0
        return round(self.config.share(progress) * self.number)

    def _mask(self, batch: Batch, lots: Tensor, tests: Tensor, hard: int, grid: Grid) -> Tensor:
        if not hard:  # nobody need be asked what is hard
            return highest(lots, self.number, grid)
        difficulty = self.judge.difficulty(batch, tests, grid)
        return hide(difficulty, lots, hard, self.number, grid)

    def learn(self, proposal: HardestProposal, outcome: Outcome) -> dict[str, Tensor]:
        """Teach the judge; the network that is trained is looked at only."""
        figures = self.judge.learn(proposal.batch, outcome, self.progress)
        self.progress = proposal.batch.progress
        share = outcome.error_map.new_tensor(proposal.hard / self.number)
        return {"hard_share": share, **figures}

    def maps(self, images: Tensor, grid: Grid) -> PlaceMap:
        """Return how hard the judge finds each cell; the same cells are tested every time."""
        tests = uniform(images, grid, Generator().manual_seed(0))
        opinions = [
            self.judge.opinion(self._alone(chunk), part, grid)
            for chunk, part in zip(
                images.split(self.chunk), tests.split(self.chunk), strict=True
            )
        ]
        return PlaceMap(torch.cat(opinions).reshape(-1, *grid), (1, 1))

    def choose_masks(self, images: Tensor, grid: Grid, generator: Generator) -> Tensor:
        hard = self._hard(self.progress or 0.0)
        draws = (uniform(images, grid, generator).split(self.chunk) for _ in range(2))
        parts = [
            self._mask(self._alone(chunk), lots, tests, hard, grid)
            for chunk, lots, tests in zip(images.split(self.chunk), *draws, strict=True)
        ]
        return torch.cat(parts)

    def _alone(self, images: Tensor) -> Batch:
        """Return images that come from no step as a batch of strangers."""
        rows = torch.arange(len(images), device=images.device)
        return Batch(images, rows, rows, rows, self.progress or 0.0)

    def state_dict(self) -> dict[str, Any]:
        return {"judge": self.judge.state_dict(), "progress": self.progress}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.judge.load_state_dict(state["judge"])
        self.progress = state["progress"]

    def to(self, device: torch.device | str) -> "Hardest":
        """Move what judges; the network that is trained moves by itself."""
        self.judge.to(device)
        return self


def hide(difficulty: Tensor, lots: Tensor, hard: int, number: int, grid: Grid) -> Tensor:
    """Hide the ``hard`` hardest cells, and others at random up to ``number``.

    ``difficulty`` and ``lots`` ``(B, L)``; lots are uniform in [0, 1), choose the others and
    break ties. Returns bool ``(B, gh, gw)``.
    """
    hardest = ranked(difficulty, lots) >= lots.shape[1] - hard
    return highest(torch.where(hardest, 2.0, lots), number, grid)
