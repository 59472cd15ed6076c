"""What pre-training left, read once: all that a page can say before anybody met a label."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from maskwise.artefacts.gallery import Gallery
from maskwise.artefacts.labels import LABEL
from maskwise.artefacts.splits import for_seed
from maskwise.combinations import terms_of
from maskwise.report.data import DataFacts, read_data
from maskwise.report.inputs import PretrainingInputs, ReportConfig
from maskwise.report.styles import Style, styles
from maskwise.weights_origin import WeightsOrigin


@dataclass(frozen=True)
class PretrainingFacts:
    """One source's encoders in the page's own terms."""

    inputs: PretrainingInputs
    data: DataFacts
    styles: Mapping[str, Style]
    """Recipes that were run, in the order of the study."""

    @property
    def config(self) -> ReportConfig:
        """The page's options."""
        return self.inputs.config

    @property
    def label(self) -> str | None:
        """The label that the source names; None where it has none."""
        label = self.inputs.settings["preprocess"].get("label")
        return None if label is None else str(label)

    @property
    def seeds(self) -> list[int]:
        """Seeds that were run."""
        return sorted({seed for recipe, seed in self.inputs.histories if recipe in self.styles})

    def seeds_of(self, recipe: str) -> list[int]:
        """Return the seeds with which a recipe was run."""
        return sorted(seed for name, seed in self.inputs.histories if name == recipe)

    def title(self, recipe: str) -> str:
        """Return what a recipe is called in print."""
        if recipe in self.styles:
            return self.styles[recipe].title
        return self.config.titles.get(recipe, recipe)

    def is_pretrained(self, recipe: str) -> bool:
        """Say whether the recipe's encoder has learnt anything before it met a label."""
        return self.trains(recipe) or bool(self.weights(recipe))

    @property
    def masking(self) -> list[str]:
        """Recipes that hide a part of the image."""
        recipes = self.inputs.recipes
        return [name for name in self.styles if _named(recipes[name], "policy") != "none"]

    def learns_where(self, recipe: str) -> bool:
        """Say whether the recipe's policy is an agent with a map of the image to show."""
        found = self.gallery(recipe)
        return found is not None and bool(found[1].learns) and bool(found[1].maps.size)

    def shuffled(self, recipe: str) -> str | None:
        """Return the recipe that differs in nothing but rewards taken from other images."""
        block = self.inputs.recipes[recipe]
        if _says(block, "told", "shuffled"):
            return None
        for name in self.styles:
            other = self.inputs.recipes[name]
            if _says(other, "told", "shuffled") and _without(other, "told") == block:
                return name
        return None

    def weights(self, recipe: str) -> str:
        """Return what a recipe says its encoder begins with; empty = nothing."""
        encoder = dict(self.inputs.recipes.get(recipe, {}).get("encoder") or {})
        return str(encoder.get("weights") or "")

    def trains(self, recipe: str) -> bool:
        """Say whether the recipe pre-trains its encoder here."""
        return _named(self.inputs.recipes.get(recipe, {}), "objective") != "none"

    def weights_origin(self, recipe: str) -> WeightsOrigin | None:
        """Return where the first seed's weights came from; None where they were random."""
        seeds = (seed for name, seed in sorted(self.inputs.weights) if name == recipe)
        return next((self.inputs.weights[recipe, seed] for seed in seeds), None)

    @property
    def transductive(self) -> list[str]:
        """Recipes whose pre-training saw the test images."""
        return [
            name
            for name in self.styles
            if _says(self.inputs.recipes[name], "transductive", True)
        ]

    @property
    def told_lesions(self) -> list[str]:
        """Recipes whose pre-training was told where the lesions are: ceilings."""
        recipes = self.inputs.recipes
        return [name for name in self.styles if _named(recipes[name], "policy") == "oracle"]

    def histories(self, recipe: str) -> dict[int, pd.DataFrame]:
        """Return the recipe's history of each seed, those of no epoch left out."""
        return {
            seed: table
            for (name, seed), table in sorted(self.inputs.histories.items())
            if name == recipe and len(table)
        }

    def lifts(self, recipe: str) -> pd.DataFrame:
        """Return what was measured last of the recipe's masks, one row per seed."""
        rows = [
            history.dropna(subset=["lift"]).iloc[-1:].assign(seed=seed)
            for seed, history in self.histories(recipe).items()
            if "lift" in history
        ]
        return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame()

    def gallery(self, recipe: str) -> tuple[int, Gallery] | None:
        """Return the first seed's gallery, None where nothing was drawn."""
        for (name, seed), gallery in sorted(
            self.inputs.galleries.items(), key=lambda it: it[0]
        ):
            if name == recipe and len(gallery.epochs) and len(gallery.images):
                return seed, gallery
        return None

    def trained_on(self, recipe: str, seed: int) -> tuple[int, int]:
        """Count the images, and their groups, that a run's pre-training drew from."""
        splits = for_seed(self.inputs.splits, seed)
        parts = ["train", "test"] if recipe in self.transductive else ["train"]
        rows = splits[splits["split"].isin(parts)]
        return len(rows), int(rows["group"].nunique())

    # What it rests on.

    @property
    def divided(self) -> int:
        """Number of groups that stand in several parts of the split that was used."""
        parts = self.inputs.splits.groupby("group")[["split", "fold"]].nunique().max(axis=1)
        return int((parts > 1).sum())

    @property
    def labelled_images(self) -> pd.DataFrame:
        """Return ``image_id, group, split, label`` of every image that has a label."""
        if self.label is None:
            return self.inputs.splits.iloc[:0].assign(label=pd.Series(dtype=object))
        column = f"{LABEL}{self.label}"
        labels = self.inputs.manifest[["image_id", column]].rename(columns={column: "label"})
        return self.inputs.splits.merge(labels, on="image_id").dropna(subset=["label"])

    @property
    def separator(self) -> str | None:
        """What stands between the labels of an image; None where it has one class."""
        separator = self.inputs.settings["preprocess"].get("separator")
        return None if separator is None else str(separator)

    def named_by(self, cell: str) -> tuple[str, ...]:
        """Return the classes, or labels, of an image whose label says ``cell``."""
        return (cell,) if self.separator is None else terms_of(cell, self.separator)

    @property
    def label_classes(self) -> list[str]:
        """Classes of the source's label; none where it has no label."""
        cells = set(self.labelled_images["label"].astype(str))
        return sorted({name for cell in cells for name in self.named_by(cell)})


def read_pretraining(inputs: PretrainingInputs) -> PretrainingFacts:
    """Read what pre-training left."""
    ran = {recipe for recipe, _ in inputs.histories}
    return PretrainingFacts(
        inputs=inputs,
        data=read_data(
            inputs.data_summary,
            inputs.store_summary,
            str(inputs.settings["preprocess"].get("label")),
        ),
        styles=styles([name for name in inputs.recipes if name in ran], inputs.config.titles),
    )


def _named(block: Mapping[str, Any], part: str) -> str:
    return str(dict(block.get(part) or {}).get("name", "none"))


def _without(block: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the block without ``key``, and without a part that held nothing else."""
    left = {
        name: _without(value, key) if isinstance(value, Mapping) else value
        for name, value in block.items()
        if name != key
    }
    return {name: value for name, value in left.items() if value or not block[name]}


def _says(block: Mapping[str, Any], key: str, wanted: Any) -> bool:
    """Say whether ``key`` has the value ``wanted`` anywhere in the recipe."""
    return any(
        value == wanted
        if name == key
        else isinstance(value, Mapping) and _says(value, key, wanted)
        for name, value in block.items()
    )
