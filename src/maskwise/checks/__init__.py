"""What is refused before any stage runs, or before it has run for long.

``options`` and ``labels`` need the options alone, ``places`` the project's folders as well, and
``contents`` what ingest and preprocess wrote.
"""

from maskwise.checks.contents import check_fractions, check_subgroups, check_task, check_terms
from maskwise.checks.labels import check_labels
from maskwise.checks.options import (
    Names,
    check_globals,
    check_parameters,
    check_typed,
    names_in_files,
)
from maskwise.checks.places import check_idle, check_weights, check_writable

__all__ = [
    "Names",
    "check_fractions",
    "check_globals",
    "check_idle",
    "check_labels",
    "check_parameters",
    "check_subgroups",
    "check_task",
    "check_terms",
    "check_typed",
    "check_weights",
    "check_writable",
    "names_in_files",
]
