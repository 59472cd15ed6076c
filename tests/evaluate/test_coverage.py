"""The simulation in benchmarks/coverage.py speaks of evaluate itself."""

import importlib.util
import sys
from typing import Any

import pytest

from project import PROJECT


def load() -> Any:
    path = PROJECT / "benchmarks/coverage.py"
    spec = importlib.util.spec_from_file_location("coverage_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


COVERAGE = load()
# How far networks are correlated changes what is drawn, not how it is scored.
KINDS = [name for name in COVERAGE.ARMS if "correlated" not in name]
DIGITS = 0.5e-6
"""evaluate writes figures to 6 decimals, so that each may be off by half of the last one."""


@pytest.mark.parametrize("arm", KINDS)
def test_the_simulation_says_what_evaluate_says(arm: str) -> None:
    fast = COVERAGE.simulate(COVERAGE.ARMS[arm], 3, 199)
    whole = COVERAGE.simulate_whole(COVERAGE.ARMS[arm], 3, 199)
    assert fast == pytest.approx(whole, rel=0, abs=1.001 * DIGITS, nan_ok=True)


@pytest.mark.parametrize("arm", KINDS[:1])
def test_intervals_hold_the_truth_and_p_is_rare_where_nothing_differs(arm: str) -> None:
    studies = [COVERAGE.simulate(COVERAGE.ARMS[arm], number, 399) for number in range(200)]
    held = sum(one["low"] <= one["truth"] <= one["high"] for one in studies)
    low = sum(one["p"] <= 0.05 for one in studies)
    # 200 studies tell .95 to within .03: three standard errors are .046.
    assert 0.90 < held / 200 < 1.0
    assert low / 200 < 0.10
