"""Whatever happens while something is written, the previous output stays as it was."""

import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from maskwise.artefacts.atomic import replacing, replacing_folder
from maskwise.errors import UserError


@pytest.fixture(params=["file", "folder"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def write(path: Path, text: str, kind: str, error: BaseException | None = None) -> None:
    """Write ``text`` as a file, or as a file in a folder, and meet ``error`` half-way."""
    if kind == "file":
        with replacing(path) as temporary:
            temporary.write_text(text)
            if error:
                raise error
    else:
        with replacing_folder(path) as temporary:
            (temporary / "content").write_text(text)
            if error:
                raise error


def read(path: Path) -> str:
    return (path / "content" if path.is_dir() else path).read_text()


def test_a_new_output_replaces_the_previous_one(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "new folder" / "100 % äöü"
    write(path, "first", kind)
    write(path, "second", kind)
    assert read(path) == "second"
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("defect")])
def test_an_interrupted_write_leaves_the_previous_output_and_nothing_else(
    tmp_path: Path, kind: str, error: BaseException
) -> None:
    path = tmp_path / "output"
    write(path, "first", kind)
    with pytest.raises(type(error)):
        write(path, "second", kind, error)
    assert read(path) == "first"
    assert [p.name for p in tmp_path.iterdir()] == ["output"]


def test_others_may_read_what_was_written(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "output", "first", kind)
    assert (tmp_path / "output").stat().st_mode & 0o044 == 0o044


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_folder_that_may_not_be_written_is_named(
    tmp_path: Path, kind: str, code: int
) -> None:
    with pytest.raises(UserError, match="output: may not be written; check the permissions"):
        write(tmp_path / "output", "first", kind, OSError(code, "refused"))


def _as_torch_puts_it() -> Exception:
    error = RuntimeError("unexpected pos 64 vs 0")
    error.__context__ = OSError(errno.ENOSPC, "No space left on device")
    return error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        _as_torch_puts_it(),
        Exception("Error while serializing: No space left on device (os error 28)"),
    ],
    ids=["the system", "a quota", "torch", "safetensors"],
)
def test_a_disk_that_fills_up_while_writing_is_told_as_such_and_the_previous_output_stays(
    tmp_path: Path, kind: str, error: Exception
) -> None:
    write(tmp_path / "output", "first", kind)
    with pytest.raises(UserError, match="output: the disk is full; free some space and run"):
        write(tmp_path / "output", "second", kind, error)
    assert read(tmp_path / "output") == "first"
    assert [p.name for p in tmp_path.iterdir()] == ["output"]


def test_another_failure_of_the_system_keeps_its_own_words(tmp_path: Path, kind: str) -> None:
    with pytest.raises(OSError, match="broken cable"):
        write(tmp_path / "output", "first", kind, OSError(errno.EIO, "broken cable"))


KILLED = """
import os, signal, sys
from pathlib import Path
from maskwise.artefacts.atomic import replacing, replacing_folder
with (replacing if sys.argv[2] == "file" else replacing_folder)(Path(sys.argv[1])):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_run_left_is_swept_away_by_the_next(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "output"
    write(path, "first", kind)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path), kind], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2
    assert read(path) == "first"
    write(path, "second", kind)
    assert [p.name for p in tmp_path.iterdir()] == ["output"]
    assert read(path) == "second"


def test_a_run_killed_between_its_two_renames_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "output"
    write(path, "first", "folder")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(path), "folder"], check=False, capture_output=True
    )
    assert killed.returncode == -signal.SIGKILL
    leftover = next(p for p in tmp_path.iterdir() if p.name != "output")
    path.rename(leftover.with_name(f"{leftover.name}.old"))
    with pytest.raises(ValueError, match="defect"):
        write(path, "second", "folder", ValueError("defect"))
    assert read(path) == "first"


def test_two_runs_that_write_at_once_do_not_sweep_each_other_away(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "output"
    door = replacing if kind == "file" else replacing_folder
    with door(path) as mine:
        write(path, "theirs", kind)
        assert mine.exists()
        content = mine if kind == "file" else mine / "content"
        content.write_text("mine")
    assert read(path) == "mine"


WRITER = """
import sys
from pathlib import Path
from maskwise.artefacts.atomic import replacing_folder
for turn in range(200):
    with replacing_folder(Path(sys.argv[1])) as folder:
        (folder / "content").write_text("whole")
"""


def test_two_processes_that_save_one_folder_again_and_again_never_fail(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "output")]
    writers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [writer.communicate()[1] for writer in writers]
    assert errors == ["", ""]
    assert read(tmp_path / "output") == "whole"
    assert [p.name for p in tmp_path.iterdir()] == ["output"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 1 MB, where this user may."""
    disk = tmp_path / "small disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    mounted = shutil.which("mount") and os.geteuid() == 0
    if not mounted or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def _numpy(path: Path) -> None:
    np.save(path.open("wb"), np.zeros(2**21, np.uint8))


def _parquet(path: Path) -> None:
    values = np.random.default_rng(0).random(2**18)
    pd.DataFrame({"value": values}).to_parquet(path)


def _safetensors(path: Path) -> None:
    save_file({"weight": torch.zeros(2**19)}, path)


def _torch(path: Path) -> None:
    with path.open("wb") as file:
        torch.save({"weight": torch.zeros(2**19)}, file)


def _text(path: Path) -> None:
    path.write_text("x" * 2**21)


@pytest.mark.parametrize("writer", [_numpy, _parquet, _safetensors, _torch, _text])
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_is_told_as_such_and_the_previous_output_stays(
    small_disk: Path, writer: object
) -> None:
    assert callable(writer)
    path = small_disk / "output"
    write(path, "first", "file")
    with (
        pytest.raises(UserError, match="output: the disk is full; free some space"),
        replacing(path) as temporary,
    ):
        writer(temporary)
    assert read(path) == "first"
    assert [p.name for p in small_disk.iterdir()] == ["output"]


def test_what_was_written_is_on_the_disk_before_it_takes_its_name(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[tuple[str, bool]] = []
    sync, rename = os.fsync, os.replace

    def noted_sync(handle: int) -> None:
        events.append(("sync", stat.S_ISREG(os.fstat(handle).st_mode)))
        sync(handle)

    def noted_rename(origin: Any, target: Any) -> None:
        events.append(("rename", False))
        rename(origin, target)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(os, "replace", noted_rename)
    write(tmp_path / "output", "new", kind)
    # The file, then its name; last the folder, which holds the name.
    assert events == [("sync", True), ("rename", False), ("sync", False)]
