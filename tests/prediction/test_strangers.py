"""Real scans: a head CT given to a model of breast ultrasound."""

import shutil
from dataclasses import replace
from pathlib import Path

from maskwise import predict
from maskwise.artefacts.store import open_store
from maskwise.artefacts.weights import read_weights
from maskwise.encoders.efficientnet_lite0 import EfficientnetLite0Config
from maskwise.encoders.metadata import EncoderMetadata
from maskwise.finetune.classification.probe import ProbeConfig
from maskwise.finetune.diagnosis.task import DiagnosisConfig
from maskwise.finetune.run import Budget, FinetuneConfig, FinetuneRun
from maskwise.finetune.stage import finetune
from maskwise.ingest.config import IngestConfig
from maskwise.ingest.sources.busi import BusiConfig
from maskwise.ingest.stage import ingest
from maskwise.pipelines import parsing
from maskwise.preprocess.config import PreprocessConfig
from maskwise.preprocess.stage import preprocess

PREPARED = {
    "height": 64, "width": 64, "channels": 1, "modality": "ultrasound", "laterality": "free",
    "label": "diagnosis", "split": "own", "validation_share": 0.3, "test_share": 0.1,
}  # fmt: skip


def copied(shared_data: Path, numbers: range, folder: Path) -> Path:
    busi = shared_data / "busi/Dataset_BUSI_with_GT"
    for name in ("benign", "malignant", "normal"):
        (folder / name).mkdir(parents=True)
        for number in numbers:
            for path in (busi / name).glob(f"{name} ({number})*.png"):  # and its masks
                shutil.copy(path, folder / name)
    return folder


def test_a_head_ct_is_flagged_by_a_model_of_breast_ultrasound(
    shared_data: Path, tmp_path: Path
) -> None:
    raw = copied(shared_data, range(1, 31), tmp_path / "raw/Dataset_BUSI_with_GT").parent
    manifest = ingest(raw, BusiConfig(), IngestConfig(), "busi").manifest
    asked = parsing.preprocess_source(PREPARED, "busi.preprocess")
    made = preprocess(raw, manifest, asked, PreprocessConfig(), "busi")
    made.write_store(tmp_path / "store")
    store, config = open_store(tmp_path / "store"), EfficientnetLite0Config()
    weights = read_weights("package", "efficientnet_lite0", config, 1, 0, "encoder.weights")
    assert weights.mean is not None
    assert weights.std is not None
    encoder = config.build(1)
    encoder.load_state_dict(weights.tensors)
    encoder.metadata = EncoderMetadata(
        architecture="efficientnet_lite0",
        arguments={"stride": 32},
        preparation=replace(store.header.preparation, mean=weights.mean, std=weights.std),
        source="busi",
        recipe="imagenet_lite0",
        seed=0,
        data_hash=store.header.data_hash,
        version="0",
    )
    probe = ProbeConfig(strengths=(0.01,), folds=2)
    run = FinetuneRun(
        budget=Budget(DiagnosisConfig(), steps=1),
        config=FinetuneConfig(modes=("probe",), probe=probe),
        fractions=(1.0,),
        source="busi",
        recipe="imagenet_lite0",
        seed=0,
    )
    finetune(encoder.eval(), store, made.splits, run).write_models(tmp_path / "models")
    model = tmp_path / "models/best.safetensors"
    heads = [shared_data / f"head_ct/head_ct/{number:03d}.png" for number in range(0, 200, 10)]
    flagged = predict(heads, model, colour="grey")["unlike"]
    assert flagged.eq(1).all()
    others = predict(
        copied(shared_data, range(60, 70), tmp_path / "others"), model, colour="grey"
    )
    assert others["unlike"].mean() < 0.35
