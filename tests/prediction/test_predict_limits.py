"""Sets of answers, the flag of strangers, one answer per patient, what an answer rests on."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import maskwise
from finetune.patches import MEAN, STD
from maskwise.artefacts.model import load_model, write_model
from maskwise.encoders.classifier import Classifier
from maskwise.encoders.segmenter import Segmenter
from maskwise.errors import UserError
from maskwise.limits.conformal import Calibration, of_labels
from maskwise.limits.record import Limits
from maskwise.limits.typical import Space
from maskwise.prediction.aggregation import Rule
from maskwise.prediction.config import PredictConfig
from maskwise.prediction.limits import Told
from maskwise.prediction.occlusion import edges, occlude
from maskwise.prediction.stage import Predicted, predict
from prediction.drawn import draw
from prediction.models import (
    CLASSIFIER,
    MULTILABEL,
    SEGMENTER,
    SIDE,
    limits,
    random_classifier,
    save_classifier,
    save_multilabel,
    save_segmenter,
)

CLASSES = CLASSIFIER.classes
ANSWERS = (*MULTILABEL.classes, *(f"not {name}" for name in MULTILABEL.classes))


def spread(answers: tuple[str, ...]) -> Limits:
    """Return limits of scores and distances from 0 to 1."""
    each = np.linspace(0, 1, 40)
    calibration = Calibration(answers, tuple(each for _ in answers))
    space = Space(np.zeros(24), np.ones(24), np.zeros((24, 0)), np.zeros(0), 1.0, each)
    return Limits(calibration, space)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_classifier(CLASSIFIER, tmp_path / "m.safetensors", limits=spread(CLASSES))


def logits(model: Path, scan: Path) -> np.ndarray:
    pixels = np.asarray(Image.open(scan), np.float32) / 255
    image = torch.from_numpy((pixels - MEAN) / STD)[None, None]
    with torch.inference_mode():
        found: np.ndarray = maskwise.load_model(model)(image).double().numpy()[0]
    return found


@pytest.fixture
def unsure(tmp_path: Path) -> Path:
    """Write a model whose sets hold one class or two."""
    path = tmp_path / "unsure.safetensors"
    write_model(random_classifier(CLASSIFIER), CLASSIFIER, path, spread(CLASSES))
    return path


def bound_of(model: Path, scans: Path) -> float:
    """Return the p that leaves one class in half of the sets."""
    table = predict(model, scans, PredictConfig(coverage=0.5)).table
    return float(table[[f"conformal_p_{name}" for name in CLASSES]].min(axis=1).median())


def test_a_set_holds_the_classes_that_held_out_patients_got_as_wrong(
    unsure: Path, scans: Path
) -> None:
    model, bound = unsure, bound_of(unsure, scans)
    table = predict(model, scans, PredictConfig(coverage=1 - bound)).table
    assert {len(each.split(" | ")) for each in table["set"]} == {1, 2}
    for row in table.itertuples():
        chances = torch.from_numpy(logits(model, scans / row.path)).softmax(0).numpy()
        expected = []
        for name, chance in zip(CLASSES, chances, strict=True):
            p = table.loc[row.Index, f"conformal_p_{name}"]
            wrong = (np.linspace(0, 1, 40) >= 1 - chance).sum()
            assert p == pytest.approx((1 + wrong) / 41, abs=0.03)
            expected += [name] if p > bound + 1e-9 else []
        assert row.set == (" | ".join(expected) or "none of them")


def test_of_several_labels_each_has_a_set_of_yes_and_no(scans: Path, tmp_path: Path) -> None:
    path = save_multilabel(tmp_path / "m.safetensors", limits=spread(ANSWERS))
    table = predict(path, scans, PredictConfig(coverage=0.8)).table
    for name in MULTILABEL.classes:
        for row in table.index:
            yes, no = (
                table.loc[row, f"conformal_p_{answer}"] > 0.2
                for answer in (name, f"not {name}")
            )
            words = [word for word, held in (("yes", yes), ("no", no)) if held]
            assert table.loc[row, f"set_{name}"] == (" | ".join(words) or "none of them")
    assert table[[f"set_{name}" for name in MULTILABEL.classes]].nunique().max() > 1


def test_too_few_held_out_patients_are_told_before_a_scan_is_looked_for(tmp_path: Path) -> None:
    few = limits(24, CLASSES, patients=4)
    path = save_classifier(CLASSIFIER, tmp_path / "m.safetensors", limits=few)
    with pytest.raises(
        UserError, match=r"coverage: is 0.9, .* needs 9 held-out .* has 4 \(5 to"
    ):
        predict(path, tmp_path / "nowhere", PredictConfig(coverage=0.9))
    with pytest.raises(
        UserError, match=r"alarms: is 0.05, which needs 19 held-out .* on 4; .*0.2"
    ):
        predict(path, tmp_path / "nowhere", PredictConfig(false_alarms=0.05))


def test_so_few_held_out_patients_that_more_than_usual_are_flagged_are_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    Told.of(limits(24, CLASSES, patients=40), None, None)
    Told.of(limits(24, CLASSES, patients=3), None, 0.25)
    assert not caplog.messages
    Told.of(limits(24, CLASSES, patients=3), None, None)
    assert caplog.messages == [
        "Of patients like those of training 25 % may be marked as unlike them, not 5 %: "
        "no less can be told with 3 held-out patients."
    ]


def test_a_label_called_as_the_absence_of_another_has_no_set(tmp_path: Path) -> None:
    described = replace(MULTILABEL, classes=("cyst", "not cyst", "round"))
    collide = spread(of_labels(described.classes))
    path = save_multilabel(tmp_path / "m.safetensors", described, collide)
    with pytest.raises(UserError, match="a label 'not cyst', which is also what the absence"):
        predict(path, tmp_path / "nowhere", PredictConfig(coverage=0.8))


def test_a_model_of_a_version_without_limits_says_what_it_lacks(
    scans: Path, tmp_path: Path
) -> None:
    path = save_classifier(CLASSIFIER, tmp_path / "m.safetensors")
    with pytest.raises(UserError, match=r"predict.coverage: .* kept nothing of held-out scans"):
        predict(path, scans, PredictConfig(coverage=0.9))
    found = predict(path, scans, PredictConfig())
    assert "unlike" not in found.table
    assert "No scan was held against those of training: the model" in found.page
    assert found.header["unlike"] is None


def test_a_model_that_outlines_has_no_sets_and_no_occlusion(
    scans: Path, tmp_path: Path
) -> None:
    path = save_segmenter(tmp_path / "m.safetensors", limits(16, ()))
    for options, named in (
        (PredictConfig(coverage=0.5), "cov"),
        (PredictConfig(occlusion=4), "occ"),
    ):
        with pytest.raises(UserError, match=rf"predict.{named}.* the model outlines"):
            predict(path, scans, options)


def flagging(save: str, scans: Path, folder: Path) -> Predicted:
    """Let a model whose training scans are noise look at noise, and at a bright dot."""
    path = folder / "m.safetensors"

    def saved(limits: Limits | None) -> Path:
        if save == "segmenter":
            return save_segmenter(path, limits)
        return save_classifier(CLASSIFIER, path, limits=limits)

    network = load_model(saved(None))
    dot = np.zeros((SIDE, SIDE), np.uint8)
    dot[7, 7] = 255
    Image.fromarray(dot).save(scans / "scan 9 dot.png")
    pixels = np.random.default_rng(0).integers(0, 256, (200, 1, SIDE, SIDE), dtype=np.uint8)
    images = torch.from_numpy((pixels.astype(np.float32) / 255 - MEAN) / STD)
    with torch.inference_mode():
        seeing = network.encoder if isinstance(network, Segmenter) else network
        features = seeing.pooled(images).numpy()
    names = np.arange(15).astype(str).astype(object)
    space = Space.of(features[15:], features[:15], names)
    calibration = None if save == "segmenter" else spread(CLASSES).calibration
    return predict(saved(Limits(calibration, space)), scans, PredictConfig(), names=True)


@pytest.mark.parametrize("save", ["model", "segmenter"])
def test_a_scan_unlike_those_of_training_is_flagged_in_table_and_page(
    save: str, scans: Path, tmp_path: Path
) -> None:
    found = flagging(save, scans, tmp_path)
    flagged = found.table.set_index("path")["unlike"]
    assert flagged["scan 9 dot.png"] == 1
    assert flagged.sum() <= 2
    card = next(part for part in found.page.split("<li>") if '"name">scan 9 dot' in part)
    assert "Unlike the training scans" in card
    assert found.page.count("Unlike the training scans") == flagged.sum()
    assert f"{int(flagged.sum())} of the scans" in found.page
    # 15 patients were held out: no share below 1 / 16 can be told.
    assert found.header["unlike"]["false_alarms"] == 1 / 16
    assert "6.25 % would be marked" in found.page


def test_the_table_names_its_model_and_data_and_a_document_beside_it_says_more(
    model: Path, scans: Path
) -> None:
    draw(scans / "doppler.png", (SIDE, SIDE, 3))
    found = predict(model, scans, PredictConfig(coverage=0.9, false_alarms=0.1))
    whole = hashlib.sha256(model.read_bytes()).hexdigest()
    assert set(found.table["model"]) == {whole[:12]}
    assert set(found.table["data_hash"]) == {"d"}
    header = json.loads(json.dumps(found.header))
    assert header["model"]["sha256"] == whole
    assert header["model"]["file"] == "m.safetensors"
    assert header["data_hash"] == "d"
    assert header["temperature"] == 2.0
    assert header["sets"] == {
        "coverage": 0.9,
        "conformal_p_above": 0.1,
        "held_out_patients": {"benign": 40, "malignant": 40},
    }
    # Of 40 held-out patients 3 may be as far away: (1 + 3) / 41 <= 0.1.
    assert header["unlike"]["distance_above"] == np.linspace(0, 1, 40)[-4]


def test_of_several_labels_the_document_holds_the_thresholds(
    scans: Path, tmp_path: Path
) -> None:
    header = predict(save_multilabel(tmp_path / "m.safetensors"), scans, PredictConfig()).header
    assert header["thresholds"] == {"ill-defined": 0.3, "obscured": 0.5, "round": 0.7}


def paths_of(scans: Path) -> list[str]:
    return sorted(str(path.relative_to(scans)) for path in scans.rglob("*.png"))


def listed(scans: Path, **columns: list[str]) -> Path:
    pd.DataFrame({"path": paths_of(scans), **columns}).to_csv(scans / "list.csv", index=False)
    return scans / "list.csv"


@pytest.mark.parametrize("rule", ["mean", "maximum"])
def test_one_answer_per_patient_is_the_mean_or_maximum_and_the_worst_scan_bounds_it(
    rule: Rule, unsure: Path, scans: Path
) -> None:
    draw(scans / "z doppler.png", (SIDE, SIDE, 3))
    patients = ["ann", "bob", "ann", "ann", "bob", "bob", "ann"]
    coverage = 1 - bound_of(unsure, scans)
    config = PredictConfig(per="patient", aggregate=rule, coverage=coverage)
    found = predict(unsure, listed(scans, patient=patients), config)
    table = found.table.assign(patient=patients)
    assert list(found.aggregated["patient"]) == ["ann", "bob"]
    assert list(found.aggregated["refused"]) == [1, 0]
    assert table["typicality"].nunique() > 1
    assert table.loc[table["refused"] == "", "set"].nunique() > 1
    for row in found.aggregated.to_dict("records"):
        own = table[(table["patient"] == row["patient"]) & (table["refused"] == "")]
        assert row["scans"] == len(own) == 3
        numbers = own[[f"p_{name}" for name in CLASSES]].to_numpy()
        chances = numbers.mean(axis=0) if rule == "mean" else numbers.max(axis=0)
        assert [row[f"p_{name}"] for name in CLASSES] == pytest.approx(chances)
        assert row["prediction"] == CLASSES[int(np.argmax(chances))]
        in_all = [n for n in CLASSES if all(n in s.split(" | ") for s in own["set"])]
        assert row["set"] == (" | ".join(in_all) or "none of them")
        assert row["typicality"] == own["typicality"].min()
        assert row["unlike"] == own["unlike"].max()


def test_a_patient_whose_scans_were_all_refused_has_no_prediction(
    model: Path, scans: Path
) -> None:
    draw(scans / "z doppler.png", (SIDE, SIDE, 3))
    names = ["bob" if "doppler" in path else "ann" for path in paths_of(scans)]
    table = listed(scans, patient=names)
    found = predict(model, table, PredictConfig(per="patient")).aggregated
    bob = found.set_index("patient").loc["bob"]
    assert (bob["scans"], bob["refused"], bob["prediction"]) == (0, 1, "")
    assert np.isnan(bob["p_benign"])


def test_a_file_is_a_volume_unless_a_table_names_them(
    model: Path, scans: Path, tmp_path: Path
) -> None:
    pages = [Image.fromarray(np.full((SIDE, SIDE), 60 * i, np.uint8)) for i in range(3)]
    pages[0].save(scans / "cine.tif", save_all=True, append_images=pages[1:])
    by_file = maskwise.predict(scans, model, per="volume").set_index("volume")
    assert by_file["scans"]["cine.tif"] == 3
    assert len(by_file) == 7
    named = listed(scans, volume=["one", "one", "", "two", "two", "two"])
    counts = maskwise.predict(named, model, per="volume").set_index("volume")["scans"]
    assert counts["one"] == 2
    assert counts["two"] == 3
    assert len(counts) == 3


def test_volumes_of_two_patients_that_are_named_alike_stay_apart(
    model: Path, scans: Path
) -> None:
    patients = ["ann", "ann", "bob", "bob", "bob", ""]
    named = listed(scans, volume=["1", "1", "1", "1", "2", "1"], patient=patients)
    found = maskwise.predict(named, model, per="volume")
    assert found[["volume", "patient", "scans"]].to_numpy().tolist() == [
        ["1", "ann", 2],
        ["1", "bob", 2],
        ["2", "bob", 1],
        ["1", "", 1],
    ]
    by_scan = maskwise.predict(named, model)
    assert found["p_benign"][1] == pytest.approx(by_scan["p_benign"][2:4].mean())


def test_a_segmenter_says_the_mean_area_of_a_volume(scans: Path, tmp_path: Path) -> None:
    path = save_segmenter(tmp_path / "m.safetensors", limits(16, ()))
    named = listed(scans, volume=["one"] * 6)
    found = predict(path, named, PredictConfig(per="volume"))
    areas = [f"area_{name}" for name in SEGMENTER.classes]
    np.testing.assert_allclose(found.aggregated[areas].iloc[0], found.table[areas].mean())


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "nothing says whose the scans are; give predict.scans a table with the columns"),
        (
            {"patient": ["a", "a", "", "b", "b", ""]},
            "row 3 of the table names none, nor do 1 oth",
        ),
    ],
)
def test_whose_a_scan_is_is_never_guessed(
    columns: dict[str, list[str]], message: str, model: Path, scans: Path
) -> None:
    with pytest.raises(UserError, match=message):
        predict(model, listed(scans, **columns), PredictConfig(per="patient"))


def test_without_patients_asked_for_the_table_of_them_is_empty(
    model: Path, scans: Path
) -> None:
    assert predict(model, scans, PredictConfig()).aggregated.empty


@pytest.mark.parametrize("cells", [3, 8])
def test_hiding_places_one_by_one_is_what_occlusion_does(cells: int, model: Path) -> None:
    network = load_model(model)
    assert isinstance(network, Classifier)
    image = torch.from_numpy(np.random.default_rng(0).normal(size=(1, SIDE, SIDE))).float()
    found = occlude(network, image, cells)
    borders = edges(SIDE, cells)
    with torch.inference_mode():
        whole = network.probabilities(image[None])[0]
        for y in range(cells):
            for x in range(cells):
                hidden = image.clone()
                hidden[:, borders[y] : borders[y + 1], borders[x] : borders[x + 1]] = 0
                chance = network.probabilities(hidden[None])[0]
                expected = float(chance[whole.argmax()] - whole.max())
                assert found[y, x] == pytest.approx(expected, abs=1e-6)


def test_the_page_draws_the_places_that_an_answer_rests_on(model: Path, scans: Path) -> None:
    found = predict(model, scans, PredictConfig(occlusion=4))
    assert 0 < found.page.count("<rect") <= 16 * 6
    assert "Orange are places without which" in found.page
    assert "<rect" not in predict(model, scans, PredictConfig()).page


def test_a_card_shows_its_set(model: Path, scans: Path) -> None:
    found = predict(model, scans, PredictConfig(coverage=0.6))
    for answers in found.table["set"]:
        assert f"60 % set: {answers}" in found.page
    assert "It rests on 40 (benign), 40 (malignant) held-out patients" in found.page
    assert "so that the promise is not exact" in found.page


def test_the_temperature_changes_no_set(scans: Path, tmp_path: Path) -> None:
    tables = []
    for temperature in (0.5, 3.0):
        described = replace(CLASSIFIER, temperature=temperature)
        path = save_classifier(described, tmp_path / "m.safetensors", limits=spread(CLASSES))
        tables.append(predict(path, scans, PredictConfig(coverage=0.6)).table)
    pd.testing.assert_series_equal(tables[0]["set"], tables[1]["set"])
