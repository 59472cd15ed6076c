"""What the page for referees is made from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from maskwise.report.facts import Facts
from maskwise.report.formatting import labels
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
    def patients_named(self) -> bool:
        """Whether the patient of every image is known, so that none lies in two parts."""
        named = bool(self.facts.inputs.manifest["patient"].notna().all())
        return named and self.document["n_patients"] is not None

    @property
    def untouched(self) -> str:
        """Say how far the page's recipe and thresholds are free of test images."""
        chosen = self.document["chosen"]
        by_folds = chosen["rule"] == "validation" and self.document["n_folds"]
        told = []
        if chosen["options"]:
            told.append(
                "Options may have been written after test scores were seen, which this page "
                "cannot know."
            )
        if by_folds:
            told.append(
                "Each validation image is a test image of another fold's network, so that the "
                "choice of the recipe is not free of test images."
            )
        if not told:
            return "Nothing on this page was chosen on test images."
        if not self.outlines:
            told.append("No network's threshold was chosen on its own test images.")
        return " ".join(told)

    def shared(self) -> Iterator[str]:
        """Say what training and test images may have in common although they are apart."""
        if not self.patients_named:
            yield (
                "Not every image's patient is named. Without that only recognised copies, and "
                "images of one file or volume, are kept together; a patient may lie in both "
                "parts."
            )
        if self.document["recipe"] in self.facts.transductive:
            yield "Pre-training of this recipe saw the test images, without their labels."

    @property
    def has_a_p(self) -> bool:
        """Whether a comparison of this recipe, mode and fraction was named beforehand."""
        pairs, document = self.facts.inputs.paired, self.document
        own = (
            pairs["primary"].astype(bool)
            & pairs["p"].notna()
            & (pairs[["recipe", "against"]] == document["recipe"]).any(axis=1)
            & (pairs["mode"] == document["mode"])
            & (pairs["fraction"] == document["fraction"])
        )
        return bool(own.any())

    @property
    def networks(self) -> str:
        """Count them."""
        return count(self.document["n_networks"], "network")

    @property
    def scale(self) -> str:
        """Say how probabilities here, and thresholds of them, stand to those of `predict`."""
        if self.several:  # the labels' thresholds lie on the scale of calibrated ones
            return (
                "Probabilities, and thresholds of them, are those of the model's file, and so "
                "of `predict`: logits are divided by a temperature fitted on validation images."
            )
        return (
            "Probabilities, and thresholds of them, are as the networks gave them; the model's "
            "file, and so `predict` in its columns `p_<class>`, first divides logits by a "
            "temperature fitted on validation images."
        )

    @property
    def rest(self) -> str:
        """What a class is told from."""
        return "images without it" if self.several else "the rest"

    def option(self, name: str) -> str:
        """Return where an option of the figures is written, as prose sets it."""
        return f"`evaluate.referee.{self.source}.{name}`"
