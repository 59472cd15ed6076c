"""Whatever a decoder does with hostile bytes, one reason comes of it."""

from collections.abc import Iterator
from contextlib import contextmanager

from maskwise.scans.reasons import RejectedError


@contextmanager
def refusing(path: str, what: str) -> Iterator[None]:
    """Refuse the file ``path`` as ``damaged`` where reading it raises anything.

    Hostile bytes raise anything out of a decoder: OSError, SyntaxError, IndexError, and out of
    one written in Rust a ``PanicException``, which is no ``Exception``.
    """
    try:
        yield
    except (RejectedError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        raise RejectedError(path, "damaged", f"{what} ({type(error).__name__})") from None
