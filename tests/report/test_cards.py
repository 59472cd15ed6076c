"""Cards of models and data: what they say, in whose form, and what never stands in them."""

import csv
import hashlib
import io
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import pandas as pd
import pytest
import yaml

from maskwise.report.cards.cards import cards
from maskwise.report.cards.data_card import TABLE, VERSION
from maskwise.report.cards.facts import KEPT_BACK, CardInputs, ModelFiles, without_paths
from maskwise.report.inputs import CardConfig, ReportInputs
from maskwise.weights_origin import WeightsOrigin
from report.synthetic import pretraining, study

METADATA: dict[str, Any] = {
    "architecture": "context_cnn",
    "preparation": {"height": 64, "width": 64, "channels": 1, "modality": "ultrasound"},
    "data_hash": "968432b93cab",
    "version": "0.1.0",
    "weights": None,
    "transductive": False,
    "told_lesions": False,
}
BEST = {
    "file": "best.safetensors",
    "task": "diagnosis",
    "classes": ["benign", "malignant", "normal"],
    "mode": "full",
    "images": 120,
}
SAID = CardConfig(
    license="https://creativecommons.org/licenses/by/4.0/",
    creator="A clinic",
    url="https://example.org/data",
    published="2020-02-01",
    cite="@article{a}",
)
PATIENT = "Mueller^Anna"
COUNTED = {"leading": "macro_auroc", "n_images": 80, "n_groups": 40, "n_seeds": 2}
FILES = {"encoder.safetensors": "ab" * 32, "best.safetensors": "cd" * 32}


def inputs(said: CardConfig = SAID, **changes: Any) -> CardInputs:
    """Return what the cards of a made-up study are made from, a name hidden in each place."""
    made: ReportInputs = study(seeds=(0, 1), recipes=("random_box", "dqn"))
    manifest = made.manifest.assign(
        path=[f"images/{PATIENT} {i}.png" for i in range(len(made.manifest))],
        patient=PATIENT,
        group=[f"{PATIENT}{i // 2}" for i in range(len(made.manifest))],
        masks=[[f"{PATIENT}_mask.png"]] * len(made.manifest),
        width=90,
        height=80,
        channels=1,
        bits=8,
        modality="ultrasound",
    )
    recipes = {
        name: {**block, "encoder": {**block["encoder"], "weights": f"/home/{PATIENT}/e.bin"}}
        for name, block in made.recipes.items()
    }
    files = {run: ModelFiles(METADATA, 1234, 112, FILES, (BEST,)) for run in made.histories}
    own = CardInputs(
        source=made.source,
        generated=False,
        manifest=manifest,
        splits=made.splits.assign(group=manifest["group"].to_numpy()),
        data_summary=made.data_summary,
        files=files,
        recipes=recipes,
        settings={**made.settings, "ingest": {"name": "table", "table": f"{PATIENT}.csv"}},
        titles=made.config.titles,
        said=said,
        scores={**made.scores, **COUNTED},
    )
    return replace(own, **changes)


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return {name: content.decode() for name, content in cards(inputs()).items()}


def by_hash(own: CardInputs) -> list[str]:
    """Return the ids of images in the order of the table's rows."""
    ids = own.manifest["image_id"]
    return sorted(ids, key=lambda one: hashlib.sha256(one.encode()).hexdigest())


def front_of(card: str) -> dict[str, Any]:
    """Return the YAML between the first two lines of dashes."""
    _, front, _ = card.split("---\n", 2)
    found: dict[str, Any] = yaml.safe_load(front)
    return found


def test_every_replicate_has_a_card_and_the_source_has_one(made: dict[str, str]) -> None:
    models = {
        f"{name}/s{seed}/model_card.md" for name in ("random_box", "dqn") for seed in (0, 1)
    }
    assert set(made) == {"data_card.json", TABLE, *models}


def test_no_card_names_a_patient_a_file_of_a_scan_or_a_folder_of_a_machine(
    made: dict[str, str],
) -> None:
    for name, text in made.items():
        assert PATIENT not in text, name
        assert not re.search(r"/(home|tmp|root|Users)/", text), name
        assert "_mask.png" not in text, name


def test_the_same_inputs_give_the_same_bytes() -> None:
    assert cards(inputs()) == cards(inputs())


def test_a_model_card_begins_as_hugging_face_reads_it(made: dict[str, str]) -> None:
    front = front_of(made["dqn/s1/model_card.md"])
    assert front["library_name"] == "maskwise"
    assert front["pipeline_tag"] == "image-classification"
    assert all(isinstance(tag, str) for tag in front["tags"])
    (model,) = front["model-index"]
    assert model["name"] == "phantom-dqn-s1"
    for result in model["results"]:
        assert set(result) == {"task", "dataset", "metrics"}
        assert {"name", "type"} <= set(result["dataset"])
        assert all(isinstance(metric["value"], float) for metric in result["metrics"])


def test_a_model_card_has_the_scores_of_its_recipe_and_no_other(made: dict[str, str]) -> None:
    scores = study(seeds=(0, 1), recipes=("random_box", "dqn")).scores["scores"]
    value = scores["dqn"]["full"]["1.0"]["macro_auroc"]["value"]
    card = made["dqn/s0/model_card.md"]
    assert front_of(card)["model-index"][0]["results"][0]["metrics"][0]["value"] == value
    assert f"| full | 100 % | AUROC | {value:.3f} [" in card.replace("macro AUROC", "AUROC")
    other = scores["random_box"]["full"]["1.0"]["macro_auroc"]["value"]
    assert other != value
    assert f"| full | 100 % | AUROC | {other:.3f} [" not in card.replace("macro AUROC", "AUROC")


def test_a_model_card_counts_the_images_of_each_part_and_class(made: dict[str, str]) -> None:
    card = made["dqn/s0/model_card.md"]
    assert "| train | 120 | 60 |" in card
    assert "| test | 80 | 40 |" in card
    assert "| malignant | 40 | 12 | 28 |" in card


def test_a_model_card_says_how_to_load_the_file_and_what_its_hash_is(
    made: dict[str, str],
) -> None:
    card = made["dqn/s0/model_card.md"]
    assert 'maskwise.load_model("best.safetensors")' in card
    assert f"| best.safetensors | `{FILES['best.safetensors']}` |" in card


def test_what_nobody_said_is_named_and_not_made_up() -> None:
    silent = cards(inputs(CardConfig()))
    data = json.loads(silent["data_card.json"])
    assert not {"license", "creator", "url", "datePublished"} & set(data)
    card = silent["dqn/s0/model_card.md"].decode()
    assert "Of the data nobody has said the licence, who made the data" in card


def test_an_encoder_that_nothing_was_fine_tuned_from_has_a_card_without_scores() -> None:
    made = pretraining()
    files = {run: ModelFiles(METADATA, 1234, 112, FILES) for run in made.encoders}
    manifest = inputs().manifest.drop(columns="label_diagnosis")
    own = inputs(
        files=files, scores=None, recipes=made.recipes, manifest=manifest, splits=made.splits
    )
    card = cards(own)["simclr/s0/model_card.md"].decode()
    assert front_of(card)["pipeline_tag"] == "image-feature-extraction"
    assert "How well it did" not in card
    assert 'maskwise.load_encoder("encoder.safetensors")' in card


def test_the_best_model_s_kind_is_in_its_card() -> None:
    lesion = {**BEST, "task": "lesion", "classes": ["lesion"], "mode": "probe"}
    files = {run: ModelFiles(METADATA, 1, 1, FILES, (lesion,)) for run in inputs().files}
    card = cards(inputs(files=files))["dqn/s0/model_card.md"].decode()
    assert front_of(card)["pipeline_tag"] == "image-segmentation"
    assert "its weights frozen" in card
    assert "model.outline(images)" in card


# What the specification of Croissant 1.0 asks of a data set, a file, a set of records, a field.
REQUIRED = {
    "@context": dict, "@type": str, "conformsTo": str, "description": str, "license": str,
    "name": str, "url": str, "creator": dict, "datePublished": str, "distribution": list,
    "recordSet": list,
}  # fmt: skip
OF_A_FILE = {
    "@type": str, "@id": str, "name": str, "contentUrl": str, "contentSize": str,
    "encodingFormat": str, "sha256": str,
}  # fmt: skip
OF_RECORDS = {"@type": str, "@id": str, "name": str, "key": dict, "field": list}
OF_A_FIELD = {"@type": str, "@id": str, "name": str, "dataType": str}
TYPES = {"sc:Integer", "sc:Text", "sc:Boolean", "sc:Float"}


def check(block: Mapping[str, Any], required: Mapping[str, type], kind: str) -> None:
    assert block["@type"] == kind
    for key, expected in required.items():
        assert isinstance(block[key], expected), key


def test_the_data_card_has_what_croissant_1_0_requires(made: dict[str, str]) -> None:
    card = json.loads(made["data_card.json"])
    check(card, REQUIRED, "sc:Dataset")
    assert card["conformsTo"] == VERSION == "http://mlcommons.org/croissant/1.0"
    assert {"@vocab", "sc", "cr", "dct"} <= set(card["@context"])
    (file,) = card["distribution"]
    check(file, OF_A_FILE, "cr:FileObject")
    identities = [file["@id"]]
    for records in card["recordSet"]:
        check(records, OF_RECORDS, "cr:RecordSet")
        identities += [records["@id"], *(field["@id"] for field in records["field"])]
        assert records["key"]["@id"] in identities
        for field in records["field"]:
            check(field, OF_A_FIELD, "cr:Field")
            assert field["@id"].startswith(f"{records['@id']}/")
            assert field["dataType"] in TYPES
            if "data" not in records:
                assert field["source"]["fileObject"] == {"@id": file["@id"]}
    assert len(set(identities)) == len(identities)


def test_the_table_that_the_data_card_names_is_the_one_beside_it(made: dict[str, str]) -> None:
    card, text = json.loads(made["data_card.json"]), made[TABLE]
    (file,) = card["distribution"]
    assert file["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert file["contentSize"] == f"{len(text.encode())} B"
    rows = list(csv.DictReader(io.StringIO(text)))
    columns = [field["source"]["extract"]["column"] for field in card["recordSet"][0]["field"]]
    assert list(rows[0]) == columns
    assert len(rows) == len(inputs().manifest)


def test_the_table_keeps_who_belongs_together_and_forgets_who_they_are() -> None:
    own = inputs()
    table = pd.read_csv(io.BytesIO(cards(own)[TABLE]))
    groups = own.manifest.set_index("image_id")["group"][by_hash(own)].to_numpy()
    assert ((groups[:, None] == groups) == (
        table["group"].to_numpy()[:, None] == table["group"].to_numpy()
    )).all()  # fmt: skip
    assert not {"image_id", "path", "patient", "phash", "sha256", "masks"} & set(table)


def test_the_table_s_numbers_tell_no_rank_of_a_file_s_name() -> None:
    own = inputs()
    ids = by_hash(own)
    labels = own.manifest.set_index("image_id")["label_diagnosis"]
    table = pd.read_csv(io.BytesIO(cards(own)[TABLE]))
    assert ids != sorted(ids)
    assert list(table["image"]) == list(range(1, len(ids) + 1))
    assert list(table["label_diagnosis"]) == list(labels[ids])
    turned = replace(own, manifest=own.manifest.iloc[::-1].reset_index(drop=True))
    assert cards(turned)[TABLE] == cards(own)[TABLE]


def test_no_spreadsheet_runs_a_class_and_no_table_is_broken_by_one() -> None:
    own = inputs()
    label = own.manifest["label_diagnosis"].replace({"malignant": '=1+1|"x"'})
    made = cards(replace(own, manifest=own.manifest.assign(label_diagnosis=label)))
    rows = list(csv.DictReader(io.StringIO(made[TABLE].decode())))
    assert {row["label_diagnosis"] for row in rows} >= {"benign", '\'=1+1|"x"'}
    assert '| =1+1\\|"x" | 40 | 12 | 28 |' in made["dqn/s0/model_card.md"].decode()


def test_a_model_card_leaves_subgroups_to_the_page_for_referees(made: dict[str, str]) -> None:
    card = made["dqn/s0/model_card.md"]
    assert "subgroups, where they were asked for, stand on the page for referees" in card
    assert "no subgroup" not in card


def test_the_classes_of_the_data_card_are_counted(made: dict[str, str]) -> None:
    card = json.loads(made["data_card.json"])
    (classes,) = (one for one in card["recordSet"] if one["@id"] == "classes_of_diagnosis")
    counts = inputs().manifest["label_diagnosis"].value_counts()
    assert {row["classes_of_diagnosis/class"]: row["classes_of_diagnosis/images"]
            for row in classes["data"]} == dict(counts)  # fmt: skip


@pytest.mark.parametrize("package", [True, False])
def test_weights_of_a_package_are_named_and_of_a_file_only_where_they_came_from(
    package: bool,
) -> None:
    name = "lite0-package 0.1.0" if package else f"{PATIENT}.bin"  # no folder before it
    begun = WeightsOrigin(name, "trained on ImageNet", "Apache-2.0", "ab" * 32, package)
    files = {
        run: replace(each, metadata={**METADATA, "weights": asdict(begun)})
        for run, each in inputs().files.items()
    }
    card = cards(inputs(files=files))["dqn/s0/model_card.md"].decode()
    said = name if package else "a file, SHA-256 abababababab…"
    assert f"weights: {said} (trained on ImageNet, licence Apache-2.0)" in card
    assert PATIENT not in card


def test_options_that_name_files_are_kept_back() -> None:
    block = {
        "encoder": {"name": "vit", "weights": "data/x.bin"},
        "table": "Anna.csv",
        "patient": "(p[0-9]+)_",
        "list": ["a", "C:\\scans"],
        "steps": 3,
    }
    assert without_paths(block) == {
        "encoder": {"name": "vit", "weights": KEPT_BACK},
        "table": KEPT_BACK,
        "patient": KEPT_BACK,
        "list": ["a", KEPT_BACK],
        "steps": 3,
    }
    assert without_paths({"weights": "package"}) == {"weights": "package"}
