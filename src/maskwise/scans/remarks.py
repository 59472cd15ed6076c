"""What a reader should know of a file that was taken all the same."""

from typing import NamedTuple

CAPTURE = "secondary_capture"
OTHER_MODALITY = "other_modality"

REMARKS: dict[str, str] = {
    "sheared": "held a stack of slices that leans (as under a tilted gantry), shown as stored "
    "and spaced by how far apart its planes lie",
    "alpha_mask": "with a mask of one colour, of which the alpha was taken: opaque is lesion",
    "further_pictures": "with further pictures inside, which were ignored",
    "full_mask": "with a mask that is black nowhere: all of the image counts as lesion",
    "further_samples": "with more samples per pixel than grey or colour needs, left out",
    "mask_levels": "with a mask of grey levels beside black and one other, of which a part was "
    "taken as lesion (reading.mask_threshold)",
    "orientation": "with an orientation that cannot be determined: not turned",
    "palette_mask": "with a palette mask of which index 0 need not be the background "
    "(reading.mask_palette)",
    CAPTURE: (
        "came as DICOM secondary captures (of a screen, a film or another picture), whose grey "
        "levels need not be a scanner's"
    ),
    "unlisted_class": (
        "came as DICOM objects of a class that the standard does not list (SOPClassUID), so "
        "that nothing says whether they are scans"
    ),
    OTHER_MODALITY: "came as DICOM of another modality than the source's",
    "smeared_padding": (
        "held padding in lossily compressed DICOM, where only pixels that still have the exact "
        "PixelPaddingValue are distinguished from measured ones"
    ),
    "sheared_series": (
        "came in DICOM series whose slices do not lie straight above one another, as with a "
        "tilted gantry; no slice was moved"
    ),
}
"""Kind -> what is true of the files, as the end of the sentence "3 files ..."; a closed list,
which ``docs/sources.md`` explains."""


class Remark(NamedTuple):
    """Of one file; ``kind`` out of ``REMARKS``."""

    kind: str
    detail: str
    """The file's own figures; empty where there is nothing to add."""

    def of(self, part: str) -> "Remark":
        """Return the same, said of one part of what was read, as in "the mask 'a.png'"."""
        return self._replace(detail=f"{part}: {self.detail}" if self.detail else part)
