"""The masking policies by YAML name: a new one is its own file and one line here."""

from maskwise.pretrain.contracts import PolicyConfig
from maskwise.pretrain.policies.centre_box import CentreBoxConfig
from maskwise.pretrain.policies.dqn import DqnConfig
from maskwise.pretrain.policies.none import NoneConfig
from maskwise.pretrain.policies.random_box import RandomBoxConfig
from maskwise.pretrain.policies.random_cells import RandomCellsConfig

POLICIES: dict[str, type[PolicyConfig]] = {
    "centre_box": CentreBoxConfig,
    "dqn": DqnConfig,
    "none": NoneConfig,
    "random_box": RandomBoxConfig,
    "random_cells": RandomCellsConfig,
}
