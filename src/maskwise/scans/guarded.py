"""Whatever a decoder does with hostile bytes, one reason comes of it, and nothing else."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from maskwise.scans.reasons import RejectedError


@contextmanager
def refusing(path: str, what: str) -> Iterator[None]:
    """Refuse the file ``path`` as ``damaged`` where reading it raises anything.

    Only where memory ran out it is ``crashed``: that does not say that the file is wrong.

    Hostile bytes raise anything out of a decoder: OSError, SyntaxError, IndexError, and out of
    one written in Rust a ``PanicException``, which is no ``Exception`` and could not leave a
    worker process. Only the type is shown, because the text may quote the header.
    """
    try:
        yield
    except (RejectedError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except MemoryError:  # which may be the machine's fault as well as the file's
        detail = "memory ran out while it was read; free some, or set workers lower"
        raise RejectedError(path, "crashed", detail) from None
    except BaseException as error:
        raise RejectedError(path, "damaged", f"{what} ({type(error).__name__})") from None


@contextmanager
def quiet(*loggers: str) -> Iterator[None]:
    """Let no warning be shown, and nothing that ``loggers`` say: it may quote the header.

    Both are the whole process's, in which one thread reads.
    """
    silenced = [logging.getLogger(name) for name in loggers]
    before = [logger.disabled for logger in silenced]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in silenced:
                logger.disabled = True
            yield
        finally:
            for logger, disabled in zip(silenced, before, strict=True):
                logger.disabled = disabled
