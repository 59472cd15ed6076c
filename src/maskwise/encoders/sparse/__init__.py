"""Encoders as they see visible cells only (Tian et al., SparK, ICLR 2023).

Hidden cells contribute nothing, and nothing reaches them.
"""

from maskwise.encoders.sparse.encoder import SparseEncoder

__all__ = ["SparseEncoder"]
