"""A model's limits as tensors and a block of metadata, beside the model's own in its file.

Needs torch and safetensors only, as the model does.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from maskwise.bounds import Length, Positive
from maskwise.description import from_json
from maskwise.limits.conformal import Calibration
from maskwise.limits.record import Limits
from maskwise.limits.typical import Space

BLOCK = "limits"
PREFIX = "limits."
"""Of tensors that are not the network's."""
MOST_ANSWERS = 131_072
_SPACE = {"mean": 1, "std": 1, "axes": 2, "variances": 1, "held_out": 1}
"""Tensor -> how many dimensions it has; all are named after a field of ``Space``."""


@dataclass(frozen=True)
class _Described:
    """The block, which says what no tensor does."""

    answers: Annotated[tuple[str, ...], Length(0, MOST_ANSWERS)]
    """Whose held-out scores are the tensors ``scores.0``, ``scores.1``, …; none of a model that
    outlines."""
    rest: Positive
    """``Space.rest``."""


def to_file(limits: Limits) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors, by name in the file, and the block."""
    calibration, space = limits.calibration, limits.space
    arrays = {name: getattr(space, name) for name in _SPACE}
    answers: tuple[str, ...] = ()
    if calibration is not None:
        answers = calibration.answers
        arrays |= {f"scores.{k}": each for k, each in enumerate(calibration.scores)}
    # The axes are most of it; a distance needs no more digits of them.
    tensors = {
        f"{PREFIX}{name}": torch.from_numpy(each.copy()).to(
            torch.float32 if name == "axes" else torch.float64
        )
        for name, each in arrays.items()
    }
    return tensors, asdict(_Described(answers, space.rest))


def from_file(tensors: Mapping[str, Tensor], block: Any, features: int) -> Limits:
    """Return the limits of a model of so many ``features``.

    Args:
        tensors: those of the file whose name begins with ``PREFIX``, without it.
        block: of the metadata.
        features: how many there are of an image.

    Raises:
        ValueError: if anything is missing, is too much, or does not fit.
    """
    described = from_json(_Described, block)
    wanted = {**_SPACE, **{f"scores.{k}": 1 for k in range(len(described.answers))}}
    if set(tensors) != set(wanted):
        raise ValueError(f"its limits lack or add {sorted(set(tensors) ^ set(wanted))[:3]}")
    arrays = {name: _array(name, tensors[name], wanted[name]) for name in wanted}
    space = Space(**{name: arrays[name] for name in _SPACE}, rest=described.rest)
    shapes = {space.mean.shape, space.std.shape, space.axes.shape[:1]}
    if shapes != {(features,)} or space.axes.shape[1:] != space.variances.shape:
        raise ValueError("the tensors of its limits do not fit one another, or the model")
    if not len(space.held_out):
        raise ValueError("its limits rest on no held-out patient")
    if (space.std <= 0).any() or (space.variances <= 0).any():
        raise ValueError("the deviations of its limits are not positive")
    scores = tuple(arrays[f"scores.{k}"] for k in range(len(described.answers)))
    return Limits(Calibration(described.answers, scores) if scores else None, space)


def _array(name: str, tensor: Tensor, dimensions: int) -> NDArray[Any]:
    if tensor.ndim != dimensions or not tensor.is_floating_point():
        raise ValueError(f"its tensor {PREFIX}{name} is not of numbers in {dimensions}-D")
    array = tensor.double().numpy()
    if not tensor.isfinite().all():
        raise ValueError(f"its tensor {PREFIX}{name} holds values that are not finite numbers")
    if name not in ("mean", "std", "axes", "variances") and (array[1:] < array[:-1]).any():
        raise ValueError(f"its tensor {PREFIX}{name} is not in ascending order")
    return array
