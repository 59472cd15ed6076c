"""Reconstruct hidden patches from the visible ones, at one scale (MAE) or at several (MIRAM).

He et al., CVPR 2022; MIRAM (arXiv 2503.07157) and the authors' release. One encoder sees the
visible tokens only; completed with mask tokens they go to a decoder per scale. Numbered
departures: ``docs/methods/mae.md`` and ``docs/methods/miram.md``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from maskwise.bounds import Length, Width, Within
from maskwise.encoders.contract import Encoder
from maskwise.encoders.tokens import TokenEncoder
from maskwise.encoders.transformer import picked
from maskwise.errors import UserError
from maskwise.masks import Grid, cell_means
from maskwise.pretrain.contracts import Batch, Objective, Outcome, Setting
from maskwise.pretrain.objectives.linear_attention import (
    Layout,
    LinformerAttention,
    NystromAttention,
)
from maskwise.pretrain.objectives.scales import ScalesConfig, Weight
from maskwise.pretrain.objectives.token_decoder import (
    Shape,
    TokenDecoder,
    numbers_of_children,
)

Depth = Annotated[int, Within(1, 64)]
Heads = Annotated[int, Within(1, 256)]
Variance = Annotated[float, Within(0, 1, above=True)]
GREY_LEVELS = 2 / 255
"""Of the range of intensities: a patch that varies less than that shows nothing."""
MOST_PLAIN = 1_024
"""Places among which plain attention is the faster."""


@dataclass(frozen=True)
class _Options:
    """What both have."""

    needs_mask: ClassVar[bool] = True
    errors_by_cell: ClassVar[bool] = True
    needs_training: ClassVar[bool] = True
    whole_places: ClassVar[bool] = True
    equal_cells: ClassVar[bool] = True

    width: Width = 512
    """Channels of the decoder's tokens, those that all scales share."""
    depth: Depth = 1
    """Blocks of the decoder; published: 8."""
    heads: Heads = 16
    target: Literal["normalised", "plain"] = "normalised"
    """``normalised``: each patch without its own mean and deviation."""
    target_eps: Variance = 1e-6
    """Added to a patch's variance; larger, it mutes the noise of patches that are all air."""

    def __post_init__(self) -> None:
        _check_width("width", self.width, self.heads)

    @property
    def draws_pixels(self) -> bool:
        return self.target == "plain"

    def coarse(self, weight: float, region: str) -> "Scale":
        """Return the scale of the image itself."""
        shape = Shape(self.width, self.depth, self.heads)
        return Scale(1, weight, region == "all", shape)


@dataclass(frozen=True)
class MaeConfig(_Options):
    """Squared error of hidden patches at the size of the image."""

    loss_region: Literal["hidden", "all"] = "hidden"
    """``all``: visible patches are in the loss too; the error map is of hidden ones always."""

    def build(self, setting: Setting, encoder: Encoder) -> "Multiscale":
        scales = (self.coarse(1.0, self.loss_region),)
        return Multiscale(self, ScalesConfig(), scales, setting, encoder)


@dataclass(frozen=True)
class MultiscaleConfig(_Options, ScalesConfig):
    """The same at the size of the image, and at twice that by a decoder of its own."""

    preset: Literal["release"] | None = None
    """``release``: the authors' decoders and targets."""
    scales: Annotated[tuple[Literal[1, 2, 4], ...], Length(1, 3)] = (1, 2)
    """Sizes at which the image is drawn, as multiples of its own; the first is 1."""
    loss_weights: Annotated[tuple[Weight, ...], Length(1, 3)] = (1.0, 1.0)
    """One per scale."""
    fine_width: Width = 128
    """Channels of the decoders beyond scale 1; published: as ``width``."""
    fine_depth: Depth = 1
    fine_heads: Heads = 4
    fine_attention: Literal["auto", "plain", "nystrom", "linformer"] = "auto"
    """Of those decoders; ``auto``: plain up to 1,024 places, ``nystrom`` beyond. Below that
    neither of the others is faster."""
    landmarks: Annotated[int, Within(1, 4_096)] = 64
    """Of ``nystrom``: at most so many means of tokens stand for all."""
    landmark_layout: Layout = "grid"
    """Means over blocks of the grid, or, as released, ``raster``: over runs of the sequence."""
    nystrom_iterations: Annotated[int, Within(1, 100)] = 6
    """Of its pseudo-inverse."""
    fine_positions: Literal["integer", "aligned"] = "integer"
    """Coordinates of fine places: 0, 1, 2, ..., as published, or those of the coarse places
    that they are parts of."""

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "release": {
            "depth": 8,
            "hi_target": "upsampled",
            "fine_attention": "nystrom",
            "landmark_layout": "raster",
            "fine_width": 512,
            "fine_depth": 8,
            "fine_heads": 16,
        }
    }

    def __post_init__(self) -> None:
        _Options.__post_init__(self)
        ScalesConfig.__post_init__(self)
        _check_width("fine_width", self.fine_width, self.fine_heads)

    def build(self, setting: Setting, encoder: Encoder) -> "Multiscale":
        shape = Shape(self.fine_width, self.fine_depth, self.fine_heads, self._attention)
        everywhere, aligned = self.hi_loss_region == "all", self.fine_positions == "aligned"
        scales = tuple(
            Scale(factor, weight, everywhere, shape, aligned)
            if factor > 1
            else self.coarse(weight, "hidden")
            for factor, weight in zip(self.scales, self.loss_weights, strict=True)
        )
        return Multiscale(self, self, scales, setting, encoder)

    def _attention(self, grid: Grid, in_front: int) -> nn.Module | None:
        """Make what stands for softmax attention over the places of ``grid``; None = that."""
        places, kind = grid[0] * grid[1], self.fine_attention
        if kind == "auto":
            kind = "plain" if places <= MOST_PLAIN else "nystrom"
        if kind == "plain":
            return None
        width, heads = self.fine_width, self.fine_heads
        if kind == "linformer":
            return LinformerAttention(width, heads, places + in_front)
        return NystromAttention(
            width,
            heads,
            grid,
            in_front,
            self.landmarks,
            self.landmark_layout,
            self.nystrom_iterations,
        )


def _check_width(option: str, width: int, heads: int) -> None:
    for number, what in ((4, "positions"), (heads, "heads")):
        if width % number:
            raise ValueError(f"{option} is {width}, but {what} need a multiple of {number}")


@dataclass(frozen=True)
class Scale:
    """At which the image is drawn."""

    factor: int
    weight: float
    everywhere: bool
    """Whether visible patches are in the loss."""
    shape: Shape
    """Of the decoder."""
    aligned: bool = False
    """Whether the decoder's places have the coordinates of those that they are parts of."""


class Multiscale(Objective):
    """The encoder on visible tokens, and a decoder per scale; MAE has one."""

    encoder: TokenEncoder

    def __init__(
        self,
        config: _Options,
        finer: ScalesConfig,
        scales: tuple[Scale, ...],
        setting: Setting,
        encoder: Encoder,
    ) -> None:
        super().__init__()
        if not isinstance(encoder, TokenEncoder):
            raise UserError(
                "encoder.name: the objective needs an encoder that sees an image as tokens; "
                "choose vit, or objective spark, which does the like for convolutions"
            )
        self.config, self.finer, self.scales, self.encoder = config, finer, scales, encoder
        self.grid = encoder.grid_of(setting.height, setting.width)
        self.embed = nn.Linear(encoder.width_of_token, config.width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, config.width))
        if not self.mask_token.is_meta:
            nn.init.xavier_uniform_(self.embed.weight)
            nn.init.zeros_(self.embed.bias)
            nn.init.normal_(self.mask_token, std=0.02)
        self.decoders = nn.ModuleDict(
            {
                str(scale.factor): TokenDecoder(
                    scale.shape,
                    config.width,
                    self.grid,
                    scale.factor,
                    encoder.in_front,
                    setting.channels * encoder.patch**2,
                    scale.aligned,
                )
                for scale in scales
            }
        )
        self._floor = GREY_LEVELS * len(setting.std) / sum(setting.std)
        self._native = finer.native_fraction(setting)

    def forward(self, batch: Batch, mask: Tensor) -> Outcome:
        visible, hidden = self._numbers(mask)
        tokens = self._completed(self.encoder.tokens(batch.images, visible), visible)
        losses, figures = dict[int, Tensor](), dict[str, Tensor]()
        error_map, drawn = mask.new_full(mask.shape, torch.nan, dtype=torch.float32), None
        for scale in self.scales:
            if scale.factor > 1 and not self.draws_finer:
                continue
            image = self.finer.shown(batch, scale.factor)
            if image is None:  # whoever asks what is hard has the image alone
                continue
            asked = numbers_of_children(hidden, self.grid, scale.factor)
            whole = scale.everywhere
            answer = self.decoders[str(scale.factor)](tokens, None if whole else asked).float()
            target = patches(image.float(), self.encoder.patch)
            wanted, deviation = self._wanted(target if whole else picked(target, asked))
            errors = (answer - wanted).square().mean(2)
            of_hidden = errors.gather(1, asked) if whole else errors
            losses[scale.factor] = (errors if scale.everywhere else of_hidden).mean()
            if scale.factor == 1:
                error_map = self._error_map(of_hidden.detach(), hidden, mask)
                constant = deviation.gather(1, asked) if whole else deviation
                figures["constant_hidden"] = (constant <= self._floor).float().mean()
                if self.config.draws_pixels:
                    drawn = answer.detach()
                    if not whole:  # what is seen is not drawn: no loss would teach it
                        drawn = target.scatter(1, asked[:, :, None].expand_as(drawn), drawn)
        if len(self.scales) > 1:
            figures |= {f"loss_{factor}": loss.detach() for factor, loss in losses.items()}
            if self._native is not None:
                figures["native_fraction"] = torch.tensor(self._native, device=mask.device)
        loss = torch.stack(
            [
                scale.weight * losses[scale.factor]
                for scale in self.scales
                if scale.factor in losses
            ]
        ).sum()
        if drawn is None:
            return Outcome(loss, error_map, figures=figures)
        picture = images_of(drawn, self.grid, self.encoder.patch)
        return Outcome(loss, error_map, picture - batch.images, picture, figures)

    def _numbers(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return raster numbers of visible and of hidden tokens, ``(B, K)`` and ``(B, N - K)``.

        Raises:
            UserError: unless as many are hidden in every image, some but not all.
        """
        rows, columns = self.grid[0] // mask.shape[1], self.grid[1] // mask.shape[2]
        tokens = mask.repeat_interleave(rows, 1).repeat_interleave(columns, 2).flatten(1)
        fewest, most = torch.stack(tokens.sum(1).aminmax()).tolist()
        if fewest != most or not 0 < most < tokens.shape[1]:
            raise UserError(
                f"{fewest} to {most} of {tokens.shape[1]} patches are hidden, but as many must "
                "be in every image, at least 1 and not all: let the policy hide an exact share"
            )
        order = tokens.to(torch.uint8).argsort(dim=1, stable=True)
        return order[:, : tokens.shape[1] - most], order[:, tokens.shape[1] - most :]

    def _completed(self, seen: Tensor, visible: Tensor) -> Tensor:
        """Return tokens of all places: those that were seen, and mask tokens for the others."""
        embedded = self.embed(seen)
        front, places = embedded.split(
            [self.encoder.in_front, embedded.shape[1] - self.encoder.in_front], dim=1
        )
        width = embedded.shape[2]
        empty = self.mask_token.to(embedded.dtype).expand(
            len(seen), self.grid[0] * self.grid[1], -1
        )
        completed = empty.scatter(1, visible[:, :, None].expand(-1, -1, width), places)
        return torch.cat([front, completed], dim=1)

    def _wanted(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is to be drawn of patches ``(B, M, values)``, and their deviations."""
        variance, mean = torch.var_mean(target, dim=2, correction=1, keepdim=True)
        deviation = variance.sqrt()[:, :, 0]
        if self.config.target == "plain":
            return target, deviation
        return (target - mean) / (variance + self.config.target_eps).sqrt(), deviation

    def _error_map(self, errors: Tensor, hidden: Tensor, mask: Tensor) -> Tensor:
        """Average the errors ``(B, M)`` of hidden tokens in each cell of the mask."""
        tokens = errors.new_full((len(mask), self.grid[0] * self.grid[1]), torch.nan)
        placed = tokens.scatter(1, hidden, errors).reshape(-1, 1, *self.grid)
        return cell_means(placed, (mask.shape[1], mask.shape[2]))


def patches(images: Tensor, side: int) -> Tensor:
    """Cut ``(B, C, H, W)`` into patches: ``(B, H W / side ** 2, side ** 2 C)``.

    In raster order; within a patch by row, column, channel, as in the authors' ``patchify``.
    """
    b, c, h, w = images.shape
    cut = images.reshape(b, c, h // side, side, w // side, side)
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(b, (h // side) * (w // side), -1)


def images_of(cut: Tensor, grid: Grid, side: int) -> Tensor:
    """Put patches ``(B, gh gw, side ** 2 C)`` together again: ``(B, C, gh side, gw side)``."""
    b = len(cut)
    maps = cut.reshape(b, grid[0], grid[1], side, side, -1).permute(0, 5, 1, 3, 2, 4)
    return maps.reshape(b, maps.shape[1], grid[0] * side, grid[1] * side)
