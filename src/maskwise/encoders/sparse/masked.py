"""The masked form: every layer sees the whole map, and what it answers for hidden places is 0.

The plain one, by which the packed form is judged. Between layers hidden places are 0; a layer
reads them as it reads its padding (Tian et al., ICLR 2023, section 3.1).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn

from maskwise.encoders.sparse.course import FIRST, LAST, Course, Step
from maskwise.encoders.sparse.rows import put, taken
from maskwise.encoders.sparse.visible import Visible
from maskwise.errors import UserError
from maskwise.ranks import Shared

F = nn.functional


def features(course: Course, images: Tensor, visible: Visible) -> list[Tensor]:
    """Return every stage's features, 0 at hidden places."""
    answers: dict[int, Tensor] = {}
    for number, step in enumerate(course.steps):
        values = [answers[each] for each in step.inputs]
        answers[number] = (
            visible.masked(images) if step.kind == "image" else apply(step, values, visible)
        )
        for each in step.inputs:
            if course.last_use[each] == number:
                answers.pop(each, None)
    return [answers[number] for number in course.features]


def apply(step: Step, values: list[Tensor], visible: Visible) -> Tensor:
    """Return one layer's answer; ``values`` are 0 at hidden places, and so is it."""
    first = values[0]
    if step.kind == "permute":
        return first.permute(step.options["axes"])
    if step.kind == "convolution":
        return visible.masked(step.applied(first))
    if step.kind == "batch_norm":
        return batch_norm(cast(nn.BatchNorm2d, step.module), first, visible)
    if step.kind == "group_norm":
        return group_norm(cast(nn.GroupNorm, step.module), first, visible)
    if step.kind == "layer_norm":
        return visible.masked(step.applied(first).permute(FIRST)).permute(LAST)
    if step.kind == "max_pool":
        return _max_pool(step, first, visible)
    if step.kind == "mean_pool":
        return _mean_pool(step, first, visible)
    return step.applied(*values)


def batch_norm(norm: nn.BatchNorm2d, features: Tensor, visible: Visible) -> Tensor:
    """Normalise by the statistics of visible places alone, which the running ones follow.

    Raises:
        UserError: if a batch that is learnt from has one visible place.
    """
    if not norm.training:
        return visible.masked(norm(features))
    places = visible.rows(features)
    normalised = norm_of_rows(norm, taken(features, places))
    b, _, h, w = features.shape
    return put(normalised, places, (b, h, w))


def norm_of_rows(norm: nn.BatchNorm2d, rows: Tensor) -> Tensor:
    """Normalise rows ``(n, C)``: n images of one pixel have the same statistics.

    As one image of n x 1 pixels, whose memory only looks as if channels came last, they have
    the same too, but in torch 2.13 another gradient, without a word.
    """
    alone = not isinstance(norm, Shared) or norm.ranks.alone
    if norm.training and alone and len(rows) < 2:
        raise UserError(
            "batch norm needs two or more visible places per channel, but one was left; hide "
            "fewer cells, or take more images per batch (batch_size)"
        )
    normalised: Tensor = norm(rows[:, :, None, None])
    return normalised[:, :, 0, 0]


def group_norm(norm: nn.GroupNorm, features: Tensor, visible: Visible) -> Tensor:
    """Normalise each image by the statistics of its visible places."""
    b, c, h, w = features.shape
    with full_precision(features) as exact:
        seen = visible.at(features).to(exact.dtype)[:, None]  # (B, 1, 1, h, w)
        grouped = exact.reshape(b, norm.num_groups, c // norm.num_groups, h, w)
        number = seen.sum((2, 3, 4), keepdim=True) * (c // norm.num_groups)
        mean = grouped.sum((2, 3, 4), keepdim=True) / number
        centred = (grouped - mean) * seen
        variance = centred.square().sum((2, 3, 4), keepdim=True) / number
        unit = (centred * (variance + norm.eps).rsqrt()).reshape(features.shape)
        return visible.masked(scaled(norm, unit)).to(features.dtype)


def scaled(norm: nn.GroupNorm, unit: Tensor) -> Tensor:
    """Give ``(N, C, h, w)`` of mean 0 and deviation 1 the norm's own."""
    if not norm.affine:
        return unit
    return unit * norm.weight[:, None, None] + norm.bias[:, None, None]


@contextmanager
def full_precision(features: Tensor) -> Iterator[Tensor]:
    """Give ``features`` in float32 or better, with no product in less: for statistics."""
    exact = features if features.dtype == torch.float64 else features.float()
    with torch.autocast(features.device.type, enabled=False):
        yield exact


def _max_pool(step: Step, features: Tensor, visible: Visible) -> Tensor:
    window = step.window
    assert window is not None
    # Where nothing is below 0, a hidden 0 is never larger than what is visible.
    if window.crosses and not step.positive:
        features = torch.where(visible.at(features), features, -torch.inf)
    return visible.masked(F.max_pool2d(features, window.kernel, window.stride, window.padding))


def _mean_pool(step: Step, features: Tensor, visible: Visible) -> Tensor:
    """Average over the visible places of each window."""
    window = step.window
    assert window is not None
    sides = (window.kernel, window.stride, window.padding)
    seen = F.avg_pool2d(visible.at(features).to(features.dtype), *sides)
    answer = F.avg_pool2d(features, *sides) / seen.clamp(min=torch.finfo(seen.dtype).tiny)
    return visible.masked(answer)
