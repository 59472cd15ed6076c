"""Which scans to label next: three rules of select against random choice, as learning curves.

After

    kedro run --pipelines transfer --tags ingest,preprocess --params raw_root=path/to/busi
    kedro run --pipelines transfer --tags pretrain --namespaces imagenet_lite0.s0
    kedro run --pipelines embed --params \
      embed.encoder=data/06_models/transfer/encoders/imagenet_lite0/s0/encoder.safetensors,embed.source=transfer

    python benchmarks/label_selection.py

labels the training part of breast ultrasound round by round, by each rule, and after each round
fits a logistic probe on the frozen features (ImageNet weights, computed once). A repetition is
another seed: another four fifths of the training groups as the pool, and other draws of the
rule. Probes are judged on the validation and test part together, which nothing is chosen by.
Writes `select.csv` (one row per rule and round, with the paired difference to random choice),
`select_seeds.csv` (one per repetition) and the figure beside docs/results/select.md.
"""

import argparse
import platform
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from maskwise.array_types import Floats, Rows
from maskwise.artefacts.embeddings import Embeddings, read_embeddings
from maskwise.evaluate import scales
from maskwise.evaluate.comparisons import holm
from maskwise.evaluate.metrics import METRICS, score
from maskwise.evaluate.resampling import Draws, draw, interval, p_value, resample
from maskwise.report.pictures import drawing, png_bytes
from maskwise.seeds import stream
from maskwise.selection.budget import Pool, choose
from maskwise.selection.contracts import Rule
from maskwise.selection.rules import RULES
from maskwise.selection.unsure import uncertainty

PROJECT = Path(__file__).parents[1]
RESULTS = PROJECT / "docs/results"
EMBEDDINGS = PROJECT / "data/07_model_output/embed/embeddings.parquet"
AGAINST = "random"
OTHERS = ("k_centre", "typicality", "uncertainty")
ROUNDS = (10, 20, 30, 40, 60, 80, 120, 160, 240)
FEW = 40
"""Labels up to which the first summary averages; the second averages over all rounds."""
SHARE = 0.8
"""Of the training groups that a repetition's pool holds."""
STRENGTH = 0.01
"""scikit-learn's C of the probe, for all rules and rounds; it was not chosen by any score."""
SHOWN = ("macro_auroc", "balanced_accuracy")
BINS = 15
SEED = 20261130
LOOKS = {
    "random": ("#000000", "o"),
    "k_centre": ("#0072b2", "s"),
    "typicality": ("#009e73", "^"),
    "uncertainty": ("#d55e00", "D"),
}


@dataclass(frozen=True)
class Study:
    """What all repetitions share."""

    vectors: NDArray[np.float32]
    """``(N, F)`` of the training part."""
    truth: Rows
    group: Rows
    judged: NDArray[np.float32]
    """``(M, F)`` of the parts that probes are judged on."""
    judged_truth: Rows
    judged_group: Rows
    classes: tuple[str, ...]


def main() -> None:
    """Run all repetitions, write the tables and the figure, print the table of the page."""
    options = _arguments()
    study = read_study(read_embeddings(options.embeddings), options.label)
    groups = int(study.judged_group.max()) + 1
    draws = draw(options.seeds, (groups,), options.draws, SEED)
    began = time.process_time()
    values, rows = {}, []
    for rule in (AGAINST, *OTHERS):
        for seed in range(options.seeds):
            for labels, figures, facts in repetition(study, rule, seed, draws):
                values[rule, seed, labels] = figures
                shown = {name: round(float(figures[i, 0]), 6) for i, name in enumerate(SHOWN)}
                rows.append({"rule": rule, "seed": seed, "labels": labels, **facts, **shown})
    table = summarise(values, study, draws, options.seeds)
    pd.DataFrame(rows).to_csv(options.out / "select_seeds.csv", index=False)
    table.to_csv(options.out / "select.csv", index=False)
    (options.out / "pictures/select.png").write_bytes(png_bytes(drawn(table)))
    print(
        f"{platform.machine()}; {time.process_time() - began:.0f} s of processor time; "
        f"{options.seeds} seeds; judged on {len(study.judged)} images in {groups} groups; "
        f"a pool of {SHARE:.0%} of {len(study.vectors)} images"
    )
    print(table.to_string(index=False))


def read_study(embeddings: Embeddings, label: str) -> Study:
    """Divide embeddings into the pool and what probes are judged on."""
    table = embeddings.table
    known = table[f"label_{label}"].notna().to_numpy()
    train = table["split"].eq("train").to_numpy(bool) & known
    judged = table["split"].isin(["validation", "test"]).to_numpy(bool) & known
    classes = tuple(sorted(table[f"label_{label}"][known].unique()))
    truth = pd.Index(classes).get_indexer(pd.Index(table[f"label_{label}"]))
    return Study(
        embeddings.vectors[train],
        truth[train].astype(np.int64),
        pd.factorize(table["group"][train])[0].astype(np.int64),
        embeddings.vectors[judged],
        truth[judged].astype(np.int64),
        pd.factorize(table["group"][judged])[0].astype(np.int64),
        classes,
    )


def repetition(
    study: Study, name: str, seed: int, draws: Draws
) -> list[tuple[int, Floats, dict[str, float]]]:
    """Label round by round; return labels, metrics ``(2, 1 + B)`` and what was labelled."""
    names = np.unique(study.group)
    drawn = stream(seed, "select", "pool").permutation(names)[: round(SHARE * len(names))]
    there = np.isin(study.group, drawn)
    done = np.zeros(len(study.vectors), bool)
    weights = draws.groups[study.judged_group]
    places = [METRICS.index(metric) for metric in SHOWN]
    found = []
    for labels in ROUNDS:
        rule: Rule = RULES[name]()
        unsure = None
        if rule.asks_a_model and not done.any():
            rule = RULES[AGAINST]()  # there is no model yet to ask
        elif rule.asks_a_model:
            unsure = uncertainty(probe(study, done, study.vectors), "margin")
        pool = Pool(study.vectors, study.group, done, there & ~done, unsure)
        # The same stream for all rules: uncertainty begins with what random choice begins with.
        generator = stream(seed, "select", "round", labels)
        turns = choose(pool, rule, labels - int(done.sum()), generator)
        done[pool.scans(turns.units)] = True
        chances = probe(study, done, study.judged)
        figures = score(chances, study.judged_truth, weights, BINS)[places]
        shares = np.bincount(study.truth[done], minlength=len(study.classes)) / done.sum()
        facts = {
            f"share_{each}": round(float(share), 4)
            for each, share in zip(study.classes, shares, strict=True)
        }
        found.append((labels, figures, facts))
    return found


def probe(study: Study, done: NDArray[np.bool_], asked: NDArray[np.float32]) -> Floats:
    """Fit the probe on what is labelled; return probabilities of all classes.

    Features are standardised by the whole training part, for which no label is needed. A class
    that no label shows has the probability 0.
    """
    mean = study.vectors.mean(axis=0, dtype=np.float64)
    std = study.vectors.std(axis=0, dtype=np.float64)
    std[std < 1e-6] = 1.0
    chances = np.zeros((len(asked), len(study.classes)))
    shown = np.unique(study.truth[done])
    if len(shown) == 1:
        chances[:, shown] = 1.0
        return chances
    model = LogisticRegression(C=STRENGTH, max_iter=1_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model.fit((study.vectors[done] - mean) / std, study.truth[done])
    chances[:, shown] = model.predict_proba((asked - mean) / std)
    return chances


def summarise(
    values: Mapping[tuple[str, int, int], Floats], study: Study, draws: Draws, seeds: int
) -> pd.DataFrame:
    """Return one row per rule, round (or mean over rounds) and metric."""
    counts = pd.DataFrame({"truth": study.judged_truth, "group": study.judged_group})
    rarest = int(counts.groupby("truth")["group"].nunique().min())
    groups = int(study.judged_group.max()) + 1
    spans: dict[str, tuple[int, ...]] = {str(labels): (labels,) for labels in ROUNDS}
    spans[f"mean to {FEW}"] = tuple(labels for labels in ROUNDS if labels <= FEW)
    spans["mean of all"] = ROUNDS
    rows = []
    for metric, name in enumerate(SHOWN):
        for span, rounds in spans.items():
            each = {
                rule: np.stack(
                    [
                        np.mean([values[rule, seed, labels][metric] for labels in rounds], 0)
                        for seed in range(seeds)
                    ]
                )
                for rule in (AGAINST, *OTHERS)
            }
            for rule, own in each.items():
                found = resample(own, draws, rarest)
                low, high = scales.interval(found.value, found.both, groups, "outcome")
                row: dict[str, Any] = {"metric": name, "labels": span, "rule": rule}
                row |= {"value": found.value, "low": low, "high": high}
                if rule != AGAINST:
                    gap = resample(own - each[AGAINST], draws, rarest)
                    row |= dict(zip(("gap_low", "gap_high"), interval(gap.draws), strict=True))
                    row |= {"gap": gap.value, "p": p_value(gap.draws)}
                    row["seeds_better"] = int(((own - each[AGAINST])[:, 0] > 0).sum())
                rows.append(row)
    table = pd.DataFrame(rows)
    # The family: both summaries of three rules, AUROC; the rest of the table has no p.
    asked = table["labels"].str.startswith("mean") & table["metric"].eq(SHOWN[0])
    table.loc[~asked, "p"] = np.nan
    table["p_holm"] = holm(table["p"].to_numpy(np.float64))
    columns = ["metric", "labels", "rule", "value", "low", "high", "gap", "gap_low", "gap_high"]
    table = table[[*columns, "seeds_better", "p", "p_holm"]]
    table["n_images"], table["n_groups"] = len(study.judged), groups
    table["n_seeds"] = seeds
    return table.round(6)


def drawn(table: pd.DataFrame) -> Figure:
    """Draw the curves, and beside them the differences to random choice."""
    shown = table[table["metric"].eq(SHOWN[0]) & ~table["labels"].str.startswith("mean")]
    with drawing():
        figure = Figure(figsize=(10.4, 4.2), layout="constrained")
        curves, gaps = figure.subplots(1, 2)
        for number, (rule, (colour, marker)) in enumerate(LOOKS.items()):
            own = shown[shown["rule"] == rule]
            labels = own["labels"].astype(int).to_numpy()
            curves.plot(labels, own["value"], color=colour, marker=marker, label=rule)
            if rule != AGAINST:
                shifted = labels * (1 + 0.03 * (number - 2))  # so that bars stand side by side
                ends = np.abs(own[["gap_low", "gap_high"]].to_numpy().T - own["gap"].to_numpy())
                gaps.errorbar(
                    shifted, own["gap"], ends, color=colour, marker=marker, lw=0, elinewidth=1.4
                )
        gaps.axhline(0, color=LOOKS[AGAINST][0], linewidth=1)
        curves.set(ylabel="AUROC, mean over classes", title="Learning curves")
        gaps.set(ylabel="difference of AUROC", title="Rule minus random choice")
        for panel in (curves, gaps):
            panel.set(xscale="log", xlabel="labelled images")
            panel.set_xticks(ROUNDS, [str(labels) for labels in ROUNDS])
            panel.minorticks_off()
        figure.legend(loc="outside lower center", ncols=4)
    return figure


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--embeddings", type=Path, default=EMBEDDINGS)
    parser.add_argument("--label", default="diagnosis")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--draws", type=int, default=1_999)
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
