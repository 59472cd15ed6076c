"""Vision transformers (Dosovitskiy et al. 2021) as He et al. (CVPR 2022) pre-train them.

Blocks bear timm's names, so that published weights of timm, MAE and DINO fit by ``adapt``.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn

from maskwise.bounds import Length, Within
from maskwise.encoders.contract import Adapted, Package
from maskwise.encoders.inputs import check_images
from maskwise.encoders.positions import sine_positions
from maskwise.encoders.tokens import TokenEncoder
from maskwise.encoders.transformer import EPSILON, Block, initialise, picked
from maskwise.errors import UserError

RGB = 3
SIZES: Mapping[str, tuple[int, int, int]] = {
    "tiny": (192, 12, 3),
    "small": (384, 12, 6),
    "base": (768, 12, 12),
}
"""Width, blocks and heads."""
EXPECTED: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5,) * RGB, (0.5,) * RGB),
}
"""Mean and std of red, green and blue by which publishers normalise."""
PREFIXES = ("module.", "backbone.", "encoder.")
"""Of names in training checkpoints: a wrapper's, DINO's."""
UNUSED = (
    "mask_token", "decoder_embed.", "decoder_pos_embed", "decoder_blocks.", "decoder_norm.",
    "decoder_pred.", "head.", "head_dist.", "pre_logits.",
)  # fmt: skip
"""What published files go on with: MAE's decoder, and what tells ImageNet's classes."""
NEAR = 1e-4
"""By which fixed positions in a file may differ from ours: they were computed elsewhere."""
Depth = Annotated[int, Within(1, 64)]
Side = Annotated[int, Within(1, 1_024)]


@dataclass(frozen=True)
class VitConfig:
    """5.4 M parameters by default, and 8 x 8 tokens of an image of 64 pixels."""

    package: ClassVar[Package | None] = None

    size: Literal["tiny", "small", "base"] = "tiny"
    patch: Literal[4, 8, 16] = 8
    """Pixels per side of a patch, which is a token."""
    depths: Annotated[tuple[Depth, ...], Length(1, 64)] = (4, 8, 12)
    """Blocks after which features are answered, ascending; the last block is the last."""
    class_token: bool = True
    positions: Literal["sine", "learnt"] = "sine"
    """``sine``: fixed, computed for whatever size an image has, as published for MAE;
    ``learnt``: a table of ``position_grid``, drawn larger or smaller for another size, as in
    weights of timm and DINO."""
    position_grid: tuple[Side, Side] = (14, 14)
    """Of ``learnt``: places down and across; those of most published files."""
    published: Literal["imagenet", "half"] = "imagenet"
    """How weights that begin here expect red, green and blue: by ImageNet's mean and deviation
    (MAE, DINO, DeiT), or ``half``, (v - .5) / .5 (timm's ``augreg``)."""

    def __post_init__(self) -> None:
        blocks = SIZES[self.size][1]
        if list(self.depths) != sorted({*self.depths}) or self.depths[-1] != blocks:
            raise ValueError(
                f"depths are {list(self.depths)}, but should ascend and end with {blocks}, the "
                f"number of blocks of size {self.size}"
            )

    def build(self, channels: int) -> "Vit":
        return Vit(self, channels)

    def adapt(self, tensors: Mapping[str, Tensor], channels: int) -> Adapted:
        """Fit a checkpoint in the names of timm, MAE or DINO.

        Drops what lies behind the last norm, and positions that are those computed here; for
        one channel, folds the filters of red, green and blue, exactly.

        Raises:
            UserError: if the file's positions were learnt, and the recipe's are computed.
        """
        fitted = {
            _own_name(name): tensor
            for name, tensor in tensors.items()
            if not _bare(name).startswith(UNUSED)
        }
        if not self.class_token:
            self._leave_class_token_out(fitted)
        if self.positions == "sine":
            self._take_computed(fitted)
        weight = fitted.get("patch_embed.proj.weight")
        if weight is None or weight.ndim != 4 or weight.shape[1] != RGB:
            return Adapted(fitted)
        mean, std = EXPECTED[self.published]
        if channels == RGB:
            return Adapted(fitted, mean, std)
        if channels == 1:
            grey = sum(mean) / RGB, sum(std) / RGB
            return Adapted(fitted | _folded(fitted, mean, std, grey), (grey[0],), (grey[1],))
        return Adapted(fitted)

    def _leave_class_token_out(self, fitted: dict[str, Tensor]) -> None:
        """Drop the class token, and its position from a table that has one."""
        token = fitted.pop("patch_embed.class_token", None)
        table = fitted.get("patch_embed.positions")
        if token is None or table is None or table.ndim != 3:
            return
        if table.shape[1] == 1 + math.prod(self.position_grid):
            fitted["patch_embed.positions"] = table[:, 1:]

    def _take_computed(self, fitted: dict[str, Tensor]) -> None:
        """Take positions out that are what is computed here, or refuse them."""
        table = fitted.get("patch_embed.positions")
        if table is None or table.ndim != 3 or table.shape[2] != SIZES[self.size][0]:
            return
        side = math.isqrt(table.shape[1])
        computed = sine_positions((side, side), table.shape[2])
        places = table[0, table.shape[1] - side * side :].float()
        if not torch.allclose(places, computed, atol=NEAR):
            raise UserError(
                "positions are computed (sine), but the file's were learnt: write positions: "
                "learnt beside it, and as position_grid the rows and columns of patches that "
                f"it was trained on, of {table.shape[1]} places with the class token"
            )
        del fitted["patch_embed.positions"]


def _bare(name: str) -> str:
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _own_name(name: str) -> str:
    own = {"cls_token": "patch_embed.class_token", "pos_embed": "patch_embed.positions"}
    return own.get(_bare(name), _bare(name))


def _folded(
    tensors: Mapping[str, Tensor],
    mean: tuple[float, ...],
    std: tuple[float, ...],
    grey: tuple[float, float],
) -> dict[str, Tensor]:
    """Make filters of red, green and blue ``(d, 3, p, p)`` into those of one channel.

    Channel c of a grey image g is (g - m_c) / s_c; the network is given x = (g - m) / s, so
    that channel c is x s / s_c + (m - m_c) / s_c. The factor goes into the filters and the
    constant into the bias; patches have no padding, so that this is exact.
    """
    weight = tensors["patch_embed.proj.weight"]
    double = weight.double()
    factor = torch.tensor([grey[1] / each for each in std], dtype=torch.float64)
    shift = torch.tensor(
        [(grey[0] - m) / s for m, s in zip(mean, std, strict=True)], dtype=torch.float64
    )
    filters = torch.einsum("dcij,c->dij", double, factor)[:, None].to(weight.dtype)
    found = {"patch_embed.proj.weight": filters}
    bias = tensors.get("patch_embed.proj.bias")
    if bias is not None and bias.shape == weight.shape[:1]:
        constant = torch.einsum("dcij,c->d", double, shift)
        found["patch_embed.proj.bias"] = (bias.double() + constant).to(bias.dtype)
    return found


class PatchEmbedding(nn.Module):
    """Turns the patches that are seen into tokens that know their places."""

    class_token: nn.Parameter | None
    positions: nn.Parameter | None

    def __init__(self, config: VitConfig, channels: int, width: int) -> None:
        super().__init__()
        self.patch = config.patch
        # Never called: its weights are those of a convolution in all published files.
        self.proj = nn.Conv2d(channels, width, config.patch, stride=config.patch)
        self.class_token = (
            nn.Parameter(torch.zeros(1, 1, width)) if config.class_token else None
        )
        self.in_front = int(config.class_token)
        self.positions, self.position_grid = None, config.position_grid
        if config.positions == "learnt":
            places = math.prod(config.position_grid) + self.in_front
            self.positions = nn.Parameter(torch.zeros(1, places, width))
        for parameter in (self.class_token, self.positions):
            if parameter is not None and not parameter.is_meta:
                nn.init.normal_(parameter, std=0.02)
        if not self.proj.weight.is_meta:  # as a linear layer on all pixels of a patch
            nn.init.xavier_uniform_(self.proj.weight.view(width, -1))
            nn.init.zeros_(self.proj.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor, visible: Tensor | None) -> Tensor:
        """Turn ``(B, C, H, W)`` into ``(B, in_front + K, width)``; ``visible`` ``(B, K)``."""
        (b, c, h, w), p = images.shape, self.patch
        grid = (h // p, w // p)
        patches = images.reshape(b, c, grid[0], p, grid[1], p).permute(0, 2, 4, 1, 3, 5)
        pixels = patches.reshape(b, grid[0] * grid[1], c * p * p)
        first, places = self._places(grid, images)
        if visible is None:
            places = places.expand(b, -1, -1)
        else:
            pixels, places = picked(pixels, visible), picked(places.expand(b, -1, -1), visible)
        tokens = nn.functional.linear(pixels, self.proj.weight.flatten(1), self.proj.bias)
        tokens = tokens + places.to(tokens.dtype)
        if self.class_token is None:
            return tokens
        front = (self.class_token + first).to(tokens.dtype).expand(b, -1, -1)
        return torch.cat([front, tokens], dim=1)

    def _places(self, grid: tuple[int, int], images: Tensor) -> tuple[Tensor | float, Tensor]:
        """Return the class token's position, and those of all places, ``(1, N, width)``."""
        if self.positions is None:
            return 0.0, _computed(grid, self.proj.out_channels, images.device)[None]
        first, table = self.positions.split(
            [self.in_front, self.positions.shape[1] - self.in_front], 1
        )
        if grid != self.position_grid:
            maps = table.reshape(1, *self.position_grid, -1).permute(0, 3, 1, 2)
            drawn = nn.functional.interpolate(
                maps, grid, mode="bicubic", antialias=False, align_corners=False
            )
            table = drawn.flatten(2).transpose(1, 2)
        return first, table


@lru_cache(maxsize=32)
def _computed(grid: tuple[int, int], width: int, device: torch.device) -> Tensor:
    """Compute positions once for each size of an image, and keep them where they are needed.

    No buffer: one encoder sees images of any size.
    """
    with torch.inference_mode(False), torch.device("cpu"):
        return sine_positions(grid, width).to(device)


class Vit(TokenEncoder):
    """The encoder; one map of tokens after each of ``depths``, the last behind the norm."""

    def __init__(self, config: VitConfig, channels: int) -> None:
        super().__init__()
        width, depth, heads = SIZES[config.size]
        self.depths, self.patch, self.width_of_token = config.depths, config.patch, width
        self.channels = (width,) * len(config.depths)
        self.strides = (config.patch,) * len(config.depths)
        self.inputs, self.multiple, self.least = channels, config.patch, config.patch
        self.patch_embed = PatchEmbedding(config, channels, width)
        self.in_front = self.patch_embed.in_front
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        initialise(self)

    def parts(self) -> list[list[nn.Module]]:
        bounds = zip([0, *self.depths], self.depths, strict=False)
        stages = [list(self.blocks[first:last]) for first, last in bounds]
        return [[self.patch_embed], *stages[:-1], [*stages[-1], self.norm]]

    def layers(self) -> list[list[nn.Module]]:
        return [[self.patch_embed], *([block] for block in self.blocks), [self.norm]]

    def pooled_stages(self, images: Tensor, pooling: str = "mean") -> list[Tensor]:
        if pooling != "class" or not self.in_front:
            return super().pooled_stages(images, pooling)
        check_images(images, self, self.inputs, self.least, self.multiple)
        return [each[:, 0] for each in self._stages(images)]

    def drop_paths(self, share: float) -> None:
        blocks = self.blocks_in_order()
        for number, block in enumerate(blocks):
            block.drop_path = share * number / (len(blocks) - 1)

    def blocks_in_order(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]

    def features(self, images: Tensor) -> list[Tensor]:
        grid = self.grid_of(*images.shape[2:])
        return [
            each[:, self.in_front :].transpose(1, 2).unflatten(2, grid)
            for each in self._stages(images)
        ]

    def tokens(self, images: Tensor, visible: Tensor | None = None) -> Tensor:
        check_images(images, self, self.inputs, self.least, self.multiple)
        current = self.patch_embed(images, visible)
        for block in self.blocks:
            current = block(current)
        normalised: Tensor = self.norm(current)
        return normalised

    def attended(self, images: Tensor) -> Tensor:
        check_images(images, self, self.inputs, self.least, self.multiple)
        current = self.patch_embed(images, None)
        *before, last = self.blocks_in_order()
        for block in before:
            current = block(current)
        current = last.norm1(current)
        if not self.in_front:
            current = torch.cat([current.mean(dim=1, keepdim=True), current], dim=1)
        weights: Tensor = last.attn.class_weights(current)  # type: ignore[operator]
        return weights / weights.sum(dim=1, keepdim=True)

    def _stages(self, images: Tensor) -> list[Tensor]:
        """Return all tokens ``(B, in_front + N, width)`` after each of ``depths``."""
        current, found = self.patch_embed(images, None), []
        for number, block in enumerate(self.blocks, start=1):
            current = block(current)
            if number in self.depths:
                found.append(current)
        return [*found[:-1], self.norm(found[-1])]
