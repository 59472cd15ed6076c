"""Folders: what is raw, the store, models, outlines and cards."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from kedro_datasets._typing import JSONPreview

from maskwise.datasets.artefact import ArtefactDataset
from maskwise.errors import UserError


class RawFolder(ArtefactDataset):
    """A folder of raw files: loads as its path, saves ``(relative path, content)`` pairs.

    ``s3://<bucket>/<folder>`` is a folder as well: its objects come to one below
    ``objects.path`` when it is loaded, or by and by where ``objects.gigabytes`` bounds it.
    """

    def __init__(
        self,
        filepath: str,
        objects: Mapping[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        from maskwise.scans.bucket import is_bucket

        super().__init__(filepath, metadata)
        self._url = filepath if is_bucket(filepath) else None
        if self._url is not None:
            from maskwise.scans.objects import Keeping, folder_of

            self._keeping = Keeping.of(objects or {})
            self._filepath = folder_of(self._url, self._keeping.root)

    def read(self) -> Path:
        if self._url is not None:
            from maskwise.scans.objects import bring_folder

            return bring_folder(self._url, self._keeping)
        if not self._filepath.is_dir():
            raise UserError(f"{self._filepath}: there is no such folder of raw files")
        return self._filepath

    def _exists(self) -> bool:
        if self._url is not None:
            from maskwise.scans.objects import check_not_empty

            check_not_empty(self._url)  # says more than that its folder is absent
            return True
        try:
            return self._filepath.is_dir() and any(self._filepath.iterdir())
        except OSError as error:
            raise UserError(
                f"{self._filepath}: cannot be listed ({error.strerror}); check its permissions"
            ) from None

    def write(self, data: Iterable[tuple[str, bytes]]) -> None:
        from maskwise.artefacts.atomic import replacing_folder

        with replacing_folder(self._filepath) as folder:
            for relative, content in data:
                path = folder / relative
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)


class StoreDataset(ArtefactDataset):
    """The memory-mapped store: saves by calling a writer, loads opened read-only."""

    def read(self) -> Any:
        from maskwise.artefacts.store import open_store

        return open_store(self._filepath)

    def write(self, data: Callable[[Path], None]) -> None:
        data(self._filepath)

    def _exists(self) -> bool:
        return (self._filepath / "store.json").exists()

    def preview(self) -> JSONPreview:
        return JSONPreview((self._filepath / "store.json").read_text(encoding="utf-8"))


class ModelsDataset(ArtefactDataset):
    """A replicate's fine-tuned models: saves by calling a writer, loads as their folder."""

    def read(self) -> Path:
        return self._filepath

    def write(self, data: Callable[[Path], None]) -> None:
        data(self._filepath)


class FilesDataset(ArtefactDataset):
    """Files by their paths, such as outlines or cards: saves a folder, loads as that folder."""

    def read(self) -> Path:
        return self._filepath

    def write(self, data: Mapping[str, bytes]) -> None:
        from maskwise.artefacts.atomic import write_files

        write_files(data, self._filepath)


class PreparedSourcesDataset(ArtefactDataset):
    """The prepared images of whichever source a parameter names; opened when they are wanted.

    A factory would need the source's name before there are parameters.
    """

    def __init__(
        self,
        filepath: str,
        store: str,
        splits: str,
        manifest: str,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(filepath, metadata)
        self._places = {"store": store, "splits": splits, "manifest": manifest}

    def read(self) -> Any:
        from maskwise.artefacts.prepared import PreparedSources

        return PreparedSources(**self._places)

    def write(self, data: Any) -> None:
        raise UserError(f"{self._filepath}: ingest and preprocess write what lies there")

    def _exists(self) -> bool:
        return True  # whoever names a source is told whether that one is there
