"""Do sets of answers hold the truth, and are strangers told? For docs/results/limits.md.

A linear probe on frozen ImageNet features (EfficientNet-Lite0, the extra `weights`) of breast
ultrasound, by the project's own finetune, with whole groups split anew for each of 20 seeds.
The features are computed once per call; then a split takes seconds.

    python benchmarks/limits.py FOLDER --source busi --raw path/to/busi --stranger "head CT" CT
    python benchmarks/limits.py FOLDER --source breastmnist --raw path/to/medmnist
    python benchmarks/limits.py FOLDER --source busi --raw path/to/busi --splits 3 --full 100

Results are appended to FOLDER/limits_coverage.csv and FOLDER/limits_unlike.csv; splits that are
there already are passed over. `--summary` prints the tables of the page from both.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from numpy.typing import NDArray
from scipy.stats import t as student
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from maskwise.artefacts.store import open_store
from maskwise.artefacts.weights import read_weights
from maskwise.encoders.contract import Encoder
from maskwise.encoders.efficientnet_lite0 import EfficientnetLite0Config
from maskwise.encoders.metadata import EncoderMetadata
from maskwise.evaluate.coverage import measure, wilson
from maskwise.finetune.classification.replicate import (
    Learnt,
    Replicate,
    learn_full,
    learn_probe,
    limits_of,
    predictions,
    prepare,
)
from maskwise.finetune.run import FinetuneConfig, FinetuneRun, parse_budget
from maskwise.ingest.config import IngestConfig
from maskwise.ingest.stage import ingest
from maskwise.limits.record import Limits
from maskwise.limits.typical import FALSE_ALARMS, unlike
from maskwise.pipelines import parsing
from maskwise.prediction.contracts import Look
from maskwise.prediction.reading import Way, see
from maskwise.prediction.scans import find_scans
from maskwise.preparation import Preparation
from maskwise.preprocess.config import PreprocessConfig
from maskwise.preprocess.splits import make_splits
from maskwise.preprocess.stage import preprocess
from maskwise.workers import Pool

ROOT = Path(__file__).parents[1]
COVERAGE, UNLIKE = "limits_coverage.csv", "limits_unlike.csv"
LEVELS = (0.8, 0.9, 0.95)
SIDES = {"busi": 128, "breastmnist": 64}
"""Of the network's image, pixels."""
FEW = 5
"""Splits, below which no interval is computed."""
NOISE = 100
"""Images of each kind of noise."""
MOST = 200
"""Scans of a stranger, evenly spaced."""
ANSWER = ("name", "absent")
"""What says of which answer figures are."""
NEIGHBOURS = 10
"""k of the distance that is compared: the k-th nearest training scan's."""
Features = list[NDArray[np.float32]]
CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "its own test images upside down": lambda images: images.flip(2),
    "its own test images blurred": lambda images: interpolate(
        avg_pool2d(images, 4), images.shape[2:], mode="bilinear"
    ),
}
"""Name -> what is done to normalised images ``(B, C, H, W)``: strangers hard to tell."""


def main() -> None:
    """Measure the splits that are lacking, or print what is known."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where tables and features are kept")
    parser.add_argument("--source", choices=list(SIDES), default="busi")
    parser.add_argument("--raw", type=Path, help="raw folder of the source")
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--stranger", nargs=2, action="append", default=[], metavar=("A", "B"))
    parser.add_argument("--full", type=int, default=0, metavar="STEPS", help="fine-tune, too")
    parser.add_argument("--summary", action="store_true", help="print tables and do no more")
    arguments = parser.parse_args()
    if arguments.summary:
        print(summary(arguments.folder))
        return
    arguments.folder.mkdir(parents=True, exist_ok=True)
    study = Study.of(arguments)
    for split in range(arguments.splits):
        study.measure(split)


class Study:
    """Features of one source's images and of strangers, and what splits make of them."""

    def __init__(self, folder: Path, source: str, base: Replicate, full: int) -> None:
        """Hold what all splits share."""
        self.folder, self.source, self.base, self.full = folder, source, base, full
        self.manifest = base.labelled[["image_id", "group"]].assign(
            label_diagnosis=base.labelled["label"], path=""
        )
        self.strangers: dict[str, tuple[NDArray[np.float32], Features]] = {}

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "Study":
        """Ingest, preprocess and look through the encoder, all once."""
        folder, source = arguments.folder, arguments.source
        settings = yaml.safe_load(
            (ROOT / f"conf/base/sources/parameters_{source}.yml").read_text()
        )[source]
        side = SIDES[source]
        block = {**settings["preprocess"], "height": side, "width": side, "split": "own"}
        block["geometry"] = {"name": "resize", "aspect": "stretch"}
        where = folder / f"{source}_store"
        if not where.exists():
            reader = parsing.ingest_source(settings["ingest"], f"{source}.ingest")
            manifest = ingest(arguments.raw, reader, IngestConfig(), source).manifest
            asked = parsing.preprocess_source(block, f"{source}.preprocess")
            made = preprocess(arguments.raw, manifest, asked, PreprocessConfig(), source)
            made.write_store(where)
            made.splits.to_parquet(folder / f"{source}_splits.parquet")
        store = open_store(where)
        encoder = frozen(store.header.preparation, store.header.data_hash, source)
        run = FinetuneRun(
            budget=parse_budget(
                {**settings["finetune"], "steps": arguments.full or 1, "batch_size": 16},
                f"{source}.finetune",
            ),
            config=FinetuneConfig(modes=("probe",)),
            fractions=(1.0,),
            source=source,
            recipe="imagenet_lite0",
            seed=0,
        )
        splits = pd.read_parquet(folder / f"{source}_splits.parquet")
        study = cls(folder, source, prepare(encoder, store, splits, run), arguments.full)
        drawn = [(name, scans(encoder, Path(place))) for name, place in arguments.stranger]
        for name, images in [*drawn, *(noise(encoder) if arguments.stranger else [])]:
            seen = torch.from_numpy(encoder.metadata.preparation.normalised(images))
            with torch.inference_mode():
                pooled = encoder.pooled_stages(seen, "mean_max")
            study.strangers[name] = images, [each.numpy() for each in pooled]
            print(f"{name}: {len(images)} scans")
        return study

    def replicate(self, split: int) -> Replicate:
        """Return the base with its images split anew, whole groups at a time."""
        block = {"height": 8, "width": 8, "modality": "ultrasound", "laterality": "free"}
        asked = parsing.preprocess_source(
            {**block, "label": "diagnosis", "split": "own", "split_seed": split}, self.source
        )
        splits = make_splits(self.manifest, asked, self.source)
        labelled = self.base.labelled.assign(split=splits["split"].to_numpy())
        run = replace(self.base.run, seed=split)
        question = self.base.question
        subsets = question.subsets(labelled, (1.0,), run.config.validation, split)
        subsets = subsets.assign(source=self.source, recipe=run.recipe, seed=split)
        return replace(self.base, labelled=labelled, subsets=subsets, run=run)

    def measure(self, split: int) -> None:
        """Learn by one split, and append what its test part and the strangers show."""
        for mode in ("probe", *(["full"] if self.full else [])):
            if _known(self.folder / COVERAGE, self.source, split, mode):
                continue
            replicate = self.replicate(split)
            labels = replicate.labels(1.0)
            learn = learn_probe if mode == "probe" else learn_full
            learnt = learn(replicate, labels)
            rows = list(self.coverage(replicate, learnt, split))
            _append(self.folder / COVERAGE, rows)
            if self.strangers:
                found = limits_of(replicate, labels, learnt)
                assert found is not None
                _append(
                    self.folder / UNLIKE,
                    list(self.unlike(replicate, labels.part("train"), learnt, found, split)),
                )
            print(f"{self.source}, split {split}, {mode}", flush=True)

    def coverage(
        self, replicate: Replicate, learnt: Learnt, split: int
    ) -> Iterator[dict[str, object]]:
        """Yield how often sets held the truth, by level and class."""
        table = predictions(replicate, learnt)
        names = replicate.question.classes
        mode = learnt.metadata.mode
        for level in LEVELS:
            found = measure(table, replicate.subsets, names, level)
            assert found is not None
            figures = found["scores"]["imagenet_lite0"][mode]["1.0"]
            for one in figures["answers"]:
                measured = {key: each for key, each in one.items() if key not in ANSWER}
                yield {
                    "source": self.source, "split": split, "mode": mode, "level": level,
                    "class": one["name"], **measured,
                    "size": figures["size"], "single": figures["single"],
                }  # fmt: skip

    def unlike(
        self,
        replicate: Replicate,
        train: pd.DataFrame,
        learnt: Learnt,
        limits: Limits,
        split: int,
    ) -> Iterator[dict[str, object]]:
        """Yield of each stranger how well it is told, and how often it is flagged."""
        space = limits.space
        assert learnt.features is not None
        positions = np.flatnonzero((replicate.labelled["split"] == "test").to_numpy())
        test = learnt.features(positions)
        bank = learnt.features(train["position"].to_numpy())
        own, own_knn = space.distances(test), nearest(test, bank)
        flagged = unlike(space.p_values(test), FALSE_ALARMS)
        groups = replicate.labelled["group"].to_numpy(dtype=object)[positions]
        patients = pd.Series(flagged).groupby(groups).max()
        fixed = {
            "source": self.source, "split": split, "mode": learnt.metadata.mode,
            "held_out": len(space.held_out), "test_scans": len(test),
            "test_patients": len(patients), "false_alarms": patients.mean(),
            "false_alarms_scans": flagged.mean(), "features": test.shape[1],
        }  # fmt: skip
        rows = replicate.labelled["row"].to_numpy()[positions]
        normalised = torch.from_numpy(replicate.store.normalised(rows))
        strangers = {
            name: self.of_strangers(replicate, learnt, images, pooled)
            for name, (images, pooled) in self.strangers.items()
        }
        for name, change in CHANGES.items():
            strangers[name] = self.seen(replicate, learnt, change(normalised))
        for name, features in strangers.items():
            apart = space.distances(features)
            yield {
                **fixed, "stranger": name, "scans": len(features),
                "auroc": auroc(own, apart),
                "auroc_knn": auroc(own_knn, nearest(features, bank)),
                "flagged": unlike(space.p_values(features), FALSE_ALARMS).mean(),
            }  # fmt: skip

    def of_strangers(
        self,
        replicate: Replicate,
        learnt: Learnt,
        images: NDArray[np.float32],
        pooled: Features,
    ) -> NDArray[np.float32]:
        """Return what the model sees of strangers."""
        if learnt.metadata.mode == "probe":
            return np.concatenate([pooled[stage] for stage in learnt.metadata.stages], axis=1)
        seen = torch.from_numpy(replicate.metadata.preparation.normalised(images))
        return self.seen(replicate, learnt, seen)

    def seen(self, replicate: Replicate, learnt: Learnt, images: Tensor) -> NDArray[np.float32]:
        """Return what the model sees of normalised images."""
        assert learnt.model is not None
        with torch.inference_mode():
            return np.asarray(learnt.model.eval().pooled(images).numpy())


def frozen(preparation: Preparation, data_hash: str, source: str) -> Encoder:
    """Return the encoder with its published weights, which knows how the source is prepared."""
    config = EfficientnetLite0Config()
    weights = read_weights("package", "efficientnet_lite0", config, 1, 0, "encoder.weights")
    encoder = config.build(1)
    encoder.load_state_dict(weights.tensors)
    assert weights.mean is not None
    assert weights.std is not None
    seen = replace(preparation, mean=weights.mean, std=weights.std)
    encoder.metadata = EncoderMetadata(
        architecture="efficientnet_lite0",
        arguments=asdict(config),
        preparation=seen,
        source=source,
        recipe="imagenet_lite0",
        seed=0,
        data_hash=data_hash,
        version="0.1.0",
        weights=weights.origin,
    )
    return encoder.eval()


def scans(encoder: Encoder, place: Path) -> NDArray[np.float32]:
    """Return what `predict` shows the network of a folder's scans, ``(n, C, H, W)``."""
    with Pool(1) as pool:
        found = find_scans(place, "path", None, pool)
    step = max(1, -(-len(found.scans) // MOST))
    way = Way(found.root, encoder.metadata.preparation, "grey")
    looks = [see(way, scan) for scan in islice(found.scans, 0, None, step)]
    return np.stack([look.intensities for look in looks if isinstance(look, Look)])


def noise(encoder: Encoder) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield white noise, and noise as smooth as a scan."""
    preparation, generator = encoder.metadata.preparation, np.random.default_rng(0)
    shape = NOISE, preparation.channels, preparation.height, preparation.width
    white = generator.uniform(0, 1, shape).astype(np.float32)
    yield "white noise", white
    coarse = torch.from_numpy(white)[:, :, : shape[2] // 8, : shape[3] // 8]
    smooth = interpolate(coarse, shape[2:], mode="bilinear")
    yield "smooth noise", smooth.numpy()


def nearest(features: NDArray[np.float32], bank: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the distance to the k-th nearest training scan, of features of length 1.

    Sun et al., "Out-of-distribution detection with deep nearest neighbors" (ICML 2022).
    """
    one, other = (
        each / np.linalg.norm(each, axis=1, keepdims=True) for each in (features, bank)
    )
    similar = np.sort(one @ other.T, axis=1)[:, -NEIGHBOURS]
    return np.asarray(1 - similar, np.float64)


def auroc(own: NDArray[np.float64], strangers: NDArray[np.float64]) -> float:
    """Return how well a distance tells strangers from test scans."""
    truth = np.repeat([0, 1], [len(own), len(strangers)])
    return float(roc_auc_score(truth, np.concatenate([own, strangers])))


def _known(path: Path, source: str, split: int, mode: str) -> bool:
    if not path.exists():
        return False
    table = pd.read_csv(path)
    same = (table["source"] == source) & (table["split"] == split) & (table["mode"] == mode)
    return bool(same.any())


def _append(path: Path, rows: list[dict[str, object]]) -> None:
    table = pd.DataFrame(rows).round(6)
    table.to_csv(path, mode="a", header=not path.exists(), index=False)


def summary(folder: Path) -> str:
    """Return the tables of the page as Markdown."""
    coverage = pd.read_csv(folder / COVERAGE)
    lines = [
        "| source | model | level | class | patients: held out, test | coverage, mean "
        "| lowest, highest | splits outside “expected” | answers in a set | one alone |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    keys = ["source", "mode", "level", "class"]
    for (source, mode, level, name), rows in coverage.groupby(keys, sort=False):
        value = rows["value"]
        outside = (value < rows["expected_low"] - 1e-6) | (value > rows["expected_high"] + 1e-6)
        counts = f"{_ends(rows['held_out'])}, {_ends(rows['patients'])}"
        lines.append(
            f"| {source} | {mode} | {level:g} | {name} | {counts} | {_mean(value)} "
            f"| {value.min():.2f}, {value.max():.2f} | {outside.sum()} of {len(rows)} "
            f"| {rows['size'].mean():.2f} | {rows['single'].mean():.0%} |"
        )
    if not (folder / UNLIKE).exists():
        return "\n".join(lines)
    strangers = pd.read_csv(folder / UNLIKE)
    lines += [
        "",
        "| source | model | stranger | scans | AUROC | AUROC, k-NN | flagged at 5 % "
        "| of so many scans |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    keys = ["source", "mode", "stranger"]
    for (source, mode, name), rows in strangers.groupby(keys, sort=False):
        lines.append(
            f"| {source} | {mode} | {name} | {_ends(rows['scans'])} | {_mean(rows['auroc'])} "
            f"| {_mean(rows['auroc_knn'])} | {_mean(rows['flagged'])} | {_of(rows)} |"
        )
    for (source, mode), rows in strangers.groupby(["source", "mode"], sort=False):
        one = rows.drop_duplicates("split")
        lines.append(
            f"\n{source}, {mode}: of test patients {_mean(one['false_alarms'])} are flagged "
            f"({_ends(one['test_patients'])} a split, {len(one)} splits), of test scans "
            f"{_mean(one['false_alarms_scans'])}; {_ends(one['held_out'])} held out."
        )
    return "\n".join(lines)


def _ends(values: "pd.Series[int]") -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low}" if low == high else f"{low} to {high}"


def _of(rows: pd.DataFrame) -> str:
    """Return Wilson's 95 % interval of the mean share that is flagged, of so many scans."""
    low, high = wilson(float(rows["flagged"].mean()), int(rows["scans"].min()))
    return f"[{low:.2f}, {high:.2f}]"


def _mean(values: "pd.Series[float]") -> str:
    """Return the mean over splits, with Student's 95 % interval; of few splits the ends."""
    count = len(values)
    if count < FEW:
        return f"{values.mean():.3f} ({values.min():.3f} to {values.max():.3f})"
    half = student.ppf(0.975, count - 1) * values.std() / np.sqrt(count)
    low, high = max(0.0, values.mean() - half), min(1.0, values.mean() + half)
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main()
