"""The packed form: only visible cells are held and computed.

Every layer leaves hidden places 0, so that a visible place at any depth depends on the visible
ones of the layer below, within the reach of one kernel: cells are tiles, and before each kernel
a tile is given a rim of its neighbours, zeros where these are hidden or outside. Only the order
of sums tells the answers from those of the masked form. Where a cell is one or two places wide,
a convolution of thousands of tiny tiles is slower than of whole maps; there each place's
neighbourhood becomes a row, and the layer one product of matrices.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from maskwise.encoders.sparse import masked
from maskwise.encoders.sparse.course import Course, Step
from maskwise.encoders.sparse.rows import Readers, put, read, readers_of, taken
from maskwise.encoders.sparse.visible import Visible

F = nn.functional
AS_PRODUCT = 4
"""Places of a cell up to which a convolution is one product of matrices."""


@dataclass(frozen=True)
class Reach:
    """What a layer reads for each place that it answers, down or across."""

    kernel: int
    stride: int
    padding: int
    dilation: int = 1

    def length(self, side: int) -> int:
        """Return how many places of the input the ``side / stride`` answers of a tile need."""
        return (side // self.stride - 1) * self.stride + self.dilation * (self.kernel - 1) + 1


class Cells:
    """Where the tiles of one mask lie, and the tables of what they read; each is made once."""

    def __init__(self, visible: Visible) -> None:
        self.visible = visible
        cells = visible.cells
        self.image, self.row, self.column = cells.nonzero().unbind(1)
        self.count = len(self.image)
        number = torch.full(cells.shape, self.count, device=cells.device)
        number[cells] = torch.arange(self.count, device=cells.device)
        self._number = number
        self._places: dict[tuple[int, int], Tensor] = {}
        self._around: dict[tuple[int, int, Reach], Tensor] = {}
        self._readers: dict[tuple[int, int, Reach, bool], Readers] = {}

    def places(self, side: tuple[int, int]) -> Tensor:
        """Return where the places of tiles lie in whole maps, ``(N h w,)``: for ``put``."""
        if side not in self._places:
            (h, w), (gh, gw) = side, self.visible.grid
            down = self.row[:, None] * h + torch.arange(h, device=self.row.device)
            across = self.column[:, None] * w + torch.arange(w, device=self.row.device)
            start = self.image[:, None, None] * (gh * h * gw * w)
            self._places[side] = (
                start + down[:, :, None] * (gw * w) + across[:, None, :]
            ).flatten()
        return self._places[side]

    def around(self, side: tuple[int, int], reach: Reach) -> Tensor:
        """Return which row each place of a tile with its rim is: ``(N, Lh, Lw)``.

        Rows are places of tiles ``(N h w)``; N h w stands for what is hidden or outside.
        """
        key = (*side, reach)
        if key not in self._around:
            self._around[key] = self._table(side, reach)
        return self._around[key]

    def _table(self, side: tuple[int, int], reach: Reach) -> Tensor:
        (h, w), (gh, gw) = side, self.visible.grid
        device = self.row.device
        offsets = [
            torch.arange(reach.length(each), device=device) - reach.padding for each in side
        ]
        down, across = (
            torch.div(offset, each, rounding_mode="floor")
            for offset, each in zip(offsets, side, strict=True)
        )
        row, column = self.row[:, None] + down, self.column[:, None] + across
        inside = ((row >= 0) & (row < gh))[:, :, None] & ((column >= 0) & (column < gw))[
            :, None
        ]
        tile = self._number[
            self.image[:, None, None],
            row.clamp(0, gh - 1)[:, :, None],
            column.clamp(0, gw - 1)[:, None, :],
        ]
        within = (offsets[0] % h)[:, None] * w + offsets[1] % w
        return torch.where(
            inside & (tile < self.count), tile * (h * w) + within, self.count * h * w
        )

    def rim(self, side: tuple[int, int], reach: Reach) -> Readers:
        """Return how tiles with their rims are read."""
        return self._read(side, reach, each=False)

    def neighbourhoods(self, side: tuple[int, int], reach: Reach) -> Readers:
        """Return how the kernel's places are read for each answer, place after place."""
        return self._read(side, reach, each=True)

    def _read(self, side: tuple[int, int], reach: Reach, each: bool) -> Readers:
        key = (*side, reach, each)
        if key not in self._readers:
            table = self.around(side, reach)
            if each:
                reached = reach.dilation * (reach.kernel - 1) + 1
                table = table.unfold(1, reached, reach.stride).unfold(2, reached, reach.stride)
                table = table[..., :: reach.dilation, :: reach.dilation]
            rows = self.count * side[0] * side[1]
            self._readers[key] = readers_of(table.flatten(), rows)
        return self._readers[key]


def features(course: Course, images: Tensor, visible: Visible) -> list[Tensor]:
    """Return every stage's features ``(B, C, h, w)``, 0 at hidden places."""
    cells, answers = Cells(visible), dict[int, Tensor]()
    # Few channels make poor tiles: a convolution that alone reads the image sees all of it.
    readers = [number for number, step in enumerate(course.steps) if 0 in step.inputs]
    whole = [each for each in readers if course.steps[each].kind == "convolution"]
    whole = whole if len(readers) == 1 else []
    for number, step in enumerate(course.steps):
        values = [answers[each] for each in step.inputs]
        if step.kind == "image":
            seen = visible.masked(images)
            answers[number] = seen if whole else _packed(seen, cells)
        elif number in whole:
            answers[number] = _packed(step.applied(values[0]), cells)
        else:
            answers[number] = _apply(step, values, cells)
        for each in step.inputs:
            if course.last_use[each] == number:
                answers.pop(each, None)
    return [_unpacked(answers[number], cells) for number in course.features]


def _packed(maps: Tensor, cells: Cells) -> Tensor:
    """Return the tiles ``(N, C, h, w)`` of maps, channels last in memory."""
    side = cells.visible.side(*maps.shape[2:])
    return _tiles(taken(maps, cells.places(side)), side)


def _unpacked(tiles: Tensor, cells: Cells) -> Tensor:
    h, w = tiles.shape[2:]
    gh, gw = cells.visible.grid
    return put(_rows(tiles), cells.places((h, w)), (len(cells.visible.cells), gh * h, gw * w))


def _tiles(rows: Tensor, side: tuple[int, int]) -> Tensor:
    return rows.reshape(-1, *side, rows.shape[1]).permute(0, 3, 1, 2)


def _rows(tiles: Tensor) -> Tensor:
    return tiles.permute(0, 2, 3, 1).reshape(-1, tiles.shape[1])


def _apply(step: Step, values: list[Tensor], cells: Cells) -> Tensor:
    first = values[0]
    if step.kind == "convolution":
        return _convolution(cast(nn.Conv2d, step.module), first, cells)
    if step.kind == "batch_norm":
        side = (first.shape[2], first.shape[3])
        return _tiles(
            masked.norm_of_rows(cast(nn.BatchNorm2d, step.module), _rows(first)), side
        )
    if step.kind == "group_norm":
        return _group_norm(cast(nn.GroupNorm, step.module), first, cells)
    if step.kind in ("max_pool", "mean_pool"):
        return _pool(step, first, cells)
    if step.kind == "permute":
        return first.permute(step.options["axes"])
    return step.applied(*values)


def _with_rim(tiles: Tensor, cells: Cells, reach: Reach) -> Tensor:
    side = (tiles.shape[2], tiles.shape[3])
    rows = read(_rows(tiles), cells.rim(side, reach))
    return _tiles(rows, (reach.length(side[0]), reach.length(side[1])))


def _convolution(layer: nn.Conv2d, tiles: Tensor, cells: Cells) -> Tensor:
    side = (tiles.shape[2], tiles.shape[3])
    reach = Reach(
        layer.kernel_size[0], layer.stride[0], int(layer.padding[0]), layer.dilation[0]
    )
    cells.visible.side(
        *(
            grid * each // reach.stride
            for grid, each in zip(cells.visible.grid, side, strict=True)
        )
    )
    out = (side[0] // reach.stride, side[1] // reach.stride)
    pointwise = reach.kernel == 1 and layer.groups == 1
    if pointwise:
        seen = tiles[:, :, :: reach.stride, :: reach.stride]
        return _tiles(F.linear(_rows(seen), layer.weight[:, :, 0, 0], layer.bias), out)
    if out[0] * out[1] <= AS_PRODUCT and layer.groups in (1, layer.in_channels):
        return _tiles(_product(layer, tiles, cells, reach), out)
    rim = _with_rim(tiles, cells, reach)
    weight = layer.weight.contiguous(memory_format=torch.channels_last)
    return F.conv2d(rim, weight, layer.bias, reach.stride, 0, reach.dilation, layer.groups)


def _product(layer: nn.Conv2d, tiles: Tensor, cells: Cells, reach: Reach) -> Tensor:
    side = (tiles.shape[2], tiles.shape[3])
    around = read(_rows(tiles), cells.neighbourhoods(side, reach))
    places = reach.kernel**2
    if layer.groups == 1:
        weight = layer.weight.permute(0, 2, 3, 1).reshape(layer.out_channels, -1)
        return F.linear(around.reshape(-1, places * layer.in_channels), weight, layer.bias)
    by_place = layer.weight.reshape(layer.out_channels, places).t()
    wider = layer.out_channels // layer.in_channels
    answer = torch.einsum(
        "npc,pcw->ncw",
        around.reshape(-1, places, layer.in_channels),
        by_place.reshape(places, layer.in_channels, wider),
    ).reshape(-1, layer.out_channels)
    return answer if layer.bias is None else answer + layer.bias


def _group_norm(norm: nn.GroupNorm, tiles: Tensor, cells: Cells) -> Tensor:
    n, c, h, w = tiles.shape
    images = torch.arange(len(cells.visible.cells), device=tiles.device)
    with masked.full_precision(tiles) as exact:
        grouped = exact.reshape(n, norm.num_groups, c // norm.num_groups, h, w)
        # A product in place of an addition at random, which on a GPU differs from run to run.
        of_image = (cells.image == images[:, None]).to(exact.dtype)  # (B, N)
        number = of_image.sum(1, keepdim=True) * (c // norm.num_groups * h * w)
        mean = of_image.t() @ (of_image @ grouped.sum((2, 3, 4)) / number)
        centred = grouped - mean[:, :, None, None, None]
        variance = of_image.t() @ (of_image @ centred.square().sum((2, 3, 4)) / number)
        scale = (variance + norm.eps).rsqrt()[:, :, None, None, None]
        unit = (centred * scale).reshape(tiles.shape)
        return masked.scaled(norm, unit).to(tiles.dtype)


def _pool(step: Step, tiles: Tensor, cells: Cells) -> Tensor:
    window = step.window
    assert window is not None
    reach = Reach(window.kernel, window.stride, window.padding)
    side = (tiles.shape[2], tiles.shape[3])
    if not window.crosses:
        pool = F.max_pool2d if step.kind == "max_pool" else F.avg_pool2d
        answer: Tensor = pool(tiles, window.kernel, window.stride)
        return answer
    rim = _with_rim(tiles, cells, reach)
    seen = (cells.around(side, reach) < cells.count * side[0] * side[1])[:, None]
    if step.kind == "max_pool":
        held = rim if step.positive else torch.where(seen, rim, -torch.inf)
        return F.max_pool2d(held, window.kernel, window.stride)
    share = F.avg_pool2d(seen.to(tiles.dtype), window.kernel, window.stride)
    return F.avg_pool2d(rim, window.kernel, window.stride) / share
