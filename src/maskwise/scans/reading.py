"""What a user says about ambiguous files: one record for all who read them.

It is the block ``reading`` of a source's ``ingest`` and of ``predict``. Ingest writes what was
said into the manifest, so that preprocess reads the same files in the same way.
"""

from dataclasses import asdict, dataclass
from typing import Literal


@dataclass(frozen=True)
class Reading:
    """How ambiguous files are read; by default such a file is refused."""

    affine: Literal["refuse", "sform", "qform"] = "refuse"
    """Which is right in NIfTI volumes that say in two ways how they lie, and differently:
    ``sform``, or ``qform`` and with it ``pixdim``."""
    nan: Literal["refuse", "background"] = "refuse"
    """``background``: NaN says that nothing was measured there, as statistics packages write
    it; in a mask it is not a lesion."""
    alpha: Literal["drop", "white", "black"] = "drop"
    """What becomes of an image's alpha channel: ``drop``, its colours are taken as stored;
    ``white`` or ``black``, they are laid on paper of that colour, as viewers show them."""
    mask_threshold: Literal["half", "any"] = "half"
    """Of a mask with grey levels beside black and one other: ``half``, lesion is what is at
    least half as bright as the brightest; ``any``, whatever is not black."""
    mask_palette: Literal["index", "colour"] = "index"
    """Of a mask with a palette: ``index``, index 0 is the background, whatever its colour;
    ``colour``, it is read as any coloured mask."""
    breast: Literal["keep", "mask", "crop"] = "keep"
    """Of a mammogram: ``mask``, what is not the breast (labels, tape, frame, air) was not
    measured; ``crop``, that, and the image ends where the breast does."""
    chest_wall: Literal["keep", "left", "right"] = "keep"
    """Of a mammogram: a breast that hangs on the other edge is mirrored."""


DEFAULT = Reading()
SEEN = ("alpha", "breast", "chest_wall")
"""Options that change what an image looks like, whatever file it is read from."""


def choices_for_images(reading: Reading) -> dict[str, str]:
    """Return the options that bear on images, not on masks, and are not the default."""
    default = asdict(DEFAULT)
    return {
        option: choice
        for option, choice in asdict(reading).items()
        if not option.startswith("mask_") and choice != default[option]
    }
