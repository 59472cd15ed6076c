"""The one exception for what a user can mend, and what every reader of text refuses alike."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """What is wrong, where, and what to do. Shown without a traceback, exit code 1."""


def hint(word: str, known: Iterable[str]) -> str:
    """Say what ``word`` was probably meant to be, or what there is to choose from."""
    names = sorted(known)
    close = get_close_matches(word, names, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"choose from {', '.join(names)}" if names else "there is nothing to choose from"


def as_text(data: bytes, name: str, remedy: str) -> str:
    """Decode UTF-8, with or without a byte-order mark.

    Raises:
        UserError: naming the file ``name``, the line, and what the text probably is instead;
            ``remedy`` says what to do.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"{name}: is UTF-16 ('Unicode text'), not UTF-8; {remedy}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = data[error.start]
        letter = bytes([byte]).decode("cp1252", "replace")
        shown = f" ({letter!r} in Latin-1)" if letter.isprintable() else ""
        raise UserError(
            f"{name}, line {line}: is not UTF-8: there is a byte {byte:#04x}{shown}; {remedy}"
        ) from None
