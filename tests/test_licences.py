"""What `make check` says of a package's licence."""

import subprocess
import sys
from pathlib import Path

import pytest

from project import PROJECT

SCRIPT = PROJECT / ".ci/licences.py"


def install(folder: Path, name: str, *lines: str) -> None:
    """Lay down the metadata of a package."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    text = "\n".join(["Metadata-Version: 2.4", f"Name: {name}", "Version: 1.0", *lines, ""])
    (info / "METADATA").write_text(text, encoding="utf-8")


def check(folder: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder)], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout


def test_every_package_that_is_installed_may_be(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_what_is_under_the_gpl_or_does_not_say_is_named_and_fails(tmp_path: Path) -> None:
    refused = {
        "viral": ["License-Expression: GPL-3.0-or-later"],
        "network": ["License-Expression: AGPL-3.0-only"],
        "lesser": ["License-Expression: LGPL-3.0-or-later"],
        "both": ["License-Expression: MIT AND GPL-2.0-only"],
        "strings": ["License-Expression: Apache-2.0 WITH Font-exception-2.0"],
        "older": ["Classifier: License :: OSI Approved :: GNU General Public License (GPL)"],
        "texts": ["License: GPLv3"],
        "mixed": ["License: MIT", "Classifier: License :: OSI Approved :: GNU Affero GPL"],
        "silent": [],
        "vague": ["Classifier: License :: OSI Approved"],
        "own": ["License: Proprietary"],
        # Is excepted for what it says today, which is something else.
        "pygit2": ["License-Expression: GPL-2.0-only"],
    }
    for name, lines in refused.items():
        install(tmp_path, name, *lines)
    code, said = check(tmp_path)
    assert code == 1
    assert [line.split()[0] for line in said.splitlines()] == sorted(refused)
    assert "viral 1.0: its licence is GPL-3.0-or-later" in said
    assert "silent 1.0: its licence is nothing" in said


@pytest.mark.parametrize(
    "lines",
    [
        ["License-Expression: MIT"],
        ["License-Expression: Apache-2.0 OR GPL-2.0-or-later"],
        ["License-Expression: MPL-2.0 AND (Apache-2.0 OR MIT)"],
        ["License-Expression: Apache-2.0 AND Apache-2.0 WITH LLVM-exception"],
        ["License: Apache 2.0"],
        ["Classifier: License :: OSI Approved :: BSD License"],
        ["License: UNKNOWN", "Classifier: License :: OSI Approved :: MIT License"],
    ],
)
def test_what_leaves_a_way_that_is_allowed_passes(tmp_path: Path, lines: list[str]) -> None:
    install(tmp_path, "free", *lines)
    assert check(tmp_path) == (0, "1 packages, all under licences that are allowed\n")
