"""A search space over options of a recipe and its budget, and a trial's values as YAML."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from maskwise.annotations import members, option_kinds, stated
from maskwise.config import Choice, overlaid
from maskwise.errors import UserError, hint, listed, refuse
from maskwise.finetune.run import Budget as FinetuneBudget
from maskwise.pretrain.recipe import Budget, Recipe
from maskwise.tune.parameters import ParameterConfig

if TYPE_CHECKING:
    from optuna.trial import Trial

ROOTS: dict[str, type[Any]] = {
    "recipe": Recipe,
    "pretrain": Budget,
    "finetune": FinetuneBudget,
}
"""First word of a path -> what the block becomes: the recipe's own, and the source's two."""
SCORED = ("label", "labels", "separator", "none")
"""Options of tasks that say what is predicted of which images, and so what a score means."""
_CHANGES_SCORES = "changes what is scored, so that scores could not be compared"
REFUSED = {
    "recipe.transductive": "would let test images into pre-training",
    **dict.fromkeys(
        ["finetune.task", *(f"finetune.task.{option}" for option in ("name", *SCORED))],
        _CHANGES_SCORES,
    ),
}
"""Paths that are no option of a search, and why."""

Values = dict[str, Any]
"""Path -> value, of one trial."""
Blocks = dict[str, Any]
"""``recipe``, ``pretrain`` and ``finetune``: blocks of YAML, whole or only what differs."""


@dataclass(frozen=True)
class Space:
    """What is searched, each parameter after those that it depends on."""

    parameters: Mapping[str, ParameterConfig]

    def suggest(self, trial: "Trial") -> Values:
        """Return a trial's values: those of parameters whose condition holds."""
        values: Values = {}
        for path, parameter in self.parameters.items():
            if _holds(parameter, values):
                values[path] = parameter.suggest(trial, path)
        return values

    def values_of(self, stored: Mapping[str, Any]) -> Values:
        """Return a trial's values from what Optuna keeps of them."""
        return {path: self.parameters[path].restored(value) for path, value in stored.items()}

    def probes(self) -> Iterator[tuple[str, Values]]:
        """Yield each parameter's path with values at one of its extremes.

        With it come the parameters that its condition names; the others stay as the recipe has
        them.
        """
        for path, parameter in self.parameters.items():
            conditions: Values = {}
            self._fulfil(parameter, conditions)
            for value in parameter.extremes():
                yield path, {**conditions, path: value}

    def _fulfil(self, parameter: ParameterConfig, values: Values) -> None:
        for path, allowed in parameter.when.items():
            self._fulfil(self.parameters[path], values)
            values[path] = allowed[0]

    def described(self) -> dict[str, Any]:
        """Return what the space is, to compare it with another run's."""
        return {
            path: {"kind": type(parameter).__name__, **_plain(vars(parameter))}
            for path, parameter in sorted(self.parameters.items())
        }


def build_space(parameters: Mapping[str, ParameterConfig], where: str) -> Space:
    """Return the space, in an order in which conditions come first.

    Args:
        parameters: path -> parameter.
        where: the space's own path in the YAML.

    Raises:
        UserError: if it is empty, a path begins with no known word or must not be searched,
            or a condition names what is not in the space, is never fulfilled, or goes in a
            circle.
    """
    if not parameters:
        raise UserError(
            f"{where}: holds no parameter, so there is nothing to tune; write one there, as in "
            "recipe.optimisation.learning_rate: {name: float, low: 0.0001, high: 0.01, log: "
            "true}"
        )
    problems = [*_wrong_paths(parameters, where), *_wrong_conditions(parameters, where)]
    refuse(problems)
    ordered: dict[str, ParameterConfig] = {}
    while len(ordered) < len(parameters):
        ready = [
            path
            for path, parameter in parameters.items()
            if path not in ordered and all(other in ordered for other in parameter.when)
        ]
        if not ready:
            left = [path for path in parameters if path not in ordered]
            raise UserError(f"{where}: {listed(left)} wait for one another; take a `when` away")
        ordered |= {path: parameters[path] for path in ready}
    return Space(ordered)


def _wrong_paths(parameters: Mapping[str, ParameterConfig], where: str) -> Iterator[str]:
    for path in parameters:
        root, _, rest = path.partition(".")
        if root not in ROOTS or not rest:
            yield (
                f"{where}.{path}: a path begins with recipe, pretrain or finetune and goes on "
                f"to one option; {hint(root, ROOTS)}"
            )
        for refused, why in REFUSED.items():
            if path == refused:
                yield f"{where}.{path}: {why}; take it out of the space"
        inner = [other for other in parameters if other.startswith(f"{path}.")]
        if inner:
            yield f"{where}.{inner[0]}: stands inside {path}, which is searched as a whole"


def _wrong_conditions(parameters: Mapping[str, ParameterConfig], where: str) -> Iterator[str]:
    for path, parameter in parameters.items():
        for other, allowed in parameter.when.items():
            place = f"{where}.{path}.when.{other}"
            if other not in parameters:
                yield f"{place}: is not in the space; {hint(other, parameters)}"
            elif not allowed:
                yield f"{place}: lists no value, so that {path} would never be searched"
            else:
                for problem in parameters[other].cannot_be(allowed):
                    yield f"{place}: {problem}"


def _holds(parameter: ParameterConfig, values: Values) -> bool:
    return all(
        other in values and values[other] in allowed
        for other, allowed in parameter.when.items()
    )


def _plain(value: Any) -> Any:
    """Return a value as JSON gives it back."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value


def overlay(values: Values, base: Blocks) -> Blocks:
    """Return what a trial changes of ``base``, block in block.

    Files are merged key by key; so where a trial picks another ``name``, the options that only
    the former name has are set to null, which takes them away.
    """
    found: Blocks = {}
    for path, value in values.items():
        *parents, last = path.split(".")
        block = found
        for parent in parents:
            block = block.setdefault(parent, {})
        block[last] = value
    for root, block in found.items():
        _take_away(ROOTS[root], block, base.get(root) or {})
    return found


def laid(values: Values, base: Blocks) -> Blocks:
    """Return ``base`` with a trial's values in their places."""
    return overlaid(base, overlay(values, base))


def _take_away(config: type[Any], block: Blocks, base: Mapping[str, Any]) -> None:
    """Add to ``block`` the nulls that its choices of another name need, at any depth."""
    kinds = option_kinds(config)
    for key, inner in block.items():
        under = base.get(key) or {}
        if not isinstance(inner, dict) or not isinstance(under, Mapping) or key not in kinds:
            continue
        for member in members(kinds[key]):
            for choice in stated(member, Choice):
                _take_away_choice(choice, inner, under)


def _take_away_choice(choice: Choice, block: Blocks, base: Mapping[str, Any]) -> None:
    former = base.get("name")
    name = block.get("name", former)
    chosen = choice.choices().get(name) if isinstance(name, str) else None
    if chosen is None:  # parsing says so
        return
    if name != former:
        own = set(option_kinds(chosen)) | {"name"}
        own |= {"preset"} if getattr(chosen, "PRESETS", None) else set()
        own |= set(option_kinds(choice.shared)) if choice.shared else set()
        block |= {key: None for key in base if key not in own and key not in block}
    _take_away(chosen, block, base)
