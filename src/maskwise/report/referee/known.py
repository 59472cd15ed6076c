"""What the page for referees is made from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from maskwise.report.facts import Facts
from maskwise.report.formatting import labels, with_interval
from maskwise.report.study_facts import StudyFacts
from maskwise.wording import count

Figure = Mapping[str, float | None]


@dataclass(frozen=True)
class Known:
    """The report's facts, ``referee.json``, and what the study's people wrote."""

    facts: Facts
    document: Mapping[str, Any]
    study: StudyFacts

    @property
    def source(self) -> str:
        """Whose page it is."""
        return self.facts.inputs.source

    @property
    def outlines(self) -> bool:
        """Whether lesions are outlined, so that no probability of a class is stated."""
        return bool(self.document["task"] == "lesion")

    @property
    def several(self) -> bool:
        """Whether an image may show several labels."""
        return bool(self.document["task"] == "multilabel")

    @property
    def recipe(self) -> str:
        """What it is called in print."""
        return self.facts.title(self.document["recipe"])

    @property
    def trained(self) -> str:
        """Say how: "full fine-tuning, all labels"."""
        mode = self.facts.mode_name(self.document["mode"]).lower()
        return f"{mode}, {labels(self.document['fraction'])}"

    @property
    def tested(self) -> str:
        """Say on what: "80 test images of 40 patients"."""
        return f"{count(self.document['n_images'], 'test image')} of {self.persons}"

    @property
    def persons(self) -> str:
        """Count patients, or groups where some image's patient is unknown."""
        n = self.document["n_patients"]
        if n is None:
            return count(self.document["n_groups"], "group")
        return count(n, "patient")

    @property
    def networks(self) -> str:
        """Count them."""
        return count(self.document["n_networks"], "network")

    @property
    def rest(self) -> str:
        """What a class is told from."""
        return "images without it" if self.several else "the rest"

    def option(self, name: str) -> str:
        """Return where an option of the figures is written, as prose sets it."""
        return f"`evaluate.referee.{self.source}.{name}`"


def figure(value: Figure | None, digits: int = 3) -> str:
    """Write a figure with its interval; an em dash where there is none."""
    if value is None:
        return "—"
    return with_interval(value["value"], value["low"], value["high"], digits)
