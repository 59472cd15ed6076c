"""One artefact as a data set of Kedro's, and what is said where it cannot be read."""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from maskwise.errors import UserError


class ArtefactError(UserError, DatasetError):
    """What a user can put right, as Kedro passes it on.

    It would put words of its own round the message of any other error.
    """


@contextmanager
def _as_kedro_raises_it() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise ArtefactError(*error.args) from error


class ArtefactDataset(AbstractDataset[Any, Any]):
    """One file or folder at ``filepath``; subclasses add ``read`` and ``write``."""

    outdated = False
    """Whether it was made before something that it rests on, and so counts as missing."""

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> Any:
        """Return what ``read`` returns.

        Raises:
            UserError: if the file is damaged, naming it and the stage to run again.
        """
        try:
            with _as_kedro_raises_it():
                return self.read()
        except (ArtefactError, MemoryError):  # the latter says nothing about the file
            raise
        except Exception as error:
            # Damaged files make a parser raise anything: ArrowInvalid, BadZipFile, …
            raise ArtefactError(
                f"{self._filepath}: cannot be read ({type(error).__name__}); {self._remedy()}"
            ) from error

    def save(self, data: Any) -> None:
        """Do what ``write`` does.

        Raises:
            UserError: if it cannot be written.
        """
        with _as_kedro_raises_it():
            self.write(data)

    @abstractmethod
    def read(self) -> Any:
        """Read what ``write`` wrote."""

    @abstractmethod
    def write(self, data: Any) -> None:
        """Write ``data`` where ``read`` looks for it."""

    def _remedy(self) -> str:
        """Say which stage makes it: in the catalog, kedro-viz's layer has its name."""
        stage = (self.metadata or {}).get("kedro-viz", {}).get("layer")
        return f"run {stage} again" if stage else "make it again"

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}

    def _exists(self) -> bool:
        return self._filepath.exists() and not self.outdated
