"""Numbers and lists as a reader meets them; the same rounding everywhere on the page."""

import math
from collections.abc import Iterable, Mapping

NO_BREAK = "\N{NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"


def number(value: float | None, digits: int = 3) -> str:
    """Write a figure; an em dash where there is none."""
    if value is None or not math.isfinite(value):
        return "—"
    text = f"{value:.{digits}f}"
    return text.replace("-", MINUS) if float(text) else text.lstrip("-")


def signed(value: float | None, digits: int = 3) -> str:
    """Write a difference with its sign."""
    text = number(value, digits)
    return text if text == "—" or text.startswith(MINUS) or not float(text) else f"+{text}"


def interval(low: float | None, high: float | None, digits: int = 3) -> str:
    """Write the two ends of an interval, or nothing where there is none."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"[{number(low, digits)},{NO_BREAK}{number(high, digits)}]"


def with_interval(
    value: float | None, low: float | None, high: float | None, digits: int = 3
) -> str:
    """Write a figure with its interval."""
    return f"{number(value, digits)} {interval(low, high, digits)}".strip()


def measured(found: Mapping[str, float | None] | None, digits: int = 3) -> str:
    """Write ``value`` with its interval from ``low`` to ``high``; an em dash for None."""
    if found is None:
        return number(None)
    return with_interval(found["value"], found["low"], found["high"], digits)


def signed_with_interval(value: float | None, low: float | None, high: float | None) -> str:
    """Write a difference with its sign and its interval."""
    return f"{signed(value)} {interval(low, high)}".strip()


def p_figure(p: float, least: bool = False) -> str:
    """Write a p to three digits, never as 0; ``least`` where the draws could give no less."""
    if not math.isfinite(p):
        return "—"
    if p < 0.001:
        return "< 0.001"
    return f"≤ {p:.3f}" if least and p < 1 else f"{p:.3f}"


def p_value(p: float, least: bool = False) -> str:
    """Write a p inside a sentence: "p = 0.020", "p < 0.001", "p ≤ 0.004"."""
    text = p_figure(p, least)
    sign = "" if text[0] in "<≤" else "= "
    return f"p {sign}{text}".replace(" ", NO_BREAK)


def share(value: float) -> str:
    """Write a share of the labels as a percentage."""
    return f"{100 * value:g}{NO_BREAK}%"


def labels(fraction: float) -> str:
    """Say which share of the labels."""
    return "all labels" if fraction == 1 else f"{share(fraction)} of the labels"


def listing(words: Iterable[str]) -> str:
    """Join words as English does: "a, b and c"."""
    parts = list(words)
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def capitalised(sentence: str) -> str:
    """Begin a sentence with a capital letter, whatever name it begins with."""
    return sentence[:1].upper() + sentence[1:]


def number_range(low: int, high: int) -> str:
    """Write whole numbers that may differ between seeds: "46", "46 to 49"."""
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def significant(value: float) -> str:
    """Write a figure of unknown size to three significant digits."""
    return f"{value:.3g}".replace("-", MINUS) if math.isfinite(value) else "—"
