"""The optimiser of an objective's networks (departure 15)."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from maskwise.encoders import ENCODERS
from maskwise.pretrain.objectives.context_encoder import ContextEncoderConfig
from maskwise.pretrain.optimisation import OptimisationConfig, build_optimiser
from pretrain.toys import RANDOM_BOX, make_run, make_setting, make_store, pretrain


@pytest.mark.parametrize("architecture", ["context_cnn", "resnet18"])
def test_the_configured_weight_decay_reaches_all_weights_but_no_bias_and_no_norm(
    architecture: str,
) -> None:
    objective = ContextEncoderConfig().build(make_setting(), ENCODERS[architecture]().build(1))
    optimiser = build_optimiser(OptimisationConfig(weight_decay=0.37), objective)
    decay_of = {
        id(parameter): group["weight_decay"]
        for group in optimiser.param_groups
        for parameter in group["params"]
    }
    spared = {
        id(parameter)
        for module in objective.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if name == "bias" or isinstance(module, nn.GroupNorm | nn.BatchNorm2d)
    }
    assert spared
    for parameter in objective.parameters():
        assert decay_of[id(parameter)] == (0.0 if id(parameter) in spared else 0.37)


def test_weight_decay_alone_shrinks_the_weights_of_a_run(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")

    def weights(decay: float) -> Tensor:
        options = {"weight_decay": decay, "clip_norm": 1e-12, "warm_up": 0.0}
        run = make_run(tmp_path / str(decay), {**RANDOM_BOX, "optimisation": options})
        encoder = pretrain(store, splits, run).encoder
        return torch.cat([w.flatten() for w in encoder.parameters() if w.ndim > 1])

    assert weights(20.0).norm() < 0.95 * weights(0.0).norm()
