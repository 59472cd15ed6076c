"""All artefacts of a source in, one self-contained page out."""

import re

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from maskwise.report.cautions import alarms, cautions
from maskwise.report.facts import Facts, read_facts
from maskwise.report.headline import headline
from maskwise.report.inputs import Report, ReportConfig, ReportInputs
from maskwise.report.main_figure import efficiency, main_png
from maskwise.report.names import without_names
from maskwise.report.sections import sections

__all__ = ["Report", "ReportConfig", "ReportInputs", "render"]

FIRST_CAUTIONS = 3


def render(inputs: ReportInputs) -> Report:
    """Draw the page; the same inputs give the same bytes.

    Raises:
        UserError: if an option of ``report`` names what the scores do not hold.
    """
    facts = read_facts(inputs if inputs.config.names else without_names(inputs))
    return Report(html=_html(facts), figure=main_png(facts), training=_training(inputs))


def _html(facts: Facts) -> str:
    loader = PackageLoader("maskwise.report")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["prose"] = prose
    return environment.get_template("page.html.jinja").render(
        source=facts.inputs.source,
        generated=facts.inputs.generated,
        headline=headline(facts),
        alarms=alarms(facts),
        cautions=cautions(facts)[:FIRST_CAUTIONS],
        main_picture=efficiency(facts, facts.metric, facts.mode),
        sections=[build(facts) for build in sections(facts.task)],
        # The package's own files, no word of the user's data in them.
        style=Markup(loader.get_source(environment, "style.css")[0]),
        script=Markup(loader.get_source(environment, "copy.js")[0]),
    )


def prose(text: str) -> Markup:
    """Return a sentence as HTML; what stands between backticks is to be typed as it is."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _training(inputs: ReportInputs) -> pd.DataFrame:
    parts = []
    for (recipe, seed), history in sorted(inputs.histories.items()):
        part = history.copy()
        part.insert(0, "recipe", recipe)
        part.insert(1, "seed", seed)
        parts.append(part)
    filled = [part for part in parts if len(part)]
    if not filled:
        return parts[0] if parts else pd.DataFrame(columns=["recipe", "seed", "epoch"])
    return pd.concat(filled, ignore_index=True)
