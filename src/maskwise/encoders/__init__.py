"""The encoders by YAML name: a new one is its own file and one line here."""

from maskwise.encoders.context_cnn import ContextCnnConfig
from maskwise.encoders.contract import EncoderConfig
from maskwise.encoders.pixels import PixelsConfig
from maskwise.encoders.resnet18 import Resnet18Config

ENCODERS: dict[str, type[EncoderConfig]] = {
    "context_cnn": ContextCnnConfig,
    "pixels": PixelsConfig,
    "resnet18": Resnet18Config,
}
