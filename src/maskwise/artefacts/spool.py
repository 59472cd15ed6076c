"""Files that wait on the disk until all of a run can be written: memory stays flat."""

import tempfile
import weakref
from collections.abc import Iterator, MutableMapping
from pathlib import Path

from maskwise.artefacts.atomic import explained


class Spool(MutableMapping[str, bytes]):
    """Contents by name, read anew each time that one is asked for.

    All lie in one temporary file that has no name: nobody else finds it, and it ends with this
    process, however that ends. It lies where the variable ``TMPDIR`` says.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - open as long as this is
        weakref.finalize(self, self._file.close)
        self._places: dict[str, tuple[int, int]] = {}

    def __setitem__(self, name: str, content: bytes) -> None:
        """Keep ``content``.

        Raises:
            UserError: if the disk is full.
        """
        with explained(Path(tempfile.gettempdir()) / "a temporary file"):
            start = self._file.seek(0, 2)
            rest = memoryview(content)
            while rest:
                rest = rest[self._file.write(rest) :]
        self._places[name] = start, len(content)

    def __getitem__(self, name: str) -> bytes:
        start, length = self._places[name]
        self._file.seek(start)
        return self._file.read(length)

    def __delitem__(self, name: str) -> None:
        del self._places[name]  # its room is free when all of them go

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)
