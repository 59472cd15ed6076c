"""Encoders and models that leave the project as ONNX, or as a program of torch."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

import maskwise
from finetune.patches import metadata, small_encoder
from maskwise.artefacts.model import (
    ModelMetadata,
    SegmenterMetadata,
    build_classifier,
    build_segmenter,
    write_model,
)
from maskwise.encoders import ENCODERS, efficientnet_lite0
from maskwise.encoders.contract import Encoder
from maskwise.encoders.resnet import Resnet18Config, Resnet34Config, Resnet50Config
from maskwise.encoders.unet import DecoderConfig
from maskwise.encoders.vit import SIZES
from maskwise.errors import UserError
from maskwise.exporting.check import TOLERANCE, as_input
from maskwise.exporting.export import Exported
from maskwise.weights_origin import WeightsOrigin
from prediction.models import CLASSIFIER, SAVED, SEGMENTER, save_classifier, seen_by
from preparations import preparation

SIDE = 16
SMALL: dict[str, dict[str, Any]] = {
    "context_cnn": {"widths": (8, 16), "convolutions": (1, 1)},
    "efficientnet_lite0": {},
    "pixels": {},
    "resnet18": {"width": 8},
    "resnet34": {"width": 8, "norm": "group"},
    "resnet50": {"width": 8, "keep_by": "dilation"},
    "vit": {"depths": (1, 2), "positions": "learnt"},
}
SEEN: dict[str, dict[str, Any]] = {
    "context_cnn": {"ranges": (255,), "channels": 3, "geometry": {"name": "crop"}},
    "efficientnet_lite0": {"channels": 3, "ranges": (255,)},
    "pixels": {
        "intensity": {"name": "window", "low": -160.0, "high": 240.0},
        "geometry": {"name": "resize", "aspect": "keep", "fill": "edge"},
    },
    "resnet18": {"intensity": {"name": "percentile"}, "fine": 2},
    "resnet34": {"ranges": (65535,)},
    "resnet50": {
        "intensity": {"name": "windows", "windows": ((-600.0, 1500.0), (40.0, 400.0))},
        "channels": 2,
        "geometry": {"name": "pad"},
    },
    "vit": {"ranges": (65535,)},
}
"""How images come to each: together, all geometries and intensities."""
OUTSIDE = ("efficientnet_lite0", "resnet34", "vit")
"""Whose preparation is left out: to export it takes longer than a small network."""


@pytest.fixture(autouse=True)
def _shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take blocks out of the deepest networks: each is as long to export as the first."""
    for config in (Resnet18Config, Resnet34Config, Resnet50Config):
        monkeypatch.setattr(config, "depths", (1, 1, 1, 1))
    stages = tuple(
        tuple((1, *group[1:]) for group in stage) for stage in efficientnet_lite0.STAGES[:3]
    )
    monkeypatch.setattr(efficientnet_lite0, "STAGES", stages)
    monkeypatch.setitem(SIZES, "tiny", (24, 2, 3))


def encoder_of(name: str, side: int = SIDE) -> Encoder:
    torch.manual_seed(0)
    seen = preparation(side, **SEEN[name])
    encoder = ENCODERS[name](**SMALL[name]).build(seen.channels)
    described = metadata(name, dict(SMALL[name]), side)
    encoder.metadata = replace(described, preparation=seen)
    return encoder.eval()


def run(path: Path, images: NDArray[Any]) -> dict[str, NDArray[Any]]:
    session = onnxruntime.InferenceSession(str(path))
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(None, {"images": images}), strict=True))


def described(path: Path) -> dict[str, Any]:
    props = {each.key: each.value for each in onnx.load(path).metadata_props}
    found: dict[str, Any] = json.loads(props["maskwise"])
    return found


def test_every_encoder_of_the_registry_is_among_those_that_are_exported() -> None:
    assert set(SMALL) == set(SEEN) == set(ENCODERS)


@pytest.mark.parametrize("name", sorted(SMALL))
def test_an_encoder_in_onnx_answers_raw_images_as_torch_does(name: str, tmp_path: Path) -> None:
    encoder, path = encoder_of(name), tmp_path / "encoder.onnx"
    exported = maskwise.export(
        encoder, path, preparation="outside" if name in OUTSIDE else "inside"
    )
    assert exported.check.images == 4
    assert exported.check.largest_difference <= TOLERANCE
    seen = encoder.metadata.preparation
    kind = np.uint8 if 255 in seen.ranges else np.uint16
    images = [np.random.default_rng(i).integers(0, 250, (13, 11)).astype(kind) for i in (0, 1)]
    with torch.inference_mode():
        prepared = torch.cat([encoder.prepare(image) for image in images])
        given = np.concatenate([as_input(image, seen) for image in images])
        found = run(path, prepared.numpy() if name in OUTSIDE else given)
        assert np.allclose(found["pooled"], encoder.pooled(prepared), atol=1e-4)
        for number, stage in enumerate(encoder(prepared)):
            assert np.allclose(found[f"stage_{number}"], stage, atol=1e-4)


@pytest.mark.parametrize("kind", sorted(set(SAVED) - {"model"}))  # which test_pages exports
def test_a_model_in_onnx_answers_raw_images_as_torch_does(kind: str, tmp_path: Path) -> None:
    model, path = SAVED[kind](tmp_path / "model.safetensors"), tmp_path / "model.onnx"
    maskwise.export(model, path)
    loaded: Any = maskwise.load_model(model)
    image = np.random.default_rng(0).integers(0, 256, (20, 31)).astype(np.uint8)
    found = run(path, image[None, None].astype(np.float32) / 255)
    with torch.inference_mode():
        expected = loaded.probabilities(loaded.prepare(image))
    assert np.allclose(found["probabilities"], expected, atol=1e-5)
    assert described(path)[kind]["classes"] == list(loaded.metadata.classes)


@pytest.mark.parametrize(
    "described",
    [replace(CLASSIFIER, pooling="attentive"), replace(SEGMENTER, network=DecoderConfig())],
    ids=["attentive", "unet"],
)
def test_an_attentive_classifier_and_a_u_net_are_exported_as_well(
    described: ModelMetadata | SegmenterMetadata, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model: Any = (
        build_segmenter(small_encoder(), described)
        if isinstance(described, SegmenterMetadata)
        else build_classifier(small_encoder(), described)
    )
    write_model(model, described, tmp_path / "best.safetensors")
    exported = maskwise.export(tmp_path / "best.safetensors", tmp_path / "a.pt2")
    assert exported.check.largest_difference <= TOLERANCE


def test_a_program_of_torch_answers_as_its_network_and_says_what_it_is(tmp_path: Path) -> None:
    encoder, path = encoder_of("vit"), tmp_path / "encoder.pt2"
    maskwise.export(encoder, path)
    texts = {"maskwise.json": ""}
    module: Any = torch.export.load(path, extra_files=texts).module()
    raw = np.random.default_rng(0).integers(0, 65536, (40, 23)).astype(np.uint16)
    with torch.inference_mode():
        pooled, *_ = module(torch.from_numpy(raw[None, None].astype(np.float32)))
        assert torch.allclose(pooled, encoder.pooled(encoder.prepare(raw)), atol=1e-5)
    assert json.loads(texts["maskwise.json"])["encoder"]["architecture"] == "vit"


def of_somebody() -> Encoder:
    """Return an encoder of cropped breasts that began with weights in somebody's folder."""
    encoder = encoder_of("pixels")
    seen = replace(encoder.metadata.preparation, reading={"breast": "crop"}, modality="ct")
    began = WeightsOrigin("/data/somebody/weights/r18.pth", "ImageNet", "BSD-3-Clause", "0")
    encoder.metadata = replace(encoder.metadata, preparation=seen, weights=began)
    return encoder


@pytest.fixture(scope="module")
def somebodys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Exported]:
    path = tmp_path_factory.mktemp("exported") / "encoder.onnx"
    return path, maskwise.export(of_somebody(), path)


def test_the_file_says_how_near_it_is_and_what_it_leaves_to_its_user(
    somebodys: tuple[Path, Exported],
) -> None:
    path, exported = somebodys
    found = described(path)
    assert found["check"]["largest_difference"] == pytest.approx(
        exported.check.largest_difference, rel=0.1
    )
    assert found["check"]["tolerance"] == TOLERANCE
    assert found["input"]["images"].startswith("float32 (batch, 1, height, width), raw values")
    left = " ".join(found["outside"])
    assert "breast = crop" in left
    assert "another modality than ct" in left
    assert found["encoder"]["weights"]["name"] == "r18.pth"


def test_the_same_encoder_gives_the_same_bytes_and_no_folder_of_this_machine(
    somebodys: tuple[Path, Exported], tmp_path: Path
) -> None:
    for name in ("b.onnx", "a.pt2", "b.pt2"):
        maskwise.export(of_somebody(), tmp_path / name)
    (tmp_path / "a.onnx").write_bytes(somebodys[0].read_bytes())
    for suffix in ("onnx", "pt2"):
        content = (tmp_path / f"a.{suffix}").read_bytes()
        assert content == (tmp_path / f"b.{suffix}").read_bytes()
        for folder in (maskwise.__path__[0], torch.__path__[0], str(tmp_path), "somebody"):
            assert folder.encode() not in content


def test_an_export_leaves_the_network_as_it_was_and_keeps_no_tensor_without_values(
    tmp_path: Path,
) -> None:
    encoder = encoder_of("vit", side=24)
    encoder.freeze(1)
    encoder.train()
    maskwise.export(encoder, tmp_path / "a.pt2")
    assert encoder.training
    assert encoder.frozen_parts == 1
    assert encoder.norm.weight.requires_grad  # type: ignore[union-attr]
    assert torch.isfinite(encoder.eval()(torch.zeros(1, 1, 24, 24))[-1]).all()


def test_preparation_that_is_outside_is_named_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "encoder.onnx"
    maskwise.export(encoder_of("pixels"), path, preparation="outside")
    assert "All of the preparation" in described(path)["outside"][0]
    assert described(path)["input"]["images"].startswith("float32 (batch, 1, 16, 16), prepared")


def test_an_opset_that_lacks_an_operator_is_refused_with_the_one_that_has_it(
    tmp_path: Path,
) -> None:
    encoder = encoder_of("pixels")
    stretched = replace(encoder.metadata.preparation, geometry={"name": "resize"})
    encoder.metadata = replace(encoder.metadata, preparation=stretched)
    with pytest.raises(UserError) as refused:
        maskwise.export(encoder, tmp_path / "a.onnx", opset=9)
    assert str(refused.value) == (
        "opset: ONNX's opset 9 has no operator Range, which this network needs; choose 11 or "
        "more, or leave opset out (20)"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_graph_that_differs_from_torch_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not written, because `\w+` differs from torch's by"):
        maskwise.export(encoder_of("pixels"), tmp_path / "a.pt2", tolerance=0.0)
    assert list(tmp_path.iterdir()) == []


def test_files_of_images_are_read_and_checked_with(tmp_path: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for number in range(2):
        pixels = rng.integers(0, 256, (19 + number, 23)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    files = sorted(tmp_path.glob("*.png"))
    exported = maskwise.export(encoder_of("context_cnn"), tmp_path / "a.pt2", images=files)
    assert exported.check.images == 2


def test_real_scans_are_answered_as_torch_answers_them(
    shared_data: Path, tmp_path: Path
) -> None:
    folder = shared_data / "busi/Dataset_BUSI_with_GT"
    scans = sorted(each for each in folder.rglob("*.png") if "_mask" not in each.name)
    seen = seen_by(CLASSIFIER, ranges=(255,), width=48, height=32)
    model = save_classifier(replace(CLASSIFIER, encoder=seen), tmp_path / "best.safetensors")
    exported = maskwise.export(model, tmp_path / "a.pt2", images=scans[::200])
    assert exported.check.images == 4


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("a.bin", {}, "a.bin: a name that ends in .onnx or .pt2 is needed"),
        ("a.pt2", {"opset": 20}, "opset: is of ONNX, and a.pt2 is not; leave it out"),
        ("a.onnx", {"opset": 99}, "opset: is 99, but the installed onnx knows 1 to"),
        ("a.pt2", {"preparation": "insde"}, "there is no 'insde'; did you mean 'inside'?"),
        ("a.pt2", {"images": []}, "images: none were given to check with"),
        (
            "a.pt2",
            {"images": [np.ma.masked_equal(np.zeros((5, 5), np.int16), 0)]},
            "has pixels that were not measured",
        ),
        (
            "a.pt2",
            {"images": [np.random.default_rng(0).integers(0, 9, (5, 5, 3))]},
            "an image to check with has 3 channels, the graph takes 1",
        ),
    ],
)
def test_a_mistake_is_said_in_one_sentence(
    name: str, options: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as refused:
        maskwise.export(encoder_of("pixels"), tmp_path / name, **options)
    assert said in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_onnx_says_what_to_install_and_torch_s_own_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "maskwise.exporting.onnx_file", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError) as refused:
        maskwise.export(encoder_of("pixels"), tmp_path / "a.onnx")
    assert str(refused.value) == (
        'maskwise.export needs onnx, which is not installed: pip install "maskwise[export]"'
    )
    assert maskwise.export(encoder_of("pixels"), tmp_path / "a.pt2").path.exists()


def test_an_encoder_that_was_merely_built_is_refused(tmp_path: Path) -> None:
    encoder = ENCODERS["pixels"]().build(1)
    with pytest.raises(UserError, match="nothing is known about the images that it takes"):
        maskwise.export(encoder, tmp_path / "a.pt2")


def test_a_model_whose_answer_is_not_finite_is_not_written(tmp_path: Path) -> None:
    model = save_classifier(CLASSIFIER, tmp_path / "best.safetensors")
    broken: Any = maskwise.load_model(model)
    with torch.no_grad():
        broken.head.bias.fill_(float("nan"))
    with pytest.raises(UserError, match="torch's own answer `probabilities` to image 1 is not"):
        maskwise.export(broken, tmp_path / "a.pt2")
