"""What a policy hides of the probe in figures, beside what hides without having learnt."""

from typing import Any

import torch
from torch import Generator, Tensor

from maskwise.masks import boxes, cell_means, highest
from maskwise.pretrain.contracts import PlaceMap, Policy
from maskwise.pretrain.diagnostics import cells
from maskwise.pretrain.diagnostics.lift import (
    box_of,
    content_controls,
    controls,
    intervals,
    lift_matrix,
    local_variance,
    loudest_boxes,
    middle_box,
)
from maskwise.pretrain.diagnostics.opinion import (
    choice_spread,
    position_share,
    rank_correlation,
)
from maskwise.pretrain.diagnostics.probe import Probe


def measure(probe: Probe, policy: Policy[Any], generator: Generator) -> dict[str, float]:
    """Return the figures of what ``policy`` hides now; costs a pass of the policy."""
    masks = probe.masks(policy, generator)
    with torch.no_grad():
        maps = policy.maps(probe.images, probe.grid)
    figures = {"hidden_share": float(masks.double().mean())}
    if not bool(masks.any()):
        return figures
    scattered = cells.are_cells(masks, maps)
    box = (1, 1) if scattered else box_of(masks)
    variance = local_variance(probe.images, probe.grid, box)
    places = variance[0].numel() if maps is None else maps.values[0].numel()
    figures["entropy"], figures["top_share"] = choice_spread(masks.cpu().numpy(), places)
    if maps is not None:
        figures |= _opinion(probe, maps)
        if scattered:
            figures["overlap"] = cells.overlap(masks, probe.masks(policy, generator))
    if probe.lesions is None or not bool(masks.any(2).any(1).all()):
        return figures
    lesions = cell_means(probe.lesions[:, None].double(), probe.grid)
    untrained = (
        _cell_controls(probe, masks, variance)
        if scattered
        else {
            "centre": middle_box(len(masks), probe.grid, box),
            "variance": loudest_boxes(variance, probe.grid, box),
        }
    )
    if maps is not None:
        untrained["mean_map"] = _by_mean_map(probe, maps, masks)
    return figures | _lifts(probe, lesions, masks, untrained, variance, box)


def _cell_controls(probe: Probe, masks: Tensor, variance: Tensor) -> dict[str, Tensor]:
    number = cells.number_of(masks)
    return {
        "centre": cells.middle_cells(len(masks), probe.grid, number),
        "variance": highest(variance, number, probe.grid),
    }


def _by_mean_map(probe: Probe, maps: PlaceMap, masks: Tensor) -> Tensor:
    """Return what the policy's map hides when its mean over all images stands for each."""
    mean = maps.values.double().mean(0, keepdim=True)
    if maps.box == (1, 1):
        chosen = highest(mean, cells.number_of(masks), probe.grid)
        return chosen.expand(len(masks), -1, -1)
    place, width = mean.flatten(1).argmax(1), mean.shape[2]
    top, left = place // width * maps.stride, place % width * maps.stride
    return boxes(top, left, maps.box, probe.grid).expand(len(masks), -1, -1)


def _opinion(probe: Probe, maps: PlaceMap) -> dict[str, float]:
    ph, pw = maps.values.shape[1:]
    variance = local_variance(probe.images, probe.grid, maps.box, maps.stride, (ph, pw))
    q = maps.values.double().cpu().numpy()
    return {
        "variance_correlation": rank_correlation(q, variance.cpu().numpy()),
        "position_share": position_share(q),
    }


def _lifts(
    probe: Probe,
    lesions: Tensor,
    masks: Tensor,
    untrained: dict[str, Tensor],
    variance: Tensor,
    box: tuple[int, int],
) -> dict[str, float]:
    matrix = lift_matrix(masks, lesions).cpu().numpy()
    lift, content = intervals(matrix, probe.groups, probe.counts)
    figures = {
        f"{name}{part}": getattr(interval, attribute)
        for name, interval in (("lift", lift), ("content_lift", content))
        for part, attribute in (("", "value"), ("_low", "low"), ("_high", "high"))
    }
    matrices = {
        name: lift_matrix(hidden.to(lesions.device), lesions).cpu().numpy()
        for name, hidden in untrained.items()
    }
    mean_map = matrices.pop("mean_map", None)
    figures |= content_controls(matrix, matrices, probe.groups, probe.counts)
    if mean_map is not None:
        figures["lift_mean_map"] = float(mean_map.diagonal().mean())
    if box == (1, 1):
        return figures | cells.own_lifts(lesions, masks, matrices)
    return figures | controls(lesions, variance, box)
