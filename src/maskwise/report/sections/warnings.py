"""Everything that speaks against believing the page."""

from collections.abc import Sequence

from maskwise.report.cautions import cautions
from maskwise.report.elements import Element, Items, Paragraph, Section
from maskwise.report.facts import Facts
from maskwise.report.pretraining_cautions import Caution, cautions_of_pretraining
from maskwise.report.pretraining_facts import PretrainingFacts


def build(facts: Facts) -> Section:
    """List all reasons for doubt, then what each run warned of."""
    return _section(facts, cautions(facts))


def build_pretraining(facts: PretrainingFacts) -> Section:
    """List the same where nothing was tested."""
    return _section(facts, cautions_of_pretraining(facts))


def _section(facts: PretrainingFacts, found: Sequence[Caution]) -> Section:
    elements: list[Element] = [Items([f"{each.title}. {each.text}" for each in found])]
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
