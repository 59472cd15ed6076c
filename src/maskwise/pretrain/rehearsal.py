"""A recipe built and thrown away before any stage."""

from dataclasses import replace
from functools import lru_cache
from typing import cast

import torch
from torch import nn

import maskwise
from maskwise.artefacts.policy import LearntPolicy, PolicyMetadata, options_of
from maskwise.encoders.contract import Encoder
from maskwise.encoders.norm import learns_statistics
from maskwise.encoders.start import ChosenEncoder
from maskwise.errors import UserError
from maskwise.preparation import Preparation
from maskwise.pretrain.assembly import build_networks
from maskwise.pretrain.cells import check_some_are_seen, fitted
from maskwise.pretrain.contracts import Setting
from maskwise.pretrain.policies.learnt import kept
from maskwise.pretrain.recipe import Recipe
from maskwise.seeds import torch_stream

MOST_PARAMETERS = 10**9
"""Of an objective with its encoder: with their gradients and AdamW's means, 16 GB."""
MOST_PIXELS = 512 * 512
"""Of an image that an encoder is tried on in memory."""


def rehearse(recipe: Recipe, name: str, setting: Setting) -> None:
    """Build all of a recipe once and throw it away: what does not suit must not wait its turn.

    Raises:
        UserError: as ``pretrain`` does, for the images that ``setting`` describes.
    """
    try:
        setting = _fitted(recipe, setting)
        check_some_are_seen(recipe, setting.grid, setting.steps * setting.batch_size)
        _look(recipe, setting)
    except UserError as error:
        raise UserError(f"{name}.{error}") from None
    if recipe.trains:
        with torch_stream():
            encoder = recipe.encoder.build(setting.channels)
            build_networks(recipe, name, setting, encoder, lambda _, build: build())


def untaught(
    recipe: Recipe, name: str, setting: Setting, preparation: Preparation, source: str
) -> LearntPolicy:
    """Return what the recipe's agent would leave if it learnt nothing, for who asks it.

    Raises:
        UserError: as ``pretrain`` of the recipe does.
    """
    tensors = {}
    setting = _fitted(recipe, setting)
    if recipe.trains:
        with torch_stream():
            encoder = recipe.encoder.build(setting.channels)
            _, policy = build_networks(recipe, name, setting, encoder, lambda _, build: build())
        tensors = kept(policy)
    metadata = PolicyMetadata(
        name=recipe.names["policy"],
        options=options_of(recipe.policy),
        grid=setting.grid,
        preparation=preparation,
        source=source,
        recipe=name,
        seed=0,
        data_hash="",
        version=maskwise.__version__,
    )
    return LearntPolicy(metadata, tensors)


def _fitted(recipe: Recipe, setting: Setting) -> Setting:
    size = (setting.height, setting.width)
    return replace(setting, grid=fitted(recipe, setting.grid, size, setting.channels))


def _look(recipe: Recipe, setting: Setting) -> None:
    """Let the encoder see what it will see, unless it is one that has no room."""
    batch = setting.batch_size
    if recipe.trains:
        recipe.optimisation.check(batch)
        batch = recipe.optimisation.part(batch)
    shape = (batch, setting.channels, setting.height, setting.width)
    encoder = _seeing(recipe.encoder, shape, recipe.trains)
    if recipe.trains and batch == 1 and learns_statistics(encoder):
        raise UserError(
            "encoder: its batch norm would learn statistics from one image at a time; take a "
            "larger batch_size, a smaller optimisation.accumulate, an encoder with norm: "
            "group, or weights with norm_statistics: frozen"
        )
    if recipe.trains and not list(encoder.parameters()):
        raise UserError(
            f"encoder.name: {recipe.names['encoder']} has nothing to train, so that objective "
            f"{recipe.names['objective']} would train only what is thrown away; use objective "
            "none, or another encoder"
        )
    if recipe.trains:
        with torch.device("meta"):
            objective = recipe.objective.build(setting, encoder)
        _weigh(cast(nn.Module, objective), "objective")


@lru_cache(maxsize=8)
def _seeing(config: ChosenEncoder, shape: tuple[int, ...], trains: bool) -> Encoder:
    """Return an encoder without memory, another of which has seen images; recipes share theirs.

    The other sees one image, or two for all others of the batch, in memory: to follow a network
    without any, torch imports its compiler, which takes a second. Large images are seen so.
    """
    with torch.device("meta"):
        encoder = config.build(shape[1]).train(trains)
    _weigh(encoder, "encoder")
    few = (min(shape[0], 2), *shape[1:])
    small = shape[2] * shape[3] <= MOST_PIXELS
    device = torch.device("cpu" if small else "meta")
    with torch_stream(), torch.no_grad(), device:
        looking = config.build(shape[1]).train(trains)
        try:
            looking(torch.zeros(few))
        except UserError as error:
            raise UserError(f"encoder: {error}") from None
    return encoder


def _weigh(network: nn.Module, where: str) -> None:
    number = sum(parameter.numel() for parameter in network.parameters())
    if number > MOST_PARAMETERS:
        raise UserError(
            f"{where}: a network of {number:,} parameters, but {MOST_PARAMETERS:,} is the "
            "most; choose smaller widths, a larger stride or smaller images"
        )
