"""Which weights decay: one rule for every optimiser."""

from collections.abc import Iterable

from torch import nn


def by_decay(
    named: Iterable[tuple[str, nn.Parameter]],
) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Part parameters into those that decay, and those that are spared: biases and norms.

    A norm has one dimension; a bias may have more, one per position.
    """
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for name, parameter in named:
        spares = parameter.ndim <= 1 or name.endswith("bias")
        (spared if spares else decayed).append(parameter)
    return decayed, spared
