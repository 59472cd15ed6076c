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
    identities = (place.patient, place.issued, place.series)
    patient, issued, series = (_hashed(identity, salt) for identity in identities)
    return replace(place, patient=patient, issued=issued, series=series)


def same_people(places: Iterable[Place]) -> tuple[list[str | None], int]:
    """Return whose each of ``places`` is, and how many were joined though an issuer is lacking.

    Who gave an id out stands beside it (IssuerOfPatientID), in some files of a person and not
    in others. An id that stands somewhere without an issuer is one person's, whoever issued it
    elsewhere; one that always has an issuer is another person's with each.
    """
    known = list(places)
    bare = {place.patient for place in known if place.issued is None}
    issued = {place.patient for place in known if place.issued is not None}
    people = [
        place.patient if place.issued is None or place.patient in bare else place.issued
        for place in known
    ]
    return people, len((bare & issued) - {None})


def _hashed(identity: str | None, salt: bytes) -> str | None:
    if identity is None:
        return None
    return hmac.new(salt, identity.encode(), hashlib.sha256).hexdigest()[:_SHOWN]
