"""All artefacts of a source in, one self-contained page out."""

import pandas as pd

from maskwise.report import pretraining_headline
from maskwise.report.agents import agent_sentence
from maskwise.report.cautions import alarms, cautions
from maskwise.report.elements import Commands
from maskwise.report.facts import read_facts
from maskwise.report.headline import headline
from maskwise.report.html import render_html
from maskwise.report.inputs import (
    PretrainingInputs,
    PretrainingReport,
    Report,
    ReportConfig,
    ReportInputs,
)
from maskwise.report.main_figure import efficiency, main_png
from maskwise.report.names import without_names
from maskwise.report.pictures import pdf_bytes, svg_bytes
from maskwise.report.pretraining_cautions import cautions_of_pretraining, ceilings
from maskwise.report.pretraining_facts import read_pretraining
from maskwise.report.sections import OF_PRETRAINING, sections
from maskwise.report.sections.loading import snippet
from maskwise.report.sections.training import losses
from maskwise.report.study_figure import study_figure
from maskwise.report.study_table import study_table

__all__ = [
    "PretrainingInputs",
    "PretrainingReport",
    "Report",
    "ReportConfig",
    "ReportInputs",
    "render",
    "render_pretraining",
]

FIRST_CAUTIONS = 3


def render(inputs: ReportInputs) -> Report:
    """Draw the page; the same inputs give the same bytes.

    Raises:
        UserError: if an option of ``report`` names what the scores do not hold.
    """
    facts = read_facts(inputs if inputs.config.names else without_names(inputs))
    html = render_html(
        "page.html.jinja",
        inputs.source,
        inputs.generated,
        title="which pre-training helps?",
        headline=headline(facts),
        alarms=alarms(facts),
        cautions=cautions(facts)[:FIRST_CAUTIONS],
        main_picture=efficiency(facts, facts.metric, facts.mode),
        sections=[build(facts) for build in sections(facts.task)],
    )
    table, drawn = study_table(facts), study_figure(facts)
    return Report(
        html=html,
        figure=main_png(facts),
        training=_training(inputs),
        study_table=table.rows,
        study_pairs=table.pairs,
        study_markdown=table.markdown,
        study_latex=table.latex,
        study_svg=svg_bytes(drawn).decode(),
        study_pdf=pdf_bytes(drawn),
    )


def render_pretraining(inputs: PretrainingInputs) -> PretrainingReport:
    """Draw the page of a study without labels: its encoders, and how they came to be."""
    facts = read_pretraining(inputs if inputs.config.names else without_names(inputs))
    files = list(inputs.encoders.values())
    html = render_html(
        "pretraining.html.jinja",
        inputs.source,
        inputs.generated,
        title="what was pre-trained",
        alarms=ceilings(facts),
        sentence=pretraining_headline.headline(facts),
        encoders=pretraining_headline.encoders(facts),
        snippet=Commands(snippet(files[0].path)) if files else None,
        cautions=cautions_of_pretraining(facts)[:FIRST_CAUTIONS],
        agents=[
            agent_sentence(facts, name)
            for name in facts.masking
            if facts.learns_where(name) and len(facts.lifts(name))
        ],
        curves=losses(facts),
        sections=[build(facts) for build in OF_PRETRAINING],
    )
    return PretrainingReport(html=html, training=_training(inputs))


def _training(inputs: PretrainingInputs) -> pd.DataFrame:
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
