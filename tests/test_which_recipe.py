"""The page that recommends: each of its figures stands in the study that it names."""

import re

import pytest

from project import PROJECT

PAGE = (PROJECT / "docs/which_recipe.md").read_text(encoding="utf-8")
NUMBER = r"[+-]?\d*\.\d+"
INTERVAL = re.compile(rf"({NUMBER}) \[({NUMBER}), ({NUMBER})\]")
NUMBER_OF = re.compile(r"\b[\d,]+ (seeds|folds|studies|volumes|patients|images)\b")
REPEATED = re.compile(r"\b(\d+) (?:seed|fold)s?\b")
WORDS = {"1": "one", "2": "two", "5": "five", "8": "eight"}


def intervals(text: str) -> set[tuple[float, ...]]:
    """Return each difference with the ends of its interval."""
    return {tuple(rounded(part) for part in each) for each in INTERVAL.findall(plain(text))}


def figures(text: str) -> set[float]:
    """Return all numbers with a decimal point."""
    return {rounded(each) for each in re.findall(rf"(?<![\w.]){NUMBER}", plain(text))}


def rounded(number: str) -> float:
    return round(float(number), 3)


def plain(text: str) -> str:
    """Return the text in one line, without the bars of tables."""
    return re.sub(r"\s+", " ", text.replace("|", " "))


def repeated(text: str) -> set[str]:
    """Return how many seeds or folds there were, in digits."""
    for digit, word in WORDS.items():
        text = re.sub(rf"\b{word}\b", digit, text, flags=re.IGNORECASE)
    return set(REPEATED.findall(plain(text)))


def claims(section: str = PAGE) -> list[str]:
    """Return the sentences of the page, a bullet each."""
    return [plain(each) for each in re.findall(r"^- (.+?)(?=^- |^$)", section, re.M | re.S)]


def studies(claim: str) -> list[str]:
    return re.findall(r"\]\((results/\w+\.md)\)", claim)


def test_every_bullet_of_the_page_is_held_against_its_study() -> None:
    assert len(claims()) == PAGE.count("\n- ") > 0
    assert sum(bool(intervals(claim)) for claim in claims()) > len(claims()) // 2


@pytest.mark.parametrize("claim", claims())
def test_each_figure_of_a_claim_stands_in_the_study_that_it_names(claim: str) -> None:
    named = studies(claim)
    assert named
    pages = "\n\n".join((PROJECT / "docs" / name).read_text(encoding="utf-8") for name in named)
    # A difference with the ends of its own interval, and the other numbers for themselves.
    assert intervals(claim) - intervals(pages) == set()
    assert figures(claim) - figures(pages) == set()
    assert repeated(claim) - repeated(pages) == set()
    if intervals(claim):
        assert NUMBER_OF.search(claim)


def test_a_study_that_is_not_answered_recommends_nothing() -> None:
    unfinished = {
        f"results/{page.name}"
        for page in (PROJECT / "docs/results").glob("*.md")
        if "**Not answered yet.**" in page.read_text(encoding="utf-8")
    }
    answered, _, rest = PAGE.partition("\n## Not answered yet\n")
    open_questions, _, after = rest.partition("\n## ")
    told = {name for claim in claims(open_questions) for name in studies(claim)}
    assert unfinished <= told
    assert not unfinished & set(studies(answered + after))
    for claim in claims(open_questions):
        if set(studies(claim)) & unfinished:
            assert not figures(claim)
            assert "not answered yet" in claim.lower()
