"""What all artefacts say, read once: every section of the page speaks from this record."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from maskwise.combinations import BETWEEN
from maskwise.errors import UserError, hint, shown
from maskwise.report.data import read_data
from maskwise.report.formatting import labels, number_range
from maskwise.report.inputs import ReportInputs
from maskwise.report.pretraining_facts import PretrainingFacts
from maskwise.report.scores import in_print, read_scores, smaller_is_better
from maskwise.report.styles import styles
from maskwise.report.tasks import WORDS, Words


@dataclass(frozen=True)
class Facts(PretrainingFacts):
    """And what came of the encoders with labels."""

    inputs: ReportInputs
    scores: pd.DataFrame
    """``scores.read_scores``."""
    metric: str
    """Of the first sentence, the main figure and the ranking."""
    mode: str
    """Of the first sentence."""
    fraction: float
    """Of the first sentence: the smallest."""
    reference: str
    """Recipe that evaluate compares the others with; empty where it compared nothing."""

    @property
    def task(self) -> str:
        """What the encoders learnt from the labels."""
        return str(self.inputs.scores.get("task", "diagnosis"))

    @property
    def words(self) -> Words:
        """What the page says differently from task to task."""
        return WORDS[self.task]

    @property
    def modes(self) -> list[str]:
        """Modes that were run, full fine-tuning first."""
        return [mode for mode in self.words.modes if mode in set(self.scores["mode"])]

    @property
    def fractions(self) -> list[float]:
        """Shares of the labels, smallest first."""
        return sorted(set(self.scores["fraction"]))

    @property
    def repetitions(self) -> int:
        """How often everything was trained and tested: seeds, or folds."""
        return int(self.inputs.scores["n_repetitions"])

    @property
    def folds(self) -> bool:
        """Say whether seeds tested different parts of the images."""
        return bool(self.inputs.scores["n_folds"])

    @property
    def tells_training(self) -> bool:
        """Say whether intervals hold the chance of training, so that there may be a p."""
        return "training" in str(self.inputs.scores["covers"])

    @property
    def trainings(self) -> str:
        """Say how many there were: "one training", "2 trainings"."""
        return "one training" if self.repetitions == 1 else f"{self.repetitions} trainings"

    @property
    def bars(self) -> str:
        """Say what the bars of a picture are."""
        if self.tells_training:
            return "95 % intervals"
        return "95 % intervals of the choice of test images alone: training was not repeated"

    @property
    def classes(self) -> list[str]:
        """What an image may be or show: as the predictions' columns name it, else sorted."""
        columns = self.inputs.predictions.columns
        named = [name.removeprefix("p_") for name in columns if name.startswith("p_")]
        if named:
            return named
        truths, labels = self.inputs.predictions["truth"], self.inputs.subsets["label"]
        return sorted({*truths.dropna(), *labels})

    @property
    def label_classes(self) -> list[str]:
        """Classes of the source's label, which need not be what is learnt."""
        return self.classes if self.task == "diagnosis" else super().label_classes

    @property
    def leading(self) -> str:
        """The task's own metric, which areas are of; the page may speak of another."""
        return str(self.inputs.scores.get("leading", self.metric))

    @property
    def metric_name(self) -> str:
        """The main metric in print."""
        return self.in_print(self.metric)

    def in_print(self, metric: str) -> str:
        """Return what a metric is called in print."""
        return in_print(metric, self.inputs.scores)

    def mode_name(self, mode: str) -> str:
        """Return what a mode is called in print, at the start of a sentence."""
        name = self.words.modes.get(mode, mode)
        return name[0].upper() + name[1:]

    # What was asked.

    @property
    def comparisons(self) -> int:
        """Number of paired differences that have a p: the family of Holm's correction."""
        return int(self.inputs.paired["p"].notna().sum())

    @property
    def written(self) -> str:
        """The day on which the primary comparisons were written down; empty without any."""
        primary = self.inputs.scores["primary"]
        return str(primary["written"]) if primary else ""

    # What came out.

    def value(self, recipe: str, mode: str, fraction: float) -> float:
        """Return a recipe's main metric, NaN where it was not run so."""
        table = self.scores
        found = table[
            (table["recipe"] == recipe)
            & (table["mode"] == mode)
            & (table["fraction"] == fraction)
            & (table["metric"] == self.metric)
        ]["value"]
        return float(found.iloc[0]) if len(found) else float("nan")

    def against_reference(self, mode: str, fraction: float) -> pd.DataFrame:
        """Return the main metric's paired differences of pre-trained recipes, largest first."""
        table = self.inputs.paired
        chosen = table[
            (table["mode"] == mode)
            & (table["fraction"] == fraction)
            & (table["metric"] == self.metric)
            & (table["against"] == self.reference)
            & table["recipe"].map(self.is_pretrained).astype(bool)
        ]
        return chosen.sort_values(["difference", "recipe"], ascending=[False, True])

    def compared(self, mode: str, fraction: float) -> list[str]:
        """Return the reference and the best of the others."""
        rows = self.against_reference(mode, fraction)
        best = [str(rows.iloc[0]["recipe"])] if len(rows) else []
        return [name for name in (self.reference, *best) if name in self.styles]

    def asked(self) -> pd.DataFrame:
        """Return what the first sentence speaks of, the largest difference first.

        These are the comparisons that were named beforehand; without any, those with the
        reference.
        """
        primary = self.inputs.paired[self.inputs.paired["primary"].astype(bool)]
        if primary.empty:
            return self.against_reference(self.mode, self.fraction)
        return primary.sort_values(["difference", "recipe"], ascending=[False, True])

    def stuck(self, recipe: str, mode: str, fraction: float) -> Mapping[str, Any] | None:
        """Return which answer some of the recipe's networks gave to nearly all images."""
        for entry in self.inputs.scores["stuck"]:
            if (entry["recipe"], entry["mode"], entry["fraction"]) == (recipe, mode, fraction):
                return dict(entry)
        return None

    def says_nothing(self, row: pd.Series) -> str:
        """Return why a difference says nothing: nearly all answers of both are the same."""
        sides = [(row[side], row["mode"], row["fraction"]) for side in ("recipe", "against")]
        entry = self.stuck(*sides[0])
        return (
            str(entry["what"]) if entry and all(self.is_stuck(*side) for side in sides) else ""
        )

    def is_stuck(self, recipe: str, mode: str, fraction: float) -> bool:
        """Say whether half of the recipe's networks or more answer nearly all images alike."""
        entry = self.stuck(recipe, mode, fraction)
        return bool(entry and 2 * entry["networks"] >= entry["of"])

    def is_least(self, row: pd.Series) -> bool:
        """Say whether no draw contradicts a paired difference, so that its p is a bound."""
        scores = self.inputs.scores
        if scores["test"] != "bootstrap":
            return False
        draws = scores["draws"] - scores.get("undefined_draws", 0)
        # Beyond 6 digits: p was rounded when it was written.
        return bool(row["p"] <= 2 / (draws + 1) * (1 + 1e-5))

    def test_predictions(self) -> pd.DataFrame:
        """Return the test images' predictions at the first sentence's mode and fraction.

        ``weight`` is what an image counts in the scores.
        """
        table = self.inputs.predictions
        test = table[
            (table["split"] == "test")
            & (table["mode"] == self.mode)
            & (table["fraction"] == self.fraction)
        ]
        if self.inputs.scores["weigh"] == "image":
            return test.assign(weight=1.0)
        sizes = test.groupby(["recipe", "seed", "group"])["image_id"].transform("size")
        return test.assign(weight=1.0 / sizes)

    # What it rests on.

    def labelled(self, fraction: float, role: str = "train") -> pd.DataFrame:
        """Count what a fraction uses: ``seed, label, images, groups``."""
        rows = self._of_labels(self._used(fraction, role), "label")
        return (
            rows.groupby(["seed", "label"])
            .agg(images=("image_id", "nunique"), groups=("group", "nunique"))
            .reset_index()
        )

    def _used(self, fraction: float, role: str) -> pd.DataFrame:
        table = self.inputs.subsets
        return table[(table["fraction"] == fraction) & (table["role"] == role)]

    def _of_labels(self, rows: pd.DataFrame, column: str) -> pd.DataFrame:
        """Return a row for each label of an image, where one may have several."""
        if self.task != "multilabel":
            return rows
        return rows.assign(**{column: rows[column].str.split(BETWEEN, regex=False)}).explode(
            column
        )

    @property
    def sizes(self) -> dict[float, tuple[int, int]]:
        """Return fraction -> fewest and most labelled training images over the seeds."""
        return {fraction: self._size(fraction, "train") for fraction in self.fractions}

    def _size(self, fraction: float, role: str) -> tuple[int, int]:
        images = self._used(fraction, role).groupby("seed")["image_id"].nunique()
        return (int(images.min()), int(images.max())) if len(images) else (0, 0)

    def labels_in_words(self, fraction: float) -> str:
        """Say how many: "10 % of the labels (46 training and 15 validation images)"."""
        train, validation = (
            number_range(*self._size(fraction, role)) for role in ("train", "validation")
        )
        images = "image" if validation == "1" else "images"
        return f"{labels(fraction)} ({train} training and {validation} validation {images})"

    def tested(self) -> pd.DataFrame:
        """Count the test split: class -> ``images, groups``."""
        table = self.inputs.predictions
        test = table[table["split"] == "test"].drop_duplicates("image_id")
        return (
            self._of_labels(test, "truth")
            .groupby("truth")
            .agg(images=("image_id", "nunique"), groups=("group", "nunique"))
            .reindex(self.classes, fill_value=0)
        )


def read_facts(inputs: ReportInputs) -> Facts:
    """Read the inputs, or raise ``UserError`` naming the option that does not fit them."""
    scores, config = read_scores(inputs.scores), inputs.config
    known = sorted(set(scores["metric"]) - smaller_is_better(inputs.scores))
    metric = config.metric or str(inputs.scores.get("leading", "macro_auroc"))
    if metric not in known:
        raise UserError(
            f"report.metric: no score of {inputs.source!r} that is better when larger is "
            f"called {shown(metric)}; {hint(metric, known)}"
        )
    ran = set(inputs.predictions["recipe"])
    modes = set(scores["mode"])
    mode = config.mode if config.mode in modes else min(modes)
    fraction = min(scores.loc[scores["mode"] == mode, "fraction"])
    primary = _primary(inputs)
    if primary:
        metric, mode, fraction = (primary[key] for key in ("metric", "mode", "fraction"))
    return Facts(
        inputs=inputs,
        data=read_data(
            inputs.data_summary,
            inputs.store_summary,
            str(inputs.settings["preprocess"].get("label")),
        ),
        styles=styles([name for name in inputs.recipes if name in ran], config.titles),
        scores=scores,
        metric=metric,
        mode=mode,
        fraction=fraction,
        # Pairs that evaluate.pairs adds are few beside those with evaluate.against.
        reference=str(inputs.paired["against"].mode().iloc[0]) if len(inputs.paired) else "",
    )


def _primary(inputs: ReportInputs) -> Mapping[str, Any]:
    """Return what was named beforehand if anything of it was run, else nothing."""
    primary = inputs.scores["primary"] if inputs.paired["primary"].any() else None
    return primary or {}
