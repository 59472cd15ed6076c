"""From what lies there to options: every one parses, has a reason, and fits the machine."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as some

from maskwise.fingerprint.contracts import (
    TO_CHECK,
    Asked,
    Fingerprint,
    Layout,
    Machine,
    Option,
    Proposal,
    Sample,
)
from maskwise.fingerprint.document import WIDTH, as_yaml
from maskwise.fingerprint.fingerprint import describe
from maskwise.fingerprint.proposal import propose
from maskwise.fingerprint.recognise import recognise
from maskwise.fingerprint.sample import look
from maskwise.fingerprint.words import remarks
from maskwise.ingest.contracts import Listing
from maskwise.ingest.listing import build_listing
from maskwise.ingest.sources.image_folder import ImageFolderConfig
from maskwise.masks import check_grid
from maskwise.pipelines.parsing import SOURCE_BLOCKS
from sources import dicom_folder
from sources.drawing import save, scan

LAPTOP = Machine(cores=2, memory=8.0)
SERVER = Machine(cores=16, memory=128.0, gpu=40.0)
LISTING: Listing = build_listing([{"path": "a.png"}], [])
PICTURES = Sample(
    asked=4,
    refused=(),
    sizes=((180, 220), (190, 224)),
    bits=8,
    kinds=frozenset("u"),
    lowest=0.0,
    highest=255.0,
    coloured=0.0,
    unequal=0.0,
    formats={"PNG": 4},
    modalities=frozenset(),
    patients=0,
    images_per_row=1.0,
    spacings=frozenset(),
)
FOLDER = Layout(
    source="image_folder",
    words="a folder per class: a, b",
    raw=Path("scans"),
    options=(Option("layout", "classes", "A folder per class."),),
    config=ImageFolderConfig(),
    listing=LISTING,
    label="diagnosis",
)
FOUND = Fingerprint(
    layout=FOLDER,
    sample=PICTURES,
    images=800,
    volumes=0,
    masked=0,
    patients=0,
    classes={"a": 500, "b": 300},
    training=0,
    rejected={},
)


def values(proposal: Proposal, block: str) -> dict[str, Any]:
    """Return a block's options by name."""
    return {option.key: option.value for option in proposal.blocks[block]}


def doubts(proposal: Proposal) -> set[str]:
    """Return the options that a person has to check."""
    return {each.key for options in proposal.blocks.values() for each in options if each.doubt}


fingerprints = some.builds(
    lambda sides, images, patients, label, masked, training, bits, kinds, spacing, word: (
        replace(
            FOUND,
            layout=replace(FOLDER, label=label, listing=replace(LISTING, modality=word)),
            sample=replace(
                PICTURES,
                sizes=tuple(sides),
                bits=bits,
                kinds=frozenset(kinds),
                lowest=-1000.0 if "i" in kinds else 0.0,
                spacings=frozenset(spacing),
            ),
            images=images,
            volumes=patients if spacing else 0,
            patients=patients,
            masked=masked,
            classes={"a": images // 2, "b": images - images // 2} if label else {},
            training=training,
        )
    ),
    sides=some.lists(some.tuples(some.integers(8, 4000), some.integers(8, 4000)), min_size=1),
    images=some.integers(4, 10**6),
    patients=some.integers(0, 10**4),
    label=some.sampled_from([None, "diagnosis"]),
    masked=some.sampled_from([0, 4]),
    training=some.sampled_from([0, 3]),
    bits=some.sampled_from([1, 8, 12, 16, 32]),
    kinds=some.sampled_from(["u", "i", "uf"]),
    spacing=some.sampled_from([(), (1.0,), (0.5, 1.0)]),
    word=some.sampled_from([None, "ct", "mr", "ultrasound", "histology"]),
)


@settings(max_examples=60, deadline=None)
@given(found=fingerprints, machine=some.sampled_from([LAPTOP, SERVER, Machine(1, 2.0, 6.0)]))
def test_whatever_lies_there_the_file_parses_and_every_line_has_a_reason(
    found: Fingerprint, machine: Machine
) -> None:
    text, marked = as_yaml("mine", propose(found, machine), "Scans.")
    document, lines = yaml.safe_load(text), text.splitlines()
    blocks = document["mine"]
    for stage, block in blocks.items():
        SOURCE_BLOCKS[stage](block, f"mine.{stage}")
    check_grid(
        tuple(blocks["pretrain"]["grid"]),
        blocks["preprocess"]["height"],
        blocks["preprocess"]["width"],
    )
    assert all(len(line) <= WIDTH for line in lines if line.strip().startswith("#"))
    for block in blocks:
        assert not lines[lines.index(f"  {block}:") + 1].strip()[0].isalpha()
    assert text.count(TO_CHECK) == len(marked)
    assert all(key.split(".")[1] in lines[line - 1] for line, key, _ in marked)


def test_the_side_is_that_of_the_scans_where_the_machine_is_up_to_it() -> None:
    def side(machine: Machine, *sizes: tuple[int, int]) -> int:
        sample = replace(PICTURES, sizes=sizes)
        return int(
            values(propose(replace(FOUND, sample=sample), machine), "preprocess")["height"]
        )

    assert side(LAPTOP, (180, 220)) == 64
    assert side(SERVER, (180, 220)) == 224
    assert side(SERVER, (90, 90)) == 96
    assert side(SERVER, (70, 70)) == 96
    assert side(SERVER, (40, 40)) == 32  # 64 would enlarge them by more than a half
    assert side(LAPTOP, (28, 28)) == 32


def test_few_scans_are_tested_in_folds_and_many_in_one_part() -> None:
    few = propose(replace(FOUND, images=200, classes={"a": 100, "b": 100}), LAPTOP)
    assert values(few, "preprocess")["folds"] == 5
    assert few.experiment["seeds"] == [0, 1, 2, 3, 4]
    many = propose(FOUND, LAPTOP)
    assert values(many, "preprocess")["test_share"] == 0.15
    assert "seeds" not in many.experiment


def test_many_scans_of_few_patients_are_few() -> None:
    assert values(propose(replace(FOUND, patients=60), LAPTOP), "preprocess")["folds"] == 5


def test_an_official_split_is_kept() -> None:
    block = values(propose(replace(FOUND, training=500), LAPTOP), "preprocess")
    assert block["split"] == "official"
    assert "folds" not in block


def test_a_tenth_of_the_labels_is_not_asked_for_where_it_would_be_next_to_none() -> None:
    rare = propose(replace(FOUND, classes={"a": 700, "b": 40}), LAPTOP)
    assert rare.experiment["fractions"] == [1.0, 0.25]
    assert "fractions" not in propose(FOUND, LAPTOP).experiment


def test_scans_without_labels_end_with_pre_training() -> None:
    layout = replace(FOLDER, label=None)
    proposal = propose(replace(FOUND, layout=layout, classes={}), LAPTOP)
    assert "finetune" not in proposal.blocks
    assert proposal.experiment["fractions"] == []


def test_masks_without_labels_are_outlined() -> None:
    layout = replace(FOLDER, label=None)
    proposal = propose(replace(FOUND, layout=layout, classes={}, masked=800), LAPTOP)
    assert values(proposal, "finetune")["task"]["name"] == "lesion"


def test_the_modality_is_in_doubt_until_a_file_or_a_person_says_it() -> None:
    assert "modality" in doubts(propose(FOUND, LAPTOP))
    assert "modality" not in doubts(propose(FOUND, LAPTOP, "ultrasound"))
    sample = replace(PICTURES, modalities=frozenset({"mr"}))
    by_files = propose(replace(FOUND, sample=sample), LAPTOP)
    assert values(by_files, "preprocess")["modality"] == "mr"
    assert "modality" not in doubts(by_files)


def test_hounsfield_units_get_a_window_that_a_person_is_asked_about() -> None:
    sample = replace(PICTURES, kinds=frozenset("i"), lowest=-1024.0, highest=3000.0, bits=16)
    proposal = propose(replace(FOUND, sample=sample), LAPTOP, "ct")
    assert values(proposal, "preprocess")["intensity"]["name"] == "window"
    assert "intensity" in doubts(proposal)


def test_names_of_files_and_folders_stand_on_the_terminal_and_not_in_the_file(
    tmp_path: Path,
) -> None:
    for number in range(18):
        who = ("Mueller", "Meier")[number % 2]
        save(scan(number, 16, 16), tmp_path / who / f"{who}-{number // 6}x_{number}.png")
    layout = recognise(tmp_path, Asked())
    proposal = propose(describe(layout), LAPTOP)
    text, marked = as_yaml("mine", proposal, layout.words)
    questions = " ".join(each.question for each in marked)
    assert "Meier, Mueller" in questions
    assert "for instance 'Meier-0x_1.png'" in questions
    assert "the 2 folders the classes" in text
    assert "Mueller" not in text
    assert "Meier" not in text


def test_a_look_counts_the_patients_of_headers_and_keeps_no_name(tmp_path: Path) -> None:
    dicom_folder.write_stack(tmp_path / "s", [0.0, 2.0, 4.0], "1.2.3")
    sample = look(recognise(tmp_path, Asked()))
    assert (sample.read, sample.patients, sample.modalities) == (3, 1, frozenset({"ct"}))


def test_colour_on_grey_scans_is_said_where_predict_would_ask_about_it() -> None:
    marked = replace(FOUND, sample=replace(PICTURES, coloured=0.03, unequal=0.3))
    assert values(propose(marked, LAPTOP), "preprocess")["channels"] == 1
    assert any("30% of the images" in said for said in remarks(marked))
    assert not any("channels" in said for said in remarks(FOUND))
    colour = replace(FOUND, sample=replace(PICTURES, coloured=0.9, unequal=1.0))
    assert values(propose(colour, LAPTOP), "preprocess")["channels"] == 3


def test_a_look_tells_size_depth_and_colour(tmp_path: Path) -> None:
    for number in range(3):
        save(scan(number, 20, 30), tmp_path / f"{number}.png", "RGB")
    sample = look(recognise(tmp_path, Asked()))
    assert set(sample.sizes) == {(20, 30)}
    assert (sample.bits, sample.coloured, sample.formats) == (8, 0.0, {"PNG": 3})
