"""How fast SparK trains, beside a supervised step of the same encoder, and its two forms.

Printed are images per second as a share of the supervised step's (ResNet-18 at 64 pixels and
its published stride, 32 images; the authors' release reaches .15 there), and the time of the
packed encoder as a share of the masked one's (224 pixels, 29 of 49 cells hidden, channels
last), forward and backward. Aims: at least .60 and at most .55.

    OMP_NUM_THREADS=1 python benchmarks/spark_step.py [--rounds 15]
"""

import argparse
import statistics
from collections.abc import Callable

import torch
from torch import Tensor

from maskwise.encoders.contract import Encoder
from maskwise.encoders.resnet import Resnet18Config
from maskwise.encoders.sparse import SparseEncoder
from maskwise.encoders.sparse.encoder import FORMS, Form
from maskwise.encoders.sparse.visible import Visible
from steps import noise, supervised_step, training_step, where
from turns import by_turns, ratio

SIDE, BATCH = 64, 32
LARGE, FEW, CELLS, SEEN = 224, 8, 7, 20


def recipe(packed: str, preset: str | None = None) -> dict[str, object]:
    """Return a recipe of SparK with ResNet-18 at its published stride."""
    return {
        "objective": {
            "name": "spark",
            "packed": packed,
            **({"preset": preset} if preset else {}),
        },
        "policy": {"name": "random_cells", "ratio": 0.6},
        "encoder": {"name": "resnet18", "stride": 32},
    }


def encoder_step(form: Form | None) -> Callable[[], object]:
    """Return a step forward and backward of the encoder alone, with a new mask each time."""
    encoder: Encoder = Resnet18Config(stride=32).build(3).train()
    encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = (
        noise(FEW, LARGE).expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
    )
    sparse, generator = SparseEncoder(encoder), torch.Generator().manual_seed(0)

    def step() -> Tensor:
        order = torch.rand(FEW, CELLS * CELLS, generator=generator).argsort(1)
        hidden = (order >= SEEN).reshape(FEW, CELLS, CELLS)
        features = encoder(images) if form is None else sparse(images, Visible(hidden), form)
        loss = torch.stack([each.square().mean() for each in features]).sum()
        loss.backward()
        return loss.detach()

    return step


def main() -> None:
    """Measure and print one line per figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="of steps")
    options = parser.parse_args()
    print(f"{where()}; ResNet-18")
    images = noise(BATCH, SIDE)
    steps = {
        "spark, packed": training_step(recipe("always"), images, 2, 0.6),
        "spark, masked": training_step(recipe("never"), images, 2, 0.6),
        "spark, the release's decoder": training_step(
            recipe("always", "release"), images, 2, 0.6
        ),
    }
    taken = by_turns({"supervised": supervised_step(images), **steps}, options.rounds, warm=2)
    for name in steps:
        cost = f"{1000 * statistics.median(taken[name]):.0f} ms per step"
        print(f"{name}, speed / supervised: {ratio(taken['supervised'], taken[name])}; {cost}")
    large = {str(form): encoder_step(form) for form in FORMS}
    taken = by_turns({"plain": encoder_step(None), **large}, options.rounds, warm=2)
    print(f"{FEW} images of {LARGE} pixels, {SEEN} of {CELLS * CELLS} cells seen:")
    print(f"packed / masked: {ratio(taken['packed'], taken['masked'])}")
    print(f"packed / plain: {ratio(taken['packed'], taken['plain'])}")


if __name__ == "__main__":
    main()
