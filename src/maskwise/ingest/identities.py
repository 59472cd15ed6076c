"""Patients and series of DICOM files leave a worker process as salted hashes, or not at all."""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from maskwise.scans.place import Place
from maskwise.scans.raw import locate
from maskwise.scans.reasons import RejectedError

_SALTED = 2**20
"""Bytes of a file that make a salt."""
_SHOWN = 16
"""Hexadecimal digits of a hash."""


def salt_of(raw: Path, paths: Iterable[str]) -> bytes:
    """Return a salt that only the raw folder knows: a hash of the first file that is readable.

    Ids are short numbers, so with a salt that stands in this code anybody could try them all.
    The same folder gives the same hashes on every machine.
    """
    for path in paths:
        try:
            with locate(raw, path).open("rb") as file:
                return hashlib.sha256(file.read(_SALTED)).digest()
        except (OSError, RejectedError):
            continue
    return b""


def without_names(place: Place | None, salt: bytes) -> Place | None:
    """Return ``place`` with the ids of patient and series hashed."""
    if place is None or (place.patient is None and place.series is None):
        return place
    patient, series = (_hashed(identity, salt) for identity in (place.patient, place.series))
    return replace(place, patient=patient, series=series)


def _hashed(identity: str | None, salt: bytes) -> str | None:
    if identity is None:
        return None
    return hmac.new(salt, identity.encode(), hashlib.sha256).hexdigest()[:_SHOWN]
