"""Statistics for batch norms that nothing trains: those of the training images."""

import math

import torch
from torch import nn

from maskwise.encoders.contract import Encoder
from maskwise.encoders.norm import learns_statistics
from maskwise.pretrain.batches import Batches

MOST = 16
"""Batches that are looked at, an epoch at most."""


@torch.no_grad()
def settle(encoder: Encoder, batches: Batches) -> None:
    """Let batch norms that have seen nothing see training images, without labels.

    An encoder that is not trained would otherwise be fine-tuned with a mean of 0 and a variance
    of 1 for whatever its layers answer, which is no network that anybody compares with. Means
    are over all batches alike; no weight changes, and an encoder without batch norm is left.
    """
    encoder.train()
    if learns_statistics(encoder):
        norms = [each for each in encoder.modules() if isinstance(each, nn.BatchNorm2d)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = None  # torch's word for a mean over all batches
        for step in range(min(MOST, math.ceil(batches.steps_per_epoch))):
            encoder(batches.batch(step, 0.0).images)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    encoder.eval()
