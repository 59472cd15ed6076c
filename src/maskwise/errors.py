"""What is told in one message: what a user can mend, and that somebody asked to stop."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """What is wrong, where, and what to do. Shown without a traceback, exit code 1."""


class Terminated(KeyboardInterrupt):
    """SIGTERM asked to stop: what Ctrl-C is, but for the exit code."""


def hint(word: str, known: Iterable[str]) -> str:
    """Say what ``word`` was probably meant to be, or what there is to choose from."""
    names = sorted(known)
    close = get_close_matches(word, names, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"choose from {', '.join(names)}" if names else "there is nothing to choose from"
