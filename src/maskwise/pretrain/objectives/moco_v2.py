"""Find an image's other view among keys of earlier steps (MoCo v2; Chen, Fan et al. 2020).

The queue, the slow key encoder and the loss are He et al.'s (CVPR 2020, equations 1 and 2); the
projector with a hidden layer, the temperature and the stronger views are v2's. Departures:
``docs/methods/moco_v2.md``.
"""

import logging
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from maskwise.bounds import Decay, Within
from maskwise.encoders.contract import Encoder
from maskwise.encoders.norm import learns_statistics, split_statistics
from maskwise.errors import UserError
from maskwise.pretrain.contracts import Batch, Outcome, Setting
from maskwise.pretrain.objectives.masked_views import ComparesViews, image_errors, masked_pair
from maskwise.pretrain.objectives.momentum import follow, slow_copy, warn_of_lag
from maskwise.pretrain.objectives.projecting import Projecting, in_full, projector
from maskwise.pretrain.objectives.ring import Entries, Ring
from maskwise.pretrain.splitmix import mix
from maskwise.pretrain.views import Views

log = logging.getLogger(__name__)

LONGEST, MOST_GROUPS, LEAST_IMAGES = 4096, 4, 16
"""Of the queue and of the groups of batch norm, where the recipe leaves them open."""
Kin = Literal["group", "image", "kept"]


@dataclass(frozen=True)
class MocoV2Config(ComparesViews):
    """Cross-entropy over one positive and the keys in the queue."""

    preset: Literal["wolf_release"] | None = None
    """``wolf_release``: what the CT comparison of Wolf et al. 2023 really ran."""
    temperature: Annotated[float, Within(0, 100, above=True)] = 0.2
    """Divides the cosines; .1 to .3."""
    hidden: Annotated[int, Within(1, 16_384)] | None = 512
    """Width of the projector's hidden layer; null = one linear layer, as in version 1."""
    embedding: Annotated[int, Within(1, 16_384)] = 128
    """Width of what is compared."""
    queue: Annotated[int, Within(0, 10**6)] | None = None
    """Keys of earlier steps; 0 = the other keys of the batch in their place. null = 4096, or
    less where there are fewer images: half of those that are not in the batch."""
    momentum: Decay = 0.99
    """What the key encoder keeps of itself in a step; .999 needs tens of thousands of steps."""
    norm_groups: Annotated[int, Within(1, 1024)] | None = None
    """Parts of a batch that batch norm sees one at a time; null = 4, or fewer, of 16 images or
    more. Without effect where no batch norm learns its statistics."""
    false_negatives: Kin = "group"
    """Which keys are no negatives of an image: those of its ``group`` (patient, duplicates), of
    the ``image`` itself, or none (``kept``)."""
    cold: Literal["masked", "random"] = "masked"
    """Places of the queue that were not written yet: ignored, or ``random`` unit vectors, as in
    the release; then the loss rises while it fills."""

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "wolf_release": {
            "temperature": 0.07,
            "hidden": None,
            "queue": 65_536,
            "momentum": 0.999,
            "norm_groups": 1,
            "false_negatives": "kept",
            "cold": "random",
            "views": {"least_area": 0.2, "rotation": 180.0, "gamma": 0.0, "noise": 0.01},
        }
    }

    def build(self, setting: Setting, encoder: Encoder) -> "MocoV2":
        warn_of_lag("moco_v2", self.momentum, setting.steps)
        return MocoV2(self, setting, encoder)

    def length(self, setting: Setting) -> int:
        """Return how many keys the queue holds, or raise ``UserError``.

        A key that is met again within so many steps would be an image's own negative, so it is
        at most half of the images outside the batch, in whole batches (moco#87).
        """
        size, images = setting.batch_size, setting.trained_on
        if self.queue is not None and self.queue % size and self.false_negatives != "kept":
            raise UserError(
                f"objective.queue: {self.queue} is no number of whole batches of {size} "
                f"images; take {max(1, round(self.queue / size)) * size}, 0 or null"
            )
        wanted = max(LONGEST // size, 2) * size if self.queue is None else self.queue
        if images is None or self.false_negatives == "kept":
            return wanted  # before there are images; or the release, which minds nothing
        if wanted > images and self.queue is not None:
            raise UserError(
                f"objective.queue: {wanted} keys are more than the {images} images that the "
                "run draws from, so that every image meets itself; take fewer, or null"
            )
        length = min(wanted, max(0, images - size) // 2 // size * size)
        if length < min(wanted, 2 * size):
            log.warning(
                "moco_v2: %d images are too few for a queue beside a batch of %d; the other "
                "images of the batch are the negatives instead",
                images, size,
            )  # fmt: skip
            return 0
        if self.queue is not None and length < wanted:
            log.warning(
                "moco_v2: a queue of %d, not of %d: of %d images no more can be told from one "
                "another within it",
                length, wanted, images,
            )  # fmt: skip
        return length

    def groups(self, setting: Setting, encoder: Encoder) -> int:
        """Return into how many groups batch norm cuts a batch, or raise ``UserError``."""
        size = setting.batch_size
        if not learns_statistics(encoder.train()):
            return 1
        if self.norm_groups is not None:
            if size % self.norm_groups or size < 2 * self.norm_groups:
                raise UserError(
                    f"objective.norm_groups: {self.norm_groups} groups of 2 images or more do "
                    f"not divide a batch of {size}; choose a divisor"
                )
            return self.norm_groups
        fitting = [
            groups
            for groups in range(2, MOST_GROUPS + 1)
            if size % groups == 0 and size // groups >= LEAST_IMAGES
        ]
        if not fitting:
            raise UserError(
                f"objective.norm_groups: a batch of {size} images cannot be cut into groups of "
                f"{LEAST_IMAGES} or more, without which batch norm tells a key from its query "
                "by the batch; take a batch_size of 32 or more, an encoder with norm: group, "
                "norm_statistics: frozen, or say how many groups there shall be"
            )
        return fitting[-1]


class MocoV2(Projecting):
    """The query's encoder and projector, and slow copies of both for the keys."""

    def __init__(self, config: MocoV2Config, setting: Setting, encoder: Encoder) -> None:
        width, hidden = encoder.channels[-1], config.hidden
        super().__init__(encoder, projector(width, hidden, config.embedding))
        self.config = config
        self.groups = config.groups(setting, encoder)
        self.key_encoder, self.key_projector = slow_copy(encoder), slow_copy(self.projector)
        self.views = Views(config.views, setting)
        self.queue = Ring(config.length(setting), config.embedding)
        if config.cold == "random" and self.queue.length:
            fresh = nn.functional.normalize(torch.randn_like(self.queue.vectors), dim=1)
            self.queue.vectors.copy_(fresh)
        self._waiting: list[Entries] = []

    def forward(self, batch: Batch, mask: Tensor) -> Outcome:
        first, second = masked_pair(self.views, batch, mask).chunk(2)
        with self._split(self.encoder):
            query = nn.functional.normalize(self.projections(first), dim=1)
        with torch.no_grad():
            # Of all ranks: the queue is the same everywhere.
            keys = self._keys(second, batch)
        about = (batch.index, batch.group)
        entries = Entries(keys, *(self.ranks.gather(each) for each in about))
        losses, cosines = look_up(
            query, self.ranks.own(keys), *self._negatives(entries, batch),
            self.config.temperature,
        )  # fmt: skip
        if self.training:
            self._waiting.append(entries)
        return Outcome(
            loss=losses.mean(),
            error_map=image_errors(losses, mask, self.config.reward),
            figures=self._figures(cosines.detach()),
        )

    def stepped(self, progress: float) -> None:
        """Enqueue the step's keys, which no query of the step has met, and move the copies."""
        for entries in self._waiting:
            self.queue.push(entries)
        self._waiting.clear()
        follow(self.key_encoder, self.encoder, self.config.momentum)
        follow(self.key_projector, self.projector, self.config.momentum)

    def _split(self, module: nn.Module) -> Any:
        split = self.training and self.groups > 1
        return split_statistics(module, self.groups) if split else nullcontext()

    def _keys(self, views: Tensor, batch: Batch) -> Tensor:
        """Return unit keys ``(B, D)``, each normed beside other images than its query was.

        Of the whole batch, all ranks' images: the order goes across ranks.
        """
        order = self._order(batch)
        shuffled = self.ranks.own(self.ranks.gather(views)[order])
        with self._split(self.key_encoder):
            pooled = self.key_encoder.pooled(shuffled)
        keys = self.ranks.gather(self.key_projector(pooled).float())
        return nn.functional.normalize(keys[order.argsort()], dim=1)

    def _order(self, batch: Batch) -> Tensor:
        """Return an order of the whole batch, which follows from its seeds as all draws do."""
        return mix(self.ranks.gather(batch.augmentation_seed)).argsort()

    def _negatives(self, keys: Entries, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the keys that may be negatives ``(N, D)``, and which are, ``(B, N)``.

        ``keys`` are the whole batch's; ``B`` is of this rank's.
        """
        queue, config = self.queue, self.config
        if not queue.length or (queue.filled == 0 and config.cold == "masked"):
            strangers = _strangers(batch, keys.rows, keys.groups, config.false_negatives)
            own = torch.eye(len(keys.rows), dtype=torch.bool, device=keys.rows.device)
            return keys.vectors, strangers & ~self.ranks.own(own)
        allowed = _strangers(batch, queue.rows, queue.groups, config.false_negatives)
        if config.cold == "masked":
            # It is filled from its beginning on.
            places = torch.arange(queue.length, device=allowed.device)
            allowed = allowed & (places < queue.filled)
        return queue.vectors, allowed

    def _figures(self, cosines: Tensor) -> dict[str, Tensor]:
        positive, negative = cosines[:, 0], cosines[:, 1:]
        told = negative.isfinite()
        mean = torch.where(told, negative, 0.0).sum() / self.ranks.at_least(told.sum(), 1)
        right = (positive[:, None] > negative).all(1).float().mean()
        return {"accuracy": right, "positive_cosine": positive.mean(), "negative_cosine": mean}


def look_up(
    query: Tensor, key: Tensor, negatives: Tensor, allowed: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Return each image's loss ``(B,)``, and the cosines ``(B, 1 + N)``, its own key's first.

    Args:
        query: unit vectors ``(B, D)``.
        key: of the same images, ``(B, D)``.
        negatives: unit vectors ``(N, D)`` of others.
        allowed: bool ``(B, N)``, which of them count; the cosine of the rest is -inf.
        temperature: divides the cosines.
    """
    own = (query * key).sum(1, keepdim=True)
    with in_full(query):
        others = (query @ negatives.T).masked_fill(~allowed, -torch.inf)
    cosines = torch.cat([own, others], dim=1)
    first = torch.zeros(len(query), dtype=torch.int64, device=query.device)
    losses = nn.functional.cross_entropy(cosines / temperature, first, reduction="none")
    return losses, cosines


def _strangers(batch: Batch, rows: Tensor, groups: Tensor, kin: Kin) -> Tensor:
    """Return ``(B, N)``: which of the images at ``rows`` and in ``groups`` are strangers."""
    if kin == "group":
        return batch.group[:, None] != groups
    if kin == "image":
        return batch.index[:, None] != rows
    return torch.ones(len(batch.index), len(rows), dtype=torch.bool, device=rows.device)
