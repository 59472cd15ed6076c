"""``policy.safetensors``: what an agent thinks of each place, kept beside the encoder.

The weights that its map needs, and in the metadata its options, its grid and the images that it
is for. A file without a tensor says that the recipe's policy learnt no map.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from maskwise.artefacts.encoder import read_tensors, usable, write_tensors
from maskwise.bounds import Seed, Side
from maskwise.description import from_json
from maskwise.errors import UserError
from maskwise.masks import Grid
from maskwise.preparation import Preparation

BLOCK = "policy"


@dataclass(frozen=True)
class PolicyMetadata:
    """What must be known to ask the policy for a map, and which images it may have seen."""

    name: str
    """Of the policy, as the recipe has it."""
    options: dict[str, Any]
    """All of its options, defaults written out."""
    grid: tuple[Side, Side]
    preparation: Preparation
    """Of the images that it learnt from."""
    source: str
    recipe: str
    seed: Seed
    data_hash: str
    version: str
    """Of the package that wrote the file."""
    transductive: bool = False
    """Whether it learnt from test images, without labels."""


@dataclass(frozen=True)
class LearntPolicy:
    """An agent after its training, as far as its map needs it."""

    metadata: PolicyMetadata
    tensors: Mapping[str, Tensor]
    """By the names of ``KeepsMap.map_state``; empty where there is no map to keep."""


def options_of(config: Any) -> dict[str, Any]:
    """Return a policy's dataclass as JSON holds it, which has lists and no tuples."""
    options: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    return options


def write_policy(policy: LearntPolicy, path: Path) -> None:
    """Write weights and metadata; equal ones give equal bytes."""
    write_tensors(policy.tensors, {BLOCK: asdict(policy.metadata)}, path)


def read_policy(path: Path) -> LearntPolicy:
    """Read what ``write_policy`` wrote; nothing is unpickled.

    Raises:
        UserError: if the file is damaged, or holds no policy.
    """
    tensors, blocks = read_tensors(path)
    if BLOCK not in blocks:
        raise UserError(f"{path}: holds no policy; run pretrain of its recipe again")
    with usable(path):
        return LearntPolicy(from_json(PolicyMetadata, blocks[BLOCK]), tensors)


def content(policy: LearntPolicy) -> dict[str, Any]:
    """Return what tells two policies apart, as plain JSON: equal only where both are equal."""
    digest = hashlib.sha256()
    for name, tensor in sorted(policy.tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return {**asdict(policy.metadata), "weights": digest.hexdigest()}


def check_origin(
    policy: LearntPolicy,
    grid: Grid,
    preparation: Preparation,
    data_hash: str,
    replicate: tuple[str, int],
    where: str,
) -> None:
    """Raise ``UserError`` unless the policy is of these images, this grid and this seed.

    Args:
        policy: The one that was read.
        grid: Of the run that asks.
        preparation: Of its images.
        data_hash: Of its store.
        replicate: Its source and seed.
        where: The option that names the policy, for the message.
    """
    found = policy.metadata
    again = f"run pretrain of {found.recipe} again"
    if tuple(found.grid) != tuple(grid):
        raise UserError(
            f"{where}: the map of {found.recipe} is of a grid of {found.grid[0]} x "
            f"{found.grid[1]} cells, but this run has {grid[0]} x {grid[1]}; {again}"
        )
    theirs, ours = (
        (one.channels, one.height, one.width) for one in (found.preparation, preparation)
    )
    if theirs != ours:
        raise UserError(
            f"{where}: {found.recipe} learnt from images of {theirs[1]} x {theirs[2]} pixels "
            f"and {theirs[0]} channels, but these are of {ours[1]} x {ours[2]} and {ours[0]}; "
            f"{again}"
        )
    # An encoder that begins with weights sees the same images, normalised as these expect.
    seen = replace(found.preparation, mean=preparation.mean, std=preparation.std)
    same_images = found.data_hash == data_hash and seen == preparation
    if (found.source, found.seed) != replicate or not same_images:
        raise UserError(
            f"{where}: {found.recipe} learnt from another split, seed or preparation of the "
            f"images, and may have seen this run's test part; {again}"
        )
