"""All that a page is made from, and the page itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd

from maskwise.artefacts.gallery import Gallery
from maskwise.artefacts.store import Store
from maskwise.bounds import Within
from maskwise.report.study_facts import StudyFacts
from maskwise.weights_origin import WeightsOrigin

Run = tuple[str, int]
"""Recipe and seed."""


@dataclass(frozen=True)
class CardConfig:
    """What the card of a source's data says that no file does; null = left out, and said so."""

    license: str | None = None
    """URL of the licence, or its name in the list of SPDX."""
    creator: str | None = None
    """Who made the data."""
    url: str | None = None
    """Where they are published."""
    published: str | None = None
    """When, as in ``2020-02-01``."""
    cite: str | None = None
    """The publication to cite."""


@dataclass(frozen=True)
class ReportConfig:
    """The options of ``parameters_report.yml``."""

    metric: str | None = None
    """Of the first sentence, the main figure and the ranking; by default the task's own."""
    mode: Literal["full", "probe", "knn"] = "full"
    """Of the first sentence: ``full`` or ``probe``; the other where this one was not run."""
    images: Annotated[int, Within(1, 100)] = 4
    """Probe images drawn for each policy."""
    moments: Annotated[int, Within(1, 100)] = 5
    """Moments of training drawn in a row of masks."""
    names: bool = False
    """Call images and rejects by their files' names, in which a patient's may be."""
    titles: dict[str, str] = field(default_factory=dict)
    """Recipe -> what it is called in print."""
    study: Mapping[str, StudyFacts] = field(default_factory=dict)
    """Source -> what only the people of its study know, for the checklists of referees."""
    cards: dict[str, CardConfig] = field(default_factory=dict)
    """Source -> what its data card says that no file does."""


@dataclass(frozen=True)
class EncoderFile:
    """A pre-trained encoder, as the page speaks of it."""

    path: str
    """As it is typed in the project's folder."""
    parameters: int
    width: int
    """Features of an image."""


@dataclass(frozen=True, kw_only=True)
class PretrainingInputs:
    """The artefacts of one source up to pre-training, all recipes and seeds."""

    source: str
    generated: bool
    """True where the project itself made the images."""
    manifest: pd.DataFrame
    rejects: pd.DataFrame
    data_summary: Mapping[str, Any]
    store_summary: Mapping[str, Any]
    splits: pd.DataFrame
    histories: Mapping[Run, pd.DataFrame]
    galleries: Mapping[Run, Gallery]
    recipes: Mapping[str, Mapping[str, Any]]
    """The recipes' blocks, in the order of the study."""
    settings: Mapping[str, Mapping[str, Any]]
    """The source's blocks by stage: ``ingest``, ``preprocess``, ``pretrain``, ``finetune``."""
    config: ReportConfig
    deterministic: bool = False
    """Whether pre-training used reproducible kernels on a GPU, too."""
    weights: Mapping[Run, WeightsOrigin] = field(default_factory=dict)
    """What encoders began with, those that did not begin at random."""
    agents: Mapping[Run, int] = field(default_factory=dict)
    """How many weights the agent's map has, of those that keep one beside the encoder."""
    warnings: Mapping[Run, Sequence[str]] = field(default_factory=dict)
    """What the diagnostics of each run warn of."""
    encoders: Mapping[Run, EncoderFile] = field(default_factory=dict)
    """Where the encoders lie; only the page of a study without labels says so."""


@dataclass(frozen=True, kw_only=True)
class ReportInputs(PretrainingInputs):
    """And those that labels made of them."""

    subsets: pd.DataFrame
    """``tables.SUBSETS``, of all replicates, with ``recipe`` and ``seed``."""
    predictions: pd.DataFrame
    """``tables.PREDICTIONS``, of all replicates."""
    scores: Mapping[str, Any]
    """``scores.json``."""
    paired: pd.DataFrame
    """``tables.PAIRED``."""
    models: Mapping[Run, Path] = field(default_factory=dict)
    """Folders of the fine-tuned models; where lesions are outlined they hold the outlines."""
    store: Store | None = None
    """Scans and true outlines; only drawn, and only where lesions are outlined."""


@dataclass(frozen=True)
class PretrainingReport:
    """What ``render_pretraining`` returns."""

    html: str
    """One self-contained page."""
    training: pd.DataFrame
    """All histories below one another, ``recipe`` and ``seed`` first: DVC's plots read it."""


@dataclass(frozen=True)
class Report(PretrainingReport):
    """What ``render`` returns."""

    figure: bytes
    """The main figure, PNG."""
    study_table: pd.DataFrame
    """The study as one table, ``study_table.columns``."""
    study_pairs: pd.DataFrame
    """Who stands higher and who loses less, pair by pair, ``study_pairs.COLUMNS``."""
    study_markdown: str
    """Both in Markdown."""
    study_latex: str
    """Both in LaTeX, with booktabs."""
    study_svg: str
    """The study as one figure for print."""
    study_pdf: bytes
    """The same as PDF."""
