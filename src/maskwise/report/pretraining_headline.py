"""What a page without labels says first: what was trained, on what, how long, to which loss."""

from collections.abc import Iterable, Mapping

import pandas as pd

from maskwise.report.elements import Cell, Row, Table
from maskwise.report.formatting import capitalised, listing, number_range, significant
from maskwise.report.pretraining_facts import PretrainingFacts
from maskwise.wording import count

STILL = 0.01
"""Share of itself by which a loss must move to be said to fall or rise."""
_NONE = "—"


def headline(facts: PretrainingFacts) -> str:
    """Say what was pre-trained on which images, for how long, and what the loss did."""
    trained = {name: found for name in facts.styles if (found := facts.histories(name))}
    if not trained:
        ran = listing(facts.title(name) for name in facts.styles)
        return (
            f"Nothing was pre-trained: what ran, {ran}, only writes an encoder to begin with."
        )
    seen = [facts.trained_on(name, seed) for name, seeds in trained.items() for seed in seeds]
    every = [history for seeds in trained.values() for history in seeds.values()]
    repeated = f" with {count(len(facts.seeds), 'seed')}" if len(facts.seeds) > 1 else ""
    how = f"pre-trained on {_images(seen)} for {_length(every)}{repeated}"
    if len(trained) == 1:
        (name, seeds), *_ = trained.items()
        return capitalised(f"{facts.title(name)} was {how}; its loss {_course(seeds)}.")
    courses = listing(
        f"{facts.title(name)} {_course(seeds)}" for name, seeds in trained.items()
    )
    names = listing(facts.title(name) for name in trained)
    return capitalised(f"{names} were each {how}. Their losses, of different tasks: {courses}.")


def encoders(facts: PretrainingFacts) -> Table:
    """Return one row per encoder: what it saw, for how long, its loss, and its file."""
    rows: list[Row] = []
    for name, style in facts.styles.items():
        for seed in facts.seeds_of(name):
            history, file = facts.histories(name).get(seed), facts.inputs.encoders[(name, seed)]
            told = (_NONE, _NONE, _NONE)
            if history is not None:
                images, _ = facts.trained_on(name, seed)
                loss = " to ".join(map(significant, _ends([history])))
                told = (f"{images:,}", f"{int(history.iloc[-1]['step']):,}", loss)
            rows.append((Cell(style.title, style=style), str(seed), *told, file.path))
    head = ("recipe", "seed", "images", "steps", "loss", "file")
    return Table("The encoders, and where they lie", head, rows)


def _images(seen: Iterable[tuple[int, int]]) -> str:
    images, groups = zip(*seen, strict=True)
    return (
        f"{number_range(min(images), max(images))} image{'' if max(images) == 1 else 's'} of "
        f"{number_range(min(groups), max(groups))} group{'' if max(groups) == 1 else 's'}"
    )


def _length(histories: Iterable[pd.DataFrame]) -> str:
    last = [history.iloc[-1] for history in histories]
    steps, epochs = ([int(row[column]) for row in last] for column in ("step", "epoch"))
    return (
        f"{number_range(min(steps), max(steps))} step{'' if max(steps) == 1 else 's'} "
        f"({number_range(min(epochs), max(epochs))} epoch{'' if max(epochs) == 1 else 's'})"
    )


def _course(seeds: Mapping[int, pd.DataFrame]) -> str:
    first, last = _ends(seeds.values())
    verb = "stayed nearly where it was,"
    if abs(last - first) > STILL * abs(first):
        verb = "fell" if last < first else "rose"
    return f"{verb} from {significant(first)} to {significant(last)}"


def _ends(histories: Iterable[pd.DataFrame]) -> tuple[float, float]:
    """Return the loss of the first and of the last epoch that has one, averaged over seeds."""
    losses = [found for history in histories if len(found := history["loss"].dropna())]
    if not losses:
        return float("nan"), float("nan")
    first, last = (
        sum(float(loss.iloc[end]) for loss in losses) / len(losses) for end in (0, -1)
    )
    return first, last
