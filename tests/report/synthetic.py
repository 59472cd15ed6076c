"""Artefacts of a small made-up study, in the shapes that the stages write."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from maskwise.artefacts.gallery import Gallery
from maskwise.artefacts.tables import PAIRED
from maskwise.report.inputs import (
    EncoderFile,
    PretrainingInputs,
    ReportConfig,
    ReportInputs,
    Run,
)

CLASSES = ("normal", "benign", "malignant")
TITLES = {
    "scratch": "no pre-training",
    "pixels": "8 x 8 pixels",
    "random_box": "random boxes",
    "dqn": "Intelligent Masking",
    "simclr": "SimCLR",
}
RECIPES: dict[str, dict[str, Any]] = {
    "scratch": {
        "objective": {"name": "none"},
        "policy": {"name": "none"},
        "encoder": {"name": "context_cnn", "stride": 8},
        "optimisation": {},
    },
    "pixels": {
        "objective": {"name": "none"},
        "policy": {"name": "none"},
        "encoder": {"name": "pixels"},
        "optimisation": {},
    },
    "random_box": {
        "objective": {"name": "context_encoder"},
        "policy": {"name": "random_box", "box": [5, 5]},
        "encoder": {"name": "context_cnn", "stride": 8},
        "optimisation": {"learning_rate": 0.001},
    },
    "dqn": {
        "objective": {"name": "context_encoder"},
        "policy": {"name": "dqn", "preset": "paper"},
        "encoder": {"name": "context_cnn", "stride": 8},
        "optimisation": {"learning_rate": 0.001},
    },
    "simclr": {
        "objective": {"name": "simclr", "temperature": 0.2},
        "policy": {"name": "none"},
        "encoder": {"name": "context_cnn", "stride": 8},
        "optimisation": {"learning_rate": 0.001},
    },
}
FRACTIONS = (1.0, 0.1)
GRID, SIDE, BOX = 16, 64, 5
LEADS = {"random_box": 0.02, "dqn": 0.05, "simclr": 0.09}
"""What each recipe is above scratch in macro AUROC at 10 % of the labels."""
ASKED = tuple(LEADS)
"""Compared with scratch, fine-tuned with 10 % of the labels: what was named beforehand."""


def study(
    seeds: Sequence[int] = (0, 1, 2),
    half_width: float = 0.03,
    leads: Mapping[str, float] = MappingProxyType(LEADS),
    recipes: Sequence[str] = tuple(RECIPES),
    **changes: Any,
) -> ReportInputs:
    """Make the inputs of a page; ``half_width`` is that of every interval of a difference."""
    manifest, splits = _images()
    runs = tuple((recipe, seed) for recipe in recipes for seed in seeds)
    inputs = ReportInputs(
        source="phantom",
        generated=True,
        manifest=manifest,
        rejects=pd.DataFrame(columns=["path", "reason", "detail"]),
        data_summary=summary(len(manifest)),
        store_summary=store_summary(),
        splits=splits,
        subsets=_subsets(runs),
        predictions=_predictions(runs),
        histories={run: history(*run) for run in runs},
        galleries={run: gallery(*run) for run in runs},
        scores=_scores(recipes, leads, len(seeds)),
        paired=_paired(recipes, leads, half_width, len(seeds)),
        recipes={recipe: RECIPES[recipe] for recipe in recipes},
        settings={
            "ingest": {"name": "phantom", "images": 240},
            "preprocess": {"height": SIDE, "width": SIDE, "label": "diagnosis"},
            "pretrain": {"grid": [GRID, GRID], "steps": 240, "batch_size": 32},
            "finetune": {"steps": 100, "batch_size": 32},
        },
        config=ReportConfig(titles=TITLES),
    )
    return replace(inputs, **changes)


def plain(text: str) -> str:
    """Return what the page says in characters of a keyboard."""
    return text.replace("\N{NO-BREAK SPACE}", " ").replace("\N{MINUS SIGN}", "-")


@cache
def _images() -> tuple[pd.DataFrame, pd.DataFrame]:
    n = 240
    groups = [f"g{i // 2:03d}" for i in range(n)]
    hashes = np.random.default_rng(0).integers(0, 2**64, n, dtype=np.uint64)
    manifest = pd.DataFrame(
        {
            "image_id": [f"i{i:03d}" for i in range(n)],
            "path": [f"images/scan {i}.png" for i in range(n)],
            "frame": 0,
            "patient": groups,
            "group": groups,
            "split": None,
            "label_diagnosis": [CLASSES[(i // 2) % 3] for i in range(n)],
            "phash": [f"{value:016x}" for value in hashes],
            "blank": False,
        }
    )
    split = np.repeat(["train", "validation", "test"], [120, 40, 80])
    splits = manifest[["image_id", "group"]].assign(split=split, fold=-1)
    return manifest, splits


@cache
def _subsets(runs: tuple[Run, ...]) -> pd.DataFrame:
    manifest, splits = _images()
    images = splits.assign(label=manifest["label_diagnosis"])
    parts = []
    for recipe, seed in runs:
        for fraction in FRACTIONS:
            for role in ("train", "validation"):
                rows = images[images["split"] == role]
                rows = rows.iloc[: round(fraction * len(rows))]
                parts.append(
                    rows.assign(
                        source="phantom", fraction=fraction, role=role, recipe=recipe, seed=seed
                    )
                )
    return pd.concat(parts, ignore_index=True)


def _modes(recipe: str) -> tuple[str, ...]:
    return ("probe",) if recipe == "pixels" else ("probe", "full")


@cache
def _predictions(runs: tuple[Run, ...]) -> pd.DataFrame:
    manifest, splits = _images()
    images = splits.assign(truth=manifest["label_diagnosis"])
    images = images[images["split"] != "train"]
    onehot = np.array([[name == truth for name in CLASSES] for truth in images["truth"]])
    parts = []
    for recipe, seed in runs:
        for mode in _modes(recipe):
            for fraction in FRACTIONS:
                generator = np.random.default_rng([seed, len(recipe), int(10 * fraction)])
                strength = 0.8 + fraction + 3 * LEADS.get(recipe, 0.0)
                logits = strength * onehot + generator.normal(size=onehot.shape)
                p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
                part = images.assign(
                    source="phantom", recipe=recipe, seed=seed, fraction=fraction, mode=mode
                )
                parts.append(part.assign(**{f"p_{c}": p[:, i] for i, c in enumerate(CLASSES)}))
    return pd.concat(parts, ignore_index=True)


def store_summary() -> dict[str, Any]:
    """Make what preprocess says of stored images that give nothing away."""
    found = {"auroc": 0.5, "low": 0.42, "high": 0.58, "images": 40, "groups": 20}
    importances = {"mean": 0.6, "sharpness": 0.4}
    audits = {"diagnosis": {**found, "importances": importances}}
    return {"pixel_facts_audit": audits, "thinning": None}


def summary(images: int) -> dict[str, Any]:
    """Make a data summary without a blemish."""
    return {
        "images": images,
        "groups": images // 2,
        "patients": images // 2,
        "duplicates": {"images": 0, "sets": 0, "distance": 4},
        "contradictions": {
            "label_sets": 0,
            "labels": [],
            "masks": {
                "agreement": 0.5,
                "pairs_compared": 0,
                "median_iou": None,
                "contradictory": 0,
                "pairs": [],
            },
        },
        "official_split_leaks": {
            "official_split": False,
            "groups": 0,
            "images": 0,
            "named": [],
        },
        "rejects": {"counted": 0, "by_reason": {}},
        "slice_number_audit": {},
        "file_facts_audit": {
            "diagnosis": {
                "auroc": 0.51,
                "low": 0.46,
                "high": 0.56,
                "images": images,
                "groups": images // 2,
                "importances": {"aspect": 0.4, "bytes": 0.6},
                "without_bytes": {
                    "auroc": 0.5,
                    "low": 0.45,
                    "high": 0.55,
                    "images": images,
                    "groups": images // 2,
                    "importances": {"aspect": 0.4, "width": 0.6},
                },
            }
        },
    }


@cache
def history(recipe: str, seed: int, epochs: int = 12) -> pd.DataFrame:
    """Make the history of a run that learnt to find lesions, or of one that does not mask."""
    if recipe in ("scratch", "pixels"):
        return pd.DataFrame({"epoch": pd.Series(dtype=int)})
    t = np.linspace(0, 1, epochs)
    wave = 0.05 * np.sin(9 * t + seed)
    table = pd.DataFrame(
        {
            "epoch": np.arange(1, epochs + 1),
            "step": 20 * np.arange(1, epochs + 1),
            "loss": 1.0 * np.exp(-2 * t) + wave + 0.2,
            "learning_rate": 0.001 * np.cos(1.5 * t),
            "gradient_norm": 1 + wave,
        }
    )
    if recipe == "simclr":
        return table
    grows = 3.0 * t * (recipe == "dqn")
    drawn = np.arange(epochs) % 4 == 3
    table = table.assign(
        lift=1.5 + grows + wave,
        lift_low=1.2 + grows + wave,
        lift_high=1.8 + grows + wave,
        content_lift=0.02 + 0.7 * grows + wave,
        content_lift_low=-0.2 + 0.7 * grows + wave,
        content_lift_high=0.25 + 0.7 * grows + wave,
        lift_uniform=1.45,
        lift_centre=2.6,
        lift_variance=4.3,
        content_lift_centre=0.0,
        content_lift_variance=1.9,
        content_lift_above_variance=0.7 * grows - 1.88 + wave,
        content_lift_above_variance_low=0.7 * grows - 2.1 + wave,
        content_lift_above_variance_high=0.7 * grows - 1.66 + wave,
        lift_oracle=7.9,
        hidden_share=25 / 256,
        entropy=0.9 - 0.1 * t,
        top_share=0.05 + 0.1 * t,
        error=np.where(drawn, 0.5 - 0.2 * t, np.nan),
        error_mean_image=np.where(drawn, 0.9, np.nan),
        error_smooth_fill=np.where(drawn, 0.55, np.nan),
    )
    if recipe == "dqn":
        table = table.assign(
            reward=0.6 * np.exp(-t),
            policy_loss=0.3 * np.exp(-t) + wave,
            epsilon=np.clip(1 - 1.2 * t, 0.05, 1),
            position_share=0.6 - 0.4 * t,
            variance_correlation=0.2 + 0.3 * t,
        )
    return table


@cache
def gallery(recipe: str, seed: int, moments: int = 8, probes: int = 6) -> Gallery:
    """Draw bright spots; the dqn's boxes move onto them."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    centres = generator.integers(18, SIDE - 18, (probes, 2))
    far = np.stack([np.hypot(y - cy, 0.8 * (x - cx)) for cy, cx in centres])
    speckle = generator.gamma(4, 0.25, far.shape)
    images = np.clip((60 + 130 * (far < 8)) * speckle, 0, 255).astype(np.uint8)
    e = 0 if recipe in ("scratch", "pixels", "simclr") else moments
    places = GRID - BOX + 1
    masks = np.zeros((e, probes, GRID, GRID), bool)
    maps = np.zeros((e, probes, places, places), np.float16)
    for moment in range(e):
        for probe in range(probes):
            goal = np.clip(centres[probe] // 4 - BOX // 2, 0, places - 1)
            start = generator.integers(0, places, 2)
            share = moment / (moments - 1) if recipe == "dqn" else 0
            top, left = np.round(share * goal + (1 - share) * start).astype(int)
            masks[moment, probe, top : top + BOX, left : left + BOX] = True
            py, px = np.mgrid[:places, :places]
            maps[moment, probe] = -np.hypot(py - top, px - left)
    smooth = np.broadcast_to(images.mean(axis=(1, 2), keepdims=True), images.shape)
    return Gallery(
        epochs=np.linspace(1, 12, e).round().astype(np.int64),
        image_ids=np.array([f"i{120 + i}" for i in range(probes)]),
        images=images,
        lesions=far < 8,
        masks=masks,
        maps=maps if recipe == "dqn" else np.zeros(0, np.float16),
        map_box=np.array([BOX, BOX] if recipe == "dqn" else [0, 0]),
        map_stride=np.array(1 if recipe == "dqn" else 0),
        learns=np.array(recipe == "dqn"),
        reconstructions=np.broadcast_to(smooth.astype(np.uint8), (e, *images.shape)),
        probe_ids=np.array([f"i{120 + i}" for i in range(probes)]),
        probe_masks=np.packbits(masks.reshape(e, probes, GRID * GRID), axis=2),
    )


def _value(recipe: str, mode: str, fraction: float, leads: Mapping[str, float]) -> float:
    start = {1.0: 0.81, 0.1: 0.667}[fraction] - (0.03 if mode == "probe" else 0)
    return round(start + leads.get(recipe, 0.0) * (1 if fraction < 1 else 0.3), 4)


def _scores(recipes: Sequence[str], leads: Mapping[str, float], seeds: int) -> dict[str, Any]:
    def figures(value: float) -> dict[str, float | None]:
        spread = {"": 0.041, "seeds_": 0.012, "groups_": 0.035}
        ends = {
            f"{part}{end}": round(value + sign * width, 4)
            for part, width in spread.items()
            for end, sign in (("low", -1), ("high", 1))
        }
        alone = dict.fromkeys(("seeds_low", "seeds_high")) if seeds < 3 else {}
        return {"value": round(value, 4), **ends, **alone}

    scores = {
        recipe: {
            mode: {
                str(fraction): {
                    metric: figures(_value(recipe, mode, fraction, leads) - shift)
                    for metric, shift in (
                        ("macro_auroc", 0.0),
                        ("balanced_accuracy", 0.1),
                        ("macro_f1", 0.11),
                        ("calibration_error", 0.5),
                    )
                }
                for fraction in FRACTIONS
            }
            for mode in _modes(recipe)
        }
        for recipe in recipes
    }
    return {
        "draws": 2000,
        "n_repetitions": seeds,
        "n_folds": 0,
        "covers": covers(seeds),
        "primary": {
            "metric": "macro_auroc",
            "mode": "full",
            "fraction": 0.1,
            "comparisons": [[name, "scratch"] for name in ASKED],
            "written": "2026-11-29",
        },
        "stuck": [],
        "validation": {
            str(fraction): {"n_images": 20, "n_classes": 3} for fraction in FRACTIONS
        },
        "weigh": "group",
        "test": "bootstrap",
        "notes": ["Every test group counts once."],
        "scores": scores,
    }


def covers(seeds: int) -> str:
    """Return what the intervals of so many seeds hold."""
    return "training and test images" if seeds > 2 else "test images only"


def exploring(inputs: ReportInputs) -> ReportInputs:
    """Return the study as it is where nothing was named beforehand."""
    paired = inputs.paired.assign(primary=False, p=np.nan, p_holm=np.nan)
    return replace(inputs, paired=paired, scores={**inputs.scores, "primary": None})


def _paired(
    recipes: Sequence[str], leads: Mapping[str, float], half_width: float, seeds: int
) -> pd.DataFrame:
    rows = []
    for mode in ("probe", "full"):
        for fraction in FRACTIONS:
            for recipe in recipes:
                if recipe == "scratch" or mode not in _modes(recipe):
                    continue
                lead = round(leads.get(recipe, 0.0) * (1 if fraction < 1 else 0.3), 4)
                p = 0.0014 if abs(lead) > half_width else 0.3
                asked = recipe in ASKED and (mode, fraction) == ("full", 0.1)
                if not asked or seeds < 3:
                    p = np.nan
                rows.append(
                    {
                        "mode": mode,
                        "fraction": fraction,
                        "metric": "macro_auroc",
                        "recipe": recipe,
                        "against": "scratch",
                        "difference": lead,
                        "low": round(lead - half_width, 4),
                        "high": round(lead + half_width, 4),
                        "covers": covers(seeds),
                        "primary": asked,
                        "p": p,
                        "p_holm": min(1.0, 3 * p) if p == p else p,
                        "test": "two-level bootstrap",
                        "n_images": 80,
                        "n_groups": 40,
                        "n_seeds": seeds,
                    }
                )
    return pd.DataFrame(rows, columns=list(PAIRED))


def pretraining(
    recipes: Sequence[str] = ("random_box", "dqn", "simclr"),
    seeds: Sequence[int] = (0,),
    **changes: Any,
) -> PretrainingInputs:
    """Make the inputs of a page without labels: 200 images train, 40 validate."""
    labelled = study(seeds=seeds, recipes=recipes)
    kept = {field.name: getattr(labelled, field.name) for field in fields(PretrainingInputs)}
    splits = labelled.splits.assign(split=labelled.splits["split"].replace("test", "train"))
    inputs = PretrainingInputs(
        **{
            **kept,
            "manifest": labelled.manifest.drop(columns="label_diagnosis"),
            "splits": splits,
            "data_summary": {**labelled.data_summary, "file_facts_audit": {}},
            "store_summary": {"pixel_facts_audit": {}, "thinning": None},
            "settings": {
                **labelled.settings,
                "preprocess": {"height": SIDE, "width": SIDE, "label": None},
            },
            "encoders": {
                (recipe, seed): EncoderFile(
                    f"data/06_models/phantom/encoders/{recipe}/s{seed}/encoder.safetensors",
                    parameters=1234,
                    width=112,
                )
                for recipe, seed in labelled.histories
            },
        }
    )
    return replace(inputs, **changes)
