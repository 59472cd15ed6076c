"""What the policy learnt, measured on images that it never trained on.

The loop owns *when*: ``measure`` each epoch, ``draw`` at a few moments, ``pack`` and
``warnings`` at the end. Formulas stand in ``docs/methods/intelligent_masking.md``.
"""

from maskwise.pretrain.diagnostics.drawing import Frame, draw
from maskwise.pretrain.diagnostics.measuring import measure
from maskwise.pretrain.diagnostics.packing import pack
from maskwise.pretrain.diagnostics.probe import Probe
from maskwise.pretrain.diagnostics.symptoms import warnings
from maskwise.pretrain.diagnostics.watching import Watch

__all__ = ["Frame", "Probe", "Watch", "draw", "measure", "pack", "warnings"]
