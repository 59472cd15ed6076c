"""``conf/base/experiment.yml``: which sources, recipes, seeds and fractions there are.

Read with PyYAML alone, so that listing pipelines stays fast.
"""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from maskwise.errors import UserError, cut, hint, listed, refuse, shown
from maskwise.replicates import Study
from maskwise.yaml_file import read_yaml

EXPERIMENT = Path("conf/base/experiment.yml")
_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_KEYS = ("reproduce", "generated", "recipes", "seeds", "fractions", "sources")
_OVERRIDES = ("recipes", "seeds", "fractions", "generated")
_REPEATS = "repeats"
"""How many networks each seed listed, and so each fold, gets: a source's own option."""
MOST = 1000
"""Networks of one seed."""
_LISTS: dict[str, tuple[str, tuple[type, ...]]] = {
    "reproduce": ("names of sources", (str,)),
    "generated": ("names of sources", (str,)),
    "recipes": ("names", (str,)),
    "seeds": ("whole numbers", (int,)),
    "fractions": ("numbers", (int, float)),
}
"""What the list of each key holds."""
LARGEST_SEED = 2**32 - 1
"""As large as NumPy takes them."""


def read_studies(project: Path) -> dict[str, Study]:
    """Return the configured sources of ``project`` by name, or raise ``UserError``."""
    path = project / EXPERIMENT
    if not path.exists():
        raise UserError(f"{path}: absent; it lists recipes, seeds, fractions")
    document = read_yaml(path)
    if "experiment" not in document:
        raise UserError(f"{path}: should hold one block `experiment`")
    return studies_of(document["experiment"], project)


def studies_of(block: Mapping[str, Any], project: Path) -> dict[str, Study]:
    """Return the sources of the block ``experiment``, with what recipes of ``project`` need.

    Raises:
        UserError: as ``read_studies``.
    """
    studies = parse_studies(block).values()
    needs = _needs(project, {name for study in studies for name in study.recipes})
    found = [
        replace(study, needs={name: needs[name] for name in study.recipes if name in needs})
        for study in studies
    ]
    refuse(problem for study in found for problem in _wrong_needs(study, block["reproduce"]))
    return {study.source: study for study in found}


def parse_studies(block: Mapping[str, Any]) -> dict[str, Study]:
    """Turn the block ``experiment`` into studies; a ``UserError`` names all that is wrong."""
    block = _mapping(block, "experiment")
    refuse(_wrong_in_block(block))
    refuse(_wrong_together(block))
    return {name: _study(name, own or {}, block) for name, own in block["sources"].items()}


def needed(block: Any) -> str | None:
    """Return the recipe whose agent a recipe's ``block`` asks for a map, if it names one."""
    for key in ("policy", "map", "recipe"):
        if not isinstance(block, Mapping):
            return None
        block = block.get(key)
    return block if isinstance(block, str) else None


def _needs(project: Path, recipes: Iterable[str]) -> dict[str, str]:
    """Read which of ``recipes`` asks which other; a recipe without a file asks none."""
    found = {}
    for name in sorted(recipes):
        path = project / recipe_file(name)
        recipe = needed(read_yaml(path).get(name)) if path.is_file() else None
        if recipe is not None:
            found[name] = recipe
    return found


def recipe_file(recipe: str) -> Path:
    """Return where a recipe stands, below the project's folder."""
    return Path("conf/base/recipes", f"parameters_{recipe}.yml")


def _wrong_needs(study: Study, reproduced: Collection[str]) -> Iterator[str]:
    """Say where a recipe asks for the agent of one that is not listed, or that asks as well."""
    for recipe, other in study.needs.items():
        asks = f"experiment (source {shown(study.source)}): {shown(recipe)} asks the agent of"
        if other not in study.recipes:
            yield f"{asks} {shown(other)}, which is not listed; add it to the recipes"
        elif other in study.needs:
            yield f"{asks} {shown(other)}, which has none; name a recipe with dqn or a3c"
        elif study.source in reproduced:
            yield (
                f"{asks} {shown(other)}, which dvc.yaml cannot say; list them for a source "
                "that is not under `reproduce`, and write its stages: python -m "
                "maskwise.dvc_stages"
            )


def _mapping(block: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(block, Mapping):
        raise UserError(f"{where}: should be a block of names, but is {shown(block)}")
    return block


def _wrong_in_block(block: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with keys and values, each looked at by itself."""
    yield from _wrong_keys(block, _KEYS, "experiment")
    for key in _KEYS:
        if key not in block:
            yield f"experiment.{key}: missing in {EXPERIMENT}"
        elif key in _LISTS:
            yield from _wrong_list(block[key], key, f"experiment.{key}")
    sources = block.get("sources", {})
    if not isinstance(sources, Mapping):
        yield f"experiment.sources: should be a block of names, but is {shown(sources)}"
        return
    for name, own in sources.items():
        where = f"experiment.sources.{cut(str(name))}"
        if not isinstance(name, str):
            yield f"{where}: a source's name is text, but YAML takes this for {shown(name)}"
        elif not isinstance(own or {}, Mapping):
            yield f"{where}: should be a block of names, but is {shown(own)}"
        else:
            yield from _wrong_overrides(own or {}, where)


def _wrong_overrides(own: Mapping[str, Any], where: str) -> Iterator[str]:
    yield from _wrong_keys(own, (*_OVERRIDES, _REPEATS), where)
    repeats = own.get(_REPEATS, 1)
    if isinstance(repeats, bool) or not isinstance(repeats, int) or not 1 <= repeats <= MOST:
        yield (
            f"{where}.{_REPEATS}: should be a whole number from 1 to {MOST}, but is "
            f"{shown(repeats)}"
        )
    for key in own.keys() & _LISTS.keys() & set(_OVERRIDES):
        if key != "generated":
            yield from _wrong_list(own[key], key, f"{where}.{key}")
    if not isinstance(own.get("generated", False), bool):
        yield f"{where}.generated: should be true or false, but is {shown(own['generated'])}"


def _wrong_keys(block: Mapping[str, Any], known: Collection[str], where: str) -> Iterator[str]:
    for key in block:
        if key not in known:
            name = cut(key if isinstance(key, str) else shown(key))
            yield f"{where}.{name}: there is no such option; {hint(str(key), known)}"


def _wrong_list(value: Any, key: str, where: str) -> Iterator[str]:
    """Say so unless ``value`` is a list of what ``key`` lists."""
    what, kinds = _LISTS[key]
    right = isinstance(value, list) and all(
        isinstance(entry, kinds) and not isinstance(entry, bool) for entry in value
    )
    if not right:
        yield f"{where}: should be a list of {what}, as in [a, b], but is {shown(value)}"


def _wrong_together(block: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong about names that belong to one another, and about each study."""
    sources = block["sources"]
    if not block["fractions"]:
        yield (
            "experiment.fractions: should hold 1.0 and what else there is to be; a source "
            "without labels says `fractions: []` of itself, under experiment.sources"
        )
    for key in ("reproduce", "generated"):
        for name in set(block[key]) - set(sources):
            what = f"there is no source {shown(name)}; {hint(name, sources)}"
            yield f"experiment.{key}: {what}"
    for name in set(block["generated"]) - set(block["reproduce"]):
        yield (
            f"experiment.generated: {shown(name)} does not stand under `reproduce`; write "
            f"`generated: true` under experiment.sources.{cut(name)} instead"
        )
    for name in block["reproduce"]:
        if sources.get(name):
            yield (
                f"experiment.sources.{cut(name)}: stands under `reproduce` and so takes the "
                "common recipes, seeds and fractions; remove its own, or take it out of "
                f"`reproduce` and give it stages for DVC: python -m maskwise.dvc_stages {name}"
            )
    for name, own in sources.items():
        own = own or {}
        seeds = own.get("seeds", block["seeds"])
        if own.get(_REPEATS, 1) > 1 and list(seeds) != list(range(len(seeds))):
            yield (
                f"experiment.sources.{cut(name)}.{_REPEATS}: needs seeds that count from 0, "
                f"one per fold, as in [0, 1, 2, 3, 4], but they are {shown(list(seeds))}"
            )
        yield from _wrong_in_study(_study(name, own, block))


def _study(name: str, own: Mapping[str, Any], block: Mapping[str, Any]) -> Study:
    shared = {**block, "generated": name in block["generated"]}
    values = {key: own.get(key, shared[key]) for key in _OVERRIDES}
    parameter = (
        f"experiment.sources.{name}.fractions" if "fractions" in own else "experiment.fractions"
    )
    return Study(
        source=name,
        generated=bool(values["generated"]),
        recipes=tuple(values["recipes"]),
        seeds=_repeated(values["seeds"], own.get(_REPEATS, 1)),
        fractions=tuple(map(_share, values["fractions"])),
        fractions_parameter=f"params:{parameter}",
    )


def _repeated(seeds: Sequence[int], repeats: int) -> tuple[int, ...]:
    """Return the seeds and, of n of them, as many again that are n, 2 n, ... larger.

    With ``folds: n`` these share their folds: seed s holds out fold s mod n.
    """
    return tuple(seed + turn * len(seeds) for turn in range(repeats) for seed in seeds)


def _share(number: float) -> float:
    try:
        return float(number)
    except OverflowError:  # a whole number beyond any float is no share either
        return math.inf


def _wrong_in_study(study: Study) -> Iterator[str]:
    where = f"experiment (source {shown(study.source)})"
    for name in (study.source, *study.recipes):
        if not _NAME.match(name):
            yield f"{where}: {shown(name)} should hold only a-z, 0-9 and '_'"
    if study.source in study.recipes:
        yield f"{where}: {shown(study.source)} is the name of a recipe and of a source"
    if not study.recipes or not study.seeds:
        yield f"{where}: needs at least one recipe and one seed"
    for values in (study.recipes, study.seeds, study.fractions):
        repeated = [value for value, times in Counter(values).items() if times > 1]
        if repeated:
            yield f"{where}: {listed(map(shown, repeated))} appears twice"
    if any(not 0 <= seed <= LARGEST_SEED for seed in study.seeds):
        yield (
            f"{where}: seeds are whole numbers from 0 to {LARGEST_SEED}, not "
            f"{shown(list(study.seeds))}"
        )
    within = all(0 < share <= 1 for share in study.fractions)
    if study.fractions and (1.0 not in study.fractions or not within):
        given = shown(list(study.fractions))
        yield f"{where}: fractions lie in (0, 1] and hold 1.0, not {given}"
