"""Kedro's doors to the artefacts: each class calls one artefact's read and write, no more.

``_filepath`` is what Kedro's catalog, the lineage test and kedro-viz look at. Reading and
writing are imported late: `kedro catalog` lists these classes and must not wait for torch.
"""

import base64
import json
import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from kedro.io import AbstractDataset, DatasetError
from kedro_datasets._typing import ImagePreview, JSONPreview, TablePreview

from maskwise.errors import UserError

PREVIEW_ROWS = 20
"""Of a table, in kedro-viz."""


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


class TableDataset(ArtefactDataset):
    """A CSV or Parquet table, by its suffix."""

    columns: ClassVar[str] = ""
    """Name in ``artefacts.tables`` of those that must be there."""

    def read(self) -> Any:
        from maskwise.artefacts import tables

        return tables.read_table(self._filepath, getattr(tables, self.columns, ()))

    def write(self, data: Any) -> None:
        from maskwise.artefacts import tables

        tables.write_table(data, self._filepath, getattr(tables, self.columns, ()))

    def preview(self, nrows: int = PREVIEW_ROWS) -> TablePreview:
        return _table_preview(self.load(), nrows)


class SubsetsDataset(TableDataset):
    """Which images each label fraction of a replicate used."""

    columns = "SUBSETS"


class PredictionsDataset(TableDataset):
    """A replicate's predictions, one row per image x fraction x mode."""

    columns = "PREDICTIONS"


class HistoryDataset(TableDataset):
    """A replicate's pre-training, one row per epoch."""

    columns = "HISTORY"


class PairedDataset(TableDataset):
    """The comparisons of recipes."""

    columns = "PAIRED"


class RefereeTableDataset(TableDataset):
    """The same figures, one a row."""

    columns = "REFEREE"


class TrialsDataset(TableDataset):
    """The trials of a study of tune."""

    columns = "TRIALS"


class ManifestDataset(TableDataset):
    """The manifest, checked when written and when read."""

    def read(self) -> Any:
        from maskwise.artefacts.manifest import read_manifest

        return read_manifest(self._filepath)

    def write(self, data: Any) -> None:
        from maskwise.artefacts.manifest import write_manifest

        write_manifest(data, self._filepath)


class RejectsDataset(TableDataset):
    """The files that ingest refused, and why."""

    def read(self) -> Any:
        from maskwise.artefacts.rejects import read_rejects

        return read_rejects(self._filepath)

    def write(self, data: Any) -> None:
        from maskwise.artefacts.rejects import write_rejects

        write_rejects(data, self._filepath)


class SplitsDataset(TableDataset):
    """The one split of a source."""

    def read(self) -> Any:
        from maskwise.artefacts.splits import read_splits

        return read_splits(self._filepath)

    def write(self, data: Any) -> None:
        from maskwise.artefacts.splits import write_splits

        write_splits(data, self._filepath)


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


class EncoderDataset(ArtefactDataset):
    """An encoder with its ``metadata`` as an attribute; loaded, it knows its ``path`` too."""

    def read(self) -> Any:
        from maskwise.artefacts.encoder import load_encoder

        encoder = load_encoder(self._filepath)
        vars(encoder)["path"] = self._filepath
        return encoder

    def write(self, data: Any) -> None:
        from maskwise.artefacts.encoder import write_encoder

        write_encoder(data, data.metadata, self._filepath)


class PolicyDataset(ArtefactDataset):
    """What an agent thinks of each place, beside the encoder that it hid for."""

    def read(self) -> Any:
        from maskwise.artefacts.policy import read_policy

        return read_policy(self._filepath)

    def write(self, data: Any) -> None:
        from maskwise.artefacts.policy import write_policy

        write_policy(data, self._filepath)


class GalleryDataset(ArtefactDataset):
    """What was hidden and drawn of the probe images over training."""

    def read(self) -> Any:
        from maskwise.artefacts.gallery import read_gallery

        return read_gallery(self._filepath)

    def write(self, data: Any) -> None:
        from maskwise.artefacts.arrays import write_arrays

        write_arrays(data, self._filepath)


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


class EmbeddingsDataset(ArtefactDataset):
    """Features of scans, and which encoder made them."""

    def read(self) -> Any:
        from maskwise.artefacts.embeddings import read_embeddings

        return read_embeddings(self._filepath)

    def write(self, data: Any) -> None:
        from maskwise.artefacts.embeddings import write_embeddings

        write_embeddings(data, self._filepath)


class JsonDataset(ArtefactDataset):
    """A JSON document with sorted keys, so that Git and DVC show small differences."""

    keys: tuple[str, ...] = ()
    """What another stage looks for."""

    def read(self) -> Any:
        document = json.loads(self._filepath.read_text(encoding="utf-8"))
        missing = [key for key in self.keys if key not in document]
        if missing:
            raise UserError(f"{self._filepath}: lacks {', '.join(missing)}; {self._remedy()}")
        return document

    def write(self, data: Any) -> None:
        text = json.dumps(_without_nan(data), indent=2, sort_keys=True, allow_nan=False)
        _write(self._filepath, f"{text}\n".encode())

    def preview(self) -> JSONPreview:
        return JSONPreview(self._filepath.read_text(encoding="utf-8"))


class SummaryDataset(JsonDataset):
    """What ingest says about the data."""

    keys = (
        "images",
        "groups",
        "patients",
        "rejects",
        "duplicates",
        "contradictions",
        "official_split_leaks",
        "file_facts_audit",
    )


class StoreSummaryDataset(JsonDataset):
    """What preprocess says about the stored images."""

    keys = ("pixel_facts_audit", "thinning")


class ScoresDataset(JsonDataset):
    """What evaluate found."""

    keys = ("scores", "notes", "draws", "test", "weigh", "n_images", "n_groups", "n_seeds")


class RefereeDataset(JsonDataset):
    """What a referee asks of one recipe."""

    keys = ("recipe", "mode", "fraction", "chosen", "classes", "subgroups", "errors")


class TextDataset(ArtefactDataset):
    """A text file, UTF-8."""

    def read(self) -> str:
        return self._filepath.read_text(encoding="utf-8")

    def write(self, data: str) -> None:
        _write(self._filepath, data.encode())


class DocumentDataset(ArtefactDataset):
    """A file of another program's as bytes, such as a PDF."""

    def read(self) -> bytes:
        return self._filepath.read_bytes()

    def write(self, data: bytes) -> None:
        _write(self._filepath, data)


class FigureDataset(ArtefactDataset):
    """A PNG picture as bytes."""

    def read(self) -> bytes:
        return self._filepath.read_bytes()

    def write(self, data: bytes) -> None:
        _write(self._filepath, data)

    def preview(self) -> ImagePreview:
        return ImagePreview(base64.b64encode(self._filepath.read_bytes()).decode())


def _without_nan(value: Any) -> Any:
    """JSON has no word for NaN and infinity; ``null`` says that there is no figure."""
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write(path: Path, content: bytes) -> None:
    from maskwise.artefacts.atomic import replacing

    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _table_preview(table: Any, rows: int) -> TablePreview:
    """Return the first rows as kedro-viz draws them; whatever JSON lacks becomes text."""
    document = json.loads(table.head(rows).to_json(orient="split", date_format="iso"))
    return TablePreview({key: document[key] for key in ("index", "columns", "data")})
