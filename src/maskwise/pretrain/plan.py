"""What the loop is to do, all of it decided before the first step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from maskwise.masks import Grid
from maskwise.pretrain.divergence import Diverged
from maskwise.pretrain.learner import Course
from maskwise.pretrain.policy_workers import Assemble
from maskwise.pretrain.records import Report


@dataclass(frozen=True)
class Plan:
    """What the loop is to do."""

    replicate: str
    """For messages: recipe and seed."""
    seed: int
    grid: Grid
    course: Course
    """How the network learns."""
    checkpoint_every: int
    """Steps."""
    gallery_moments: int
    assemble: Assemble
    """Builds the run's objective, policy and batches anew, for worker processes."""
    watches: int = 0
    """Epochs after which the watched images' features are measured."""
    stop_collapsed: bool = False
    """Whether a network whose features collapsed ends the run."""
    snapshots: Mapping[int, Callable[[], None]] = field(default_factory=dict)
    """Step -> what keeps the network as it is after it."""
    report: Report | None = None
    """Is told each row of the history; what it raises ends the run."""
    pixels: bool = True
    """Whether the policy learns from the error of every pixel."""
    live: bool = False
    """Whether somebody watches: figures go to Fabric's loggers."""
    finite_only: bool = False
    """Whether every step is looked at for numbers that are not finite."""
    keep: Callable[[Diverged], str] = lambda diverged: ""
    """Keeps a step that diverged, and returns a sentence about it."""
