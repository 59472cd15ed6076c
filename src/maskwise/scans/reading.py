"""What a user says of files that can be read in two ways: one record for all who read them.

It is the block ``reading`` of a source's ``ingest`` and of ``predict``. Ingest writes what was
said into the manifest, so that preprocess reads the same files in the same way.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reading:
    """How files are read that leave a choice; by default such a file is refused."""


DEFAULT = Reading()
