"""One page drawn for all."""

import pytest

from maskwise.report.inputs import Report, ReportInputs
from maskwise.report.page import render
from report.synthetic import study


@pytest.fixture(scope="session")
def inputs() -> ReportInputs:
    """Return three seeds of five recipes, in which pre-training helps."""
    return study()


@pytest.fixture(scope="session")
def report(inputs: ReportInputs) -> Report:
    """Return the page of ``inputs``."""
    return render(inputs)
