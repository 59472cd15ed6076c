"""Everything that speaks against believing the page."""

from maskwise.report.cautions import cautions
from maskwise.report.elements import Element, Items, Paragraph, Section
from maskwise.report.facts import Facts


def build(facts: Facts) -> Section:
    """List all reasons for doubt, then what each run warned of."""
    elements: list[Element] = [
        Items([f"{each.title}. {each.text}" for each in cautions(facts)])
    ]
    told = [
        f"{facts.title(recipe)}, seed {seed}: {text}"
        for (recipe, seed), texts in facts.inputs.warnings.items()
        for text in texts
    ]
    if told:
        elements += [Paragraph("What the diagnostics of training say:"), Items(told)]
    else:
        elements.append(Paragraph("The diagnostics of training found nothing to warn of."))
    return Section("warnings", "Warnings", elements)
