"""The page that recommends: each of its figures stands in the study that it names."""

import re

import pytest

from project import PROJECT

PAGE = (PROJECT / "docs/which_recipe.md").read_text(encoding="utf-8")
NUMBER = r"[+-]?\d*\.\d+"
INTERVAL = re.compile(rf"({NUMBER}) \[({NUMBER}), ({NUMBER})\]")
NUMBER_OF = re.compile(r"\b[\d,]+ (seeds|folds|studies|volumes|patients|images)\b")


def intervals(text: str) -> set[tuple[float, ...]]:
    found = INTERVAL.findall(re.sub(r"\s+", " ", text.replace("|", " ")))
    return {tuple(round(float(part), 3) for part in each) for each in found}


def claims() -> list[str]:
    """Return the sentences of the page, a bullet each."""
    return [
        re.sub(r"\s+", " ", each)
        for each in re.findall(r"^- (.+?)(?=^- |^$)", PAGE, re.M | re.S)
    ]


def studies(claim: str) -> list[str]:
    return re.findall(r"\]\((results/\w+\.md)\)", claim)


@pytest.mark.parametrize("claim", claims())
def test_each_figure_of_a_claim_stands_in_the_study_that_it_names(claim: str) -> None:
    named = studies(claim)
    assert named
    pages = "\n\n".join((PROJECT / "docs" / name).read_text(encoding="utf-8") for name in named)
    assert intervals(claim) <= intervals(pages)
    if intervals(claim):
        assert NUMBER_OF.search(claim)


def test_a_study_that_is_not_answered_recommends_nothing() -> None:
    unfinished = [
        f"results/{page.name}"
        for page in (PROJECT / "docs/results").glob("*.md")
        if "**Not answered yet.**" in page.read_text(encoding="utf-8")
    ]
    for claim in claims():
        if set(studies(claim)) & set(unfinished):
            assert not intervals(claim)
            assert "not answered yet" in claim.lower()
