"""Patients and series of DICOM files leave a worker process as keyed hashes, or not at all.

Ids are short: whoever knows how they were hashed tries them all. So the hash needs a key that
stands in no artefact, no commit and no DVC cache: a file of its own, made when first needed.
"""

import hashlib
import hmac
import os
import secrets
import stat
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from maskwise.errors import UserError
from maskwise.scans.place import Place

KEY = Path("conf/local/identities.key")
"""Where the key lies by default: Git leaves that folder out, and DVC knows nothing of it."""
_BYTES = 32
"""Of a key; its file holds twice as many hexadecimal digits."""
_SHOWN = 16
"""Hexadecimal digits of a hash."""
_READ_MORE = 'docs/how-to.md, "The key of the pseudonyms", says what it is for'


def without_names(place: Place | None, key_file: Path) -> Place | None:
    """Return ``place`` with the ids of patient and series hashed with the key in ``key_file``.

    Raises:
        UserError: if there is an id, and no key that can be used or made.
    """
    if place is None or (place.patient is None and place.series is None):
        return place
    key = read_key(key_file)
    identities = (place.patient, place.issued, place.series)
    patient, issued, series = (_hashed(identity, key) for identity in identities)
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


@lru_cache(maxsize=1)
def read_key(file: Path) -> bytes:
    """Return the key in ``file``, which is made if it is not there.

    Raises:
        UserError: if it cannot be made or read, others may read it, or it is not a key.
    """
    try:
        if not file.exists():
            _make(file)
        readable = stat.S_IMODE(file.stat().st_mode) & 0o077
        text = file.read_text(encoding="ascii").strip()
        key = bytes.fromhex(text)
    except OSError as error:
        raise UserError(
            f"{file}: the key of the patients' pseudonyms can be neither read nor made "
            f"({error.strerror}); set ingest.identity_key to a file in a folder that exists "
            f"and that you may write to; {_READ_MORE}"
        ) from None
    except ValueError:
        key = b""
    if len(key) != _BYTES:
        raise UserError(
            f"{file}: is not a key, which is {2 * _BYTES} hexadecimal digits; put the right "
            f"file back, or remove it to get a new key and new pseudonyms; {_READ_MORE}"
        )
    if readable:
        raise UserError(
            f"{file}: others may read the key of the patients' pseudonyms; withdraw their "
            f"permission: chmod 600 {file}"
        )
    return key


def _make(file: Path) -> None:
    """Put a new key there, whole from its first moment; of two makers the first wins."""
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)  # mode 600
    try:
        with os.fdopen(handle, "w", encoding="ascii") as temporary:
            temporary.write(f"{secrets.token_hex(_BYTES)}\n")
            temporary.flush()
            os.fsync(temporary.fileno())
        os.link(name, file)
    except FileExistsError:
        pass  # made by another process in the meantime, and just as good
    finally:
        os.unlink(name)


def _hashed(identity: str | None, key: bytes) -> str | None:
    if identity is None:
        return None
    return hmac.new(key, identity.encode(), hashlib.sha256).hexdigest()[:_SHOWN]
