"""What an exported graph answers, by the kind of network: names, and what they mean."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from maskwise.artefacts.model import Metadata
from maskwise.encoders.classifier import Classifier
from maskwise.encoders.contract import Encoder
from maskwise.encoders.metadata import EncoderMetadata
from maskwise.encoders.pooling import pool
from maskwise.encoders.segmenter import Segmenter
from maskwise.errors import UserError
from maskwise.preparation import Preparation

Network = Encoder | Classifier | Segmenter


class Answers(nn.Module):
    """The network in one call, its answers in the order of ``names``."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Turn normalised images ``(B, C, H, W)`` of the network's size into its answers."""
        network = self.network
        if isinstance(network, Classifier):
            logits = network(images)
            return network.activated(logits), logits
        if isinstance(network, Segmenter):
            return (network(images).softmax(dim=1),)
        stages = network(images)
        return pool(stages[-1], "mean"), *stages


def names(network: Network) -> dict[str, str]:
    """Return the name of each answer and what it is."""
    if isinstance(network, Classifier):
        rule = "each by itself" if network.activation == "sigmoid" else "which add to 1"
        return {
            "probabilities": f"(batch, classes), calibrated, {rule}",
            "logits": "(batch, classes), before calibration",
        }
    if isinstance(network, Segmenter):
        text = "(batch, 1 + classes, H, W) of each pixel of the network, the background first"
        return {"probabilities": text}
    stages = {
        f"stage_{number}": f"(batch, {channels}, h, w), a feature for {stride} pixels a side"
        for number, (channels, stride) in enumerate(
            zip(network.channels, network.strides, strict=True)
        )
    }
    return {"pooled": "(batch, width), the mean over the places of the last stage", **stages}


def copied(network: Network) -> Network:
    """Return a copy on the CPU, in eval mode and with nothing frozen, to make a graph of.

    Raises:
        UserError: if nothing is known about the images that it takes.
    """
    metadata_of(network)
    copy_ = copy.deepcopy(network).cpu().float().eval()
    encoder = copy_ if isinstance(copy_, Encoder) else copy_.encoder
    encoder.freeze(0)  # frozen stages take another way, over parts of a batch
    return copy_.requires_grad_(False)


def metadata_of(network: Network) -> Metadata | EncoderMetadata:
    """Return what its file says, or raise ``UserError`` where it came from none."""
    found = vars(network).get("metadata")
    if found is None:
        raise UserError(
            "model.metadata: missing, so that nothing is known about the images that it takes; "
            "load one with maskwise.load_encoder or load_model"
        )
    metadata: Metadata | EncoderMetadata = found
    return metadata


def encoder_metadata_of(network: Network) -> EncoderMetadata:
    """Return what is known of its encoder."""
    metadata = metadata_of(network)
    return metadata if isinstance(metadata, EncoderMetadata) else metadata.encoder


def answered(module: nn.Module, images: Tensor, network: Network) -> Mapping[str, Any]:
    """Return what torch answers, as NumPy's arrays by name."""
    with torch.inference_mode():
        found = module(images)
    return {name: each.numpy() for name, each in zip(names(network), found, strict=True)}


def warm(network: Network, preparation: Preparation) -> None:
    """Call the network once with an image of its size.

    What it keeps for that size would else be made while a graph is recorded, of tensors
    without values, and be met by whoever calls it next.
    """
    sides = preparation.channels, preparation.height, preparation.width
    with torch.inference_mode():
        network(torch.zeros(1, *sides))
