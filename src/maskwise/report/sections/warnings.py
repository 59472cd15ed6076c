"""Everything that speaks against believing the page."""

from maskwise.report.blocks import Block, Items, Paragraph, Section
from maskwise.report.distrust import cautions
from maskwise.report.facts import Facts


def build(facts: Facts) -> Section:
    """List all reasons for doubt, then what each run warned of."""
    blocks: list[Block] = [Items([f"{each.title}. {each.text}" for each in cautions(facts)])]
    told = [
        f"{facts.title(recipe)}, seed {seed}: {text}"
        for (recipe, seed), texts in facts.inputs.warnings.items()
        for text in texts
    ]
    if told:
        blocks += [Paragraph("What the diagnostics of training say:"), Items(told)]
    else:
        blocks.append(Paragraph("The diagnostics of training found nothing to warn of."))
    return Section("warnings", "Warnings", blocks)
