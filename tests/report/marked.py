"""Artefacts of a small study whose images have several labels, from fine-tuning on."""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from finetune.marks import write_marks
from finetune.patches import small_encoder
from maskwise.evaluate.stage import EvaluateConfig, evaluate
from maskwise.finetune.classification.probe import ProbeConfig
from maskwise.finetune.multilabel.task import MultilabelConfig
from maskwise.finetune.stage import Budget, FinetuneConfig, FinetuneRun, finetune
from maskwise.report.inputs import ReportConfig, ReportInputs
from report.synthetic import study, summary

RECIPES = ("scratch", "dqn")


def marked_study(folder: Path, seeds: tuple[int, ...] = (0,)) -> ReportInputs:
    """Train and score two encoders, and return the inputs of their page."""
    store, splits = write_marks(folder / "store")
    results = {}
    for recipe in RECIPES:
        for seed in seeds:
            run = FinetuneRun(
                budget=Budget(MultilabelConfig("marks", none="none"), steps=3, batch_size=8),
                config=FinetuneConfig(
                    modes=("probe", "full", "knn"),
                    probe=ProbeConfig(strengths=(0.01,), folds=3),
                ),
                fractions=(1.0, 0.25),
                source="marks",
                recipe=recipe,
                seed=seed,
            )
            encoder = small_encoder(seed=seed + 10 * (recipe == "dqn"))
            results[recipe, seed] = finetune(encoder, store, splits, run)
    predictions = pd.concat([one.predictions for one in results.values()], ignore_index=True)
    subsets = pd.concat([one.subsets for one in results.values()], ignore_index=True)
    config = EvaluateConfig(draws=199)
    scored = evaluate(predictions, subsets, config, "marks", "multilabel")
    index = store.index
    manifest = index[["image_id", "group", "label_marks"]].assign(
        patient=None,
        path=[f"images/scan {i}.png" for i in range(len(index))],
        frame=0,
        split=None,
        phash=[f"{i * 0x9E3779B97F4A7C15 % 2**64:016x}" for i in range(len(index))],
        blank=False,
    )
    whole = study(seeds=seeds, recipes=RECIPES)
    prepared = {**whole.settings["preprocess"], "label": "marks", "separator": "|"}
    return replace(
        whole,
        source="marks",
        manifest=manifest,
        splits=splits,
        subsets=subsets,
        predictions=predictions,
        data_summary=summary(len(index)),
        scores=scored.scores,
        paired=scored.paired,
        settings={**whole.settings, "preprocess": prepared},
        config=ReportConfig(images=2, moments=2),
        histories={},
        galleries={},
        store=store,
    )
