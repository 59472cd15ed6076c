"""Works side by side: order, processes, what fails, and what is told to stop."""

import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from maskwise.side_by_side import Done, Job, run, share_threads


def job(folder: Path, name: str, work: Callable[[], object], after: str | None = None) -> Job:
    return Job(name, work, folder / "logs" / f"{name}.log", after)


def outcomes(*jobs: Job, at_once: int = 2) -> dict[str, Done]:
    return {done.job.name: done for done in run(jobs, at_once)}


def nothing() -> None:
    """End well."""


def alone(folder: Path) -> None:
    """Fail beside another."""
    (folder / "busy").touch(exist_ok=False)
    time.sleep(0.3)
    (folder / "busy").unlink()


def meet(one: Path, other: Path) -> None:
    """Fail unless another comes."""
    one.touch()
    _until(other)


def _until(path: Path) -> None:
    for _ in range(300):
        if path.exists():
            return
        time.sleep(0.1)
    raise SystemExit(1)


def test_no_more_run_at_once_than_were_asked_for(tmp_path: Path) -> None:
    found = outcomes(
        *(job(tmp_path, str(n), partial(alone, tmp_path)) for n in range(3)), at_once=1
    )
    assert [done.code for done in found.values()] == [0, 0, 0]


def test_two_run_beside_one_another(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    found = outcomes(
        job(tmp_path, "a", partial(meet, one, other)),
        job(tmp_path, "b", partial(meet, other, one)),
    )
    assert {done.code for done in found.values()} == {0}


def fail() -> None:
    os.write(1, b"why\n")
    sys.exit(3)


def test_one_that_fails_leaves_the_others_alone_and_what_waits_for_it_unbegun(
    tmp_path: Path,
) -> None:
    found = outcomes(
        job(tmp_path, "waits", (tmp_path / "waited").touch, after="fails"),
        job(tmp_path, "fails", fail),
        job(tmp_path, "well", nothing),
        job(tmp_path, "follows", (tmp_path / "followed").touch, after="well"),
        job(tmp_path, "free", nothing, after="made before"),
    )
    assert {name: done.code for name, done in found.items()} == {
        "waits": None,
        "fails": 3,
        "well": 0,
        "follows": 0,
        "free": 0,
    }
    assert not (tmp_path / "waited").exists()
    assert (tmp_path / "followed").exists()
    assert (tmp_path / "logs/fails.log").read_text() == "why\n"


def test_one_that_is_killed_leaves_this_process_and_the_others_alone(tmp_path: Path) -> None:
    found = outcomes(
        job(tmp_path, "killed", lambda: os.kill(os.getpid(), signal.SIGKILL)),
        job(tmp_path, "well", nothing),
    )
    assert found["killed"].code == -signal.SIGKILL
    assert found["well"].code == 0


def change() -> None:
    os.environ["MASKWISE_TEST"] = "changed"


def test_what_one_does_to_its_process_no_other_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASKWISE_TEST", "as it was")
    written = tmp_path / "seen"
    outcomes(
        job(tmp_path, "changes", change),
        job(
            tmp_path,
            "looks",
            lambda: written.write_text(os.environ["MASKWISE_TEST"]),
            after="changes",
        ),
    )
    assert written.read_text() == os.environ["MASKWISE_TEST"] == "as it was"


def test_threads_are_shared_out_by_the_names_that_libraries_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    for name in names:
        monkeypatch.setenv(name, "8")
    share_threads(3)
    assert [os.environ[name] for name in names] == ["3", "3", "3"]


def save(folder: Path) -> None:
    """Save when told to stop, which takes a moment."""

    def stop(*_: object) -> None:
        time.sleep(0.3)
        (folder / "saved").touch()
        sys.exit(143)

    signal.signal(signal.SIGTERM, stop)
    (folder / "ready").touch()
    time.sleep(60)


def test_an_interruption_asks_all_to_stop_and_waits_for_them(tmp_path: Path) -> None:
    waits = partial(_until, tmp_path / "ready")
    done = run([job(tmp_path, "a", partial(save, tmp_path)), job(tmp_path, "b", waits)], 2)
    next(done)  # b has ended, a is at work
    with pytest.raises(KeyboardInterrupt):
        done.throw(KeyboardInterrupt)
    assert (tmp_path / "saved").exists()
