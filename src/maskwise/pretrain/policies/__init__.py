"""The masking policies by YAML name: a new one is its file or package and one line here."""

from maskwise.pretrain.contracts import PolicyConfig
from maskwise.pretrain.policies.a3c.config import A3cConfig
from maskwise.pretrain.policies.attention import AttentionConfig
from maskwise.pretrain.policies.block import BlockConfig
from maskwise.pretrain.policies.centre_box import CentreBoxConfig
from maskwise.pretrain.policies.centre_cells import CentreCellsConfig
from maskwise.pretrain.policies.dqn.config import DqnConfig
from maskwise.pretrain.policies.foreground import ForegroundConfig
from maskwise.pretrain.policies.hardest.policy import HardestConfig
from maskwise.pretrain.policies.mean_map import MeanMapConfig
from maskwise.pretrain.policies.noise import NoiseConfig
from maskwise.pretrain.policies.none import NoneConfig
from maskwise.pretrain.policies.oracle import OracleConfig
from maskwise.pretrain.policies.random_box import RandomBoxConfig
from maskwise.pretrain.policies.random_cells import RandomCellsConfig
from maskwise.pretrain.policies.spare import SpareConfig
from maskwise.pretrain.policies.variance_cells import VarianceCellsConfig

POLICIES: dict[str, type[PolicyConfig]] = {
    "a3c": A3cConfig,
    "attention": AttentionConfig,
    "block": BlockConfig,
    "centre_box": CentreBoxConfig,
    "centre_cells": CentreCellsConfig,
    "dqn": DqnConfig,
    "foreground": ForegroundConfig,
    "hardest": HardestConfig,
    "mean_map": MeanMapConfig,
    "noise": NoiseConfig,
    "none": NoneConfig,
    "oracle": OracleConfig,
    "random_box": RandomBoxConfig,
    "random_cells": RandomCellsConfig,
    "spare": SpareConfig,
    "variance_cells": VarianceCellsConfig,
}
