"""What an encoder promises that sees an image as tokens. It needs torch only."""

from abc import abstractmethod

from torch import Tensor

from maskwise.encoders.contract import Encoder
from maskwise.encoders.transformer import Block


class TokenEncoder(Encoder):
    """Cuts an image into square patches, one token each; hidden ones it never computes."""

    patch: int
    """Pixels per side of a patch."""
    width_of_token: int
    """Channels of a token."""
    in_front: int
    """Tokens in front of those of patches: 1 for a class token, or 0."""

    @abstractmethod
    def tokens(self, images: Tensor, visible: Tensor | None = None) -> Tensor:
        """Turn images ``(B, C, H, W)`` into tokens behind the last norm.

        Args:
            images: normalised; what hidden patches hold does not matter.
            visible: ``(B, K)`` int64, raster numbers of the patches that are seen, in the
                order of the answer; None = all. The others are left out, not blanked.

        Returns:
            ``(B, in_front + K, width_of_token)``.
        """

    @abstractmethod
    def blocks_in_order(self) -> list[Block]:
        """Return the blocks, first to last."""

    @abstractmethod
    def attended(self, images: Tensor) -> Tensor:
        """Return how much the last block attends to each patch, ``(B, N)``, of rows of 1.

        From the class token, or from the mean over all tokens where there is none; the mean
        over heads (Caron et al. 2021).
        """

    def grid_of(self, height: int, width: int) -> tuple[int, int]:
        """Return how many patches an image of so many pixels has, down and across."""
        return height // self.patch, width // self.patch
