"""Cells that fit an encoder: some objectives need whole places of every feature map in each."""

from typing import ClassVar, Protocol, runtime_checkable

import torch

from maskwise.encoders.tokens import TokenEncoder
from maskwise.errors import UserError
from maskwise.masks import Grid
from maskwise.pretrain.recipe import Recipe

LIKELY = 0.01
"""Images of a run of which nothing is seen, in expectation, that are too many."""


@runtime_checkable
class DrawsApart(Protocol):
    """The config of a policy that may draw each cell by itself."""

    @property
    def drawn_apart(self) -> float | None:
        """With which probability, at first; None where it draws so many cells, no more."""


@runtime_checkable
class WholePlaces(Protocol):
    """The config of an objective whose encoder sees visible cells only."""

    whole_places: ClassVar[bool]
    """True: a place of no feature map may lie in two cells."""


@runtime_checkable
class PredictsAtPlaces(Protocol):
    """The config of an objective that predicts at the places of one of the encoder's stages."""

    @property
    def predicted_stage(self) -> int:
        """Whose places: 0 = the finest, -1 = the last."""


def needs_whole_places(recipe: Recipe) -> bool:
    """Say whether the recipe's encoder sees visible cells only."""
    return isinstance(recipe.objective, WholePlaces) and recipe.objective.whole_places


def check_some_are_seen(recipe: Recipe, grid: Grid, images: int) -> None:
    """Raise ``UserError`` where a policy is likely to hide all cells of some image of a run.

    One that draws each cell by itself does, the sooner the coarser the grid.

    Args:
        recipe: whose encoder may need something to see.
        grid: that the run has.
        images: that it shows, repetitions counted.
    """
    policy = recipe.policy
    if not needs_whole_places(recipe) or not isinstance(policy, DrawsApart):
        return
    share = policy.drawn_apart
    if share is not None and images * share ** (grid[0] * grid[1]) > LIKELY:
        raise UserError(
            f"policy.sampler: bernoulli draws each of {grid[0]} x {grid[1]} cells by itself, "
            "so that now and then all cells of an image are hidden and nothing is left to see; "
            "say exact_k: true, or choose a finer grid in the source's block `pretrain`"
        )


def fitted(recipe: Recipe, grid: Grid, size: tuple[int, int], channels: int) -> Grid:
    """Return the source's grid, or a coarser one where the recipe's objective needs it.

    Its cells are the smallest that are no smaller than the source's, divide the image, and are
    multiples of the encoder's stride: of its last stage where it sees visible cells only, of
    the stage whose places are predicted otherwise. Of several cells in one place some are
    nearly always visible, and nothing would be left to predict.

    Args:
        recipe: whose objective may need whole places in each cell.
        grid: of the source, ``(gh, gw)``.
        size: of the images, ``(H, W)`` pixels.
        channels: of the images.

    Raises:
        UserError: if there are no such cells.
    """
    stage = _stage(recipe)
    if stage is None:
        return grid
    with torch.device("meta"):
        encoder = recipe.encoder.build(channels)
    if not -len(encoder.strides) <= stage < len(encoder.strides):
        return grid  # which the objective refuses by name
    stride = encoder.strides[stage]
    option = "patch" if isinstance(encoder, TokenEncoder) else "stride"
    down, across = (
        _number(side, cells, stride, option) for side, cells in zip(size, grid, strict=True)
    )
    return down, across


def _stage(recipe: Recipe) -> int | None:
    """Return the stage of which no place may lie in two cells; None = there is none."""
    if needs_whole_places(recipe):
        return -1
    objective = recipe.objective
    return objective.predicted_stage if isinstance(objective, PredictsAtPlaces) else None


def _number(side: int, cells: int, stride: int, option: str) -> int:
    """Return how many cells a side of the image has."""
    fits = (each for each in range(stride, side + 1, stride) if side % each == 0)
    wide = next((each for each in fits if each * cells >= side), None)
    if wide is None:
        raise UserError(
            f"encoder.{option}: {stride} does not divide a side of {side} pixels, so that a "
            "hidden cell would be no whole number of the encoder's places; choose another "
            f"{option}, or another size in the source's block `preprocess`"
        )
    return side // wide
