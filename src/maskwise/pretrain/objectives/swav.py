"""Predict one view's cluster from another, small crops included (SwAV; Caron et al. 2020).

Equations 1 to 4 of the paper; the order of a step, the queue and the frozen prototypes are
those of the authors' code: ``docs/methods/swav.md``.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from maskwise.bounds import Positive, Share, Side, Within
from maskwise.encoders.contract import Encoder
from maskwise.errors import UserError
from maskwise.pretrain.contracts import Batch, Outcome, Setting
from maskwise.pretrain.objectives.masked_views import ComparesViews, image_errors, masked_pair
from maskwise.pretrain.objectives.projecting import Projecting, in_full, projector
from maskwise.pretrain.objectives.ring import Entries, Ring
from maskwise.pretrain.objectives.sinkhorn import sinkhorn
from maskwise.pretrain.views import Views, ViewsConfig, view_seeds
from maskwise.ranks import Ranks

GLOBAL = 2
"""Views of the image's size: these alone assign codes."""
MOST_FROZEN = 0.2
"""Share of the steps in which the prototypes may stand still."""


@dataclass(frozen=True)
class SwavConfig(ComparesViews):
    """Cross-entropy between the codes of one view and the softmax of every other."""

    preset: Literal["wolf_release"] | None = None
    """``wolf_release``: what the CT comparison of Wolf et al. 2023 really ran."""
    temperature: Annotated[float, Within(0, 100, above=True)] = 0.1
    epsilon: Positive = 0.05
    """How soft the codes are; .03 against collapse."""
    iterations: Annotated[int, Within(1, 1000)] = 3
    """Of Sinkhorn and Knopp's."""
    hidden: Annotated[int, Within(1, 16_384)] = 512
    """Width of the projector's hidden layer; published: 2048."""
    embedding: Annotated[int, Within(1, 16_384)] = 128
    """Width of what is compared."""
    prototypes: Annotated[int, Within(2, 10**5)] | None = None
    """Three to ten times the clusters that are expected; null = 128 below 5,000 images, 300
    below 50,000, else 3000."""
    queue: Annotated[int, Within(0, 10**6)] | None = None
    """Earlier embeddings of each assigning view that the codes are shared out over too, in
    whole batches; null = 8 batches."""
    queue_from: Share = 0.15
    """Share of the steps after which the queue is used; before, it would disturb."""
    freeze_prototypes_steps: Annotated[int, Within(0, 10**7)] | None = None
    """First steps in which the prototypes stand still; null = an epoch or 300, at most 5 % of
    the run."""
    freeze_prototypes_epochs: Annotated[int, Within(0, 10**6)] = 0
    """A defect of the release, which counts epochs where the authors count steps."""
    crops: Annotated[int, Within(0, 64)] = 4
    """Small views beside the two large ones."""
    crop_side: Side | None = None
    """Pixels of a small view, one side; null = half of the image's sides."""
    crop_views: ViewsConfig = field(
        default_factory=lambda: ViewsConfig(least_area=0.1, most_area=0.35)
    )

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "wolf_release": {
            "hidden": 2048,
            "prototypes": 500,
            "queue": 0,
            "freeze_prototypes_steps": 0,
            "freeze_prototypes_epochs": 313,
            "crops": 6,
            "views": {"least_area": 0.9, "rotation": 0.0, "gamma": 0.0, "noise": 0.0},
            "crop_views": {
                "least_area": 0.1,
                "most_area": 0.33,
                "rotation": 0.0,
                "gamma": 0.0,
                "noise": 0.0,
            },
        }
    }

    def __post_init__(self) -> None:
        if self.freeze_prototypes_epochs and self.freeze_prototypes_steps:
            raise ValueError(
                "freeze_prototypes_steps and freeze_prototypes_epochs say one thing in two "
                "ways; leave the second out, which is a defect of the release"
            )

    def build(self, setting: Setting, encoder: Encoder) -> "Swav":
        if setting.batch_size < 2:
            raise UserError(
                "objective.name: swav's projector has batch norm, which needs 2 images or more "
                f"at a time, but it sees {setting.batch_size}; take a larger batch_size, or a "
                "smaller optimisation.accumulate"
            )
        return Swav(self, setting, encoder)

    def number(self, setting: Setting) -> int:
        """Return how many prototypes there are, or raise ``UserError``."""
        images = setting.trained_on
        if self.prototypes is None:
            if images is None:
                return 128
            usual = 128 if images < 5_000 else 300 if images < 50_000 else 3_000
            return min(usual, images)
        if images is not None and self.prototypes > images:
            raise UserError(
                f"objective.prototypes: {self.prototypes} are more than the {images} images "
                "that the run draws from, so that not every one could have an image of its "
                "own; take fewer"
            )
        return self.prototypes

    def length(self, setting: Setting) -> int:
        """Return how many embeddings the queue of a view holds, or raise ``UserError``."""
        size, images = setting.batch_size, setting.trained_on
        if self.queue is None:
            length = 8 * size
            return length if images is None else min(length, images // size * size)
        if images is not None and self.queue > images:
            raise UserError(
                f"objective.queue: {self.queue} embeddings are more than the {images} images "
                "that the run draws from; take fewer, or null"
            )
        if self.queue % size:
            raise UserError(
                f"objective.queue: {self.queue} is no number of whole batches of {size} "
                f"images; take {max(1, round(self.queue / size)) * size}, 0 or null"
            )
        return self.queue

    def frozen(self, setting: Setting) -> int:
        """Return for how many steps the prototypes stand still, or raise ``UserError``."""
        if self.freeze_prototypes_epochs:
            return math.ceil(self.freeze_prototypes_epochs * setting.steps_per_epoch)
        if self.freeze_prototypes_steps is None:
            return round(min(max(setting.steps_per_epoch, 300), 0.05 * setting.steps))
        if self.freeze_prototypes_steps > MOST_FROZEN * setting.steps:
            raise UserError(
                f"objective.freeze_prototypes_steps: {self.freeze_prototypes_steps} are more "
                f"than {MOST_FROZEN:.0%} of the {setting.steps} steps; the number counts "
                "steps, not epochs"
            )
        return self.freeze_prototypes_steps

    def crop_size(self, setting: Setting, encoder: Encoder) -> tuple[int, int]:
        """Return height and width of a small view, or raise ``UserError``."""
        height, width = setting.height, setting.width
        if self.crop_side is None:
            size = (max(1, height // 2), max(1, width // 2))
        else:
            size = (self.crop_side, self.crop_side)
        if self.crops and (size[0] > height or size[1] > width):
            raise UserError(
                f"objective.crop_side: {self.crop_side} pixels are more than an image of "
                f"{height} x {width} has; choose a smaller crop"
            )
        if self.crops and min(size) < encoder.strides[-1]:
            raise UserError(
                f"objective.crop_side: a crop of {size[0]} x {size[1]} pixels is smaller than "
                f"what a last feature of the encoder stands for, {encoder.strides[-1]}; choose "
                "a larger crop, crops: 0, or a smaller encoder.stride"
            )
        return size


class Swav(Projecting):
    """The encoder, a projector and unit prototypes ``(K, D)``."""

    def __init__(self, config: SwavConfig, setting: Setting, encoder: Encoder) -> None:
        width, out = encoder.channels[-1], config.embedding
        super().__init__(encoder, projector(width, config.hidden, out, norm=True))
        self.config, self.steps = config, 0
        self.frozen = config.frozen(setting)
        drawn = torch.randn(config.number(setting), out)
        self.prototypes = nn.Parameter(nn.functional.normalize(drawn, dim=1))
        self.views = Views(config.views, setting)
        self.crops = Views(config.crop_views, setting, config.crop_size(setting, encoder))
        length = config.length(setting)
        self.queues = nn.ModuleList(Ring(length, out) for _ in range(GLOBAL))
        self.progress = 0.0
        self._waiting: list[tuple[Entries, ...]] = []

    def forward(self, batch: Batch, mask: Tensor) -> Outcome:
        vectors = nn.functional.normalize(self._embedded(batch, mask), dim=1)
        prototypes = self.prototypes if self.steps >= self.frozen else self.prototypes.detach()
        with in_full(vectors):
            scores = vectors @ prototypes.T
        scores = scores.reshape(GLOBAL + self.config.crops, -1, len(prototypes))
        large = vectors.detach()[: GLOBAL * len(batch.index)].chunk(GLOBAL)
        codes = [self._codes(view, each) for view, each in enumerate(large)]
        losses = swapped(scores, codes, self.config.temperature)
        if self.training:
            gather = self.ranks.gather
            about = (gather(batch.index), gather(batch.group))
            entries = (Entries(gather(each), *about) for each in large)
            self._waiting.append(tuple(entries))
        return Outcome(
            loss=losses.mean(),
            error_map=image_errors(losses, mask, self.config.reward),
            figures=_figures(codes, self.ranks),
        )

    def stepped(self, progress: float) -> None:
        """Enqueue the step's embeddings, and bring the prototypes back to unit length."""
        for entries in self._waiting:
            for queue, each in zip(self.queues, entries, strict=True):
                cast(Ring, queue).push(each)
        self._waiting.clear()
        self.steps += 1
        self.progress = progress
        if self.steps > self.frozen:
            with torch.no_grad():
                self.prototypes.copy_(nn.functional.normalize(self.prototypes, dim=1))

    def get_extra_state(self) -> Tensor:
        """Return steps and progress, for the ``state_dict``."""
        return torch.tensor([self.steps, self.progress], dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """Take ``get_extra_state`` back."""
        self.steps, self.progress = int(state[0]), float(state[1])

    def _embedded(self, batch: Batch, mask: Tensor) -> Tensor:
        """Return embeddings ``(V B, D)``, view by view, the mask in the first alone."""
        pooled = [self.encoder.pooled(masked_pair(self.views, batch, mask))]
        small = range(GLOBAL, GLOBAL + self.config.crops)
        if small:
            seeds = torch.cat([view_seeds(batch.augmentation_seed, view) for view in small])
            images = batch.images.repeat(len(small), 1, 1, 1)
            pooled.append(self.encoder.pooled(self.crops(images, seeds)))
        return self.project(torch.cat(pooled))

    def _codes(self, view: int, vectors: Tensor) -> Tensor:
        """Return the codes ``(B, K)`` of one view's ``vectors``, its queue beside them."""
        queue, config, shared = cast(Ring, self.queues[view]), self.config, vectors
        full = queue.length and queue.filled == queue.length
        if full and self.progress >= config.queue_from:
            # Scored by today's prototypes; each rank has its share of the queue beside its own.
            shared = torch.cat([self.ranks.own(queue.vectors), vectors])
        with in_full(shared):
            scores = shared @ self.prototypes.detach().T
        codes = sinkhorn(scores, config.epsilon, config.iterations, self.ranks)
        return codes[len(shared) - len(vectors) :]


def swapped(scores: Tensor, codes: list[Tensor], temperature: float) -> Tensor:
    """Return each image's loss ``(B,)``: each view's codes predicted from all other views.

    Args:
        scores: cosines ``(V, B, K)`` of V views.
        codes: of the first of these views, ``(B, K)`` each.
        temperature: divides the cosines.
    """
    logs = (scores / temperature).log_softmax(dim=2)
    found = []
    for view, code in enumerate(codes):
        per_view = -(code * logs).sum(2)  # (V, B)
        found.append((per_view.sum(0) - per_view[view]) / (len(scores) - 1))
    return torch.stack(found).mean(0)


def _figures(codes: list[Tensor], ranks: Ranks) -> dict[str, Tensor]:
    """Say which share of the prototypes is any image's first, and how even their use is."""
    together = torch.cat(codes)
    number = together.shape[1]
    used = torch.zeros(number, device=together.device)
    used[together.argmax(1)] = 1
    used = ranks.max(used)
    share = ranks.mean(together.mean(0))
    entropy = -(share * share.clamp_min(1e-12).log()).sum() / math.log(number)
    return {"prototypes_used": used.mean(), "prototype_entropy": entropy}
