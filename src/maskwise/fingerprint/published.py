"""Layouts of published sets that a source of their own reads, by the names of their files."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from maskwise.artefacts.labels import label_names
from maskwise.config import choose
from maskwise.errors import UserError, listed
from maskwise.fingerprint.contents import Contents
from maskwise.fingerprint.contracts import Asked, Layout, Option, distance
from maskwise.ingest.contracts import SourceConfig
from maskwise.ingest.sources import SOURCES
from maskwise.ingest.sources.medmnist import MedmnistConfig
from maskwise.ingest.sources.medmnist_sets import SETS, named
from maskwise.scans.reasons import UNCOUNTED
from maskwise.wording import count

_CHOSEN = UNCOUNTED - {"other_file"}
"""Reasons of a source that knows the file and has no use for it."""


@dataclass(frozen=True)
class _Published:
    """A set: how its files are called, and what its source leaves for a person to say."""

    title: str
    names: str
    """Regular expression that the path of a file must fit for the set to be thought of."""
    label: str | None = "diagnosis"
    patients: str = ""
    options: tuple[Option, ...] = ()
    otherwise: tuple[Option, ...] = ()
    """In place of ``options``, where the source refuses the folder with them."""
    preprocess: Mapping[str, Any] = field(default_factory=dict)


PUBLISHED: dict[str, _Published] = {
    "busi": _Published(
        "BUSI, breast ultrasound",
        r"(^|/)(benign|malignant|normal)/\2 \(\d+\)\.png\Z",
        preprocess={"laterality": "free"},
    ),
    "lgg": _Published(
        "LGG, brain MR of TCGA",
        r"(^|/)(TCGA_\w+)/\2_\d+\.tif\Z",
        patients="the folders of the published layout name them",
        options=(
            Option(
                "channels", "all", "Pre-contrast, FLAIR, post-contrast; flair: one of them."
            ),
        ),
        preprocess={"channels": 3, "laterality": "free"},
    ),
    "decathlon": _Published(
        "a task of the Medical Segmentation Decathlon",
        r"(^|/)dataset\.json\Z",
        label=None,
        patients="a volume each",
        preprocess={"laterality": "fixed"},
        options=(
            Option("axis", "axial", "How volumes are sliced."),
            Option("channel", 0, "Which of the task's modalities, from 0."),
            Option("test_volumes", "leave", "Volumes without outlines teach no segmenter."),
        ),
    ),
    "covid_ct": _Published(
        "COVID-CT, figures of chest CT",
        r"(^|/)CT_(Non)?COVID(/|\.zip\Z)",
        patients="the set's tables name them",
        preprocess={"laterality": "fixed"},
        options=(
            Option("patients", "tables", "As the set's two tables say."),
            Option("reading", {"alpha": "white"}, "What is transparent stands on white paper."),
        ),
        otherwise=(
            Option(
                "patients",
                "unknown",
                "The set's workbook of patients could not be read.",
                "save the workbook as CSV beside itself and write `tables`, or images of one "
                "patient may count as several people",
            ),
            Option("reading", {"alpha": "white"}, "What is transparent stands on white paper."),
        ),
    ),
    "head_ct": _Published(
        "Head CT, haemorrhage or none",
        r"(^|/)head_ct/\d{3}\.png\Z",
        preprocess={"laterality": "free"},
    ),
    "mini_mias": _Published(
        "mini-MIAS, scanned mammograms",
        r"(^|/)mdb\d{3}\.pgm\Z",
        patients="the numbers of the films name them",
        preprocess={"laterality": "free"},
        options=(
            Option("images", "films", "Whole films; patches: a square round each finding."),
        ),
    ),
    "cbis_ddsm": _Published(
        "CBIS-DDSM, mammograms",
        r"(^|/)(mass|calc)_case_description_\w+_set\.csv\Z",
        label="pathology",
        patients="the set's tables name them",
        preprocess={"laterality": "free"},
    ),
    "inbreast": _Published(
        "INbreast, mammograms",
        r"(^|/)INbreast\.csv\Z",
        label="birads_malignant",
        patients="the set's table names them",
        preprocess={"laterality": "free"},
    ),
    "lidc_idri": _Published(
        "LIDC-IDRI, CT of the lung",
        r"(^|/)LIDC-IDRI-\d{4}/",
        label=None,
        patients="the files' headers name them; pseudonyms take their place",
        preprocess={"laterality": "fixed"},
        options=(
            Option("min_slices", 11, "Fewer are radiographs."),
            Option("series", "longest", "Of each study the series of most slices."),
        ),
    ),
}


def published(found: Contents, asked: Asked) -> list[Layout]:
    """Return the published layouts that lie there, by name and then by their own source.

    Raises:
        UserError: of the source that ``asked`` names, if it refuses the folder.
    """
    layouts = [
        layout
        for name, known in PUBLISHED.items()
        if name == asked.layout or (asked.layout is None and _fits(known, found))
        if (layout := _layout(name, known, found, asked)) is not None
    ]
    archive = None if asked.layout not in (None, "medmnist") else _medmnist(found, asked)
    return layouts if archive is None else [*layouts, archive]


def left_by(layout: Layout, found: Contents) -> frozenset[str]:
    """Return which of the images the layout has no place for, neither as scans nor as masks."""
    rejects = layout.listing.rejects
    return found.images_among(each.path for each in rejects if each.reason not in _CHOSEN)


def _fits(known: _Published, found: Contents) -> bool:
    fits = re.compile(known.names).search
    return any(fits(path) for path in found.files)


def _layout(name: str, known: _Published, found: Contents, asked: Asked) -> Layout | None:
    """Return the layout with the options that its source reads the folder with, if any."""
    refusals = []
    for options in (known.options, known.otherwise):
        block = {"name": name, **{option.key: option.value for option in options}}
        config: SourceConfig = choose(SOURCES, block, name)
        try:
            listing = config.listing(found.raw)
        except UserError as error:
            refusals.append(error)
            if not known.otherwise:
                break
            continue
        if len(listing.images):
            return Layout(
                source=name,
                words=f"the published layout of {known.title}",
                raw=found.raw,
                options=(*options, distance(config.duplicate_distance, "as for this set.")),
                config=config,
                listing=listing,
                label=known.label,
                patients=known.patients if options == known.options else "",
                preprocess=known.preprocess,
            )
    if asked.layout == name and refusals:
        raise refusals[0]
    return None


def _medmnist(found: Contents, asked: Asked) -> Layout | None:
    """Return the archive as a layout; of several none can be chosen here."""
    if not found.archives:
        return None
    if len(found.archives) > 1:
        raise UserError(
            f"{found.raw}: holds {len(found.archives)} archives ({listed(found.archives, 5)}); "
            "point --from at one of them"
        )
    path = found.archives[0]
    known = named(path.rpartition("/")[2])
    config = MedmnistConfig(file=path, modality=asked.modality or "unknown")
    listing = config.listing(found.raw)
    labels = label_names(listing.images)
    several = (
        f"the archive has {count(len(labels), 'finding')} per image, and the first is learnt"
        if len(labels) > 1
        else ""
    )
    classes = SETS[known[0]].classes if known else ()
    names = (
        Option("classes", list(classes), "The published names of the labels 0, 1, ...")
        if classes
        else Option(
            "classes",
            [],
            "Names of the labels 0, 1, ...; []: the numbers.",
            "what do they mean?",
        )
    )
    modality = listing.modality or asked.modality
    return Layout(
        source="medmnist",
        words=f"an archive in MedMNIST's form ({path})",
        raw=found.raw,
        options=(
            Option("file", path, "The archive in the raw folder."),
            names,
            *((Option("modality", modality, "That of the set."),) if modality else ()),
            distance(4, "near-duplicates only tell of leaks in the official split."),
        ),
        config=config,
        listing=listing,
        label=labels[0] if labels else None,
        remarks=(f"Of {path} {several}; another is chosen by `label`.",) if several else (),
    )
