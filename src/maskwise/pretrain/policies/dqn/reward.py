"""What a chosen place was worth: forms of the reward, and what is taken off it.

The reward always comes from the forward pass that training made anyway. It is float32.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from maskwise.errors import UserError
from maskwise.masks import Grid, cell_means
from maskwise.pretrain.contracts import Outcome

Form = Literal["mask_mean", "sum_full"]
Baseline = Literal["none", "global", "image", "place", "image_place"]

CHECK_EVERY = 50
"""Steps between looks at whether rewards are finite, on a GPU that a look would make wait."""


def cell_errors(outcome: Outcome, grid: Grid, pool_px: int) -> Tensor:
    """Return the error per cell, ``(B, gh, gw)``, that ``mask_mean`` averages.

    With ``pool_px`` k > 1: squares of the residual's k x k means, so that speckle averages out.
    """
    if pool_px == 1:
        return outcome.error_map.float()
    pooled = avg_pool2d(_residual(outcome, f"pool_px: {pool_px}"), pool_px)
    return cell_means(pooled.square(), grid)


def box_means(errors: Tensor, fresh: Tensor, area: Tensor) -> Tensor:
    """Sum ``errors`` ``(B, gh, gw)`` over the cells each box newly hid / the box's cells.

    ``fresh`` bool ``(T, B, gh, gw)``, ``area`` ``(T, B)`` cells; returns ``(T, B)``, so that
    the sum of area * reward over an episode is the masked error sum.
    """
    return torch.where(fresh, errors, 0.0).sum((2, 3)) / area


def full_sums(outcome: Outcome) -> Tensor:
    """Return the squared error summed over *all* pixels, ``(1, B)``: the release's reward."""
    return _residual(outcome, "reward: sum_full").square().sum((1, 2, 3))[None]


def share_outside(outcome: Outcome, sums: Tensor) -> Tensor:
    """Return the share of ``full_sums`` ``(B,)`` that visible pixels contribute, ``()``."""
    residual = _residual(outcome, "reward: sum_full")
    values = residual[0].numel() / outcome.error_map[0].numel()  # a cell
    inside = outcome.error_map.nan_to_num(0.0).sum((1, 2)) * values
    return 1 - (inside / sums).mean()


def unexplained(
    means: Tensor, images: Tensor, fresh: Tensor, area: Tensor, floor: float
) -> Tensor:
    """Relate ``means`` ``(T, B)`` to the variance of the pixels that each box newly hid.

    log((error + floor) / (variance + floor)), weighted by the share of the box that is new.
    ``images`` ``(B, C, H, W)``.
    """
    grid: Grid = (fresh.shape[2], fresh.shape[3])
    number = fresh.sum((2, 3)).clamp_min(1)
    first, second = (
        torch.stack([cell_means(power[:, [c]], grid) for c in range(images.shape[1])], 1)
        for power in (images.float(), images.float().square())
    )  # (B, C, gh, gw)
    weights = fresh[:, :, None]
    mean = (weights * first).sum((3, 4)) / number[..., None]
    square = (weights * second).sum((3, 4)) / number[..., None]
    variance = (square - mean.square()).clamp_min(0).mean(2)
    share = fresh.sum((2, 3)) / area
    error = means / share.clamp_min(1e-6)
    return share * torch.log((error + floor) / (variance + floor))


def another(rewards: Tensor, step: int) -> Tensor:
    """Return for every image the reward ``(T, B)`` of another, a different one each step."""
    others = rewards.shape[1] - 1
    return rewards.roll(1 + step % others, 1) if others else rewards


def refuse_infinite(rewards: Tensor, step: int) -> None:
    """Raise ``UserError`` saying how many, unless all ``rewards`` are finite.

    On a GPU that a look would make wait, only every ``CHECK_EVERY`` steps.
    """
    if rewards.device.type != "cpu" and step % CHECK_EVERY:
        return
    broken = int((~rewards.isfinite()).sum())
    if broken:
        raise UserError(
            f"policy dqn: {broken} of {rewards.numel()} rewards "
            f"({100 * broken / rewards.numel():.0f} %) are not finite; lower the objective's "
            "learning rate, or look for images with values that are not finite"
        )


def _residual(outcome: Outcome, option: str) -> Tensor:
    if outcome.residual is None:
        raise UserError(
            f"policy.{option}: needs an objective that reconstructs pixels, such as "
            "context_encoder; use reward: mask_mean with pool_px: 1, or another objective"
        )
    return outcome.residual.float()


class Expectation:
    """Running means of the reward that are taken off before learning, and its deviation.

    ``global`` is one mean; ``image`` is one per image, which leaves every image's best place
    unchanged; ``place`` one per place, which turns "hard" into "hard for this place";
    ``image_place`` both. A mean that was never fed stands at the global mean.
    """

    def __init__(
        self,
        baseline: Baseline,
        scaled: bool,
        decay: float,
        rows: int,
        places: int,
        clip: float,
    ) -> None:
        self.baseline, self.scaled, self.decay, self.clip = baseline, scaled, decay, clip
        # Slot 0 is the global mean, slot 1 the mean square of what is left.
        self.moments = torch.full((2,), torch.nan)
        self.image = torch.full((rows if "image" in baseline else 0,), torch.nan)
        self.place = torch.full((places if "place" in baseline else 0,), torch.nan)

    def normalise(
        self, rewards: Tensor, index: Tensor, places: Tensor, played: Tensor
    ) -> Tensor:
        """Return ``rewards`` ``(T, B)`` less what was expected; then learn from them.

        ``index`` ``(B,)``, ``places`` and ``played`` ``(T, B)``; what was not played is 0.
        """
        number = played.sum().clamp_min(1)
        mean = torch.where(played, rewards, 0.0).sum() / number
        self._update(self.moments[0:1], mean[None])
        left = torch.where(played, rewards - self._expected(index, places), 0.0)
        if self.scaled:
            self._update(self.moments[1:2], (left.square().sum() / number)[None])
            left = left / self.moments[1].sqrt().clamp_min(1e-12)
            left = left.clamp(-self.clip, self.clip)
        self._learn(rewards, index, places, played)
        return left

    def _update(self, slot: Tensor, value: Tensor) -> None:
        """Move a running mean in place; the first value is taken whole."""
        start = torch.where(slot.isnan(), value, slot)
        slot.copy_(start.lerp(value, 1 - self.decay))

    def _expected(self, index: Tensor, places: Tensor) -> Tensor:
        overall = self.moments[0]
        if self.baseline == "none":
            return torch.zeros_like(overall)
        expected = overall
        if len(self.image):
            expected = expected + (self.image[index] - overall).nan_to_num(0.0)
        if len(self.place):
            expected = expected + (self.place[places] - overall).nan_to_num(0.0)
        return expected

    def _learn(self, rewards: Tensor, index: Tensor, places: Tensor, played: Tensor) -> None:
        values = torch.where(played, rewards, 0.0)
        if len(self.image):
            self._feed(self.image, index.expand_as(rewards), values, played)
        if len(self.place):
            self._feed(self.place, places, values, played)

    def _feed(self, means: Tensor, keys: Tensor, values: Tensor, played: Tensor) -> None:
        """Move the running mean of every key that occurs to the mean of its values."""
        sums = torch.zeros_like(means).index_add_(0, keys.flatten(), values.flatten())
        number = torch.zeros_like(means).index_add_(0, keys.flatten(), played.flatten().float())
        value = sums / number
        start = torch.where(means.isnan(), value, means)
        means.copy_(torch.where(number > 0, start.lerp(value, 1 - self.decay), means))

    def state_dict(self) -> dict[str, Tensor]:
        return {"moments": self.moments, "image": self.image, "place": self.place}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for name, tensor in self.state_dict().items():
            tensor.copy_(state[name])

    def to(self, device: torch.device | str) -> None:
        self.moments, self.image, self.place = (
            tensor.to(device) for tensor in (self.moments, self.image, self.place)
        )
