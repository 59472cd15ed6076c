"""Label-efficiency curves of all metrics."""

from maskwise.report.elements import Element, Files, Fold, Paragraph, Pictures, Section
from maskwise.report.facts import Facts
from maskwise.report.main_figure import efficiency
from maskwise.report.scores import in_order, of_labels
from maskwise.report.sections import shrinkage

_PRINT = (
    "For print, beside this page: every recipe's figures, area, loss and wins in one table, "
    "who stands higher and who loses less in another, and the curves over labelled images per "
    "class in one figure that can be read in grey."
)
_FILES = (
    ("study_table.csv", "the table, unrounded"),
    ("study_pairs.csv", "the pairs, unrounded"),
    ("study_table.tex", "both in LaTeX (booktabs)"),
    ("study_table.md", "both in Markdown"),
    ("study_figure.pdf", "the figure"),
    ("study_figure.svg", "the same as SVG"),
)


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
    elements += [Paragraph(_PRINT), Files(_FILES)]
    if pictures:
        words = f"The other metrics, {facts.mode_name(facts.mode).lower()}"
        elements.append(Fold(words, [Pictures(pictures)]))
    return Section("efficiency", "Label-efficiency curves", elements)
