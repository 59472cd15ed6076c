"""What a recipe is called and how it is drawn: everywhere the same, on every page."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# Okabe and Ito's colours, safe for the colour-blind; markers say the same without colour.
_KNOWN = {
    "scratch": ("#000000", "o"),
    "pixels": ("#7f7f7f", "X"),
    "random_box": ("#56b4e9", "^"),
    "centre_box": ("#e69f00", "v"),
    "dqn": ("#0072b2", "s"),
    "dqn_release": ("#cc79a7", "P"),
    "simclr": ("#009e73", "D"),
    "imagenet": ("#d55e00", "*"),
}
_FREE = tuple(
    (colour, marker)
    for marker in ("<", ">", "P", "X", "D")
    for colour in ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
)


_GLYPHS = {
    "o": "●",
    "X": "✖",
    "^": "▲",
    "v": "▼",
    "s": "■",
    "P": "✚",
    "D": "◆",
    "*": "★",
    "<": "◀",
    ">": "▶",
}


@dataclass(frozen=True)
class Style:
    """One recipe in print."""

    recipe: str
    title: str
    colour: str
    marker: str
    """Matplotlib's name."""

    @property
    def glyph(self) -> str:
        """The marker as a character, and the selector that forbids a coloured emoji."""
        return f"{_GLYPHS[self.marker]}\ufe0e"


def styles(recipes: Iterable[str], titles: Mapping[str, str]) -> dict[str, Style]:
    """Give every recipe its title, colour and marker.

    The shipped recipes have fixed ones. Another's follow from its name, so that they stay the
    same whatever else is on the page, unless two names meet in one place.
    """
    chosen: dict[str, Style] = {}
    taken: set[int] = set()
    for recipe in recipes:
        if recipe in _KNOWN:
            colour, marker = _KNOWN[recipe]
        else:
            colour, marker = _FREE[_place(recipe, taken)]
        chosen[recipe] = Style(recipe, titles.get(recipe, recipe), colour, marker)
    return chosen


def _place(recipe: str, taken: set[int]) -> int:
    place = int.from_bytes(hashlib.sha256(recipe.encode()).digest()[:4], "little") % len(_FREE)
    while place in taken and len(taken) < len(_FREE):
        place = (place + 1) % len(_FREE)
    taken.add(place)
    return place
