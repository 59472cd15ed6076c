"""The objectives by YAML name: a new one is its own file and one line here."""

from maskwise.pretrain.contracts import ObjectiveConfig
from maskwise.pretrain.objectives.autoencoder import AutoencoderConfig
from maskwise.pretrain.objectives.byol import ByolConfig
from maskwise.pretrain.objectives.context_encoder import ContextEncoderConfig
from maskwise.pretrain.objectives.features import FeaturesConfig
from maskwise.pretrain.objectives.moco_v2 import MocoV2Config
from maskwise.pretrain.objectives.multiscale import MaeConfig, MultiscaleConfig
from maskwise.pretrain.objectives.none import NoneConfig
from maskwise.pretrain.objectives.simclr import SimclrConfig
from maskwise.pretrain.objectives.spark import SparkConfig
from maskwise.pretrain.objectives.swav import SwavConfig

OBJECTIVES: dict[str, type[ObjectiveConfig]] = {
    "autoencoder": AutoencoderConfig,
    "byol": ByolConfig,
    "context_encoder": ContextEncoderConfig,
    "features": FeaturesConfig,
    "mae": MaeConfig,
    "moco_v2": MocoV2Config,
    "multiscale": MultiscaleConfig,
    "none": NoneConfig,
    "simclr": SimclrConfig,
    "spark": SparkConfig,
    "swav": SwavConfig,
}
