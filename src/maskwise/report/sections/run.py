"""What was run: the recipes, in words, and the source's settings."""

from collections.abc import Mapping
from typing import Any

from maskwise.artefacts.splits import count_folds
from maskwise.report.elements import Cell, Element, Fold, Paragraph, Section, Table
from maskwise.report.facts import Facts
from maskwise.report.formatting import TIMES, listing, share
from maskwise.report.pretraining_facts import PretrainingFacts
from maskwise.weights_origin import PACKAGE
from maskwise.wording import count

_SNAPSHOT = "/step_"
"""In the name of an encoder that was kept in the middle of a run (``pretrain.snapshots``)."""


def build(facts: Facts) -> Section:
    """Describe recipes, budget and repetitions."""
    return _section(facts, _overview(facts))


def build_pretraining(facts: PretrainingFacts) -> Section:
    """Describe the same of a study that stops after pre-training."""
    return _section(facts, _overview_of_pretraining(facts))


def _section(facts: PretrainingFacts, overview: str) -> Section:
    pretrain = facts.inputs.settings.get("pretrain", {})
    elements: list[Element] = [Paragraph(overview), _recipes(facts)]
    if pretrain:
        elements.append(Fold("The source's settings and its budget", [_settings(facts)]))
    return Section("run", "What was run", elements)


def _overview(facts: Facts) -> str:
    shares = listing(share(fraction) for fraction in facts.fractions)
    modes = listing(facts.mode_name(mode).lower() for mode in facts.modes)
    seen = (
        f"For {listing(map(facts.title, facts.transductive))} the test images, without their "
        "labels, took part in pre-training."
        if facts.transductive
        else "The test images were not used until they were scored."
    )
    varies = "A seed repeats initial weights, pre-training, the draw of labels and fine-tuning"
    share_split = "all seeds share one split: the same groups train, the same others test."
    return (
        f"{_ran(facts)} A recipe first trains an encoder on images "
        f"without their labels; the encoder then learns {facts.words.learns} from {shares} of "
        f"the labels, by {modes}. {_seed(facts, varies, share_split)} {_compute(facts)}{seen}"
    )


def _overview_of_pretraining(facts: PretrainingFacts) -> str:
    told = _seed(
        facts,
        "A seed repeats initial weights and pre-training",
        "all seeds see the same images.",
    )
    return (
        f"{_ran(facts)} A recipe trains an encoder on images without labels. Nothing was "
        "fine-tuned and nothing tested: the study says `fractions: []`. Validation images "
        f"took no part in training; masks and reconstructions are drawn of them. {told} "
        f"{_compute(facts)}"
    ).strip()


def _ran(facts: PretrainingFacts) -> str:
    return (
        f"{count(len(facts.styles), 'recipe')} ran on the source {facts.inputs.source}, "
        f"{'each ' if len(facts.styles) > 1 else ''}with {count(len(facts.seeds), 'seed')}."
    )


def _seed(facts: PretrainingFacts, varies: str, shared: str) -> str:
    if count_folds(facts.inputs.splits):
        return f"{varies}, and holds out another part of the data."
    return f"{varies}; {shared}"


def _compute(facts: PretrainingFacts) -> str:
    """Say what is equal between recipes, and what is not."""
    trained = {
        name: block
        for name, block in facts.inputs.recipes.items()
        if name in facts.styles and dict(block.get("objective") or {}).get("name") != "none"
    }
    if len(trained) < 2:
        return _elsewhere(facts)
    rates = {
        dict(block.get("optimisation") or {}).get("learning_rate") for block in trained.values()
    }
    rate = (
        "one learning rate, tuned for none of them"
        if len(rates) == 1
        else "learning rates of their own"
    )
    text = f"All recipes that train take the same number of steps, with {rate}. "
    text += _elsewhere(facts)
    doubled = [
        facts.title(name)
        for name, block in trained.items()
        if dict(block["objective"])["name"] == "simclr"
    ]
    if doubled:
        text += (
            f"{listing(doubled)} sees two views of each image per step, so equal steps are not "
            "equal computing. "
        )
    return text


def _elsewhere(facts: PretrainingFacts) -> str:
    """Say of which encoders the weights were taken from a file, and from which."""
    taken = {name: file for name in facts.styles if (file := facts.weights(name))}
    earlier = [facts.title(name) for name, file in taken.items() if _SNAPSHOT in file]
    text = ""
    if earlier:
        text += (
            f"Nothing was trained for {listing(earlier)}: the encoder of another recipe, as it "
            "was after fewer steps. "
        )
    for name, file in taken.items():
        if _SNAPSHOT in file:
            continue
        origin = facts.weights_origin(name)
        from_package = file == PACKAGE and origin is not None
        what = f"of the package {origin.name}" if from_package and origin else f"in `{file}`"
        if facts.trains(name):
            text += f"The encoder of {facts.title(name)} begins with the weights {what}. "
        else:
            text += (
                f"Nothing was pre-trained here for {facts.title(name)}: its encoder begins "
                f"with the weights {what}. "
            )
        if origin is not None:
            licence = f"licence {origin.licence}" if origin.licence else "licence not stated"
            text += f"They are: {origin.origin}; {licence}; SHA-256 {origin.sha256[:12]}…. "
    return text


def _recipes(facts: PretrainingFacts) -> Table:
    rows = [
        (
            Cell(style.title, style=style),
            recipe,
            _named(block, "objective"),
            _named(block, "policy"),
            _hidden(facts, recipe),
            _named(block, "encoder"),
            listing(str(seed) for seed in facts.seeds_of(recipe)),
        )
        for recipe, style in facts.styles.items()
        for block in (facts.inputs.recipes.get(recipe, {}),)
    ]
    head = ("recipe", "name in YAML", "objective", "policy", "hidden", "encoder", "seeds")
    return Table("The recipes: what each must do without labels, and what it hides", head, rows)


def _hidden(facts: PretrainingFacts, recipe: str) -> str:
    """Say which share of the images was hidden, and of which grid, as the masks themselves say.

    An encoder that needs larger cells has a coarser grid than its source.
    """
    found = facts.gallery(recipe)
    if found is None or not found[1].masks.size:
        return "—"
    masks = found[1].masks
    down, across = masks.shape[2:]
    return f"{share(round(float(masks.mean()), 3))} of {down} {TIMES} {across} cells"


def _named(block: Mapping[str, Any], part: str) -> str:
    options = dict(block.get(part) or {})
    name = str(options.pop("name", "none"))
    shown = ", ".join(f"{key} {_short(value)}" for key, value in options.items())
    return f"{name} ({shown})" if shown else name


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} {_short(item)}" for key, item in value.items()) + "}"
    return f" {TIMES} ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _settings(facts: PretrainingFacts) -> Table:
    rows = [
        (stage, key, _short(value))
        for stage, block in facts.inputs.settings.items()
        if isinstance(block, Mapping)
        for key, value in block.items()
    ]
    caption = (
        f"Source {facts.inputs.source}, as configured when this page was made; the options "
        "with which each stage ran are in run.json beside what it made"
    )
    return Table(caption, ("stage", "option", "value"), rows)
