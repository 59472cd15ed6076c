"""A step whose loss or gradient is no finite number, kept in one file and made again from it.

The file is safetensors: reading it runs no code. It holds the network before the step, which
images were seen and how they were augmented, the masks, and the generators' states.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from maskwise.artefacts.encoder import read_tensors, usable, write_tensors
from maskwise.bounds import Seed
from maskwise.description import from_json
from maskwise.errors import UserError
from maskwise.pretrain.contracts import Batch, Objective
from maskwise.pretrain.learner import parts_of

BLOCK, NETWORK, DRAWS = "diverged", "network.", "draws."


@dataclass(frozen=True)
class Diverged:
    """What a step began with that went wrong, and its losses."""

    step: int
    """From 0."""
    network: Mapping[str, Tensor]
    """The objective's ``state_dict`` before the step."""
    batch: Batch
    """The whole, all processes' images."""
    mask: Tensor
    """``(B, gh, gw)``, the policy's answer."""
    draws: Mapping[str, Tensor]
    """States of the generators of masks and of torch before the step."""
    losses: list[float]
    """Of the parts into which the batch was cut."""


@dataclass(frozen=True)
class Origin:
    """Which run a step is of."""

    source: str
    recipe: str
    seed: Seed
    key: str
    """Of its checkpoint: everything that shapes the weights."""
    channels_last: bool
    parts: int
    processes: int


@dataclass(frozen=True)
class Step:
    """What the file says of itself."""

    origin: Origin
    step: int
    progress: float
    losses: tuple[str, ...]
    """As text: JSON has no word for what they are."""


def keep(diverged: Diverged, origin: Origin, folder: Path) -> str:
    """Write the file, and return the sentence that names it and the command that reads it."""
    path = folder / f"diverged_{diverged.step + 1:06d}.safetensors"
    batch = diverged.batch
    tensors = {f"{NETWORK}{name}": tensor for name, tensor in diverged.network.items()}
    tensors |= {f"{DRAWS}{name}": state for name, state in diverged.draws.items()}
    tensors |= {
        "index": batch.index,
        "augmentation_seed": batch.augmentation_seed,
        "mask": diverged.mask,
    }
    losses = tuple(str(loss) for loss in diverged.losses)
    about = Step(origin, diverged.step, batch.progress, losses)
    write_tensors(tensors, {BLOCK: asdict(about)}, path)
    return f"the step is kept: `kedro replay {path}` makes it again and says where it broke"


@dataclass(frozen=True)
class Kept:
    """A file that ``keep`` wrote."""

    about: Step
    tensors: Mapping[str, Tensor]

    @property
    def network(self) -> dict[str, Tensor]:
        """The objective's ``state_dict`` before the step."""
        return _under(NETWORK, self.tensors)

    @property
    def draws(self) -> dict[str, Tensor]:
        """States of the generators before the step."""
        return _under(DRAWS, self.tensors)


def read_kept(path: Path) -> Kept:
    """Read a file that ``keep`` wrote.

    Raises:
        UserError: if it is none.
    """
    tensors, blocks = read_tensors(path)
    if BLOCK not in blocks:
        raise UserError(f"{path}: no step that diverged; choose a diverged_….safetensors")
    with usable(path):
        return Kept(from_json(Step, blocks[BLOCK]), tensors)


@dataclass(frozen=True)
class Replayed:
    """What came of the step this time."""

    losses: list[float]
    forward: str | None
    """The first layer whose answer is not finite, its name and how; None where all are."""
    backward: list[str]
    """Parameters whose gradient is not finite."""
    largest: list[tuple[str, float]]
    """The parameters of the largest finite values, by name."""
    pixels: tuple[float, float]
    """The least and the greatest of the images."""


def replay(kept: Kept, objective: Objective, batch: Batch) -> Replayed:
    """Make the step again, without the optimiser, and watch where it breaks.

    Args:
        kept: the step.
        objective: built as the run's was.
        batch: the step's, of the run's source.

    Raises:
        UserError: if it is another batch than the file's.
    """
    tensors, about = kept.tensors, kept.about
    if not torch.equal(batch.index, tensors["index"]):
        raise UserError(
            f"replay: step {about.step + 1} of {about.origin.recipe} seed {about.origin.seed} "
            "saw other images then: the images or the split were made anew since, or the seed "
            "or batch_size changed"
        )
    objective.load_state_dict(kept.network)
    layout = torch.channels_last if about.origin.channels_last else torch.contiguous_format
    objective.to(memory_format=layout)  # type: ignore[call-overload]
    objective.train()
    batch = replace(batch, images=batch.images.to(memory_format=layout))
    torch.set_rng_state(kept.draws["torch"])
    number = about.origin.parts
    losses, broken = [], list[str]()
    with _watching(objective, broken):
        for part, mask in zip(
            parts_of(batch, number), tensors["mask"].bool().chunk(number), strict=True
        ):
            loss = objective(part, mask).loss
            (loss / number).backward()
            losses.append(float(loss.detach()))
    named = list(objective.named_parameters())
    return Replayed(
        losses=losses,
        forward=broken[0] if broken else None,
        backward=[
            name
            for name, parameter in named
            if parameter.grad is not None and not bool(parameter.grad.isfinite().all())
        ],
        largest=sorted(
            ((name, float(parameter.detach().abs().max())) for name, parameter in named),
            key=lambda pair: -pair[1],
        )[:3],
        pixels=(float(batch.images.min()), float(batch.images.max())),
    )


@contextmanager
def _watching(objective: nn.Module, broken: list[str]) -> Iterator[None]:
    """Note the layers whose answers are not finite, in the order in which they answer."""

    def watch(name: str) -> Any:
        def look(module: nn.Module, given: Any, answer: Any) -> None:
            for each in answer if isinstance(answer, tuple | list) else [answer]:
                if isinstance(each, Tensor) and not bool(each.isfinite().all()):
                    share = 1 - float(each.isfinite().float().mean())
                    kind = type(module).__name__
                    broken.append(f"{name} ({kind}): {share:.1%} of its answer")

        return look

    hooks = [
        module.register_forward_hook(watch(name))
        for name, module in objective.named_modules()
        if not list(module.children())
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _under(start: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(start): tensor
        for name, tensor in tensors.items()
        if name.startswith(start)
    }
