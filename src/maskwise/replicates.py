"""Which replicates exist, and what all about them is called: composed here and nowhere else.

A replicate is one source x recipe x seed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

RAW_ROOT = "raw_root"
"""The one parameter that no file holds: ``--params raw_root=FOLDER``."""
NEED_LABELS = frozenset({"finetune", "evaluate"})
"""Stages that a source without labels does not have."""


@dataclass(frozen=True)
class Replicate:
    """One independent repetition: pre-training and fine-tuning of one recipe on one source."""

    source: str
    recipe: str
    seed: int

    @property
    def namespace(self) -> str:
        """``<recipe>.s<seed>``: what ``kedro run --namespaces`` selects."""
        return f"{self.recipe}.s{self.seed}"

    def dataset(self, artefact: str) -> str:
        """Return the catalog's name of one of this replicate's artefacts."""
        return f"{self.source}.{self.recipe}.s{self.seed}.{artefact}"

    def datasets(self, *artefacts: str) -> list[str]:
        """Return the catalog's names of several of them."""
        return [self.dataset(artefact) for artefact in artefacts]

    @property
    def checkpoints(self) -> Path:
        """Folder of the replicate's own, below that of all checkpoints."""
        return Path(self.source, "checkpoints", self.recipe, f"s{self.seed}")


@dataclass(frozen=True)
class Study:
    """All replicates of one configured source."""

    source: str
    generated: bool
    recipes: tuple[str, ...]
    seeds: tuple[int, ...]
    fractions: tuple[float, ...]
    fractions_parameter: str
    """Catalog name of the parameter that holds ``fractions``."""
    needs: Mapping[str, str] = field(default_factory=dict)
    """Recipe -> the recipe whose agent it asks for a map, and which is trained before."""

    @property
    def finetunes(self) -> bool:
        """Whether anything follows pre-training; a source without labels has no fraction."""
        return bool(self.fractions)

    def replicates(self, recipe: str) -> tuple[Replicate, ...]:
        """Return the recipe's replicates, one per seed."""
        return tuple(Replicate(self.source, recipe, seed) for seed in self.seeds)

    @property
    def all_replicates(self) -> tuple[Replicate, ...]:
        """Those of every recipe."""
        return tuple(one for recipe in self.recipes for one in self.replicates(recipe))

    def before(self, replicate: Replicate) -> Replicate | None:
        """Return the replicate of the same seed whose agent this one asks, if any."""
        recipe = self.needs.get(replicate.recipe)
        return None if recipe is None else replace(replicate, recipe=recipe)

    def dataset(self, artefact: str) -> str:
        """Return the catalog's name of one of this source's artefacts."""
        return f"{self.source}.{artefact}"

    def collected(self, recipe: str, artefact: str) -> str:
        """Return the name of what a recipe's seeds have in common, which stays in memory."""
        return f"{self.source}.{recipe}.{artefact}"

    def parameters(self, stage: str) -> str:
        """Return the catalog's name of the source's own block for ``stage``."""
        return f"params:{self.source}.{stage}"

    @property
    def raw(self) -> str:
        """The raw folder: written by the project, or the user's own."""
        return self.dataset("generated" if self.generated else "raw")


def address(stage: str, dataset: str) -> str:
    """Return what DVC calls the stage that writes ``dataset``: ``pretrain@phantom-dqn-0``.

    One of a recipe and all its seeds, which DVC does not know, is called ``tune@phantom-dqn``.
    """
    source, *replicate = dataset.split(".")[:-1]
    recipe, seeds = replicate[:1], (seed.removeprefix("s") for seed in replicate[1:])
    return "-".join([f"{stage}@{source}", *recipe, *seeds])
