"""Tables for print, of the same cells in Markdown and in LaTeX."""

from collections.abc import Sequence
from dataclasses import dataclass

from maskwise.report.formatting import NO_BREAK

NONE = "—"


@dataclass(frozen=True)
class Printed:
    """A table of several parts under one head."""

    caption: str
    head: Sequence[str]
    alignment: str
    """Of LaTeX, one letter a column."""
    parts: Sequence[tuple[str, Sequence[Sequence[str]]]]
    """Title, and lines of as many cells as the head has."""


def markdown(table: Printed) -> str:
    """Set the table in Markdown, every part by itself."""
    paragraphs = [table.caption]
    for title, rows in table.parts:
        lines = [table.head, ["---"] * len(table.head), *rows]
        text = "\n".join(f"| {' | '.join(map(_in_markdown, line))} |" for line in lines)
        paragraphs += [f"**{title}**", text]
    return "\n\n".join(paragraphs) + "\n"


def latex(table: Printed) -> str:
    """Set the table in LaTeX, for the package booktabs, which the document has to load."""
    lines = [
        "% \\usepackage{booktabs} in the preamble",
        f"\\begin{{tabular}}{{{table.alignment}}}",
        "\\toprule",
        f"{' & '.join(map(_in_latex, table.head))} \\\\",
    ]
    for title, rows in table.parts:
        heading = f"\\multicolumn{{{len(table.head)}}}{{l}}{{\\emph{{{_in_latex(title)}}}}}"
        lines += ["\\midrule", f"{heading} \\\\"]
        lines += [f"{' & '.join(map(_in_latex, row))} \\\\" for row in rows]
    lines += ["\\bottomrule", "\\end{tabular}", f"% {_in_latex(table.caption)}"]
    return "\n".join(lines) + "\n"


def _in_markdown(text: str) -> str:
    return text.replace("|", r"\|")


_LATEX = {
    "\\": "\\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    NO_BREAK: "~",
    "\N{MINUS SIGN}": "$-$",
    NONE: "---",
}


def _in_latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
