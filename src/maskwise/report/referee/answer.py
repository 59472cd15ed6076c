"""What an answer to an item of a checklist is, and the places that it leads to."""

from dataclasses import dataclass

Place = tuple[str, str]
"""What a link says, and where it leads."""


@dataclass(frozen=True)
class Answer:
    """A sentence or two, and where more of it stands."""

    text: str
    places: tuple[Place, ...] = ()
    lacks: str = ""
    """What stands against it; the item then is answered in part."""


def report(anchor: str, title: str) -> Place:
    """Return the place of a section of the report."""
    return (f"report: {title}", f"report.html#{anchor}")


DATA, RUN = report("data", "Data"), report("run", "What was run")
METHODS, NUMBERS = report("methods", "Methods side by side"), report("numbers", "How many")
MAKING = report("making", "How this was made")
OPERATING = ("Operating points", "#operating")
CALIBRATION = ("Calibration", "#calibration")
BENEFIT = ("Decision curves", "#benefit")
SUBGROUPS = ("Subgroups", "#subgroups")
ERRORS = ("Most confident errors", "#errors")
CLASSES = ("Classes", "#classes")
