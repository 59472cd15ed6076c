"""The whole study as one figure that a paper can print."""

from matplotlib.figure import Figure

from maskwise.report.facts import Facts
from maskwise.report.figures import study_curves
from maskwise.report.main_figure import GUESSING


def study_figure(facts: Facts) -> Figure:
    """Draw the leading metric of every recipe and mode over labelled images per class."""
    metric = facts.leading
    images = {fraction: _images(facts, fraction) for fraction in facts.fractions}
    axis = facts.in_print(metric)
    if not facts.tells_training:
        axis += f"\n({facts.trainings}; bars: test images only)"
    return study_curves.draw(
        facts.scores[facts.scores["metric"] == metric],
        images,
        facts.styles,
        {mode: facts.mode_name(mode) for mode in facts.modes},
        (_axis(facts), axis),
        GUESSING.get(metric),
    )


def _images(facts: Facts, fraction: float) -> float:
    """Return how many labelled images train, the mean over seeds: of a class, if it has any."""
    counted = facts.labelled(fraction)
    whole = float(counted.groupby("seed")["images"].sum().mean()) if len(counted) else 1.0
    return whole / len(facts.classes) if _of_classes(facts) else whole


def _axis(facts: Facts) -> str:
    if not _of_classes(facts):
        return "labelled training images"
    return f"labelled training images per class (mean of {len(facts.classes)} classes)"


def _of_classes(facts: Facts) -> bool:
    return facts.task == "diagnosis"
