"""An encoder's layers in the order in which they run, each with a sparse form that is known.

What is not known is refused by name: computed as usual it would mix hidden and visible places,
and nothing would show it.
"""

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

import torch
from torch import Tensor, fx, nn

from maskwise.encoders.contract import Encoder
from maskwise.encoders.norm import BatchNorm
from maskwise.encoders.tokens import TokenEncoder
from maskwise.errors import UserError

F = nn.functional
Kind = Literal[
    "image", "convolution", "batch_norm", "group_norm", "layer_norm", "pointwise", "sum",
    "max_pool", "mean_pool", "permute",
]  # fmt: skip
LAST, FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
"""Permutations that put channels behind rows and columns, and back."""
_MODULES: Mapping[type[nn.Module], Kind] = {
    nn.Conv2d: "convolution",
    BatchNorm: "batch_norm",
    nn.BatchNorm2d: "batch_norm",
    nn.GroupNorm: "group_norm",
    nn.LayerNorm: "layer_norm",
    nn.MaxPool2d: "max_pool",
    nn.AvgPool2d: "mean_pool",
    # Activations whose answer to 0 is 0.
    nn.ReLU: "pointwise",
    nn.ReLU6: "pointwise",
    nn.LeakyReLU: "pointwise",
    nn.ELU: "pointwise",
    nn.GELU: "pointwise",
    nn.SiLU: "pointwise",
    nn.Hardswish: "pointwise",
    nn.Identity: "pointwise",
    nn.Dropout: "pointwise",
}
_FUNCTIONS: Mapping[Any, Kind] = {
    F.relu: "pointwise",
    torch.relu: "pointwise",
    F.relu6: "pointwise",
    F.leaky_relu: "pointwise",
    F.elu: "pointwise",
    F.gelu: "pointwise",
    F.silu: "pointwise",
    F.hardswish: "pointwise",
    operator.add: "sum",
    operator.iadd: "sum",
    torch.add: "sum",
    F.max_pool2d: "max_pool",
    F.avg_pool2d: "mean_pool",
}
_METHODS: Mapping[str, Kind] = {"relu": "pointwise", "add": "sum", "permute": "permute"}
_POSITIVE = (nn.ReLU, nn.ReLU6, F.relu, F.relu6, torch.relu, "relu")
_POOLING = ("kernel_size", "stride", "padding")
_UNUSUAL = {
    "dilation": 1,
    "ceil_mode": False,
    "return_indices": False,
    "divisor_override": None,
}
"""Further options of poolings, and the only value of each that is known here."""
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
    arguments: tuple[Any, ...] = ()
    """What the function takes behind its tensors."""
    options: Mapping[str, Any] = field(default_factory=dict)
    window: Window | None = None
    positive: bool = False
    """Whether what it takes is never below 0."""
    last: bool = False
    """Whether channels stand last in its answer."""

    def applied(self, *values: Tensor) -> Tensor:
        """Return what the layer answers, as it stands in the encoder."""
        if self.module is not None:
            answer: Tensor = self.module(*values)
            return answer
        assert self.function is not None
        return self.function(*values, *self.arguments, **self.options)


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
    if isinstance(encoder, TokenEncoder):
        raise UserError(
            "encoder.name: it sees an image as tokens and leaves hidden ones out by itself; "
            "choose objective mae or multiscale, or an encoder of convolutions"
        )
    name = type(encoder).__name__
    try:
        graph = _Recorder().trace(encoder)
    except (fx.proxy.TraceError, TypeError) as error:
        raise UserError(
            f"encoder.name: what {name} does depends on what it is shown ({error}), so that "
            "its layers cannot be recorded; take another encoder, or another objective"
        ) from None
    numbers: dict[fx.Node, int] = {}
    steps: list[Step] = []
    features: tuple[int, ...] = ()
    for node in graph.nodes:
        if node.op == "output":
            features = tuple(numbers[each] for each in cast(Iterable[fx.Node], node.args[0]))
            break
        numbers[node] = len(steps)
        if node.op == "placeholder":
            steps.append(Step("image", "image", ()))
            continue
        try:
            steps.append(_step(node, encoder, numbers, steps))
        except _NotKnownError as error:
            raise UserError(
                f"encoder.name: the layer {error.layer} of {name} is {error.what}, of which no "
                f"form is known that leaves hidden cells out; known are {KNOWN}. Take another "
                "encoder, or another objective"
            ) from None
    return Course(tuple(steps), features, _last_uses(steps, features))


class _NotKnownError(Exception):
    def __init__(self, layer: str, what: str) -> None:
        super().__init__(layer, what)
        self.layer, self.what = layer, what


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
        known = any(isinstance(module, each) for each in _MODULES)
        return known or super().is_leaf_module(module, name)


def _kind_of(module: nn.Module) -> Kind | None:
    """Return what a module is; None for what only descends from it, or is listened to."""
    if module._forward_hooks or module._forward_pre_hooks:
        return None
    own = type(module)
    if (
        isinstance(module, nn.Conv2d)
        and type(module)._conv_forward is not nn.Conv2d._conv_forward
    ):
        return None
    return next(
        (
            kind
            for known, kind in _MODULES.items()
            if isinstance(module, known) and own.forward is known.forward
        ),
        None,
    )


def _step(
    node: fx.Node, encoder: Encoder, numbers: Mapping[fx.Node, int], before: list[Step]
) -> Step:
    inputs = [each for each in node.args if isinstance(each, fx.Node)]
    step = (_of_module if node.op == "call_module" else _of_function)(node, encoder)
    taken = tuple(numbers[each] for each in inputs)
    lasts = {before[each].last for each in taken}
    if step.kind == "permute":
        return replace(step, inputs=taken, last=step.options["axes"] == LAST)
    if len(lasts) != 1 or (step.kind == "sum" and len(taken) != 2):
        raise _NotKnownError(step.name, f"{step.kind} of something else than feature maps")
    (last,) = lasts
    if last != (step.kind == "layer_norm") and step.kind not in ("pointwise", "sum"):
        where = "behind" if last else "in front of"
        raise _NotKnownError(step.name, f"a {step.kind} of channels {where} rows and columns")
    positive = _what(inputs[0], encoder) in _POSITIVE
    return replace(step, inputs=taken, positive=positive, last=last)


def _of_module(node: fx.Node, encoder: Encoder) -> Step:
    name = str(node.target)
    module = encoder.get_submodule(name)
    kind = _kind_of(module)
    if kind is None:
        raise _NotKnownError(name, f"a {type(module).__name__} of its own kind")
    if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) != 1:
        raise _NotKnownError(name, "a layer norm over more than channels")
    if isinstance(module, nn.Conv2d):
        _check_convolution(module, name)
    window = None
    if kind in ("max_pool", "mean_pool"):
        window = _window(name, {**vars(module)}, kind)
    return Step(name, kind, (), module, window=window)


def _of_function(node: fx.Node, encoder: Encoder) -> Step:
    del encoder
    known: Mapping[Any, Kind] = _FUNCTIONS if node.op == "call_function" else _METHODS
    kind = known.get(node.target)
    if kind is None:
        raise _NotKnownError(node.name, getattr(node.target, "__name__", str(node.target)))
    rest = tuple(each for each in node.args if not isinstance(each, fx.Node))
    options = dict(node.kwargs)
    if kind in ("max_pool", "mean_pool"):
        further = dict(zip(_POOLING, rest, strict=False))
        unnamed = (
            {"further options": rest[len(_POOLING) :]} if len(rest) > len(_POOLING) else {}
        )
        return Step(
            node.name,
            kind,
            (),
            window=_window(node.name, {**options, **further, **unnamed}, kind),
        )
    if kind == "permute":
        axes = rest if len(rest) > 1 else rest[0]
        if tuple(cast(Iterable[int], axes)) not in (LAST, FIRST):
            raise _NotKnownError(node.name, f"a permutation to {axes}")
        return Step(node.name, kind, (), options={"axes": tuple(cast(Iterable[int], axes))})
    function = getattr(Tensor, str(node.target)) if node.op == "call_method" else node.target
    return Step(node.name, kind, (), None, cast(Any, function), rest, options)


def _what(node: fx.Node, encoder: Encoder) -> Any:
    """Return what made an answer: a type of module, a function, or the name of a method."""
    if node.op == "call_module":
        return type(encoder.get_submodule(str(node.target)))
    return node.target


def _check_convolution(module: nn.Conv2d, name: str) -> None:
    """Refuse a convolution whose answers do not lie over what they see."""
    if isinstance(module.padding, str) or module.padding_mode != "zeros":
        raise _NotKnownError(name, "a convolution with a padding that is no number of zeros")
    sides = set(
        zip(module.kernel_size, module.stride, module.padding, module.dilation, strict=True)
    )
    kernel, stride, padding, dilation = next(iter(sides))
    centred = kernel % 2 == 1 and padding == dilation * (kernel - 1) // 2
    tiles = kernel == stride and padding == 0 and dilation == 1
    if len(sides) > 1 or not (centred or tiles):
        raise _NotKnownError(name, "a convolution that is not centred on what it answers for")


def _window(name: str, options: Mapping[str, Any], kind: Kind) -> Window:
    """Return a pooling's window, or refuse one that is not square, centred and plain."""
    unusual = [key for key, plain in _UNUSUAL.items() if options.get(key, plain) != plain]
    unusual += [key for key in ("further options",) if options.get(key)]
    if unusual:
        raise _NotKnownError(name, f"a pooling with {unusual[0]}")
    kernel, padding = (
        _side(name, options["kernel_size"]),
        _side(name, options.get("padding", 0)),
    )
    given = options.get("stride")
    stride = kernel if given is None else _side(name, given)
    window = Window(kernel, stride, padding)
    if window.crosses and (kernel % 2 == 0 or padding != (kernel - 1) // 2):
        raise _NotKnownError(name, "a pooling that is not centred on what it answers for")
    if kind == "mean_pool" and window.crosses and options.get("count_include_pad", True):
        raise _NotKnownError(name, "an average pooling that counts its padding")
    return window


def _side(name: str, given: Any) -> int:
    """Return one side of what is alike down and across."""
    sides = {given} if isinstance(given, int) else set(given)
    if len(sides) != 1:
        raise _NotKnownError(name, "a pooling that is not square")
    return int(next(iter(sides)))
