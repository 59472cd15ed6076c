"""How often do evaluate's intervals hold the truth, and its p fall below .05 where nothing is?

    python benchmarks/coverage.py --studies 1000

Simulates studies of two recipes that are equally good, scores them with evaluate's own draws,
intervals and p (`--whole` by `evaluate()` itself, hours instead of minutes;
tests/evaluate/test_coverage.py holds that both say the same), and prints a table: the share of
studies whose interval of a score holds the score that an endless study would find, the share
whose interval of the difference holds 0, and the share with p <= .05. Arms without a p (fewer
than 3 repetitions) say so. `--table FILE` keeps one row per study and goes on from there.

A network's latent score of an image is the class, times the network's own skill, plus what is
hard about the image for all networks, plus this network's own noise; where an image may show
several labels, each has such a score, and what is hard about the image is so for all of them.
In folds an image's Dice is a mean, plus what the image does to all recipes, plus what the
fold's network does to all of its images, plus the rest, with variances estimated from a
committed table.
"""

import argparse
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from maskwise.array_types import Floats
from maskwise.combinations import BETWEEN, NONE
from maskwise.evaluate import scales
from maskwise.evaluate.config import EvaluateConfig, Primary
from maskwise.evaluate.resampling import draw, interval, p_value, resample
from maskwise.evaluate.stage import evaluate
from maskwise.weighted import ranking

RESULTS = Path(__file__).parents[1] / "docs/results"
RECIPES = ("one", "other")
SEED = 20261129
PIXELS = 1000
"""Of a lesion, so that Dice can be said to three digits."""


@dataclass(frozen=True)
class Seeds:
    """Seeds that share a test set of two classes."""

    seeds: int
    auroc: float
    groups: int = 60
    positive: float = 0.5
    skills: float = 0.2
    """Standard deviation of what another training does to the distance of the classes."""
    images: float = 0.7
    """That of what all networks find hard about an image."""
    noise: float = 0.7
    """That of one network's own."""
    tastes: float = 0.0
    """That of what all networks of a recipe find hard, and those of another do not."""

    metric = "macro_auroc"
    scale: scales.Scale = "outcome"
    task = "diagnosis"

    def truth(self) -> float:
        """Return the AUROC over all trainings and images."""
        return self.auroc

    def answers(self, generator: np.random.Generator) -> Floats:
        """Return the probabilities of one study ``(recipes, seeds, groups)``."""
        sick = self.sick()
        hard = self.images * generator.standard_normal(self.groups)
        shape = (len(RECIPES), self.seeds)
        skill = self._distance() + self.skills * generator.standard_normal((*shape, 1))
        noise = self.noise * generator.standard_normal((*shape, self.groups))
        if self.tastes:
            tastes = generator.standard_normal((shape[0], 1, self.groups))
            noise = noise + self.tastes * tastes
        return np.asarray(stats.norm.cdf(skill * sick + hard + noise - self._distance() / 2))

    def sick(self) -> NDArray[np.bool_]:
        """Say which groups are positive."""
        return np.arange(self.groups) < round(self.positive * self.groups)

    def predict(self, answers: Floats) -> pd.DataFrame:
        """Return them as the table that finetune writes."""
        ids, truth = np.arange(self.groups), np.where(self.sick(), "sick", "well")
        parts = [
            _rows(recipe, seed, ids, -1, "probe")
            | {"truth": truth, "p_sick": p, "p_well": 1 - p}
            for recipe, seeds in zip(RECIPES, answers, strict=True)
            for seed, p in enumerate(seeds)
        ]
        return pd.concat(map(pd.DataFrame, parts), ignore_index=True)

    def score(self, answers: Floats, weights: Floats) -> Floats:
        """Return the AUROC of one recipe ``(seeds, groups)`` in every draw ``(seeds, D)``."""
        return np.stack([ranking(p, self.sick(), weights)[0] for p in answers])

    def sizes(self) -> tuple[int, ...]:
        """Return the groups of the one test set."""
        return (self.groups,)

    @property
    def rarest(self) -> int:
        """Groups that the metric hangs on."""
        return int(min(self.sick().sum(), (~self.sick()).sum()))

    def _distance(self) -> float:
        each = self.images**2 + self.noise**2 + self.tastes**2
        spread = np.sqrt(2 * each + self.skills**2)
        return float(spread * stats.norm.ppf(self.auroc))


@dataclass(frozen=True)
class Labels:
    """Seeds that share a test set whose images may show several labels, all equally hard."""

    seeds: int
    auroc: float
    shares: tuple[float, ...]
    """Of the groups that show each label; a label's groups begin where those before it end."""
    of: int | None = None
    """The label whose own AUROC is asked for; None = the mean over labels."""
    groups: int = 60
    skills: float = 0.2
    images: float = 0.7
    """Standard deviation of what all networks find hard about an image, whatever the label."""
    noise: float = 0.7

    scale: scales.Scale = "outcome"
    task = "multilabel"

    @property
    def metric(self) -> str:
        """Return its name in the scores."""
        return "macro_auroc" if self.of is None else f"auroc_l{self.of}"

    def truth(self) -> float:
        """Return the AUROC over all trainings and images, the same for each label."""
        return self.auroc

    def answers(self, generator: np.random.Generator) -> Floats:
        """Return the probabilities of one study ``(recipes, seeds, groups, labels)``."""
        shape = (len(RECIPES), self.seeds)
        hard = self.images * generator.standard_normal((self.groups, 1))
        each = (1, len(self.shares))
        skill = self._distance() + self.skills * generator.standard_normal((*shape, *each))
        noise = generator.standard_normal((*shape, self.groups, len(self.shares)))
        latent = skill * self.shown() + hard + self.noise * noise
        return np.asarray(stats.norm.cdf(latent - self._distance() / 2))

    def shown(self) -> NDArray[np.bool_]:
        """Say which groups show each label, ``(groups, labels)``."""
        numbers = [round(share * self.groups) for share in self.shares]
        starts = np.cumsum([0, *numbers[:-1]])
        places = (np.arange(self.groups)[:, None] - starts) % self.groups
        return np.asarray(places < numbers)

    def predict(self, answers: Floats) -> pd.DataFrame:
        """Return them as the table that finetune writes."""
        ids, shown = np.arange(self.groups), self.shown()
        names = np.array([f"l{k}" for k in range(len(self.shares))], object)
        truth = [BETWEEN.join(names[row]) or NONE for row in shown]
        parts = []
        for recipe, seeds in zip(RECIPES, answers, strict=True):
            for seed, p in enumerate(seeds):
                rows = _rows(recipe, seed, ids, -1, "probe") | {"truth": truth}
                for k, name in enumerate(names):
                    rows |= {f"p_{name}": p[:, k], f"truth_{name}": shown[:, k] * 1.0}
                    rows[f"threshold_{name}"] = 0.5
                parts.append(rows)
        return pd.concat(map(pd.DataFrame, parts), ignore_index=True)

    def score(self, answers: Floats, weights: Floats) -> Floats:
        """Return a recipe's figure in every draw ``(seeds, D)``; answers are of one recipe."""
        asked = range(len(self.shares)) if self.of is None else [self.of]
        shown = self.shown()
        by_label = [[ranking(p[:, k], shown[:, k], weights)[0] for k in asked] for p in answers]
        table: Floats = np.asarray(by_label)
        return np.asarray(table.mean(axis=1))

    def sizes(self) -> tuple[int, ...]:
        """Return the groups of the one test set."""
        return (self.groups,)

    @property
    def rarest(self) -> int:
        """Groups that the metric hangs on."""
        numbers = self.shown().sum(axis=0)
        return int(numbers.min() if self.of is None else numbers[self.of])

    def _distance(self) -> float:
        spread = np.sqrt(2 * (self.images**2 + self.noise**2) + self.skills**2)
        return float(spread * stats.norm.ppf(self.auroc))


@dataclass(frozen=True)
class Folds:
    """Folds of one network or more, a Dice an image; as a committed study has them."""

    study: str
    networks: int = 1
    shared: float = 0.0
    """Correlation of networks of different folds, whose training images overlap."""

    metric = "dice"
    scale: scales.Scale = "unit"
    task = "lesion"
    folds = 5

    def truth(self) -> float:
        """Return the mean Dice over all networks and images, those at the ends included."""
        mean, parts = components(self.study)
        spread = np.sqrt(sum(parts.values()))
        grid = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000, mean, spread)
        return float(np.clip(grid, 0, 1).mean())

    def answers(self, generator: np.random.Generator) -> Floats:
        """Return the Dice of one study ``(recipes, networks, groups)``, of its own fold's."""
        mean, parts = components(self.study)
        groups = sum(self.sizes())
        image = np.sqrt(parts["image"]) * generator.standard_normal(groups)
        shape = (len(RECIPES), self.networks, self.folds)
        common = np.sqrt(self.shared) * generator.standard_normal((shape[0], 1, 1))
        own = np.sqrt(1 - self.shared) * generator.standard_normal(shape)
        network = np.sqrt(parts["network"]) * (common + own)
        rest = np.sqrt(parts["rest"]) * generator.standard_normal((*shape[:2], groups))
        dice = np.clip(mean + image + network[:, :, self._fold()] + rest, 0, 1)
        return np.asarray(np.round(PIXELS * dice) / PIXELS)

    def _fold(self) -> NDArray[np.int64]:
        return np.repeat(np.arange(self.folds), self.sizes())

    def predict(self, answers: Floats) -> pd.DataFrame:
        """Return them as the table that finetune writes."""
        parts = []
        for recipe, networks in zip(RECIPES, answers, strict=True):
            for number, dice in enumerate(networks):
                for fold in range(self.folds):
                    ids = np.flatnonzero(self._fold() == fold)
                    rows = _rows(recipe, number * self.folds + fold, ids, fold, "full")
                    parts.append(rows | {"unit": rows["group"]} | _outlines(dice[ids]))
        return pd.concat(map(pd.DataFrame, parts), ignore_index=True)

    def score(self, answers: Floats, weights: Floats) -> Floats:
        """Return the mean Dice of each fold ``(folds, D)``, over its networks."""
        dice, fold = answers.mean(axis=0), self._fold()
        return np.stack(
            [
                dice[fold == number] @ weights[fold == number] / weights[fold == number].sum(0)
                for number in range(self.folds)
            ]
        )

    def sizes(self) -> tuple[int, ...]:
        """Return how many test groups each fold has."""
        return tuple(int(n) for n in sizes(self.study))

    @property
    def seeds(self) -> int:
        """Repetitions: the folds."""
        return self.folds

    @property
    def rarest(self) -> int:
        """Groups that the metric hangs on."""
        return sum(self.sizes())


Arm = Seeds | Labels | Folds
ARMS: dict[str, Arm] = {
    "5 seeds x 60 groups, AUROC .86": Seeds(5, 0.86),
    "5 seeds x 60 groups, AUROC .99": Seeds(5, 0.99),
    "5 seeds x 60 groups, AUROC .99, images hard for all": Seeds(5, 0.99, images=1, noise=0.3),
    "5 seeds x 60 groups, one in five positive, AUROC .86": Seeds(5, 0.86, positive=0.2),
    "5 seeds x 60 groups, AUROC .86, each recipe's own hard images": Seeds(5, 0.86, tastes=0.7),
    "5 seeds x 60 groups, AUROC .86, trainings far apart": Seeds(5, 0.86, skills=1.0),
    "5 seeds x 30 groups, one in five positive, AUROC .90": Seeds(
        5, 0.90, groups=30, positive=0.2
    ),
    "3 seeds x 60 groups, AUROC .86": Seeds(3, 0.86),
    "3 seeds x 60 groups, AUROC .99": Seeds(3, 0.99),
    "5 seeds x 60 groups, 4 labels of 30 to 6 groups, macro AUROC .86": Labels(
        5, 0.86, (0.5, 0.3, 0.2, 0.1)
    ),
    "5 seeds x 60 groups, 4 labels of 30 to 3 groups, macro AUROC .86": Labels(
        5, 0.86, (0.5, 0.3, 0.2, 0.05)
    ),
    "5 seeds x 60 groups, 13 labels of 30 to 3 groups, macro AUROC .86": Labels(
        5, 0.86, tuple(float(share) for share in np.linspace(0.5, 0.05, 13))
    ),
    "5 seeds x 60 groups, the AUROC .86 of the label of 6 groups": Labels(
        5, 0.86, (0.5, 0.3, 0.2, 0.1), of=3
    ),
    "5 folds as in hippocampus": Folds("hippocampus"),
    "5 folds as in lgg": Folds("lgg"),
    "5 folds as in busi_segmentation": Folds("busi_segmentation"),
    "5 folds as in hippocampus, two networks each": Folds("hippocampus", networks=2),
    "5 folds as in hippocampus, networks correlated by .2": Folds("hippocampus", shared=0.2),
    "5 folds as in lgg, networks correlated by .2": Folds("lgg", shared=0.2),
    "5 folds as in busi_segmentation, networks correlated by .2": Folds(
        "busi_segmentation", shared=0.2
    ),
    "5 folds as in hippocampus, two networks each, correlated by .2": Folds(
        "hippocampus", networks=2, shared=0.2
    ),
    "5 folds as in hippocampus, networks correlated by .5": Folds("hippocampus", shared=0.5),
    "2 seeds x 60 groups, AUROC .86": Seeds(2, 0.86),
    "1 seed x 60 groups, AUROC .86": Seeds(1, 0.86),
}


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=999)
    parser.add_argument("--table", type=Path, help="one row per study, kept and gone on from")
    parser.add_argument("--whole", action="store_true", help="by evaluate() itself")
    parser.add_argument("--arms", nargs="+", default=list(ARMS))
    arguments = parser.parse_args()
    kept = _read(arguments.table)
    for arm in arguments.arms:
        done = len(kept[kept["arm"] == arm])
        for first in range(done, arguments.studies, 50):
            numbers = range(first, min(first + 50, arguments.studies))
            one = simulate_whole if arguments.whole else simulate
            rows = [{"arm": arm, **one(ARMS[arm], n, arguments.draws)} for n in numbers]
            kept = pd.concat([kept, pd.DataFrame(rows)], ignore_index=True)
            if arguments.table:
                kept.to_csv(arguments.table, index=False)
    print(summary(kept[kept["arm"].isin(arguments.arms)]))


def _read(path: Path | None) -> pd.DataFrame:
    if path is not None and path.exists():
        return pd.read_csv(path)
    return pd.DataFrame({"arm": pd.Series(dtype=object)})


def simulate(arm: Arm, number: int, draws: int) -> dict[str, float]:
    """Return what evaluate's parts say of study ``number``, without tables and files."""
    answers = arm.answers(np.random.default_rng([number, SEED]))
    drawn = draw(arm.seeds, arm.sizes(), draws, number)
    one, other = (arm.score(recipe, drawn.groups) for recipe in answers)
    found = resample(one, drawn, arm.rarest)
    low, high = scales.interval(found.value, found.both, sum(arm.sizes()), arm.scale)
    apart = resample(one - other, drawn, arm.rarest)
    ends = np.clip(interval(apart.draws), -1, 1)
    p = p_value(apart.draws) if drawn.tells_training else float("nan")
    names = ("truth", "value", "low", "high", "difference", "difference_low", "difference_high")
    figures = (arm.truth(), found.value, low, high, apart.value, *ends)
    return dict(zip((*names, "p"), (*figures, p), strict=True))


def simulate_whole(arm: Arm, number: int, draws: int) -> dict[str, float]:
    """Return the same from `evaluate()`."""
    predictions = arm.predict(arm.answers(np.random.default_rng([number, SEED])))
    mode = str(predictions["mode"].iloc[0])
    primary = Primary((RECIPES,), mode, 1.0, date(2026, 11, 29), arm.metric)  # type: ignore[arg-type]
    config = EvaluateConfig(draws=draws, seed=number, against="", primary={"study": primary})
    found = evaluate(predictions, subsets(), config, "study", arm.task)
    score = found.scores["scores"]["one"][mode]["1.0"][arm.metric]
    row = found.paired[found.paired["primary"]].iloc[0]
    return {
        "truth": arm.truth(),
        **{name: score[name] for name in ("value", "low", "high")},
        "difference": row["difference"],
        "difference_low": row["low"],
        "difference_high": row["high"],
        "p": row["p"],
    }


def summary(kept: pd.DataFrame) -> str:
    """Return the table as Markdown."""
    lines = [
        "| studies | simulated | score holds the truth | ends beyond 0 or 1 | median width "
        "| difference holds 0 | p <= .05 |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for arm, rows in kept.groupby("arm", sort=False):
        held = (rows["low"] <= rows["truth"]) & (rows["truth"] <= rows["high"])
        beyond = (rows["low"] < 0) | (rows["high"] > 1)
        nothing = (rows["difference_low"] <= 0) & (rows["difference_high"] >= 0)
        p = "none given" if rows["p"].isna().all() else f"{(rows['p'] <= 0.05).mean():.3f}"
        width = (rows["high"] - rows["low"]).median()
        lines.append(
            f"| {arm} | {len(rows)} | {held.mean():.3f} | {beyond.sum()} | {width:.3f} "
            f"| {nothing.mean():.3f} | {p} |"
        )
    return "\n".join(lines)


def sizes(study: str) -> NDArray[np.int64]:
    """Return how many test groups each fold of a committed study has."""
    units = _units(study)
    return np.asarray(units.groupby("seed")["group"].nunique())


@cache
def components(study: str) -> tuple[float, dict[str, float]]:
    """Return mean Dice and its variances in a committed study, all labels.

    ``network``: between the folds' networks; ``image``: between groups, the same for all
    recipes; ``rest``: what a recipe's network makes of a group and another's does not. Means
    over recipes, and over pairs of them.
    """
    table = _units(study).pivot(index=["seed", "group"], columns="recipe", values="dice")
    within = table - table.groupby("seed").transform("mean")
    freedom = len(table) - table.index.get_level_values("seed").nunique()
    covariance = (within.T @ within).to_numpy() / freedom
    image = covariance[np.triu_indices(len(covariance), 1)].mean()
    own = np.diag(covariance).mean()
    by_fold = table.groupby("seed").mean().var(ddof=1).mean()
    network = by_fold - own * (1 / table.groupby("seed").size()).mean()
    parts = {"network": network, "image": image, "rest": own - image}
    return float(table.to_numpy().mean()), {
        name: max(0.0, float(v)) for name, v in parts.items()
    }


@cache
def _units(study: str) -> pd.DataFrame:
    """Return the Dice of each group, its pixels together: ``recipe, seed, group, dice``."""
    table = pd.read_parquet(RESULTS / f"{study}_cells.parquet")
    table = table[(table["split"] == "test") & (table["fraction"] == 1)]
    classes = [name.removeprefix("tp_") for name in table if name.startswith("tp_")]
    counts = [f"{kind}_{name}" for kind in ("tp", "fp", "fn") for name in classes]
    keys = ["recipe", "seed", "group"]
    summed = (
        table.astype(dict.fromkeys(counts, float)).groupby(keys, observed=True)[counts].sum()
    )
    dice = [
        2
        * summed[f"tp_{name}"]
        / (2 * summed[f"tp_{name}"] + summed[f"fp_{name}"] + summed[f"fn_{name}"])
        for name in classes
    ]
    return pd.concat(dice, axis=1).fillna(1.0).mean(axis=1).rename("dice").reset_index()


def subsets() -> pd.DataFrame:
    """Return a training and ten validation images of each class, which nothing hangs on."""
    n = 20
    return pd.DataFrame(
        {
            "source": "study",
            "recipe": "one",
            "seed": 0,
            "fraction": 1.0,
            "image_id": [f"v{i}" for i in range(n)],
            "group": [f"v{i}" for i in range(n)],
            "role": "validation",
            "label": ["sick", "well"] * (n // 2),
        }
    )


def _rows(
    recipe: str, seed: int, ids: NDArray[np.int64], fold: int, mode: str
) -> dict[str, object]:
    names = [f"i{number:05d}" for number in ids]
    return {
        "source": "study",
        "recipe": recipe,
        "seed": seed,
        "fraction": 1.0,
        "mode": mode,
        "image_id": names,
        "group": names,
        "split": "test",
        "fold": fold,
    }


def _outlines(dice: Floats) -> dict[str, object]:
    """Return counts of pixels that give these Dice: as much too much as is missing."""
    right = np.round(PIXELS * dice)
    wrong = PIXELS - right
    distances = ("hd95", "asd", "unit_hd95", "unit_asd")
    return {
        "truth": "lesion",
        "unit_kind": "group",
        "distance_unit": "px",
        "tp_lesion": right,
        "fp_lesion": wrong,
        "fn_lesion": wrong,
        **{f"{name}_lesion": np.ones(len(dice)) for name in distances},
    }


if __name__ == "__main__":
    main()
