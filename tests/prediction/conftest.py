"""What the tests of predict share."""

from pathlib import Path

import pytest

from prediction.drawn import draw


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Six grey scans in a folder with a subfolder; names as people give them."""
    for i in range(6):
        draw(tmp_path / "scans" / ("ältere" if i % 2 else "") / f"scan {i} 50%.png", seed=i)
    return tmp_path / "scans"
