"""Label-efficiency curves of all metrics."""

from maskwise.report.elements import Element, Fold, Paragraph, Pictures, Section
from maskwise.report.facts import Facts
from maskwise.report.main_figure import efficiency
from maskwise.report.scores import in_order, of_labels
from maskwise.report.sections import shrinkage


def build(facts: Facts) -> Section:
    """Draw every metric over the number of labels."""
    text = (
        "How each figure changes with the number of labelled images. The number of training "
        "steps is the same at every point, so fewer labels do not also mean shorter training."
    )
    main = facts.metric
    told_elsewhere = {main, *of_labels(facts.inputs.scores)}
    others = [name for name in in_order(facts.scores["metric"]) if name not in told_elsewhere]
    pictures = [efficiency(facts, metric, facts.mode) for metric in others]
    elements: list[Element] = [
        Paragraph(text),
        Pictures([efficiency(facts, main, mode) for mode in facts.modes]),
    ]
    elements += shrinkage.elements(facts)
    if pictures:
        words = f"The other metrics, {facts.mode_name(facts.mode).lower()}"
        elements.append(Fold(words, [Pictures(pictures)]))
    return Section("efficiency", "Label-efficiency curves", elements)
