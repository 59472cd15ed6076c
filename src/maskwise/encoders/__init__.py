"""The encoders by YAML name: a new one is its own file and one line here."""

from maskwise.encoders.context_cnn import ContextCnnConfig
from maskwise.encoders.contract import EncoderConfig
from maskwise.encoders.efficientnet_lite0 import EfficientnetLite0Config
from maskwise.encoders.pixels import PixelsConfig
from maskwise.encoders.resnet import Resnet18Config, Resnet34Config, Resnet50Config
from maskwise.encoders.vit import VitConfig

ENCODERS: dict[str, type[EncoderConfig]] = {
    "context_cnn": ContextCnnConfig,
    "efficientnet_lite0": EfficientnetLite0Config,
    "pixels": PixelsConfig,
    "resnet18": Resnet18Config,
    "resnet34": Resnet34Config,
    "resnet50": Resnet50Config,
    "vit": VitConfig,
}
