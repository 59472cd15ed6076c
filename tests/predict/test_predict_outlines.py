"""What `predict` says to a model that outlines."""

from pathlib import Path

import pytest

from finetune.patches import SMALL, metadata, small_encoder
from maskwise.artefacts.model import SegmenterMetadata, build_segmenter, write_model
from maskwise.errors import UserError
from maskwise.predict.stage import PredictConfig, predict


def test_a_model_that_outlines_is_refused_with_what_to_use_instead(tmp_path: Path) -> None:
    described = SegmenterMetadata(
        encoder=metadata("context_cnn", dict(SMALL["context_cnn"])),
        task="lesion",
        classes=("lesion",),
        mode="full",
        fraction=1.0,
        images=10,
        validation_loss=0.5,
    )
    write_model(build_segmenter(small_encoder(), described), described, tmp_path / "m.st")
    with pytest.raises(UserError, match=r"m.st: outlines lesions.*maskwise.load_model"):
        predict(tmp_path / "m.st", tmp_path, PredictConfig())
