"""A name that stands in the options and is known nowhere."""

from collections.abc import Collection

from maskwise.errors import hint, shown


def unknown(where: str, kind: str, name: str, known: Collection[str]) -> str:
    """Return what is wrong about ``name``, nothing where it is known."""
    return (
        ""
        if name in known
        else f"{where}: there is no {kind} {shown(name)}; {hint(name, known)}"
    )
