"""Documents of one file: JSON, text, pictures, and what another program reads."""

import base64
import json
import math
from pathlib import Path
from typing import Any

from kedro_datasets._typing import ImagePreview, JSONPreview

from maskwise.datasets.artefact import ArtefactDataset
from maskwise.errors import UserError


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
