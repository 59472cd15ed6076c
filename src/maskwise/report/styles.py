"""What a recipe is called and how it is drawn: everywhere the same, on every page."""

import hashlib
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from maskwise.palette import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION

_GREY = "#7f7f7f"
# Markers say the same without colour.
_KNOWN = {
    "scratch": (BLACK, "o"),
    "pixels": (_GREY, "X"),
    "imagenet": (VERMILION, "*"),
    "simclr": (GREEN, "D"),
    "busi_best": (VERMILION, ">"),
    "random_box": (SKY, "^"),
    "centre_box": (ORANGE, "v"),
    "dqn": (BLUE, "s"),
    "dqn_shuffled": (_GREY, "s"),
    # A family: one colour, and one marker per departure that is corrected.
    "dqn_release": (PURPLE, "P"),
    "dqn_release_reward": (PURPLE, "<"),
    "dqn_release_places": (PURPLE, ">"),
    "dqn_release_exploration": (PURPLE, "*"),
    "random_cells": (SKY, "o"),
    "centre_cells": (ORANGE, "P"),
    "variance_cells": (_GREY, "D"),
    "noise": (PURPLE, "X"),
    "block": (PURPLE, "s"),
    "mean_map": (ORANGE, "X"),
    "hardest": (GREEN, "^"),
    "ahm": (VERMILION, "v"),
    "a3c": (BLUE, "D"),
    # The same three, stopped earlier.
    "hardest_same_time": (GREEN, "<"),
    "ahm_same_time": (VERMILION, "<"),
    "a3c_same_time": (BLUE, "<"),
}
_FREE = tuple(
    (colour, marker)
    for marker in ("<", ">", "P", "X", "D", "*")
    for colour in (VERMILION, BLUE, GREEN, PURPLE, ORANGE, SKY)
    if (colour, marker) not in _KNOWN.values()
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
    same whatever else is on the page, unless another recipe there has its colour.
    """
    names = list(recipes)
    looks = {name: _KNOWN[name] for name in names if name in _KNOWN}
    for name in names:
        if name not in looks:
            looks[name] = _free(name, set(looks.values()))
    return {name: Style(name, titles.get(name, name), *looks[name]) for name in names}


def _free(recipe: str, taken: Set[tuple[str, str]]) -> tuple[str, str]:
    """Return the first look from the name's place on whose colour, or else itself, is new."""
    place = int.from_bytes(hashlib.sha256(recipe.encode()).digest()[:4], "little") % len(_FREE)
    looks = [*_FREE[place:], *_FREE[:place]]
    colours = {colour for colour, _ in taken}
    new = [look for look in looks if look not in taken]
    return next((look for look in new if look[0] not in colours), (new or looks)[0])
