"""The file of a source as text: a comment per line, with its reason; and what to check."""

import textwrap
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from maskwise.fingerprint.contracts import TO_CHECK, Option, Proposal

WIDTH = 100
_AS_WRITTEN: dict[str, Any] = {"sort_keys": False, "allow_unicode": True}
_END = "...\n"
"""What YAML puts behind a value that stands alone."""


class Doubt(NamedTuple):
    """A line of the file that a person has to look at."""

    line: int
    """From 1."""
    key: str
    """As in ``preprocess.modality``."""
    question: str
    """With an example, which the file has not."""


def as_yaml(name: str, proposal: Proposal, head: str) -> tuple[str, tuple[Doubt, ...]]:
    """Return the text of ``conf/base/sources/parameters_<name>.yml``, and its lines in doubt.

    Args:
        name: Of the source.
        proposal: Its blocks.
        head: What the first comment says.
    """
    lines = [*_comment(head, 0), f"{name}:"]
    doubts: list[Doubt] = []
    for block, options in proposal.blocks.items():
        lines.append(f"  {block}:")
        for option in options:
            lines += _comment(_said(option), 4)
            lines += _entry(option.key, option.value, 4)
            if option.doubt:
                doubts.append(Doubt(len(lines), f"{block}.{option.key}", _asked(option)))
    return "\n".join(lines) + "\n", tuple(doubts)


def entry(name: str, own: dict[str, Any], indent: int) -> list[str]:
    """Return the lines of the source's entry in the experiment, indented by so many blanks."""
    blanks = " " * indent
    if not own:
        return [f"{blanks}{name}: {{}}"]
    lines = [f"{blanks}{name}:"]
    for key, value in own.items():
        lines += _entry(key, value, indent + 2)
    return lines


def comment(text: str, indent: int) -> list[str]:
    """Return a comment of lines that are no wider than ``WIDTH``."""
    return list(_comment(text, indent))


def _said(option: Option) -> str:
    if not option.doubt:
        return option.reason
    end = "" if option.doubt.endswith(("?", ".")) else "."
    return f"{option.reason} {TO_CHECK}: {option.doubt}{end}"


def _asked(option: Option) -> str:
    return f"{option.doubt} ({option.example})" if option.example else option.doubt


def _comment(text: str, indent: int) -> Iterator[str]:
    start = f"{' ' * indent}# "
    for line in textwrap.wrap(
        text, WIDTH - len(start), break_long_words=False, break_on_hyphens=False
    ):
        yield f"{start}{line}"


def _entry(key: str, value: Any, indent: int) -> list[str]:
    blanks = " " * indent
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, **_AS_WRITTEN)
    line = f"{blanks}{key}: {text.removesuffix(_END).strip()}"
    if len(line) <= WIDTH or not isinstance(value, dict):
        return [line]
    return [
        f"{blanks}{key}:",
        *(each for name in value for each in _entry(name, value[name], indent + 2)),
    ]
