"""Options of Intelligent Masking: the paper's game with our repairs, and what the release does.

``docs/methods/intelligent_masking.md`` says by number what is the paper's, what its release's
and what ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from maskwise.bounds import Boxes, LearningRate, PartShare, PolicyWidth, Share, Side, Within
from maskwise.errors import UserError
from maskwise.pretrain.contracts import Setting
from maskwise.pretrain.policies.boxes import check_boxes, unequal_boxes
from maskwise.pretrain.policies.dqn.network import Head, Norm
from maskwise.pretrain.policies.dqn.policy import Dqn
from maskwise.pretrain.policies.dqn.replay import Replay
from maskwise.pretrain.policies.dqn.reward import Baseline, Form
from maskwise.pretrain.policies.dqn.schedule import Epsilon
from maskwise.pretrain.policies.dqn.target import Target
from maskwise.pretrain.schedule import ScheduleName

RELEASE: Mapping[str, Any] = {
    # The release's 8 x 8 places with boxes of 2 x 2, on the default grid of 16 x 16.
    "box": [4, 4],
    "stride": 2,
    "actions": "all_cells",
    "epsilon": {"schedule": "step", "start": 1.0, "end": 0.0, "share": 0.2},
    "ties": "first",
    "reward": "sum_full",
    "baseline": "none",
    "scale": "none",
    "loss": "squared",
    "gradient_clip": None,
    "learning_rate": 1e-3,
    "schedule": "thirds",
    "q_network": "encoder_copy",
}
"""What the authors' code does, each line a numbered departure of the method's page."""


Least = Annotated[float, Within(1e-12, 1e6)]
"""Of what something is divided by."""


@dataclass(frozen=True)
class DqnConfig:
    """Options of ``dqn``; the defaults are the paper's game with the repairs of our page."""

    preset: Literal["paper", "release"] = "paper"
    """``release`` sets what the authors' code does, scaled to the default grid."""
    box: tuple[Side, Side] = (5, 5)
    """Height and width, grid cells."""
    stride: Side = 1
    """Grid cells between neighbouring places."""
    actions: Literal["valid", "all_cells"] = "valid"
    """``all_cells``: as in the release, the greedy box may overhang and is cropped."""
    boxes: Boxes = 1
    """Boxes per episode, T."""
    discount: Share = 0.9
    """Of later boxes' rewards, in [0, 1]; of no effect with one box."""
    least_new: Annotated[float, Within(0.01, 1)] = 0.5
    """Share of a later box that must be newly hidden, in (0, 1]."""
    fill_to: PartShare | None = None
    """Share of the cells to which single ones, drawn at random, are hidden beside the boxes;
    null = none. Then as many are hidden in every image, which some objectives need."""
    epsilon: Epsilon = field(default_factory=Epsilon)
    ties: Literal["random", "first"] = "random"
    """Among equal Q; ``first`` in raster order is the release's."""
    reward: Form = "mask_mean"
    """``sum_full``, over all pixels, is the release's."""
    pool_px: Side = 1
    """Compare means of so many pixels squared; must divide a cell."""
    normalise: Literal["none", "variance"] = "none"
    """``variance``: relate the error to the variance of the pixels that were hidden."""
    variance_floor: Least = 0.01
    """Added to both, normalised intensity squared; must lie above the noise's variance."""
    baseline: Baseline = "global"
    baseline_decay: Annotated[float, Within(0, 0.9999)] = 0.9
    """Of the running means, per visit, in [0, 1)."""
    scale: Literal["deviation", "none"] = "deviation"
    """Divide by the running deviation and clip."""
    clip: Least = 5.0
    """Deviations."""
    loss: Literal["huber", "squared"] = "huber"
    learning_rate: LearningRate = 2e-3
    """Of Adam, at its start; the release has 1e-3."""
    schedule: ScheduleName = "cosine"
    """Of that rate, over the run: at a constant rate late steps undo what was learnt. The
    release has ``thirds``, for both networks."""
    gradient_clip: Least | None = 10.0
    """Largest norm of the Q-network's gradient; null = none."""
    q_network: Literal["small", "encoder_copy"] = "small"
    width: PolicyWidth = 16
    """Channels of the small network; 24 doubled its time and taught it nothing more."""
    norm: Norm = "group"
    head: Head = "box"
    dueling: bool = False
    double: bool = True
    """Choose the next place by the network, value it by the target network."""
    target: Target = field(default_factory=Target)
    replay: Replay = field(default_factory=Replay)
    told: Literal["own", "shuffled"] = "own"
    """``shuffled`` is a control, no method: every image is told the reward of another one."""

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {}, "release": RELEASE}

    @property
    def pixel_option(self) -> str:
        if self.reward == "sum_full":
            return "reward: sum_full"
        return f"pool_px: {self.pool_px}" if self.pool_px > 1 else ""

    def __post_init__(self) -> None:
        if self.reward == "sum_full":
            self._refuse(
                "reward: sum_full", ("boxes", 1), ("pool_px", 1), ("normalise", "none")
            )
        if self.q_network == "encoder_copy":
            self._refuse("q_network: encoder_copy", ("boxes", 1), ("dueling", False))

    def _refuse(self, option: str, *needed: tuple[str, object]) -> None:
        for name, value in needed:
            if getattr(self, name) != value:
                raise ValueError(f"{option} needs {name}: {value}")

    def unequal(self) -> str | None:
        if self.actions == "all_cells":
            return "actions: all_cells, whose boxes are cropped; take actions: valid"
        return unequal_boxes(self.boxes, self.fill_to)

    def comparing(self) -> str | None:
        """To relate an error to the variance of some pixels it must be that of these pixels."""
        return None if self.normalise == "none" else "normalise: variance; take normalise: none"

    def build(self, setting: Setting) -> Dqn:
        """Build the policy with fresh weights from torch's global generator."""
        check_boxes(self.box, self.boxes, self.fill_to, setting.grid)
        cell = (setting.height // setting.grid[0], setting.width // setting.grid[1])
        if any(side % self.pool_px for side in cell):
            raise UserError(
                f"policy.pool_px: {self.pool_px} does not divide a grid cell of {cell[0]} x "
                f"{cell[1]} pixels; choose a divisor"
            )
        return Dqn(self, setting)
