"""A trained model over scans that nobody labelled."""

import gzip
import html
import math
import os
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from finetune.patches import MEAN, STD
from maskwise import load_model
from maskwise.artefacts.encoder import read_tensors, write_tensors
from maskwise.errors import UserError
from maskwise.prediction.stage import PredictConfig, parse_request, predict
from prediction.drawn import draw, refusal, shown
from prediction.models import CLASSIFIER, SIDE, save_classifier, seen_by
from sources.dicom import save as save_dicom
from sources.dicom import slice_of
from sources.volume import write as write_volume


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_classifier(CLASSIFIER, tmp_path / "best.safetensors")


def test_every_scan_of_a_folder_and_its_subfolders_has_calibrated_probabilities(
    model: Path, scans: Path
) -> None:
    table = predict(model, scans, PredictConfig()).table
    assert list(table.columns) == [
        "path", "frame", "prediction", "p_benign", "p_malignant",
        "model", "data_hash", "refused",
    ]  # fmt: skip
    assert len(table) == 6
    network = load_model(model)
    for row in table.itertuples():
        pixels = np.asarray(Image.open(scans / row.path), np.float32) / 255
        image = torch.from_numpy((pixels - MEAN) / STD)[None, None]
        with torch.inference_mode():
            expected = (network(image) / 2.0).softmax(dim=1).numpy()[0]
        np.testing.assert_allclose([row.p_benign, row.p_malignant], expected, atol=1e-5)
        assert row.prediction == CLASSIFIER.classes[expected.argmax()]


@pytest.mark.parametrize(
    ("images", "words"), [(6, "not as percentages"), (120, "70 are right")]
)
def test_the_page_says_how_far_its_probabilities_can_be_trusted(
    images: int, words: str, scans: Path, tmp_path: Path
) -> None:
    told = replace(CLASSIFIER, calibrated_on=images)
    page = predict(
        save_classifier(told, tmp_path / "m.safetensors"), scans, PredictConfig()
    ).page
    assert words in page
    assert f"calibrated on {images} images" in page


def test_the_page_says_where_nothing_could_calibrate_its_probabilities(
    scans: Path, tmp_path: Path
) -> None:
    told = replace(CLASSIFIER, calibrated_on=0)
    page = predict(
        save_classifier(told, tmp_path / "m.safetensors"), scans, PredictConfig()
    ).page
    assert "The probabilities were not calibrated" in page


def test_a_table_names_the_scans_relative_to_itself(model: Path, scans: Path) -> None:
    names = ["scan 0 50%.png", "ältere/scan 1 50%.png"]
    pd.DataFrame({"file": names}).to_csv(scans / "list.csv", index=False)
    table = predict(model, scans / "list.csv", PredictConfig(column="file")).table
    assert list(table["path"]) == names
    assert (table["refused"] == "").all()


@pytest.mark.parametrize("others", ["", ",frame,modality"])
def test_a_name_of_digits_or_one_that_looks_like_nothing_is_a_name(
    model: Path, tmp_path: Path, others: str
) -> None:
    names = ["00000001", "1e5", "NA", "null"]
    for number, name in enumerate(names):
        draw(tmp_path / "scan.png", seed=number)
        (tmp_path / "scan.png").rename(tmp_path / name)
    blank = ",," if others else ""
    rows = "".join(f"{name}{blank}\n" for name in names)
    (tmp_path / "list.csv").write_text(f"path{others}\n{rows}")
    table = predict(model, tmp_path / "list.csv", PredictConfig()).table
    assert list(table["path"]) == names
    assert list(table["refused"]) == [""] * 4


def test_a_blank_frame_of_a_table_is_the_first(model: Path, scans: Path) -> None:
    (scans / "list.csv").write_text("path,frame\nscan 0 50%.png,\nscan 2 50%.png,0\n")
    table = predict(model, scans / "list.csv", PredictConfig()).table
    assert list(table["frame"]) == [0, 0]


@pytest.mark.parametrize("frame", ["abc", "-1", "0.5", "inf"])
def test_a_frame_of_a_table_that_is_no_number_is_named_with_its_row(
    model: Path, scans: Path, frame: str
) -> None:
    (scans / "list.csv").write_text(f"path,frame\nscan 0 50%.png,0\nscan 2 50%.png,{frame}\n")
    with pytest.raises(UserError, match=r"list\.csv: frame is .* in row 2, but should be a wh"):
        predict(model, scans / "list.csv", PredictConfig())


def test_a_place_whose_name_no_file_can_have_is_fatal(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a: cannot be opened \(File name too long\); predict"):
        predict(model, tmp_path / ("a" * 256), PredictConfig())
    with pytest.raises(UserError, match="there is no such folder or table"):
        predict(model, tmp_path / "a\0b", PredictConfig())


def test_a_pipe_is_never_opened_as_a_table(model: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "list.csv")  # opening it would hang
    with pytest.raises(UserError, match=r"list\.csv: predict\.scans should be a folder, or"):
        predict(model, tmp_path / "list.csv", PredictConfig())


def test_a_parquet_table_elsewhere_says_what_its_paths_are_relative_to(
    model: Path, scans: Path, tmp_path: Path
) -> None:
    pd.DataFrame({"path": ["scan 0 50%.png"]}).to_parquet(tmp_path / "list.parquet")
    table = predict(model, tmp_path / "list.parquet", PredictConfig(root=scans)).table
    assert list(table["refused"]) == [""]


def test_slices_of_volumes_and_frames_of_dicom_files_are_scans_of_their_own(
    model: Path, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE), dtype=np.uint8)
    folder = tmp_path / "scans"
    write_volume(folder / "a.nii.gz", pixels.transpose(2, 1, 0)[::-1, ::-1])
    save_dicom(slice_of(pixels), folder / "b.dcm")
    save_dicom(slice_of(pixels[0]), folder / "IM0001")
    table = predict(model, folder, PredictConfig()).table
    assert (table["refused"] == "").all()
    by_path = table.groupby("path")["p_benign"].apply(list)
    assert by_path["a.nii.gz"] == pytest.approx(by_path["b.dcm"])
    assert by_path["IM0001"] == pytest.approx(by_path["b.dcm"][:1])
    assert table["frame"].tolist() == [0, 0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_header_that_claims_slices_without_end_is_one_refused_scan(
    model: Path, scans: Path, name: str
) -> None:
    header = nib.Nifti2Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape((SIDE, SIDE, 10_000))
    header.set_sform(np.eye(4), 1)
    header["magic"], header["vox_offset"] = b"n+2\0\r\n\x1a\n", 544
    content = header.binaryblock
    (scans / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    table = predict(model, scans, PredictConfig()).table
    assert "damaged" in refusal(table, name)
    assert len(table) == 7


def test_a_4d_volume_is_refused_with_the_reason(model: Path, scans: Path) -> None:
    write_volume(scans / "a.nii", np.zeros((SIDE, SIDE, 2, 3), np.uint8))
    table = predict(model, scans, PredictConfig()).table
    assert "holds 3 volumes (4-D), where one is meant" in refusal(table, "a.nii")


def test_the_pages_of_a_tiff_are_scans_of_their_own(model: Path, tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((SIDE, SIDE), 60 * i, np.uint8)) for i in range(3)]
    (tmp_path / "scans").mkdir()
    pages[0].save(tmp_path / "scans" / "cine.tif", save_all=True, append_images=pages[1:])
    table = predict(model, tmp_path / "scans", PredictConfig()).table
    assert list(table["frame"]) == [0, 1, 2]
    assert table["p_benign"].nunique() == 3


def test_what_cannot_be_read_is_listed_with_the_reason_and_costs_no_other_scan(
    model: Path, scans: Path
) -> None:
    (scans / "cut.png").write_bytes((scans / "scan 0 50%.png").read_bytes()[:60])
    (scans / "empty.png").touch()
    (scans / "notes.txt").write_text("nothing to see")
    result = predict(model, scans, PredictConfig(), names=True)
    assert "cannot be decoded: the file ends early" in refusal(result.table, "cut.png")
    assert "0 bytes" in refusal(result.table, "empty.png")
    assert "neither suffix nor content of an image" in refusal(result.table, "notes.txt")
    assert (result.table["refused"] == "").sum() == 6
    assert "cut.png" in result.page


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.nan, "holds values that are not finite numbers"),
        (np.inf, "holds values that are not finite numbers"),
        (1.7e308, "holds values up to 1.7e+308, beyond what float32 can hold"),
    ],
)
def test_a_scan_whose_values_mean_nothing_is_refused_alone(
    tmp_path: Path, wrong: float, said: str
) -> None:
    encoder = seen_by(CLASSIFIER, intensity={"name": "percentile"})
    model = save_classifier(replace(CLASSIFIER, encoder=encoder), tmp_path / "m.safetensors")
    voxels = np.random.default_rng(0).normal(size=(SIDE, SIDE, 1))
    write_volume(tmp_path / "scans" / "good.nii", voxels)
    voxels[:3, 0], voxels[3:6, 0] = wrong, -wrong
    write_volume(tmp_path / "scans" / "bad.nii.gz", voxels)
    table = predict(model, tmp_path / "scans", PredictConfig()).table
    assert said in refusal(table, "bad.nii.gz")
    assert list(table.query("refused == ''")["path"]) == ["good.nii"]


def test_a_mask_beside_its_image_is_no_scan(model: Path, scans: Path) -> None:
    draw(scans / "scan 0 50%_mask.png")
    table = predict(model, scans, PredictConfig()).table
    assert "is the mask of 'scan 0 50%.png'" in refusal(table, "scan 0 50%_mask.png")


def test_the_mask_of_a_volume_is_no_scan(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    voxels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 2), dtype=np.uint8)
    for name in ("a.nii.gz", "a_mask.nii.gz"):
        write_volume(folder / name, voxels)
    table = predict(model, folder, PredictConfig()).table
    assert list(table["path"]) == ["a.nii.gz", "a.nii.gz", "a_mask.nii.gz"]
    assert "is the mask of 'a.nii.gz'" in refusal(table, "a_mask.nii.gz")


def test_a_mask_without_its_image_is_a_scan(model: Path, tmp_path: Path) -> None:
    draw(tmp_path / "scans" / "a_mask.png")
    (tmp_path / "scans" / "a.txt").write_text("no image")
    table = predict(model, tmp_path / "scans", PredictConfig()).table
    assert list(table.query("refused == ''")["path"]) == ["a_mask.png"]


def test_a_folder_called_mask_is_a_folder_like_any_other(model: Path, tmp_path: Path) -> None:
    draw(tmp_path / "a_mask" / "one.png")
    assert list(predict(model, tmp_path / "a_mask", PredictConfig()).table["refused"]) == [""]


def test_another_modality_is_refused(model: Path, scans: Path) -> None:
    message = r"predict.modality: the modality is mr, but the model was trained on ultrasound"
    with pytest.raises(UserError, match=message):
        predict(model, scans, PredictConfig(modality="mr"))


def test_a_model_whose_normalisation_is_damaged_is_refused_once(
    model: Path, scans: Path
) -> None:
    tensors, blocks = read_tensors(model)
    window = {"name": "window", "low": math.nan, "high": 1}
    blocks["model"]["encoder"]["preparation"]["intensity"] = window
    write_tensors(tensors, blocks, model)
    with pytest.raises(UserError, match=r"^\S+safetensors: .*intensity\.low: is nan, but must"):
        predict(model, scans, PredictConfig())


def test_the_models_own_modality_is_welcome(model: Path, scans: Path) -> None:
    assert len(predict(model, scans, PredictConfig(modality="ultrasound")).table) == 6


def test_a_row_of_another_modality_is_refused_alone(model: Path, scans: Path) -> None:
    names, modalities = (
        ["scan 0 50%.png", "scan 2 50%.png", "scan 4 50%.png"],
        ["ct", "ultrasound", None],
    )
    pd.DataFrame({"path": names, "modality": modalities}).to_csv(
        scans / "list.csv", index=False
    )
    table = predict(model, scans / "list.csv", PredictConfig()).table
    assert list(table["refused"] == "") == [False, True, True]
    assert "the modality is ct" in table["refused"][0]


def test_a_colour_scan_is_refused_by_a_grey_model_unless_grey_is_asked_for(
    model: Path, scans: Path
) -> None:
    draw(scans / "doppler.png", (SIDE, SIDE, 3))
    table = predict(model, scans, PredictConfig()).table
    assert "has 3 channels, the model takes 1" in refusal(table, "doppler.png")
    table = predict(model, scans, PredictConfig(colour="grey")).table
    assert (table["refused"] == "").all()


def test_a_grey_scan_stored_as_rgb_is_a_grey_scan(model: Path, tmp_path: Path) -> None:
    grey = draw(tmp_path / "scans" / "grey.png")
    Image.fromarray(np.repeat(grey[:, :, None], 3, axis=2)).save(tmp_path / "scans" / "rgb.png")
    table = predict(model, tmp_path / "scans", PredictConfig()).table
    assert table["p_benign"][0] == table["p_benign"][1]


def test_a_grey_scan_is_refused_by_a_model_of_three_channels(
    scans: Path, tmp_path: Path
) -> None:
    encoder = seen_by(CLASSIFIER, channels=3, mean=(MEAN,) * 3, std=(STD,) * 3)
    model = save_classifier(
        replace(CLASSIFIER, encoder=encoder), tmp_path / "three.safetensors", channels=3
    )
    draw(scans / "colour.png", (SIDE, SIDE, 3))
    table = predict(model, scans, PredictConfig()).table
    assert refusal(table, "scan 0 50%.png") == "the scan has 1 channel, the model takes 3"
    assert list(table.query("refused == ''")["path"]) == ["colour.png"]


def test_a_scan_too_small_for_the_model_is_refused(model: Path, scans: Path) -> None:
    draw(scans / "icon.png", (SIDE, SIDE // 2 - 1))
    assert "16 x 7 pixels" in refusal(predict(model, scans, PredictConfig()).table, "icon.png")


def test_a_scan_too_large_for_a_model_that_pads_is_refused(scans: Path, tmp_path: Path) -> None:
    encoder = seen_by(CLASSIFIER, geometry={"name": "pad"})
    model = save_classifier(replace(CLASSIFIER, encoder=encoder), tmp_path / "pad.safetensors")
    draw(scans / "large.png", (SIDE + 1, SIDE))
    draw(scans / "small.png", (3, 3))
    table = predict(model, scans, PredictConfig()).table
    assert "does not fit" in refusal(table, "large.png")
    assert len(table.query("refused == ''")) == 7


def test_when_every_scan_is_refused_the_run_stops_with_the_commonest_reason(
    model: Path, tmp_path: Path
) -> None:
    for i in range(3):
        draw(tmp_path / "scans" / f"{i}.png", (SIDE, SIDE, 3), seed=i)
    with pytest.raises(
        UserError, match=r"all 3 scans were refused \(3 times: the scan has 3 cha"
    ):
        predict(model, tmp_path / "scans", PredictConfig())


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda place: None, "there is no such folder or table"),
        (lambda place: place.mkdir(), "the folder is empty"),
        (lambda place: draw_text(place / "notes.txt"), "holds no image among 1 file"),
    ],
)
def test_a_place_without_scans_is_fatal(
    model: Path, tmp_path: Path, prepare: Any, message: str
) -> None:
    prepare(tmp_path / "scans")
    with pytest.raises(UserError, match=message):
        predict(model, tmp_path / "scans", PredictConfig())


def draw_text(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("nothing to see")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("list.csv", "paths\na.png\n", r"has no column 'path'; .*did you mean 'paths'"),
        ("list.csv", "path;x\n", "names no scan"),
        ("list.parquet", "no parquet", "cannot be read as Parquet"),
        ("list.csv", "PK\x03\x04", r"is a workbook .*save it as CSV, in UTF-8"),
        ("list.xlsx", "x", "should be a folder, or a table"),
    ],
)
def test_a_table_without_scans_is_fatal(
    model: Path, tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        predict(model, tmp_path / name, PredictConfig())


@pytest.mark.parametrize(
    "table",
    [
        "path ;age\n{};3\n{};4\n",
        "path|age\n{}  |3\n  {}|4\n",
        "age\t path\n3\t{}\n4\t{}\n",
        "\ufeffpath\n{}\n{}\n",
        'sep=;\r\npath;note\r\n"{}";"a;b"\r\n"{}";\r\n',
    ],
)
def test_a_table_of_scans_is_read_as_that_of_a_source_is(
    model: Path, scans: Path, table: str
) -> None:
    composed = ["ältere\\scan 1 50%.png", unicodedata.normalize("NFD", "ältere/scan 3 50%.png")]
    (scans / "list.csv").write_text(table.format(*composed), encoding="utf-8", newline="")
    found = predict(model, scans / "list.csv", PredictConfig()).table
    assert list(found["path"]) == ["ältere/scan 1 50%.png", "ältere/scan 3 50%.png"]
    assert (found["refused"] == "").all()


def test_absolute_paths_below_the_root_of_a_table_are_understood(
    model: Path, scans: Path
) -> None:
    (scans / "list.csv").write_text(f"path\n{scans}/scan 0 50%.png\n")
    table = predict(model, scans / "list.csv", PredictConfig()).table
    assert list(table["path"]) == ["scan 0 50%.png"]


def test_a_table_may_not_lead_out_of_its_folder(model: Path, scans: Path) -> None:
    names = ["../best.safetensors", "scan 0 50%.png", "gone.png"]
    pd.DataFrame({"path": names}).to_csv(scans / "list.csv", index=False)
    table = predict(model, scans / "list.csv", PredictConfig()).table
    assert "leads out of the raw folder" in table["refused"][0]
    assert "no such file" in table["refused"][2]


def test_the_page_can_be_ordered_by_the_probability_of_a_class(
    model: Path, scans: Path
) -> None:
    result = predict(model, scans, PredictConfig(sort_by="malignant"), names=True)
    expected = result.table.sort_values("p_malignant", ascending=False)["path"]
    assert shown(result.page) == [int(path.split("scan ")[1][0]) for path in expected]


def test_the_page_shows_no_more_than_asked_for_and_says_so(model: Path, scans: Path) -> None:
    result = predict(model, scans, PredictConfig(shown=2), names=True)
    assert len(shown(result.page)) == 2
    assert "Only 2 of 6 are shown" in result.page
    assert len(result.table) == 6


def test_the_page_says_what_it_is_not_and_asks_nothing_of_the_network(
    model: Path, scans: Path
) -> None:
    page = predict(model, scans, PredictConfig()).page
    assert "not a medical device" in page
    assert "120 labelled ultrasound images" in page
    assert "http" not in page
    assert "<script" not in page


def test_a_name_cannot_smuggle_markup_into_the_page(model: Path, tmp_path: Path) -> None:
    draw(tmp_path / "scans" / "<b>bold.png")
    page = predict(model, tmp_path / "scans", PredictConfig(), names=True).page
    assert "<b>bold" not in page
    assert "&lt;b&gt;bold" in page


def test_no_name_of_a_file_or_folder_is_on_the_page_unless_asked_for(
    model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "Muster_Anna"
    for name in ("Muster_A.png", "Muster_A_mask.png", "sub/Muster_B.png", "sub/Muster_C.png"):
        draw(folder / name)
    (folder / "sub/Muster_C.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    pages = {
        names: predict(model, folder, PredictConfig(), names).page for names in (False, True)
    }
    assert "Muster" not in pages[False]
    for told in (
        '<p class="name">row 1 of predictions.csv</p>',
        '<p class="name">row 2 of predictions.csv</p>',
        "<tr><td>row 3 of predictions.csv</td><td>the header is an image",
        "<tr><td>row 4 of predictions.csv</td><td>no scan: is the mask of an image beside it",
        "report.names: true prints the names here",
    ):
        assert told in pages[False]
    assert "in Muster_Anna</h1>" in pages[True]
    assert '<p class="name">sub/Muster_B.png</p>' in pages[True]


@pytest.mark.parametrize(
    "name",
    ["Muster 'A'", 'it\'s "Muster"', "Muster\\A", "Mus\u200bter", "Muster\nA", "%s {0}"],
)
def test_a_name_that_python_would_write_otherwise_is_not_on_the_page_either(
    model: Path, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / f"folder {name}"
    draw(folder / "good.png")
    draw(folder / f"{name}.png")
    draw(folder / f"{name}_mask.png")
    draw(folder / f"{name} small.png", (2, 2))
    (folder / f"{name}.txt").write_text(name)
    for damaged in ("png", "dcm", "nii", "nii.gz", "tif", "npz"):
        (folder / f"{name} cut.{damaged}").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / f"{name} link.png").symlink_to(folder / "nowhere" / name)
    page = html.unescape(predict(model, folder, PredictConfig()).page)
    for written in (name, repr(name)[1:-1], ascii(name)[1:-1]):
        assert written not in page
    assert page.count("<tr><td>row ") == 10


def test_a_cell_of_a_table_is_not_on_the_page(model: Path, scans: Path) -> None:
    rows = "path,modality\nscan 0 50%.png,ultrasound\nscan 2 50%.png,Muster\nMuster.png,\n"
    (scans / "Muster.csv").write_text(rows)
    result = predict(model, scans / "Muster.csv", PredictConfig())
    assert "the modality is Muster" in refusal(result.table, "scan 2 50%.png")
    assert "Muster" not in result.page


def test_a_class_that_the_model_does_not_know_cannot_order_the_page(
    model: Path, scans: Path
) -> None:
    with pytest.raises(
        UserError, match=r"predict.sort_by: .*'malignent'; did you mean 'malignant'"
    ):
        predict(model, scans, PredictConfig(sort_by="malignent"))


def test_a_request_needs_a_model_and_scans_and_is_told_of_misspelt_options() -> None:
    file = Path(__file__).parents[2] / "conf/base/parameters_predict.yml"
    shipped = yaml.safe_load(file.read_text(encoding="utf-8"))["predict"]
    with pytest.raises(
        UserError, match=r"predict.model: missing; .*--params predict.model=PATH"
    ):
        parse_request(shipped, "predict")
    with pytest.raises(UserError, match=r"predict.scans: missing"):
        parse_request({**shipped, "model": "m"}, "predict")
    with pytest.raises(UserError, match=r"predict.color: .*did you mean 'colour'"):
        parse_request({"model": "m", "scans": "s", "color": "grey"}, "predict")
    with pytest.raises(UserError, match="shown: is 0"):
        parse_request({"model": "m", "scans": "s", "shown": 0}, "predict")
    with pytest.raises(UserError, match=r"predict\.model: should be a model file, but is \["):
        parse_request({"model": ["m"], "scans": "s"}, "predict")
    with pytest.raises(
        UserError, match=r"predict\.scans: should be a folder .* is 7; in a file"
    ):
        parse_request({"model": "5", "scans": 7}, "predict")
    request = parse_request({**shipped, "model": "m", "scans": "s"}, "predict")
    assert request == (Path("m"), Path("s"), PredictConfig())


def test_a_model_that_answers_with_no_number_is_named(model: Path, scans: Path) -> None:
    tensors, blocks = read_tensors(model)
    tensors["head.weight"].fill_(3e38)  # finite, but the logits are not
    write_tensors(tensors, blocks, model)
    with pytest.raises(UserError, match=r"best.safetensors: gives no finite probability for 6"):
        predict(model, scans, PredictConfig())
