"""What a reader should know of a file that was taken all the same."""

from typing import NamedTuple

REMARKS: dict[str, str] = {
    "sheared": "held a stack of slices that leans (as under a tilted gantry), shown as stored "
    "and spaced by how far apart its planes lie",
}
"""Kind -> what is true of the files, as the end of the sentence "3 files ..."; a closed list,
which ``docs/sources.md`` explains."""


class Remark(NamedTuple):
    """Of one file; ``kind`` out of ``REMARKS``."""

    kind: str
    detail: str
    """The file's own figures; empty where there is nothing to add."""
