"""The sources by YAML name: a new one is its own file and one line here."""

from maskwise.ingest.contracts import SourceConfig
from maskwise.ingest.sources.busi import BusiConfig
from maskwise.ingest.sources.cbis_ddsm import CbisDdsmConfig
from maskwise.ingest.sources.covid_ct import CovidCtConfig
from maskwise.ingest.sources.decathlon import DecathlonConfig
from maskwise.ingest.sources.dicom_folder import DicomFolderConfig, LidcIdriConfig
from maskwise.ingest.sources.head_ct import HeadCtConfig
from maskwise.ingest.sources.image_folder import ImageFolderConfig
from maskwise.ingest.sources.inbreast import InbreastConfig
from maskwise.ingest.sources.lgg import LggConfig
from maskwise.ingest.sources.medmnist import MedmnistConfig
from maskwise.ingest.sources.mini_mias import MiniMiasConfig
from maskwise.ingest.sources.phantom import PhantomConfig
from maskwise.ingest.sources.table import TableConfig

SOURCES: dict[str, type[SourceConfig]] = {
    "phantom": PhantomConfig,
    "busi": BusiConfig,
    "medmnist": MedmnistConfig,
    "image_folder": ImageFolderConfig,
    "table": TableConfig,
    "lgg": LggConfig,
    "decathlon": DecathlonConfig,
    "covid_ct": CovidCtConfig,
    "head_ct": HeadCtConfig,
    "dicom_folder": DicomFolderConfig,
    "lidc_idri": LidcIdriConfig,
    "mini_mias": MiniMiasConfig,
    "cbis_ddsm": CbisDdsmConfig,
    "inbreast": InbreastConfig,
}
