"""The page for referees: the same inputs give the same bytes."""

from collections.abc import Mapping
from typing import Any

from maskwise.report.elements import Commands, Element, Files, Items, Paragraph, Section
from maskwise.report.facts import read_facts
from maskwise.report.formatting import capitalised, listing, number
from maskwise.report.html import render_html
from maskwise.report.inputs import ReportInputs
from maskwise.report.names import without_names
from maskwise.report.referee import checked, parts, probabilities
from maskwise.report.referee.known import Known
from maskwise.report.study_facts import StudyFacts
from maskwise.wording import count


def render_referee(inputs: ReportInputs, document: Mapping[str, Any]) -> str:
    """Draw the page from the report's inputs and ``referee.json``."""
    facts = read_facts(inputs if inputs.config.names else without_names(inputs))
    study = inputs.config.study.get(inputs.source, StudyFacts())
    known = Known(facts, document, study)
    errors = parts.errors(known)
    return render_html(
        "referee.html.jinja",
        inputs.source,
        inputs.generated,
        title="what a referee asks",
        sentence=_sentence(known),
        chosen=_chosen(known),
        first=_first(known),
        sections=[
            *probabilities.build(known),
            parts.subgroups(known),
            *([errors] if errors else []),
            *checked.sections(known),
            _making(known),
        ],
    )


def _sentence(known: Known) -> str:
    return capitalised(
        f"{known.recipe} ({known.trained}), measured on {known.tested} with {known.networks}."
    )


def _chosen(known: Known) -> str:
    chosen = known.document["chosen"]
    metric = known.facts.in_print(chosen["metric"])
    reached = f"{metric} {number(chosen['value'])} on validation images"
    match chosen["rule"]:
        case "option":
            options = listing(known.option(name) for name in chosen["options"])
            text = f"This was asked for by {options} ({reached})."
        case "primary":
            text = (
                "This is the recipe, mode and fraction of the first comparison that was named "
                f"beforehand ({reached})."
            )
        case _:
            text = (
                f"Of {count(chosen['of'], 'recipe and mode', 'recipes and modes')} at this "
                f"fraction it was the best on validation images ({metric} "
                f"{number(chosen['value'])}, which flatters it for that reason)."
            )
    return (
        f"{text} {known.untouched} Intervals are 95 %, draw whole patients or groups, and "
        f"cover {known.document['covers']}."
    )


def _first(known: Known) -> list[Element]:
    missing = checked.missing_keys(known)
    elements: list[Element] = [Items(checked.tallies(known))]
    if missing:
        keys = ", ".join(f"`{key}`" for key in missing)
        elements.append(
            Paragraph(
                f"What only the people of the study know stands in "
                f"`{checked.FOLDER}/{known.source}_study.yml`, under "
                f"`report.study.{known.source}`. Missing there: {keys}. Nothing is made up in "
                "their place."
            )
        )
    return elements


def _making(known: Known) -> Section:
    source = known.source
    return Section(
        "making",
        "How this was made",
        [
            Files(
                [
                    ("report.html", "all recipes, data and methods"),
                    ("referee.csv", "every figure of this page, one per row"),
                    ("referee.json", "the same, with how each came about"),
                ]
            ),
            Commands(
                [
                    f"kedro run --pipelines {source} --tags evaluate   # the figures",
                    f"kedro run --pipelines {source} --tags report     # the pages",
                ]
            ),
        ],
    )
