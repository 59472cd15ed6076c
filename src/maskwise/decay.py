"""Weight decay and rates by part of the encoder: one rule for pre-training and fine-tuning."""

from collections.abc import Iterable, Sequence

from torch import nn

UNDECAYED = ("prototypes", "mask_token", "class_token", "positions")
"""Parameters that are spared whatever their shape: their length or place is what they mean."""


def divided(
    named: Iterable[tuple[str, nn.Parameter]],
) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the parameters that are decayed and those that are spared, each in order.

    Spared is what has one dimension or none (norms, biases), a bias of more (one per
    position), and what ``UNDECAYED`` names; and what is frozen is in neither.
    """
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for name, parameter in named:
        if parameter.requires_grad:
            (spared if is_spared(name, parameter) else decayed).append(parameter)
    return decayed, spared


def is_spared(name: str, parameter: nn.Parameter) -> bool:
    """Say whether weight decay leaves the parameter ``name`` (``block.0.bias``) alone."""
    parts = name.split(".")
    return parameter.ndim <= 1 or parts[-1] == "bias" or not set(parts).isdisjoint(UNDECAYED)


def rate_shares(parts: Sequence[Sequence[nn.Module]], decay: float) -> dict[int, float]:
    """Return the share of the learning rate of each parameter, by its ``id``.

    Part i of n gets ``decay ** (n - 1 - i)``: the last one the whole rate, as whatever lies
    behind it.

    Args:
        parts: of an encoder, first to last (``Encoder.layers``).
        decay: of one part against the one behind it.
    """
    return {
        id(parameter): decay ** (len(parts) - 1 - position)
        for position, modules in enumerate(parts)
        for module in modules
        for parameter in module.parameters()
    }
