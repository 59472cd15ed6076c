"""What is told in one message: what a user can put right, and that somebody asked to stop."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from itertools import islice
from reprlib import Repr
from typing import Any

MOST_ENTRIES = 10
"""Of a list in a message."""
MOST_NAMES = 40
"""To choose from in a message."""
MOST_PROBLEMS = 100
"""More than any file of ours has options."""
LONGEST = 80
"""Characters of a value, or of a name that nobody knows."""


class UserError(Exception):
    """What is wrong, where, and what to do. Shown without a traceback, exit code 1."""


class HinderedError(UserError):
    """What was asked for is right, but the machine or another run is in its way.

    A full disk, say, a device that is not there, or a process that was killed.
    """


class Terminated(KeyboardInterrupt):
    """SIGTERM asked to stop: what Ctrl-C is, but for the exit code."""


def hint(word: str, known: Iterable[str]) -> str:
    """Say what ``word`` was probably meant to be, or what there is to choose from."""
    names = sorted(map(str, known))
    close = closest(word, names)
    if close is not None:
        return f"did you mean {shown(close)}?"
    return f"choose from {listed(names)}" if names else "there is nothing to choose from"


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
        meant = f" ({letter!r} in Latin-1)" if letter.isprintable() else ""
        raise UserError(
            f"{name}, line {line}: is not UTF-8: there is a byte {byte:#04x}{meant}; {remedy}"
        ) from None


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return what of ``known`` is spelt much like ``word``, small letters or capitals."""
    alike = {name.lower(): name for name in known}
    asked = word[:LONGEST].lower()
    # Two letters that changed places: `reefree` shares three letters in a row with `referee`.
    swapped = [name for name in alike if sorted(name) == sorted(asked)]
    found = swapped or get_close_matches(asked, alike, n=1)
    return alike[found[0]] if found else None


def shown(value: Any) -> str:
    """Return ``value``, which may be anything, as YAML or Python writes it; cut where long."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, list | tuple | Mapping) and len(value) > MOST_ENTRIES:
        entries = value.items() if isinstance(value, Mapping) else value
        first = [
            f"{shown(each[0])}: {shown(each[1])}" if isinstance(value, Mapping) else shown(each)
            for each in islice(entries, MOST_ENTRIES)
        ]
        brackets = "{}" if isinstance(value, Mapping) else "[]"
        more = f" and {len(value) - MOST_ENTRIES:,} more"
        return f"{brackets[0]}{cut(', '.join(first), 3 * LONGEST)}{more}{brackets[1]}"
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return f"a number of {value.bit_length():,} bits" if type(value) is int else "a value"


def cut(text: str, longest: int = LONGEST) -> str:
    """Return ``text``, its middle left out where it is long."""
    if len(text) <= longest:
        return text
    return f"{text[: longest // 2]}...{text[len(text) - longest // 2 :]}"


def listed(names: Iterable[str], most: int = MOST_NAMES) -> str:
    """Return ``names`` with commas between them, the first ones where there are many."""
    names = list(names)
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(cut, names[:most])) + more


def joined(problems: Iterable[str]) -> str:
    """Return different problems below one another, the first ones where there are many."""
    lines = list(dict.fromkeys(line for problem in problems for line in problem.split("\n")))
    more = len(lines) - MOST_PROBLEMS
    return "\n".join(lines[:MOST_PROBLEMS] + ([f"and {more:,} more"] if more > 0 else []))


def refuse(problems: Iterable[str]) -> None:
    """Raise one ``UserError`` that names all ``problems``, if there are any but empty ones."""
    found = [problem for problem in problems if problem]
    if found:
        raise UserError(joined(found))


_SHORT = Repr()
_SHORT.maxlevel = 3
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = _SHORT.maxset = MOST_ENTRIES
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = LONGEST
