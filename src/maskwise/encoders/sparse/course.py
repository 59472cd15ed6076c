"""An encoder's layers in the order in which they run, each with a sparse form that is known.

What is not known is refused by name: computed as usual it would mix hidden and visible places,
and nothing would show it.
"""

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import torch
from torch import Tensor, fx, nn

from maskwise.encoders.contract import Encoder
from maskwise.errors import UserError

F = nn.functional
Kind = Literal[
    "image", "convolution", "batch_norm", "group_norm", "layer_norm", "pointwise", "sum",
    "max_pool", "mean_pool", "permute",
]  # fmt: skip
LAST, FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
"""Permutations that put channels behind rows and columns, and back."""

_KEEP_ZERO = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Identity,
    nn.Dropout,
)  # fmt: skip
_MODULES: Mapping[type[nn.Module] | tuple[type[nn.Module], ...], Kind] = {
    nn.Conv2d: "convolution",
    nn.BatchNorm2d: "batch_norm",
    nn.GroupNorm: "group_norm",
    nn.LayerNorm: "layer_norm",
    nn.MaxPool2d: "max_pool",
    nn.AvgPool2d: "mean_pool",
    _KEEP_ZERO: "pointwise",
}
_FUNCTIONS: Mapping[Any, Kind] = {
    **dict.fromkeys(
        (F.relu, F.relu6, F.leaky_relu, F.elu, F.gelu, F.silu, F.hardswish, torch.relu),
        "pointwise",
    ),
    **dict.fromkeys((operator.add, operator.iadd, torch.add), "sum"),
    F.max_pool2d: "max_pool",
    F.avg_pool2d: "mean_pool",
}
_METHODS: Mapping[str, Kind] = {"relu": "pointwise", "add": "sum", "permute": "permute"}
_POSITIVE = (nn.ReLU, nn.ReLU6, F.relu, F.relu6, torch.relu, "relu")
KNOWN = (
    "convolutions, batch, group and layer norm, sums, max and average pooling, and activations "
    "that keep 0"
)


@dataclass(frozen=True)
class Window:
    """Of a pooling: its sides, steps and padding, alike down and across."""

    kernel: int
    stride: int
    padding: int

    @property
    def crosses(self) -> bool:
        """Whether a window can hold places of two cells."""
        return self.kernel != self.stride or self.padding > 0


@dataclass(frozen=True)
class Step:
    """One layer, and whose answers it takes."""

    name: str
    """As it is called in the encoder."""
    kind: Kind
    inputs: tuple[int, ...]
    """Numbers of earlier steps."""
    module: nn.Module | None = None
    function: Callable[..., Tensor] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    window: Window | None = None
    positive: bool = False
    """Whether what it takes is never below 0."""

    def applied(self, *values: Tensor) -> Tensor:
        """Return what the layer answers, as it stands in the encoder."""
        if self.module is not None:
            answer: Tensor = self.module(*values)
            return answer
        assert self.function is not None
        return self.function(*values, **self.options)


@dataclass(frozen=True)
class Course:
    """All steps of an encoder, and which of them are its features."""

    steps: tuple[Step, ...]
    features: tuple[int, ...]
    last_use: tuple[int, ...]
    """After which step the answer of each is no longer needed."""


def record(encoder: Encoder) -> Course:
    """Follow the encoder once, without an image.

    Raises:
        UserError: naming a layer that is not known to have a sparse form.
    """
    graph = _Recorder().trace(encoder)
    numbers: dict[fx.Node, int] = {}
    steps: list[Step] = []
    features: tuple[int, ...] = ()
    for node in graph.nodes:
        if node.op == "output":
            features = tuple(numbers[each] for each in cast(Iterable[fx.Node], node.args[0]))
        elif node.op == "placeholder":
            numbers[node] = len(steps)
            steps.append(Step("image", "image", ()))
        else:
            numbers[node] = len(steps)
            steps.append(_step(node, encoder, numbers))
    return Course(tuple(steps), features, _last_uses(steps, features))


def _last_uses(steps: list[Step], features: tuple[int, ...]) -> tuple[int, ...]:
    last = list(range(len(steps)))
    for number, step in enumerate(steps):
        for each in step.inputs:
            last[each] = number
    return tuple(
        len(steps) if number in features else found for number, found in enumerate(last)
    )


class _Recorder(fx.Tracer):
    traced_func_name = "features"

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return _kind_of(module) is not None or super().is_leaf_module(module, name)


def _kind_of(module: nn.Module) -> Kind | None:
    return next((kind for known, kind in _MODULES.items() if isinstance(module, known)), None)


def _step(node: fx.Node, encoder: Encoder, numbers: Mapping[fx.Node, int]) -> Step:
    inputs = tuple(each for each in node.args if isinstance(each, fx.Node))
    taken = tuple(numbers[each] for each in inputs)
    positive = bool(inputs) and _what(inputs[0], encoder) in _POSITIVE
    if node.op == "call_module":
        module = encoder.get_submodule(str(node.target))
        kind = _kind_of(module)
        if kind is None:
            raise _unknown(encoder, str(node.target), type(module).__name__)
        _check(module, kind, encoder, str(node.target))
        window = _window(vars(module)) if kind in ("max_pool", "mean_pool") else None
        return Step(str(node.target), kind, taken, module, window=window, positive=positive)
    known: Mapping[Any, Kind] = _FUNCTIONS if node.op == "call_function" else _METHODS
    kind = known.get(node.target)
    if kind is None:
        called = getattr(node.target, "__name__", str(node.target))
        raise _unknown(encoder, node.name, called)
    options = dict(node.kwargs)
    if kind in ("max_pool", "mean_pool"):
        names = ("kernel_size", "stride", "padding")
        options |= dict(zip(names, node.args[1:], strict=False))
        return Step(node.name, kind, taken, window=_window(options), positive=positive)
    if kind == "permute":
        axes = node.args[1:] if len(node.args) > 2 else node.args[1]
        if tuple(cast(Iterable[int], axes)) not in (LAST, FIRST):
            raise _unknown(encoder, node.name, f"permute to {axes}")
        return Step(node.name, kind, taken, options={"axes": tuple(cast(Iterable[int], axes))})
    function = getattr(Tensor, str(node.target)) if node.op == "call_method" else node.target
    return Step(node.name, kind, taken, None, cast(Any, function), options, positive=positive)


def _what(node: fx.Node, encoder: Encoder) -> Any:
    """Return what made an answer: a type of module, a function, or the name of a method."""
    if node.op == "call_module":
        return type(encoder.get_submodule(str(node.target)))
    return node.target


def _unknown(encoder: Encoder, name: str, what: str) -> UserError:
    return UserError(
        f"encoder.name: the layer {name} of {type(encoder).__name__} is {what}, of which no "
        f"form is known that leaves hidden cells out; known are {KNOWN}. Take another encoder, "
        "or another objective"
    )


def _check(module: nn.Module, kind: Kind, encoder: Encoder, name: str) -> None:
    """Refuse convolutions whose answers do not lie over what they see, and odd norms."""
    if kind == "layer_norm" and len(cast(nn.LayerNorm, module).normalized_shape) != 1:
        raise _unknown(encoder, name, "a layer norm over more than channels")
    if not isinstance(module, nn.Conv2d):
        return
    sides = {
        (kernel, stride, padding, spread)
        for kernel, stride, padding, spread in zip(
            module.kernel_size,
            module.stride,
            cast(tuple[int, int], module.padding),
            module.dilation,
            strict=True,
        )
    }
    kernel, stride, padding, spread = next(iter(sides))
    centred = kernel % 2 == 1 and padding == spread * (kernel - 1) // 2
    tiles = kernel == stride and padding == 0
    if len(sides) > 1 or not (centred or tiles) or module.padding_mode != "zeros":
        raise _unknown(
            encoder, name, "a convolution that is not centred on what it answers for"
        )


def _window(options: Mapping[str, Any]) -> Window:
    kernel = options["kernel_size"]
    stride = options.get("stride")
    return Window(kernel, kernel if stride is None else stride, options.get("padding", 0))
