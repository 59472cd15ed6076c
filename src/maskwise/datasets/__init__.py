"""Kedro's doors to the artefacts: each class calls one artefact's read and write, no more.

``_filepath`` is what Kedro's catalog, the lineage test and kedro-viz look at. Reading and
writing are imported late: `kedro catalog` lists these classes and must not wait for torch.
The catalog names them as ``maskwise.datasets.<class>``, wherever they stand in here.
"""

from maskwise.datasets.artefact import ArtefactDataset, ArtefactError
from maskwise.datasets.documents import (
    DocumentDataset,
    FigureDataset,
    JsonDataset,
    RefereeDataset,
    ScoresDataset,
    StoreSummaryDataset,
    SummaryDataset,
    TextDataset,
)
from maskwise.datasets.folders import (
    FilesDataset,
    ModelsDataset,
    PreparedSourcesDataset,
    RawFolder,
    StoreDataset,
)
from maskwise.datasets.networks import (
    EmbeddingsDataset,
    EncoderDataset,
    GalleryDataset,
    PolicyDataset,
)
from maskwise.datasets.tables import (
    HistoryDataset,
    ManifestDataset,
    PairedDataset,
    PredictionsDataset,
    RefereeTableDataset,
    RejectsDataset,
    SplitsDataset,
    SubsetsDataset,
    TableDataset,
    TrialsDataset,
)

__all__ = [
    "ArtefactDataset",
    "ArtefactError",
    "DocumentDataset",
    "EmbeddingsDataset",
    "EncoderDataset",
    "FigureDataset",
    "FilesDataset",
    "GalleryDataset",
    "HistoryDataset",
    "JsonDataset",
    "ManifestDataset",
    "ModelsDataset",
    "PairedDataset",
    "PolicyDataset",
    "PredictionsDataset",
    "PreparedSourcesDataset",
    "RawFolder",
    "RefereeDataset",
    "RefereeTableDataset",
    "RejectsDataset",
    "ScoresDataset",
    "SplitsDataset",
    "StoreDataset",
    "StoreSummaryDataset",
    "SubsetsDataset",
    "SummaryDataset",
    "TableDataset",
    "TextDataset",
    "TrialsDataset",
]
