"""The data in Croissant's form (MLCommons, version 1.0): JSON-LD, and the table that it names.

https://docs.mlcommons.org/croissant/docs/croissant-spec.html. The table has one row per image,
numbered anew in the order of a hash, so that no name, no id and no rank of a name leaves the
project.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from maskwise.artefacts.labels import LABEL
from maskwise.report.cards.facts import CardInputs
from maskwise.wording import count

VERSION = "http://mlcommons.org/croissant/1.0"
TABLE = "images.csv"
CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""As the specification recommends it."""
_FIELDS = {
    "image": (
        "sc:Integer",
        "Number of the image, from 1, in no order that means anything else.",
    ),
    "group": ("sc:Integer", "Images of one group (a patient, duplicates) share its number."),
    "split": ("sc:Text", "train, validation or test; with folds those of seed 0."),
    "fold": ("sc:Integer", "Seed s tests on fold s mod k; -1 = in no fold."),
    "width": ("sc:Integer", "Pixels of the scan as it was read."),
    "height": ("sc:Integer", "Pixels of the scan as it was read."),
    "channels": ("sc:Integer", "1 = grey, 3 = colour."),
    "bits": ("sc:Integer", "Of a channel."),
    "modality": ("sc:Text", "Kind of scan."),
    "masked": ("sc:Boolean", "Whether lesions are outlined in a mask beside it."),
}
_SAYS = "Class by the label {!r}; blank = not labelled."


def images_table(inputs: CardInputs) -> pd.DataFrame:
    """Return the rows of ``images.csv``, without whatever could name a person or a file."""
    joined = inputs.manifest.merge(
        inputs.splits[["image_id", "split", "fold"]],
        on="image_id",
        how="left",
        suffixes=("_official", ""),
    )
    joined = joined.sort_values("image_id", key=_shuffled, ignore_index=True)
    table = pd.DataFrame({"image": range(1, len(joined) + 1)})
    table["group"] = pd.factorize(joined["group"])[0] + 1
    table["split"] = joined["split"].astype(object).where(joined["split"].notna(), "")
    if (joined["fold"] >= 0).any():
        table["fold"] = joined["fold"].astype(int)
    for name in ("width", "height", "channels", "bits", "modality"):
        if name in joined:
            table[name] = joined[name]
    if "masks" in joined:
        table["masked"] = [len(masks) > 0 for masks in joined["masks"]]
    for name in inputs.labels:
        table[name] = joined[name].astype(object).where(joined[name].notna(), "")
    return table


def _shuffled(ids: pd.Series) -> pd.Series:
    """Return keys in whose order names play no part, as they do in that of the manifest."""
    return ids.map(lambda one: hashlib.sha256(str(one).encode()).hexdigest())


def data_card(inputs: CardInputs, table: pd.DataFrame, content: bytes) -> dict[str, Any]:
    """Return the JSON-LD; ``content`` are the bytes of ``table`` as they are written."""
    said = inputs.said
    card: dict[str, Any] = {
        "@context": dict(CONTEXT),
        "@type": "sc:Dataset",
        "conformsTo": VERSION,
        "name": inputs.source,
        "description": describe(inputs, table),
        "license": said.license,
        "url": said.url,
        "creator": None if said.creator is None else _creator(said.creator),
        "datePublished": said.published,
        "citeAs": said.cite,
        "version": _version(inputs),
        "keywords": sorted({"medical imaging", *map(str, table.get("modality", ()))}),
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": TABLE,
                "name": TABLE,
                "description": (
                    "One row per image, with no name and no id; text that a spreadsheet would "
                    "run begins with an apostrophe."
                ),
                "contentUrl": TABLE,
                "contentSize": f"{len(content)} B",
                "encodingFormat": "text/csv",
                "sha256": hashlib.sha256(content).hexdigest(),
            }
        ],
        "recordSet": [_images(table), *_classes(inputs)],
    }
    # What nobody said is left out: a licence is nothing to make up.
    return {key: value for key, value in card.items() if value is not None}


def describe(inputs: CardInputs, table: pd.DataFrame) -> str:
    """Say in sentences what the data are."""
    summary = inputs.data_summary
    kinds = ", ".join(sorted(set(map(str, table.get("modality", ()))))) or "unknown modality"
    made = "Generated images" if inputs.generated else "Images"
    patients = summary.get("patients")
    people = f" of {count(int(patients), 'patient')}" if patients else ""
    duplicates = dict(summary.get("duplicates") or {})
    pairs = int(duplicates.get("pairs") or 0)
    rejected = int(dict(summary.get("rejects") or {}).get("total") or 0)
    return (
        f"{made} ({kinds}) as Maskwise read them for the source {inputs.source}: "
        f"{count(len(table), 'image')}{people} in {count(table['group'].nunique(), 'group')} "
        f"that no split divides. {count(pairs, 'pair')} of near-duplicates; "
        f"{count(rejected, 'file')} not taken. The table holds no pixels, and neither names "
        "nor ids."
    )


def _creator(name: str) -> dict[str, str]:
    return {"@type": "sc:Organization", "name": name}


def _version(inputs: CardInputs) -> str:
    """Return a version that follows from the data: ``0.0.0+`` and the start of their hash."""
    hashes = {str(one.metadata.get("data_hash", "")) for one in inputs.files.values()}
    known = min(hashes - {""}, default="")
    return f"0.0.0+{known[:12]}" if known else "0.0.0"


def _images(table: pd.DataFrame) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "images",
        "name": "images",
        "description": "One record per image.",
        "key": {"@id": "images/image"},
        "field": [_field(name) for name in table.columns],
    }


def _field(name: str) -> dict[str, Any]:
    kind, description = _FIELDS.get(name, ("sc:Text", _SAYS.format(name.removeprefix(LABEL))))
    return {
        "@type": "cr:Field",
        "@id": f"images/{name}",
        "name": name,
        "description": description,
        "dataType": kind,
        "source": {"fileObject": {"@id": TABLE}, "extract": {"column": name}},
    }


def _classes(inputs: CardInputs) -> Sequence[dict[str, Any]]:
    """Return a small set of records per label: its classes, and how many images have each."""
    sets = []
    for column in inputs.labels:
        name = f"classes_of_{column.removeprefix(LABEL)}"
        counts = inputs.manifest[column].dropna().value_counts()
        columns = (("class", "sc:Text"), ("images", "sc:Integer"))
        sets.append(
            {
                "@type": "cr:RecordSet",
                "@id": name,
                "name": name,
                "description": "How many images have each class.",
                "key": {"@id": f"{name}/class"},
                "field": [
                    {
                        "@type": "cr:Field",
                        "@id": f"{name}/{each}",
                        "name": each,
                        "description": "Name of the class." if each == "class" else "Number.",
                        "dataType": kind,
                    }
                    for each, kind in columns
                ],
                "data": [
                    {f"{name}/class": str(label), f"{name}/images": int(counts[label])}
                    for label in sorted(counts.index, key=str)
                ],
            }
        )
    return sets
