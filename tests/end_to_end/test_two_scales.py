"""Masked reconstruction at two scales, from generated scans to a page, as users meet it."""

import pandas as pd
import pytest
import torch

import maskwise
from maskwise.artefacts.store import open_store
from project import Finished, copy_project

pytestmark = pytest.mark.xdist_group("two scales")

RECIPES = ("mae", "miram")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Return a project after `kedro run --pipelines phantom_fine`; tests leave it as it is."""
    project = copy_project(
        tmp_path_factory.mktemp("two_scales") / "project", ("phantom", "phantom_fine"), RECIPES
    )
    project.edit(
        "conf/base/experiment.yml",
        experiment__sources__phantom_fine={
            "generated": True,
            "recipes": list(RECIPES),
            "seeds": [0],
            "fractions": [1.0],
        },
    )
    project.edit("conf/base/parameters_finetune.yml", finetune__modes=["probe"])
    project.edit(
        "conf/base/sources/parameters_phantom_fine.yml",
        phantom_fine__ingest__images=120,
        phantom_fine__pretrain__steps=3,
        phantom_fine__pretrain__batch_size=8,
    )
    return Finished(project, project.run("kedro", "run", "--pipelines", "phantom_fine"))


def test_a_run_ends_with_a_page(found: Finished) -> None:
    last = found.log.strip().splitlines()[-1]
    assert last.endswith("08_reporting/phantom_fine/report.html")
    assert "Traceback" not in found.log
    assert "Warning:" not in found.log


def test_the_store_holds_twice_the_size_and_the_history_says_that_files_have_it(
    found: Finished,
) -> None:
    store = open_store(found.data / "03_primary/phantom_fine/store")
    assert store.images.shape[2:] == (128, 128)
    folder = found.data / "07_model_output/phantom_fine/training/miram/s0"
    history = pd.read_csv(folder / "history.csv")
    assert set(history["native_fraction"]) == {1.0}
    parts = history["loss_1"] + history["loss_2"]
    assert parts.to_numpy() == pytest.approx(history["loss"].to_numpy(), rel=1e-5)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_encoder_of_either_prepares_and_sees_a_scan_of_its_own(
    found: Finished, recipe: str
) -> None:
    folder = found.data / f"06_models/phantom_fine/encoders/{recipe}/s0"
    encoder = maskwise.load_encoder(folder / "encoder.safetensors")
    scan = next((found.data / "01_raw/phantom_fine/images").glob("*.png"))
    image = encoder.prepare(maskwise.read(scan))
    assert image.shape == (1, 1, 64, 64)
    with torch.inference_mode():
        assert encoder.pooled(image, pooling="class").shape == (1, 192)
    assert not any("decoder" in name for name in encoder.state_dict())
