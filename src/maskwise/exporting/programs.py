"""A network and its preparation as one program of ``torch.export``, of any batch and image."""

import warnings

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from maskwise.exporting.answers import Answers, Network
from maskwise.exporting.prepared import Prepares
from maskwise.preparation import Preparation

INPUT = "images"


class Whole(nn.Module):
    """Preparation, where the graph has it, and the network's answers."""

    def __init__(self, network: Network, prepares: Prepares | None) -> None:
        super().__init__()
        self.answers, self.prepares = Answers(network), prepares

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        seen = images if self.prepares is None else self.prepares(images)
        answers: tuple[Tensor, ...] = self.answers(seen)
        return answers


def program_of(network: Network, preparation: Preparation, inside: bool) -> ExportedProgram:
    """Return the program of a network that is on the CPU, in eval mode, and was once called.

    Without the call, what it keeps for images of that size would be made of tensors without
    values.
    """
    sides = preparation.height, preparation.width
    moves: dict[int, Dim] = {0: Dim("batch", min=1)}
    channels = preparation.channels
    if inside:
        channels = preparation.takes
        sides = sides[0] + 3, sides[1] + 5  # other than the network's, or they would be fixed
        moves |= {2: Dim("height", min=1), 3: Dim("width", min=1)}
    example = torch.zeros(3, channels, *sides)
    whole = Whole(network, Prepares(preparation) if inside else None).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about itself
        program = torch.export.export(whole, (example,), dynamic_shapes=(moves,))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    return program
