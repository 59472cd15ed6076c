"""Another process that reads a bucket's objects, started with few imports."""

import multiprocessing
from collections.abc import Sequence
from pathlib import Path

from maskwise.scans.objects import Keeping, bring_folder
from maskwise.scans.raw import locate


def reads_in_a_process(raw: Path | str, keeping: Keeping, paths: Sequence[str]) -> None:
    """Read files of a folder that was brought here, or of a URL that is brought there."""
    process = multiprocessing.get_context("spawn").Process(
        target=_read, args=(raw, keeping, paths)
    )
    process.start()
    process.join()
    assert process.exitcode == 0


def _read(raw: Path | str, keeping: Keeping, paths: Sequence[str]) -> None:
    folder = bring_folder(raw, keeping) if isinstance(raw, str) else raw
    for path in paths:
        assert locate(folder, path).read_bytes()
