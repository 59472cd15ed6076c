"""Reconstruct hidden cells with a convolutional encoder that never computes them (SparK).

Tian et al., ICLR 2023, and the authors' release (``pretrain/spark.py``). Hidden cells neither
contribute to what the encoder answers nor wear away from layer to layer; a light decoder fills
tokens in and draws, and hidden cells alone are scored. Numbered departures:
``docs/methods/spark.md``.
"""

import logging
import time
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor

from maskwise.bounds import Width, Within
from maskwise.encoders.contract import Encoder
from maskwise.encoders.sparse import SparseEncoder
from maskwise.encoders.sparse.encoder import FORMS, Form
from maskwise.encoders.sparse.visible import Visible
from maskwise.errors import UserError
from maskwise.masks import Grid
from maskwise.pretrain.contracts import Batch, Objective, Outcome, Setting
from maskwise.pretrain.objectives.light_decoder import LightDecoder, Upsampling
from maskwise.pretrain.objectives.scales import ScalesConfig
from maskwise.ranks import ALONE, shared

log = logging.getLogger(__name__)

GREY_LEVELS = 2 / 255
"""Of the range of intensities: what a cell varies less than that is noise or rounding."""
EPSILON = 1e-6
"""Added to a cell's variance by the authors."""
ROUNDS = 3
"""Steps of each form when ``packed: auto`` times them; the fastest of each counts."""


@dataclass(frozen=True)
class SparkConfig(ScalesConfig):
    """Squared error of hidden cells, each without its own mean and deviation."""

    needs_mask: ClassVar[bool] = True
    errors_by_cell: ClassVar[bool] = True
    needs_training: ClassVar[bool] = True
    draws_pixels: ClassVar[bool] = False
    whole_places: ClassVar[bool] = True

    preset: Literal["release"] | None = None
    """``release``: the authors' decoder and loss."""
    width: Width = 192
    """Channels of the decoder at the deepest features; half as many after each doubling."""
    depth: Annotated[int, Within(1, 16)] = 1
    """3 x 3 convolutions of the decoder after each doubling; published: 2."""
    stop_stride: Literal[1, 2, 4, 8] = 4
    """Where the decoder ends, and draws so many pixels a side per place; published: 1. The
    fine blocks of the decoder cost as much as the coarse ones, and draw what nobody keeps."""
    upsampling: Upsampling = "nearest"
    """``transposed``: by a learnt 4 x 4 convolution, as published."""
    constant: Literal["soft", "skip", "keep"] = "soft"
    """Of cells that vary by less than two grey levels, as black air: ``soft`` divides them by
    two grey levels in place of their own deviation, so that noise is not blown up; ``skip``
    leaves them out; ``keep``: as published."""
    packed: Literal["auto", "always", "never"] = "auto"
    """Whether the encoder computes visible cells alone, or whole maps whose hidden places it
    sets to 0 after every layer. The answers differ by rounding. ``auto`` times both in the
    first step; for equal bytes from run to run choose one of the others."""

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "release": {
            "width": 768,
            "depth": 2,
            "stop_stride": 1,
            "upsampling": "transposed",
            "constant": "keep",
        }
    }

    def build(self, setting: Setting, encoder: Encoder) -> "Spark":
        return Spark(self, setting, encoder)

    def check(self, encoder: Encoder, grid: Grid, size: tuple[int, int]) -> None:
        """Raise ``UserError`` unless decoder, cells and the encoder's stride go together."""
        total = encoder.strides[-1]
        for cells, side in zip(grid, size, strict=True):
            if side % cells or (side // cells) % total:
                raise UserError(
                    f"grid: cells of {side / cells:g} pixels are no multiple of the encoder's "
                    f"stride, {total}; choose a coarser grid or a smaller stride"
                )
        uneven = [each for each in encoder.strides if (each & (each - 1)) or each > total]
        if uneven:
            raise UserError(
                f"encoder.name: its stride {uneven[0]} is no power of two, so that a decoder "
                "which doubles does not meet it; take another encoder"
            )
        if self.stop_stride > total:
            raise UserError(
                f"objective.stop_stride: {self.stop_stride} is beyond the encoder's stride, "
                f"{total}; let it be {total} or less"
            )
        doublings = total // self.stop_stride
        doublings *= self.scales[-1]
        if self.width % doublings:
            finest = f" and to {self.scales[-1]} times the size" if self.scales[-1] > 1 else ""
            raise UserError(
                f"objective.width: {self.width} cannot be halved at each of the decoder's "
                f"doublings, from stride {total} to {self.stop_stride}{finest}; take a "
                f"multiple of {doublings}"
            )


class Spark(Objective):
    """The encoder as it sees visible cells, and the decoder."""

    form: Tensor
    """``()`` int64: number in ``FORMS``; -1 until the first batch has chosen."""

    def __init__(self, config: SparkConfig, setting: Setting, encoder: Encoder) -> None:
        super().__init__()
        config.check(encoder, setting.grid, (setting.height, setting.width))
        self.config = config
        self.encoder = encoder
        self._sparse = SparseEncoder(encoder)
        finer = config.scales[1:]
        self.light_decoder = LightDecoder(config, encoder, setting.channels, finer)
        self._native = config.native_fraction(setting)
        # Kept in checkpoints: a run that goes on must not choose again.
        chosen = {"always": FORMS.index("packed"), "never": FORMS.index("masked"), "auto": -1}
        self.register_buffer("form", torch.tensor(chosen[config.packed]))
        self._told = False
        self._floor = GREY_LEVELS * len(setting.std) / sum(setting.std)

    def forward(self, batch: Batch, mask: Tensor) -> Outcome:
        if self.training and not self._told:
            self._told = True
            share = 100 * float(mask.float().mean())
            log.info("spark: %.1f %% of %d x %d cells are hidden.", share, *mask.shape[1:])
        visible = Visible(mask)
        features = self._sparse(batch.images, visible, self._form(batch.images, visible))
        finer = self._finer(batch)
        drawn = self.light_decoder.drawn(features, visible, finer)
        errors, weights, constant = self._errors(drawn[1], batch.images, mask)
        hidden = self.ranks.at_least(mask.sum(), 1)
        figures = {"constant_hidden": (mask & constant).sum() / hidden}
        loss = self._mean(errors, weights)
        if len(self.config.scales) > 1:
            losses = {1: loss} | self._finer_losses(drawn, finer, mask)
            weighed = zip(self.config.scales, self.config.loss_weights, strict=True)
            parts = [weight * losses[factor] for factor, weight in weighed if factor in losses]
            loss = torch.stack(parts).sum()
            figures |= {f"loss_{factor}": each.detach() for factor, each in losses.items()}
            if self._native is not None:
                figures["native_fraction"] = loss.new_tensor(self._native)
        return Outcome(
            loss=loss,
            error_map=torch.where(mask, errors.detach() * weights, torch.nan),
            figures=figures,
        )

    def _errors(
        self, drawn: Tensor, images: Tensor, where: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return each cell's error, its weight, and whether it shows nothing, ``(B, gh, gw)``.

        ``where`` is which cells count.
        """
        grid = (where.shape[1], where.shape[2])
        target, deviation = self._targets(patches(images.float(), grid))
        errors = (patches(drawn.float(), grid) - target).square().mean(-1)
        constant = deviation <= self._floor
        weights = where & ~constant if self.config.constant == "skip" else where
        return errors, weights.float(), constant

    def _finer(self, batch: Batch) -> dict[int, Tensor]:
        """Return what is to be drawn at scales beyond the image's own, by factor."""
        factors = self.config.scales[1:] if self.draws_finer else ()
        shown = {factor: self.config.shown(batch, factor) for factor in factors}
        # Whoever asks what is hard has the image alone.
        return {factor: image for factor, image in shown.items() if image is not None}

    def _finer_losses(
        self, drawn: dict[int, Tensor], finer: dict[int, Tensor], mask: Tensor
    ) -> dict[int, Tensor]:
        """Return the loss of each finer scale, whose cells have as many pixels as a mask's."""
        losses: dict[int, Tensor] = {}
        for factor, image in finer.items():
            fine = mask.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
            everywhere = self.config.hi_loss_region == "all"
            where = torch.ones_like(fine) if everywhere else fine
            errors, weights, _ = self._errors(drawn[factor], image, where)
            losses[factor] = self._mean(errors, weights)
        return losses

    def _mean(self, errors: Tensor, weights: Tensor) -> Tensor:
        return (weights * errors).sum() / self.ranks.at_least(weights.sum(), 1)

    def _targets(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Return cells without their mean and deviation, and the deviation ``(B, gh, gw)``."""
        variance, mean = torch.var_mean(cells, dim=-1, correction=1, keepdim=True)
        deviation = variance.sqrt()
        by = (
            deviation.clamp(min=self._floor)
            if self.config.constant == "soft"
            else (variance + EPSILON).sqrt()
        )
        return (cells - mean) / by, deviation[..., 0]

    def _form(self, images: Tensor, visible: Visible) -> Form:
        """Return how the encoder computes; the first batch that is learnt from chooses."""
        number = int(self.form)
        if number < 0:
            if not self.training:
                return "masked"
            times = timed(self.encoder, images, visible)
            number = FORMS.index(min(FORMS, key=lambda form: times[form]))
            number = int(self.ranks.broadcast(self.form.fill_(number)))
            log.info(
                "spark: the encoder computes in the %s form (a step: %s).",
                FORMS[number],
                ", ".join(f"{form} {seconds * 1e3:.0f} ms" for form, seconds in times.items()),
            )
        return FORMS[number]


def patches(images: Tensor, grid: Grid) -> Tensor:
    """Return the pixels of each cell of ``(B, C, H, W)``: ``(B, gh, gw, H W C / (gh gw))``.

    In the authors' order: row in the cell, column in the cell, channel.
    """
    (b, c, h, w), (gh, gw) = images.shape, grid
    cells = images.reshape(b, c, gh, h // gh, gw, w // gw)
    return cells.permute(0, 2, 4, 3, 5, 1).reshape(b, gh, gw, -1)


def timed(encoder: Encoder, images: Tensor, visible: Visible) -> dict[Form, float]:
    """Return the seconds of a step forward and backward in each form, on a copy."""
    copied = deepcopy(encoder)
    sparse = SparseEncoder(copied)
    with shared(copied, ALONE):
        return _timed(sparse, images, visible)


def _timed(sparse: SparseEncoder, images: Tensor, visible: Visible) -> dict[Form, float]:
    seconds: dict[Form, float] = dict.fromkeys(FORMS, float("inf"))
    for _ in range(ROUNDS):
        for form in FORMS:
            begun = _now(images)
            features = sparse(images, visible, form)
            # A frozen encoder has no gradient to compute.
            learnt = [each.square().mean() for each in features if each.requires_grad]
            if learnt:
                torch.stack(learnt).sum().backward()
            seconds[form] = min(seconds[form], _now(images) - begun)
    return seconds


def _now(images: Tensor) -> float:
    if images.device.type == "cuda":
        torch.cuda.synchronize(images.device)
    return time.perf_counter()
