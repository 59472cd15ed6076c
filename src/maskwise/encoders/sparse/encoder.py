"""An encoder as it sees visible cells only."""

from typing import Literal

from torch import Tensor

from maskwise.encoders.contract import Encoder
from maskwise.encoders.sparse import masked, packed
from maskwise.encoders.sparse.course import record
from maskwise.encoders.sparse.visible import Visible

Form = Literal["masked", "packed"]
FORMS: tuple[Form, ...] = ("masked", "packed")
"""``masked``: whole maps, hidden places set to 0 by every layer; ``packed``: visible cells
alone. Their answers differ by rounding."""


class SparseEncoder:
    """Goes through the layers of ``encoder`` and has none of its own, nor a state.

    With nothing hidden it answers what the encoder does.

    Raises:
        UserError: naming a layer of which no sparse form is known.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._course = record(encoder)

    def __call__(self, images: Tensor, visible: Visible, form: Form = "masked") -> list[Tensor]:
        """Return the encoder's features, exactly 0 at hidden places.

        Args:
            images: ``(B, C, H, W)``, normalised; what hidden pixels hold does not matter.
            visible: cells of these images.
            form: how they are computed.

        Raises:
            UserError: if cells are no whole number of places in some feature map.
        """
        compute = masked.features if form == "masked" else packed.features
        return compute(self._course, images, visible)
