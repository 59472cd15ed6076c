"""Which cells exist, and what everything about them is called: composed here and nowhere else.

A cell is one source x recipe x seed. Reads ``conf/base/experiment.yml`` with PyYAML alone, so
that listing pipelines stays fast.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from maskwise.errors import UserError, as_text, hint

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # PyYAML built without libyaml: ten times as slow
    from yaml import SafeLoader  # type: ignore[assignment]

RAW_ROOT = "raw_root"
"""The one parameter that no file holds: ``--params raw_root=FOLDER``."""
EXPERIMENT = Path("conf/base/experiment.yml")
_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_KEYS = ("reproduce", "generated", "recipes", "seeds", "fractions", "sources")
_OVERRIDES = ("recipes", "seeds", "fractions", "generated")
_REPEATS = "repeats"
"""How many networks each seed listed, and so each fold, gets: a source's own option."""
_LISTS: dict[str, tuple[str, tuple[type, ...]]] = {
    "reproduce": ("names of sources", (str,)),
    "generated": ("names of sources", (str,)),
    "recipes": ("names", (str,)),
    "seeds": ("whole numbers", (int,)),
    "fractions": ("numbers", (int, float)),
}
"""What the list of each key holds."""


@dataclass(frozen=True)
class Cell:
    """One independent repetition: pre-training and fine-tuning of one recipe on one source."""

    source: str
    recipe: str
    seed: int

    @property
    def namespace(self) -> str:
        """``<recipe>.s<seed>``: what ``kedro run --namespaces`` selects."""
        return f"{self.recipe}.s{self.seed}"

    def dataset(self, artefact: str) -> str:
        """Return the catalog's name of one of this cell's artefacts."""
        return f"{self.source}.{self.recipe}.s{self.seed}.{artefact}"

    @property
    def checkpoints(self) -> Path:
        """Folder of the cell's own, below that of all checkpoints."""
        return Path(self.source, "checkpoints", self.recipe, f"s{self.seed}")


@dataclass(frozen=True)
class Study:
    """All cells of one configured source."""

    source: str
    generated: bool
    recipes: tuple[str, ...]
    seeds: tuple[int, ...]
    fractions: tuple[float, ...]
    fractions_parameter: str
    """Catalog name of the parameter that holds ``fractions``."""

    def cells(self, recipe: str) -> tuple[Cell, ...]:
        """Return the recipe's cells, one a seed."""
        return tuple(Cell(self.source, recipe, seed) for seed in self.seeds)

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
    """Return what DVC calls the stage that writes ``dataset``: ``pretrain@phantom-dqn-0``."""
    source, *cell = dataset.split(".")[:-1]
    if not cell:
        return f"{stage}@{source}"
    recipe, seed = cell
    return f"{stage}@{source}-{recipe}-{seed.removeprefix('s')}"


def read_studies(project: Path) -> dict[str, Study]:
    """Return the configured sources of ``project`` by name, or raise ``UserError``."""
    path = project / EXPERIMENT
    if not path.exists():
        raise UserError(f"{path}: absent; it lists recipes, seeds, fractions")
    document = read_yaml(path)
    if "experiment" not in document:
        raise UserError(f"{path}: should hold one block `experiment`")
    return parse_studies(document["experiment"])


def read_yaml(path: Path) -> dict[Any, Any]:
    """Return what a file of ``conf`` holds, nothing where it is empty.

    Raises:
        UserError: if it cannot be read, is no UTF-8 or no YAML, or sets a key twice, with the
            line.
    """
    try:
        text = as_text(path.read_bytes(), str(path), "save it again in UTF-8")
        document = yaml.load(text, Loader=_Loader)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}{line}: is no YAML ({error.problem}); mend it there") from None
    except yaml.YAMLError as error:  # a character that no YAML may hold
        raise UserError(f"{path}: is no YAML ({error}); mend it there") from None
    if not isinstance(document, dict | None):
        raise UserError(f"{path}: should hold lines `name: value`, but is {document!r}")
    return document or {}


class _Loader(SafeLoader):
    """Refuses a key that stands twice, of which PyYAML takes the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in lines:
                    problem = f"{key.value!r} stands in line {lines[key.value]} already"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                lines[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)


def parse_studies(block: Mapping[str, Any]) -> dict[str, Study]:
    """Turn the block ``experiment`` into studies; a ``UserError`` names the key to mend."""
    for key in _mapping(block, "experiment"):
        if key not in _KEYS:
            raise UserError(f"experiment.{key}: there is no such option; {hint(key, _KEYS)}")
    for key in _KEYS:
        if key not in block:
            raise UserError(f"experiment.{key}: missing in {EXPERIMENT}")
        if key in _LISTS:
            _check_list(block[key], key, f"experiment.{key}")
    sources: Mapping[str, Any] = _mapping(block["sources"], "experiment.sources")
    for key in ("reproduce", "generated"):
        for name in block[key]:
            if name not in sources:
                where = f"experiment.{key}"
                raise UserError(f"{where}: there is no source {name!r}; {hint(name, sources)}")
    studies = {
        name: _study(name, _mapping(own or {}, f"experiment.sources.{name}"), block)
        for name, own in sources.items()
    }
    _check_reproduced(block)
    return studies


def _mapping(block: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(block, Mapping) or not all(isinstance(key, str) for key in block):
        raise UserError(f"{where}: should be a block of names, but is {block!r}")
    return block


def _check_list(value: Any, key: str, where: str) -> None:
    """Raise ``UserError`` unless ``value`` is a list of what ``key`` lists."""
    what, kinds = _LISTS[key]
    right = isinstance(value, list) and all(
        isinstance(entry, kinds) and not isinstance(entry, bool) for entry in value
    )
    if not right:
        raise UserError(f"{where}: should be a list of {what}, as in [a, b], but is {value!r}")


def _check_reproduced(block: Mapping[str, Any]) -> None:
    for name in block["generated"]:
        if name not in block["reproduce"]:
            raise UserError(
                f"experiment.generated: {name!r} does not stand under `reproduce`; write "
                f"`generated: true` under experiment.sources.{name} instead"
            )
    for name in block["reproduce"]:
        if block["sources"][name]:
            raise UserError(
                f"experiment.sources.{name}: stands under `reproduce` and so takes the common "
                "recipes, seeds and fractions; take its own away, or take it out of "
                f"`reproduce` and give it stages for DVC: python -m maskwise.dvc_stages {name}"
            )


def _study(name: str, own: Mapping[str, Any], block: Mapping[str, Any]) -> Study:
    for key in own:
        known = (*_OVERRIDES, _REPEATS)
        if key not in known:
            where = f"experiment.sources.{name}.{key}"
            raise UserError(f"{where}: there is no such option; {hint(key, known)}")
        if key == _REPEATS:
            continue
        if key != "generated":
            _check_list(own[key], key, f"experiment.sources.{name}.{key}")
        elif not isinstance(own[key], bool):
            where = f"experiment.sources.{name}.generated"
            raise UserError(f"{where}: should be true or false, but is {own[key]!r}")
    shared = {**block, "generated": name in block["generated"]}
    values = {key: own.get(key, shared[key]) for key in _OVERRIDES}
    parameter = (
        f"experiment.sources.{name}.fractions" if "fractions" in own else "experiment.fractions"
    )
    study = Study(
        source=name,
        generated=bool(values["generated"]),
        recipes=tuple(values["recipes"]),
        seeds=_repeated(values["seeds"], own.get(_REPEATS, 1), name),
        fractions=tuple(float(share) for share in values["fractions"]),
        fractions_parameter=f"params:{parameter}",
    )
    _check(study)
    return study


def _repeated(seeds: Sequence[int], repeats: Any, name: str) -> tuple[int, ...]:
    """Return the seeds and, of n of them, as many again that are n, 2 n, ... larger.

    With ``folds: n`` these share their folds: seed s holds out fold s mod n.
    """
    where = f"experiment.sources.{name}.{_REPEATS}"
    if not isinstance(repeats, int) or isinstance(repeats, bool) or repeats < 1:
        raise UserError(f"{where}: should be a whole number from 1, but is {repeats!r}")
    if repeats > 1 and list(seeds) != list(range(len(seeds))):
        raise UserError(
            f"{where}: needs seeds that count from 0, one a fold, as in [0, 1, 2, 3, 4], but "
            f"they are {list(seeds)}"
        )
    return tuple(seed + turn * len(seeds) for turn in range(repeats) for seed in seeds)


def _check(study: Study) -> None:
    where = f"experiment (source {study.source!r})"
    for name in (study.source, *study.recipes):
        if not _NAME.match(name):
            raise UserError(f"{where}: {name!r} should hold only a-z, 0-9 and '_'")
    for recipe in study.recipes:
        if recipe == study.source:
            raise UserError(f"{where}: {recipe!r} is the name of a recipe and of a source")
    if not study.recipes or not study.seeds:
        raise UserError(f"{where}: needs at least one recipe and one seed")
    for values in (study.recipes, study.seeds, study.fractions):
        _refuse_repeats(values, where)
    if any(not isinstance(seed, int) or seed < 0 for seed in study.seeds):
        raise UserError(f"{where}: seeds are whole numbers from 0, not {list(study.seeds)}")
    if 1.0 not in study.fractions or any(not 0 < share <= 1 for share in study.fractions):
        shown = list(study.fractions)
        raise UserError(f"{where}: fractions lie in (0, 1] and hold 1.0, not {shown}")


def _refuse_repeats(values: Sequence[Any], where: str) -> None:
    repeated = {value for value in values if values.count(value) > 1}
    if repeated:
        raise UserError(f"{where}: {', '.join(map(str, sorted(repeated)))} stands twice")
