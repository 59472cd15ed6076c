"""A source comes into ``experiment.yml``, and every other line stays what it was."""

import difflib

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as some

from maskwise.errors import UserError
from maskwise.experiment import EXPERIMENT
from maskwise.fingerprint.experiment import with_source
from project import PROJECT

SHIPPED = (PROJECT / EXPERIMENT).read_text(encoding="utf-8")
_ends = some.sampled_from(["", "\n", "\n\n# The end.\n", "\n# more\n\n"])
_entries = some.lists(
    some.sampled_from(
        [
            "{}",
            "  # why\n      seeds: [0, 1]",
            "\n      recipes:\n        - a\n        # not b\n        - c",
            "\n      recipes:\n      - a\n      - c  # beside it",
            "&x\n      seeds: [1]",
        ]
    ),
    min_size=1,
    max_size=4,
    unique=True,
)


def text_of(entries: list[str], end: str, after: str) -> str:
    """Return the text of an experiment with entries in different styles."""
    sources = "\n".join(
        f"    s{number}: {each}" if each[0] in "{&\n" else f"    s{number}:{each}"
        for number, each in enumerate(entries)
    )
    return f"# All.\nexperiment:\n  seeds: [0]\n  sources:  # here\n{sources}{after}{end}"


@settings(max_examples=80, deadline=None)
@given(entries=_entries, end=_ends, after=some.sampled_from(["", "\n  reproduce: [s0]"]))
def test_nothing_is_taken_away_and_the_new_entry_is_all_that_is_added(
    entries: list[str], end: str, after: str
) -> None:
    text = text_of(entries, end, after)
    new = with_source(text, "mine", {"seeds": [0, 1, 2]}, "Three folds.")
    changes = list(difflib.ndiff(text.split("\n"), new.split("\n")))
    assert not [line for line in changes if line.startswith("- ") and line != "- "]
    document = yaml.safe_load(new)["experiment"]["sources"]
    assert list(document)[-1] == "mine"
    assert document["mine"] == {"seeds": [0, 1, 2]}


@settings(max_examples=20, deadline=None)
@given(entries=_entries, end=_ends, after=some.sampled_from(["", "\n  reproduce: [s0]"]))
def test_a_file_of_another_system_keeps_its_line_endings(
    entries: list[str], end: str, after: str
) -> None:
    text = text_of(entries, end, after)
    new = with_source(text.replace("\n", "\r\n"), "mine", {"seeds": [0]}, "Three folds.")
    assert new.replace("\r\n", "\n") == with_source(
        text, "mine", {"seeds": [0]}, "Three folds."
    )
    assert new.count("\n") == new.count("\r\n")


def test_the_shipped_file_keeps_every_comment_and_its_order() -> None:
    new = with_source(SHIPPED, "mine", {}, "")
    kept = [line for line in new.splitlines() if line != "    mine: {}"]
    assert kept == SHIPPED.splitlines()


def test_a_source_that_is_there_is_never_replaced() -> None:
    with pytest.raises(UserError, match="has a source 'busi'"):
        with_source(SHIPPED, "busi", {}, "")


def test_sources_in_one_line_are_left_to_a_person() -> None:
    with pytest.raises(UserError, match="is not a block of lines"):
        with_source("experiment:\n  sources: {a: {}}\n", "mine", {}, "")
