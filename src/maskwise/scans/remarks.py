"""What a reader should know of a file that was taken all the same."""

from typing import NamedTuple

CAPTURE = "secondary_capture"

REMARKS: dict[str, str] = {
    CAPTURE: (
        "came as DICOM secondary captures (of a screen, a film or another picture), whose grey "
        "levels need not be a scanner's"
    ),
    "unlisted_class": (
        "came as DICOM objects of a class that the standard does not list (SOPClassUID), so "
        "that nothing says whether they are scans"
    ),
    "smeared_padding": (
        "held padding in lossily compressed DICOM, where only what still has the exact "
        "PixelPaddingValue is told from what was measured"
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
