"""What the policy learnt, measured on images that it never trained on.

The loop owns *when*: ``Probe.measure`` each epoch, ``Probe.draw`` at a few moments and
``warnings`` at the end. Formulas stand in ``docs/methods/intelligent_masking.md``.
"""

from maskwise.pretrain.diagnostics.probe import Frame, Probe
from maskwise.pretrain.diagnostics.symptoms import warnings

__all__ = ["Frame", "Probe", "warnings"]
