"""An agent of a run that is over, built again for its map alone."""

from typing import Any

import torch
from torch import Tensor

from maskwise.artefacts.policy import LearntPolicy
from maskwise.config import choose
from maskwise.errors import UserError
from maskwise.masks import Grid
from maskwise.pretrain.contracts import KeepsMap, PlaceMap, Policy, Setting
from maskwise.seeds import torch_stream


def kept(policy: Policy[Any]) -> dict[str, Tensor]:
    """Return what the policy's map needs, on the CPU; nothing where no map can be kept."""
    if not isinstance(policy, KeepsMap):
        return {}
    return {name: tensor.detach().cpu().clone() for name, tensor in policy.map_state().items()}


class LearntMap:
    """What an agent thinks of each place; it never learns, and never chooses."""

    def __init__(self, learnt: LearntPolicy, setting: Setting, where: str) -> None:
        """Build the policy with its weights.

        Raises:
            UserError: beginning with ``where``, if it learnt no map.
        """
        from maskwise.pretrain.policies import POLICIES  # which hold whatever asks for a map

        about = learnt.metadata
        if not learnt.tensors:
            raise UserError(
                f"{where}: policy {about.name} of {about.recipe} learns no map of an image; "
                "name a recipe whose agent does, with policy dqn or a3c"
            )
        block = {"name": about.name, **about.options}
        with torch_stream():
            policy = choose(POLICIES, block, where).build(setting)
        if not isinstance(policy, KeepsMap):
            raise UserError(f"{where}: policy {about.name} has no map")
        policy.load_map_state(dict(learnt.tensors), where)
        self.policy: Any = policy
        self._given = (setting.mean, setting.std)
        self._learnt = (about.preparation.mean, about.preparation.std)

    def maps(self, images: Tensor, grid: Grid) -> PlaceMap:
        """Return the agent's map of ``images``, normalised as the setting says."""
        shown: PlaceMap | None = self.policy.maps(self._as_learnt(images), grid)
        if shown is None:
            raise ValueError("a policy that keeps a map has one")
        return shown

    def _as_learnt(self, images: Tensor) -> Tensor:
        """Normalise images as those were that the agent learnt from."""
        if self._given == self._learnt:
            return images
        mean, std, learnt_mean, learnt_std = (
            torch.tensor(values, device=images.device)[:, None, None]
            for values in (*self._given, *self._learnt)
        )
        return (images * std + mean - learnt_mean) / learnt_std

    def to(self, device: torch.device | str) -> "LearntMap":
        """Move the agent's networks."""
        self.policy.to(device)
        return self
