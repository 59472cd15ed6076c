"""`kedro study`: all replicates of a source that are not there yet, several side by side.

Each replicate is a `kedro run` of its own, so that what one does to its process costs that one
only, and a study that was broken off goes on where it was: what is there is not made again, and
a replicate that was in the middle goes on from its checkpoint.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import click
from kedro.framework.session import KedroSession
from kedro.framework.startup import ProjectMetadata

from maskwise.errors import UserError, hint, listed
from maskwise.replicates import Replicate, Study, read_studies
from maskwise.session import telling
from maskwise.side_by_side import Done, Job, run
from maskwise.wording import count
from maskwise.workers import available_cores

BEFORE = ("generate", "ingest", "preprocess")
"""What all replicates share."""
AFTER = ("evaluate", "report")


@click.command()
@click.argument("source")
@click.option(
    "--side-by-side",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Replicates that run at once; the cores are shared out among them.",
)
@click.option("--env", "-e", default=None, help="Settings, as of `kedro run`.")
@click.option("--params", default="", help="Options, as of `kedro run`.")
@click.pass_obj
def study(
    metadata: ProjectMetadata, source: str, side_by_side: int, env: str | None, params: str
) -> None:
    """Make what is missing of a source: stages, replicates, scores and report.

    A replicate whose predictions are there is left as it is, even if its options have changed
    since; `dvc repro` looks at those.
    """
    with telling():
        project = Path(metadata.project_path)
        studies = read_studies(project)
        if source not in studies:
            raise UserError(f"study: there is no source {source!r}; {hint(source, studies)}")
        asked = ["--env", env] if env else []
        asked += ["--params", params] if params else []
        _make(project, studies[source], side_by_side, env, asked)


def _make(
    project: Path, chosen: Study, at_once: int, env: str | None, asked: Sequence[str]
) -> None:
    check_primary(chosen, _options(project, env))
    kedro = [sys.executable, "-m", "kedro", "run", "--pipelines", chosen.source, *asked]
    catalog = _context(project, env).catalog
    if not all(catalog.exists(chosen.dataset(name)) for name in ("store", "splits")):
        _stage(kedro, BEFORE, project)
    missing = _missing(project, chosen, env)
    logs = project / "data/study" / chosen.source
    jobs = [job(kedro, one, chosen, logs) for one in missing]
    there = len(chosen.all_replicates) - len(jobs)
    click.echo(f"{count(len(jobs), 'replicate')} to make, {there} there already.")
    failed = [done for done in _told(jobs, at_once, project) if done.code != 0]
    if failed:
        names = listed([done.job.name for done in failed])
        raise UserError(
            f"study {chosen.source}: {count(len(failed), 'replicate')} failed ({names}), "
            f"and so nothing was scored; their logs are in {logs}; run the same command again "
            "when what they name is mended"
        )
    _stage(kedro, AFTER if chosen.finetunes else AFTER[1:], project)


def check_primary(chosen: Study, options: Mapping[str, Any]) -> None:
    """Raise ``UserError`` where a question was named that no replicate of the study answers."""
    primary = (options.get("primary") or {}).get(chosen.source)
    if not primary:
        return
    where = f"evaluate.primary.{chosen.source}"
    for pair in primary["comparisons"]:
        for recipe in pair:
            if recipe not in chosen.recipes:
                raise UserError(
                    f"{where}.comparisons: {recipe!r} is not among the recipes of this study; "
                    f"{hint(str(recipe), chosen.recipes)}"
                )
    if primary["fraction"] not in chosen.fractions:
        raise UserError(
            f"{where}.fraction: {primary['fraction']} is not among the study's fractions, "
            f"{listed(map(str, chosen.fractions))}"
        )


def job(kedro: Sequence[str], replicate: Replicate, chosen: Study, logs: Path) -> Job:
    """Return the command that makes a replicate."""
    tags = "pretrain,finetune" if chosen.finetunes else "pretrain"
    before = chosen.before(replicate)
    return Job(
        name=replicate.namespace,
        command=[*kedro, "--tags", tags, "--namespaces", replicate.namespace],
        log=logs / f"{replicate.namespace}.log",
        after=None if before is None else before.namespace,
    )


def _missing(project: Path, chosen: Study, env: str | None) -> list[Replicate]:
    """Return the replicates that are not there, one seed of every recipe after the other."""
    last = "predictions" if chosen.finetunes else "encoder"
    replicates = sorted(chosen.all_replicates, key=lambda one: chosen.seeds.index(one.seed))
    catalog = _context(project, env).catalog
    return [one for one in replicates if not catalog.exists(one.dataset(last))]


def _options(project: Path, env: str | None) -> dict[str, Any]:
    return dict(_context(project, env).params.get("evaluate") or {})


def _context(project: Path, env: str | None) -> Any:
    with KedroSession.create(project, env=env) as session:
        return cast(KedroSession, session).load_context()


def _stage(kedro: Sequence[str], tags: Sequence[str], project: Path) -> None:
    """Run a stage in the foreground; leave with its exit code where it fails."""
    code = subprocess.run(
        [*kedro, "--tags", ",".join(tags)], cwd=project, check=False
    ).returncode
    if code:
        raise click.exceptions.Exit(code)


def _told(jobs: Sequence[Job], at_once: int, project: Path) -> Iterable[Done]:
    """Run all and say how each ended, and when all are likely to have."""
    threads = max(1, _cores() // at_once)
    begun = time.monotonic()
    for number, done in enumerate(run(jobs, at_once, threads, project), start=1):
        spent = time.monotonic() - begun
        left = spent / number * (len(jobs) - number)
        what = f"took {_minutes(done.seconds)}" if done.code == 0 else _why(done)
        click.echo(
            f"{number} of {len(jobs)}: {done.job.name} {what}; about {_minutes(left)} left"
        )
        yield done


def _why(done: Done) -> str:
    if done.code is None:
        return f"was not begun, because {done.job.after} failed"
    lines = done.job.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"FAILED ({lines[-1] if lines else f'exit code {done.code}'})"


def _cores() -> int:
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() and int(asked) > 0 else available_cores()


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
