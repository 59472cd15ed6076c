"""Paths as a table names them, and the same files as the disk spells them."""

import os
import posixpath
import unicodedata
from pathlib import Path

from maskwise.scans.tables import tidy


class Folder:
    """A folder that tables name files of: every path meets the name that the disk has.

    Looks only into the folders that paths lead to, and into each of them once.
    """

    def __init__(self, root: Path) -> None:
        self._root = os.path.realpath(root)
        self._roots = {_parts(self._root), _parts(os.path.abspath(root))}
        self._names: dict[str, dict[str, list[str]]] = {}

    def spelt(self, path: str) -> str:
        """Return ``path`` relative to the folder, with ``/``, as the disk spells it.

        Absolute paths inside the folder, backslashes, blanks round the path and both Unicode
        forms of a letter are understood; a name that holds a backslash itself comes first. A
        path that leads to nothing is returned in the same form, for a message to name it.
        """
        path = tidy(path)
        if not path:
            return ""
        slashed = self._relative(path.replace("\\", "/"))
        found = self._find(self._relative(path)) or self._find(slashed)
        return found or slashed

    def _relative(self, path: str) -> str:
        path = posixpath.normpath(path)
        if not path.startswith("/"):
            return path
        parts = _parts(path)
        for root in self._roots:
            if len(parts) > len(root) and parts[: len(root)] == root:
                return "/".join(path.strip("/").split("/")[len(root) :])
        return path

    def _find(self, path: str) -> str | None:
        """Return the one file or folder whose name differs in nothing but its Unicode form."""
        if path.startswith("/") or path.split("/")[0] in (".", ".."):
            return None
        found = ""
        for part in path.split("/"):
            names = self._listed(found).get(unicodedata.normalize("NFC", part), [])
            if part not in names and len(names) != 1:
                return None
            found = posixpath.join(found, part if part in names else names[0])
        return found

    def _listed(self, folder: str) -> dict[str, list[str]]:
        """Return the names in ``folder`` by their composed form; none if it is not a folder."""
        if folder not in self._names:
            names: dict[str, list[str]] = {}
            try:
                for name in os.listdir(os.path.join(self._root, folder)):
                    names.setdefault(unicodedata.normalize("NFC", name), []).append(name)
            except (OSError, ValueError):
                pass  # whoever opens the file says what is wrong with it
            self._names[folder] = names
        return self._names[folder]


def _parts(path: str) -> tuple[str, ...]:
    composed = unicodedata.normalize("NFC", path).strip("/")
    return tuple(composed.split("/")) if composed else ()
