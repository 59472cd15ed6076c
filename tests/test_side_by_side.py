"""Commands side by side: order, threads, what fails, and what is told to stop."""

import sys
from pathlib import Path

import pytest

from maskwise.side_by_side import Done, Job, run


def job(folder: Path, name: str, code: str, after: str | None = None) -> Job:
    return Job(name, [sys.executable, "-c", code], folder / "logs" / f"{name}.log", after)


def outcomes(folder: Path, *jobs: Job, at_once: int = 2) -> dict[str, Done]:
    return {done.job.name: done for done in run(jobs, at_once, 3, folder)}


def stamp(folder: Path, name: str) -> str:
    return f"open({str(folder / name)!r}, 'x').write(str(__import__('time').time()))"


def test_no_more_run_at_once_than_were_asked_for(tmp_path: Path) -> None:
    # Would fail beside another.
    code = "import os, time; open('busy', 'x').close(); time.sleep(0.3); os.remove('busy')"
    found = outcomes(tmp_path, *(job(tmp_path, str(n), code) for n in range(3)), at_once=1)
    assert [done.code for done in found.values()] == [0, 0, 0]


def test_two_run_beside_one_another(tmp_path: Path) -> None:
    wait = (
        "import os, time, sys; open(sys.argv[1], 'x').close()\n"
        "for _ in range(300):\n"
        "    if os.path.exists(sys.argv[2]): sys.exit(0)\n"
        "    time.sleep(0.1)\n"
        "sys.exit(1)"
    )
    jobs = [
        Job(one, [sys.executable, "-c", wait, one, other], tmp_path / f"{one}.log")
        for one, other in (("a", "b"), ("b", "a"))
    ]
    assert {done.code for done in run(jobs, 2, 1, tmp_path)} == {0}


def test_one_that_fails_leaves_the_others_alone_and_what_waits_for_it_unbegun(
    tmp_path: Path,
) -> None:
    found = outcomes(
        tmp_path,
        job(tmp_path, "waits", stamp(tmp_path, "waited"), after="fails"),
        job(tmp_path, "fails", "print('why'); raise SystemExit(3)"),
        job(tmp_path, "well", "pass"),
        job(tmp_path, "follows", stamp(tmp_path, "followed"), after="well"),
        job(tmp_path, "free", "pass", after="made before"),
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


def test_each_has_its_share_of_the_threads(tmp_path: Path) -> None:
    outcomes(tmp_path, job(tmp_path, "a", "import os; print(os.environ['OMP_NUM_THREADS'])"))
    assert (tmp_path / "logs/a.log").read_text() == "3\n"


def test_an_interruption_asks_all_to_stop_and_waits_for_them(tmp_path: Path) -> None:
    saves = (
        "import signal, sys, time\n"
        "def stop(*_):\n"
        "    time.sleep(0.3); open('saved', 'x').close(); sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, stop); open('ready', 'x').close(); time.sleep(60)"
    )
    waits = "while not __import__('os').path.exists('ready'): pass"
    done = run([job(tmp_path, "a", saves), job(tmp_path, "b", waits)], 2, 1, tmp_path)
    next(done)  # b has ended, a is at work
    with pytest.raises(KeyboardInterrupt):
        done.throw(KeyboardInterrupt)
    assert (tmp_path / "saved").exists()
