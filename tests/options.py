"""Every option of every block, found by walking the dataclasses' own types.

A new stage, registry entry or field is walked without a word here, but for an example of an
option that has no default.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any, get_args, get_origin

from maskwise.annotations import members, option_kinds, plain, stated
from maskwise.bounds import Within
from maskwise.config import Choice
from maskwise.embedding.config import EmbedConfig
from maskwise.evaluate.config import EvaluateConfig
from maskwise.finetune.run import Budget as FinetuneBudget
from maskwise.finetune.run import FinetuneConfig
from maskwise.ingest.sources import SOURCES
from maskwise.ingest.stage import IngestConfig
from maskwise.pipelines import parsing
from maskwise.prediction.stage import PredictConfig
from maskwise.preprocess.config import PreprocessConfig, SourcePreprocessConfig
from maskwise.pretrain.recipe import Budget, PretrainConfig, Recipe
from maskwise.report.inputs import ReportConfig
from maskwise.resources import ResourcesConfig
from maskwise.selection.stage import SelectConfig
from maskwise.tune.config import TuneConfig

Step = str | int
Registry = Mapping[str, type[Any]]
Parse = Callable[[Any, str], Any]

ROOTS: dict[Parse, type[Any] | Registry] = {
    parsing.ingest: IngestConfig,
    parsing.preprocess: PreprocessConfig,
    parsing.pretrain: PretrainConfig,
    parsing.finetune: FinetuneConfig,
    parsing.evaluate: EvaluateConfig,
    parsing.report: ReportConfig,
    parsing.predict: PredictConfig,
    parsing.embed: EmbedConfig,
    parsing.select: SelectConfig,
    parsing.resources: ResourcesConfig,
    parsing.tune: TuneConfig,
    parsing.ingest_source: SOURCES,
    parsing.preprocess_source: SourcePreprocessConfig,
    parsing.pretrain_source: Budget,
    parsing.finetune_source: FinetuneBudget,
    parsing.recipe: Recipe,
}
"""What reads a block -> the dataclass that it becomes, or those that its name chooses from."""

EXAMPLES: dict[str, Any] = {
    "height": 64,
    "width": 64,
    "low": 0,
    "high": 1,
    "windows": [[40, 400]],
    "choices": ["a", "b"],
    "steps": 5,
    "objective": {"name": "none"},
    "policy": {"name": "a3c"},
    "encoder": {"name": "pixels"},
    "task": {"name": "diagnosis"},
    "comparisons": [["dqn", "random_box"]],
    "mode": "probe",
    "label": "findings",
    "fraction": 0.1,
    "recipe": "a3c",
    "goal": "hide",
    "written": "2026-11-29",
}
"""Of options that have no default, by their key."""


@dataclass(frozen=True)
class Place:
    """A block somewhere inside the block that ``parse`` reads."""

    parse: Parse
    path: tuple[Step, ...]
    config: type[Any]
    around: tuple[Any, ...]
    """What stands at each step of the path; last, what the block itself must hold."""

    def written(self, options: Mapping[Any, Any]) -> Any:
        """Return the whole block with ``options`` in this place."""
        block: Any = {**self.around[-1], **options}
        for step, outer in reversed(list(zip(self.path, self.around[:-1], strict=True))):
            block = [block] if isinstance(step, int) else {**outer, step: block}
        return block

    def where(self, key: object = "") -> str:
        """Return the path of an option as messages write it."""
        steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)
        return f"block{''.join(steps)}{f'.{key}' if key != '' else ''}"

    def __str__(self) -> str:
        name = getattr(self.parse, "__name__", "parse")
        chosen = self.around[-1].get("name", "")
        return f"{name}{self.where().removeprefix('block')} {chosen}".strip()


def places(roots: Mapping[Parse, type[Any] | Registry] = ROOTS) -> list[Place]:
    """Return all blocks of all stages."""
    found: list[Place] = []
    for parse, root in roots.items():
        if isinstance(root, Mapping):
            for name, config in root.items():
                found += _inside(Place(parse, (), config, (_minimal(config, name),)))
        else:
            found += _inside(Place(parse, (), root, (_minimal(root),)))
    return found


def _minimal(config: type[Any], name: str | None = None) -> dict[str, Any]:
    without_default = [
        field.name
        for field in fields(config)
        if field.init and field.default is MISSING and field.default_factory is MISSING
    ]
    named = {} if name is None else {"name": name}
    return {**named, **{key: EXAMPLES[key] for key in without_default}}


def _inside(place: Place) -> Iterator[Place]:
    yield place
    for key, kind in option_kinds(place.config).items():
        yield from _of(kind, place, (key,))


def _of(kind: Any, place: Place, steps: tuple[Step, ...]) -> Iterator[Place]:
    """Yield the blocks that an option of type ``kind`` may be, or may hold."""
    for member in members(kind):
        bare = plain(member)
        chosen: list[tuple[str | None, Any]] = [
            config for choice in stated(member, Choice) for config in choice.choices().items()
        ]
        # Options that stand beside those of any name, looked into under one of them.
        chosen += [
            (next(iter(choice.choices())), choice.shared)
            for choice in stated(member, Choice)
            if choice.shared is not None
        ]
        if is_dataclass(bare) and not chosen:
            chosen = [(None, bare)]
        if chosen:
            # A policy that holds a policy is looked into once.
            if place.path.count(steps[0]) < 2:
                for name, config in chosen:
                    yield from _inside(_deeper(place, steps, config, name))
        elif get_origin(bare) in (tuple, list):
            yield from _of(get_args(bare)[0], place, (*steps, 0))
        elif isinstance(get_origin(bare), type) and issubclass(get_origin(bare), Mapping):
            yield from _of(get_args(bare)[1], place, (*steps, "mine"))


def _deeper(
    place: Place, steps: tuple[Step, ...], config: type[Any], name: str | None
) -> Place:
    between: tuple[Any, ...] = ({},) * (len(steps) - 1)
    around = (*place.around, *between, _minimal(config, name))
    return Place(place.parse, (*place.path, *steps), config, around)


@dataclass(frozen=True)
class Number:
    """A number among the options of a place; of a list, its first entry."""

    place: Place
    key: str
    kind: Any
    others: tuple[Any, ...] | None
    """Of a list: what follows the number."""

    @property
    def whole(self) -> bool:
        """Whether it is a whole number."""
        return plain(self.kind) is int

    @property
    def bounds(self) -> Within | None:
        """Between which it must lie."""
        return next(iter(stated(self.kind, Within)), None)

    def written(self, number: Any) -> Any:
        """Return the whole block with ``number`` in it."""
        value = number if self.others is None else [number, *self.others]
        return self.place.written({self.key: value})

    def where(self) -> str:
        """Return the number's path."""
        return self.place.where(self.key) + ("" if self.others is None else "[0]")

    def __str__(self) -> str:
        return f"{self.place} {self.key}"


def numbers(found: list[Place]) -> list[Number]:
    """Return all numbers among the options of all ``found``."""
    return [
        number
        for place in found
        for key, kind in option_kinds(place.config).items()
        for number in _numbers(place, key, kind)
    ]


def _numbers(place: Place, key: str, kind: Any) -> Iterator[Number]:
    for member in members(kind):
        if plain(member) in (int, float):
            yield Number(place, key, member, None)
        elif get_origin(plain(member)) in (tuple, list):
            default = next(f.default for f in fields(place.config) if f.name == key)
            entries = [each for each in get_args(plain(member)) if each is not Ellipsis]
            for entry in members(entries[0]):
                # Beside text it is a label, which happens to be written in digits.
                if plain(entry) in (int, float) and str not in members(entries[0]):
                    others = default[1:] if isinstance(default, tuple) else ()
                    yield Number(place, key, entry, others)
