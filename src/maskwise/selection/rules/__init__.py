"""Which scans to label next: each is one file and one line."""

from maskwise.selection.contracts import Rule
from maskwise.selection.rules.k_centre import KCentre
from maskwise.selection.rules.random import Random
from maskwise.selection.rules.typicality import Typicality
from maskwise.selection.rules.uncertainty import Uncertainty

RULES: dict[str, type[Rule]] = {
    "k_centre": KCentre,
    "random": Random,
    "typicality": Typicality,
    "uncertainty": Uncertainty,
}
"""YAML name -> options."""
