"""Label-efficiency curves of the other metrics."""

from maskwise.report.blocks import Paragraph, Pictures, Section
from maskwise.report.facts import Facts
from maskwise.report.main_figure import efficiency
from maskwise.report.scores import METRICS


def build(facts: Facts) -> Section:
    """Draw every metric over the number of labels."""
    text = (
        "How each figure changes with the number of labelled images. The number of training "
        "steps is the same at every point, so fewer labels do not also mean shorter training."
    )
    metrics = [name for name in METRICS if name in set(facts.scores["metric"])]
    metrics.sort(key=lambda name: name != facts.config.metric)
    pictures = [efficiency(facts, metric, mode) for metric in metrics for mode in facts.modes]
    return Section(
        "efficiency", "Label-efficiency curves", [Paragraph(text), Pictures(pictures)]
    )
