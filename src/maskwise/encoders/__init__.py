"""The encoders by YAML name: a new one is its own file and one line here."""

from maskwise.encoders.contract import EncoderConfig

ENCODERS: dict[str, type[EncoderConfig]] = {}
