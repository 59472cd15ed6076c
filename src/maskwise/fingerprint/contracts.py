"""What the parts of the fingerprint say to one another."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskwise.ingest.contracts import Listing, SourceConfig

TO_CHECK = "TO CHECK"
"""How a line of the written file begins that a person has to look at."""


@dataclass(frozen=True)
class Option:
    """One line of the written file, and why it is there."""

    key: str
    value: Any
    reason: str
    doubt: str = ""
    """What could not be known; empty = the reason holds by what lies there."""
    example: str = ""
    """Names of files or folders, behind the doubt on the terminal and never in the file, which
    Git keeps: they may be those of patients."""


MOST_COLOURED = 0.5
"""Share of coloured images up to which colour is a mark on a grey scan."""


def distance(bits: int, why: str) -> Option:
    """Return the option of near-duplicates, which every source has."""
    what = "Bits of 64, 0 to 16, by which the hashes of near-duplicates may differ"
    return Option("duplicate_distance", bits, f"{what}; {why}")


@dataclass(frozen=True)
class Asked:
    """What a person said beside the folder, for nobody else can."""

    layout: str | None = None
    """Name of a source out of ``SOURCES``; None = found out."""
    modality: str | None = None
    label: str | None = None
    """Column of a table that is to be learnt."""


@dataclass(frozen=True)
class Layout:
    """How the files are arranged: which source reads them, and with which options."""

    source: str
    """Name out of ``SOURCES``."""
    words: str
    """What was recognised, as the middle of a sentence."""
    raw: Path
    """Folder that the source is pointed at."""
    options: tuple[Option, ...]
    """Of the block ``ingest``, beside ``name``."""
    config: SourceConfig
    listing: Listing
    label: str | None = None
    """Name of the label that is learnt; None = there is none."""
    patients: str = ""
    """Where patients are named, in words; empty = nowhere."""
    remarks: tuple[str, ...] = ()
    """Sentences about what a person should know and no option says."""
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    """Options of ``preprocess`` that belong to the layout, as three channels do."""


@dataclass(frozen=True)
class Sample:
    """What some of the images look like; every number is of those that could be read."""

    asked: int
    """Images that were opened."""
    refused: tuple[str, ...]
    """Why the others could not be read, one sentence each."""
    sizes: tuple[tuple[int, int], ...]
    """Height and width in pixels, an image each."""
    bits: int
    """The most of any image's channels."""
    kinds: frozenset[str]
    """Of NumPy's numbers: ``u``, ``i`` or ``f``."""
    lowest: float
    """Of the stored values."""
    highest: float
    coloured: float
    """Share whose channels differ by more than noise."""
    unequal: float
    """Share whose channels differ at all, which predict asks about."""
    formats: Mapping[str, int]
    modalities: frozenset[str]
    """As the files say, in our words."""
    patients: int
    """Different ids in the headers of files; 0 = none names one."""
    images_per_row: float
    """Slices of a volume; 1 where every file is an image."""
    spacings: frozenset[float]
    """Millimetres between rows, rounded; empty = no file says."""

    @property
    def read(self) -> int:
        """Images that could be read."""
        return len(self.sizes)


@dataclass(frozen=True)
class Fingerprint:
    """All that was found out about a folder of scans."""

    layout: Layout
    sample: Sample
    images: int
    """With every slice of a volume counted."""
    volumes: int
    """Series or files of several slices."""
    masked: int
    """Files with a mask."""
    patients: int
    """0 = unknown."""
    classes: Mapping[str, int]
    """Of ``layout.label``: class -> images."""
    training: int
    """Images that an official split trains on; 0 = there is no such split."""
    rejected: Mapping[str, int]
    """Reason -> files that the source leaves out by their place or name."""

    @property
    def official(self) -> bool:
        """Whether every image is given a part of a split."""
        return self.training > 0


@dataclass(frozen=True)
class Machine:
    """What it is to be trained on."""

    cores: int
    memory: float
    """GB."""
    gpu: float = 0.0
    """GB of the GPU; 0 = none."""

    @property
    def words(self) -> str:
        """Say what it is, as in "no GPU and 2 cores"."""
        if self.gpu:
            return f"a GPU with {self.gpu:.0f} GB"
        return f"no GPU and {self.cores} core{'s' if self.cores > 1 else ''}"


@dataclass(frozen=True)
class Proposal:
    """A source's blocks, and its entry in the experiment."""

    blocks: Mapping[str, tuple[Option, ...]]
    """``ingest``, ``preprocess``, ``pretrain`` and, where there is something to learn,
    ``finetune``."""
    experiment: Mapping[str, Any]
    """What the source has of its own beside the common lists."""
    why: str
    """Why that, a sentence; empty = it takes the common lists."""
