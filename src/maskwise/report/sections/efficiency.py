"""Label-efficiency curves of the other metrics."""

from maskwise.report.blocks import Paragraph, Pictures, Section
from maskwise.report.facts import Facts
from maskwise.report.main_figure import efficiency
from maskwise.report.scores import METRICS


def build(facts: Facts) -> Section:
    """Draw every metric over the number of labels."""
    text = (
        "How each figure grows with the number of labelled images. The number of training steps is "
        "the same at every point, so fewer labels do not also mean shorter training."
    )
    metrics = [name for name in METRICS if name in set(facts.scores["metric"])]
    pictures = [
        picture
        for metric in metrics
        if metric != facts.config.metric
        for picture in efficiency(facts, metric)
    ]
    return Section(
        "efficiency", "Label-efficiency curves", [Paragraph(text), Pictures(pictures)]
    )
