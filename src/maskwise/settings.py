"""Kedro's settings: https://docs.kedro.org/en/stable/configure/configuration_basics."""

from maskwise.hooks import MaskwiseHooks
from maskwise.session import MaskwiseSession

HOOKS = (MaskwiseHooks(),)
SESSION_CLASS = MaskwiseSession
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "config_patterns": {
        "parameters": [
            "parameters*",
            "sources/parameters_*",
            "recipes/parameters_*",
            "experiment*",
            "studies/*_study*",
        ]
    },
    # Kedro's default would drop all of a block of which conf/local changes one key.
    "merge_strategy": {"parameters": "soft"},
}
