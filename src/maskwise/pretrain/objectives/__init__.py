"""The objectives by YAML name: a new one is its own file and one line here."""

from maskwise.pretrain.contracts import ObjectiveConfig
from maskwise.pretrain.objectives.autoencoder import AutoencoderConfig
from maskwise.pretrain.objectives.context_encoder import ContextEncoderConfig
from maskwise.pretrain.objectives.none import NoneConfig
from maskwise.pretrain.objectives.simclr import SimclrConfig

OBJECTIVES: dict[str, type[ObjectiveConfig]] = {
    "autoencoder": AutoencoderConfig,
    "context_encoder": ContextEncoderConfig,
    "none": NoneConfig,
    "simclr": SimclrConfig,
}
