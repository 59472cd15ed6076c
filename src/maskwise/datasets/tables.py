"""CSV and Parquet tables."""

import json
from typing import Any, ClassVar

from kedro_datasets._typing import TablePreview

from maskwise.datasets.artefact import ArtefactDataset

PREVIEW_ROWS = 20
"""Of a table, in kedro-viz."""


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
    """What a referee asks of one recipe, one row per figure."""

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


def _table_preview(table: Any, rows: int) -> TablePreview:
    """Return the first rows as kedro-viz draws them; whatever JSON lacks becomes text."""
    document = json.loads(table.head(rows).to_json(orient="split", date_format="iso"))
    return TablePreview({key: document[key] for key in ("index", "columns", "data")})
