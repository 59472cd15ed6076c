"""A source's entry in ``experiment.yml``, and not a letter of the rest touched."""

from collections.abc import Mapping
from typing import Any

import yaml

from maskwise.errors import UserError
from maskwise.fingerprint.document import comment, entry

_BLOCK = ("experiment", "sources")


def with_source(text: str, name: str, own: Mapping[str, Any], why: str) -> str:
    """Return ``text`` with the source as the last entry of ``experiment.sources``.

    Comments, anchors, order and line endings stay, for the text is not written anew: lines are
    put in.

    Raises:
        UserError: if ``experiment.sources`` is no block of indented lines, or has the source.
    """
    end, indent = _place(text)
    lines = text.splitlines(keepends=True)
    ending = "\r\n" if lines[0].endswith("\r\n") else "\n"
    if not lines[end - 1].endswith("\n"):
        lines[end - 1] += ending
    said = [*comment(why, indent), *entry(name, dict(own), indent)]
    new = "".join([*lines[:end], *(f"{line}{ending}" for line in said), *lines[end:]])
    _check(text, new, name, own)
    return new


def _place(text: str) -> tuple[int, int]:
    """Return after how many lines the entries of ``sources`` end, and how far they stand in."""
    depth: list[str] = []
    pending, last, is_key = "", 0, False
    within = -1
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        if isinstance(token, yaml.BlockMappingStartToken | yaml.BlockSequenceStartToken):
            depth.append(pending)
            if tuple(depth[1:]) == _BLOCK:
                within, indent = len(depth), token.start_mark.column
        elif isinstance(token, yaml.BlockEndToken):
            if len(depth) == within:
                return last, indent
            depth.pop()
        elif isinstance(token, yaml.KeyToken):
            is_key = True
        elif isinstance(token, yaml.ScalarToken) and is_key:
            pending, is_key = token.value, False
        if not isinstance(token, yaml.BlockEndToken | yaml.StreamEndToken):
            last = token.end_mark.line + (token.end_mark.column > 0)
    raise UserError(
        "conf/base/experiment.yml: `experiment.sources` is not a block of lines, a source "
        "each, so nothing can be put in; write it as one"
    )


def _check(old: str, new: str, name: str, own: Mapping[str, Any]) -> None:
    """Make sure that the new text says what the old one did, and one thing more."""
    before, after = yaml.safe_load(old), yaml.safe_load(new)
    if name in before["experiment"]["sources"]:
        raise UserError(f"conf/base/experiment.yml: has a source {name!r}; choose another name")
    before["experiment"]["sources"][name] = dict(own)
    if before != after:
        raise UserError(
            f"conf/base/experiment.yml: {name!r} cannot be put in without changing the rest; "
            f"add it by hand under `sources`: {' '.join(entry(name, dict(own), 0))}"
        )
