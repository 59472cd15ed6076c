"""A small study in which lesions are outlined, made by the stages themselves."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from finetune.blobs import write_blobs
from finetune.patches import small_encoder
from maskwise.evaluate.stage import EvaluateConfig, evaluate
from maskwise.finetune.lesion.config import LesionConfig
from maskwise.finetune.stage import Budget, FinetuneConfig, FinetuneRun, finetune
from maskwise.report.inputs import ReportConfig, ReportInputs
from report.synthetic import study, summary

RECIPES = ("scratch", "dqn")


def outlined_study(
    folder: Path,
    seeds: Sequence[int] = (0,),
    config: EvaluateConfig | None = None,
    folds: int = 0,
    **finetuning: Any,
) -> ReportInputs:
    """Fine-tune, evaluate, and return what the page is made from."""
    store, splits = write_blobs(folder / "store", groups=24, folds=folds)
    results, models = {}, {}
    for recipe in RECIPES:
        for seed in seeds:
            run = FinetuneRun(
                budget=Budget(LesionConfig(), 15, batch_size=16, learning_rates=(0.01,)),
                config=FinetuneConfig(**finetuning),
                fractions=(1.0, 0.4),
                source="blobs",
                recipe=recipe,
                seed=seed,
            )
            encoder = small_encoder(seed=seed + 10 * (recipe == "dqn"))
            results[recipe, seed] = finetune(encoder, store, splits, run)
            models[recipe, seed] = folder / "models" / recipe / f"s{seed}"
            results[recipe, seed].write_models(models[recipe, seed])
    predictions = pd.concat([one.predictions for one in results.values()], ignore_index=True)
    subsets = pd.concat([one.subsets for one in results.values()], ignore_index=True)
    scored = evaluate(
        predictions, subsets, config or EvaluateConfig(draws=199), "blobs", "lesion"
    )
    index = store.index
    manifest = index[["image_id", "group", "label_diagnosis"]].assign(
        patient=None,
        path=[f"images/scan {i}.png" for i in range(len(index))],
        frame=0,
        split=None,
        phash=[f"{i * 0x9E3779B97F4A7C15 % 2**64:016x}" for i in range(len(index))],
        blank=False,
    )
    whole = study(seeds=seeds, recipes=RECIPES)
    return replace(
        whole,
        source="blobs",
        manifest=manifest,
        splits=splits,
        subsets=subsets,
        predictions=predictions,
        data_summary=summary(len(index)),
        scores=scored.scores,
        paired=scored.paired,
        settings={**whole.settings, "preprocess": {**whole.settings["preprocess"]}},
        config=ReportConfig(images=2, moments=2),
        histories={},
        galleries={},
        models=models,
        store=store,
    )


def pair_of_duplicates(inputs: ReportInputs) -> list[str]:
    """Return two test images of one group that show a lesion."""
    rows = inputs.predictions.query("split == 'test' and truth == 'lesion'")
    sizes = rows.groupby("group")["image_id"].nunique()
    chosen = rows[rows["group"] == sizes.index[np.argmax(sizes.to_numpy() > 1)]]
    return sorted(set(chosen["image_id"]))[:2]
