"""`kedro study`: all replicates of a source that are not there yet, several side by side.

Each replicate is a run of Kedro in a process of its own, so that what one does to it costs that
one only, and a study that was broken off goes on where it was: what is there is not made again,
and one that was in the middle goes on from its checkpoint. Processes are forked from this
one, which has imported what they need: imports would take longer than a small replicate.
"""

import gc
import importlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import ProjectMetadata

from maskwise.errors import UserError, hint, listed
from maskwise.experiment import read_studies
from maskwise.replicates import Replicate, Study
from maskwise.session import MaskwiseSession, check_environment, check_files, telling
from maskwise.side_by_side import Done, Job, run, share_threads
from maskwise.typed_params import read_params
from maskwise.wording import count
from maskwise.workers import available_cores

if TYPE_CHECKING:
    from maskwise.evaluate.config import EvaluateConfig

BEFORE = ("generate", "ingest", "preprocess")
"""What all replicates share."""
AFTER = ("evaluate", "report")
IMPORTED = ("maskwise.checks", "pandas", "sklearn.linear_model", "torch._dynamo", "sympy")
"""What every replicate imports, sooner or later."""


@dataclass(frozen=True)
class Asked:
    """Which project, and with which options."""

    project: Path
    env: str | None
    params: str
    """As typed."""

    def options(self) -> list[str]:
        """Return them as `kedro run` takes them."""
        env = ["--env", self.env] if self.env else []
        return [*env, *(["--params", self.params] if self.params else [])]


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
        asked = Asked(Path(metadata.project_path), env, params)
        _make(asked, chosen_study(asked, source, "study"), side_by_side)


def chosen_study(asked: Asked, source: str, command: str) -> Study:
    """Return the study that ``command`` was asked for, in whose project it stands from then on.

    Raises:
        UserError: if there is no such source or environment, or a file of conf is no YAML.
    """
    check_environment(asked.project / "conf", asked.env)
    check_files(asked.project / "conf", ("base", asked.env or "local"))
    studies = read_studies(asked.project)
    if source not in studies:
        raise UserError(f"{command}: there is no source {source!r}; {hint(source, studies)}")
    os.chdir(asked.project)  # where paths in options begin
    return studies[source]


def _make(asked: Asked, chosen: Study, at_once: int) -> None:
    alone = dict(os.environ)
    share_threads(max(1, _cores() // at_once))
    from maskwise.pipelines import parsing

    context = context_of(asked)
    check_primary(chosen, parsing.evaluate(context.params.get("evaluate") or {}, "evaluate"))
    if lacks_images(chosen, context.catalog):
        _stage(asked, chosen.source, BEFORE, alone)
    catalog = context_of(asked).catalog
    logs = asked.project / "data/study" / chosen.source
    jobs = [
        job(one, chosen, logs, partial(make, one, stages, asked))
        for one, stages in missing(chosen, catalog.exists).items()
    ]
    there = len(chosen.all_replicates) - len(jobs)
    if jobs:
        _import(chosen.source)
    click.echo(f"{count(len(jobs), 'replicate')} to make, {there} there already.")
    failed = [done for done in _told(jobs, at_once) if done.code != 0]
    if failed:
        names = listed([done.job.name for done in failed])
        raise UserError(
            f"study {chosen.source}: {count(len(failed), 'replicate')} failed ({names}), "
            f"and so nothing was scored; their logs are in {logs}; run the same command again "
            "when what they name is mended"
        )
    _stage(asked, chosen.source, AFTER if chosen.finetunes else AFTER[1:], alone)


def check_primary(chosen: Study, config: "EvaluateConfig") -> None:
    """Raise ``UserError`` where a question was named that no replicate of the study answers."""
    primary = config.primary.get(chosen.source)
    if primary is None or not chosen.finetunes:
        return
    where = f"evaluate.primary.{chosen.source}"
    for recipe in (name for pair in primary.comparisons for name in pair):
        if recipe not in chosen.recipes:
            raise UserError(
                f"{where}.comparisons: {recipe!r} is not among the recipes of this study; "
                f"{hint(recipe, chosen.recipes)}"
            )
    if primary.fraction not in chosen.fractions:
        raise UserError(
            f"{where}.fraction: {primary.fraction} is not among the study's fractions, "
            f"{listed(map(str, chosen.fractions))}"
        )


def job(replicate: Replicate, chosen: Study, logs: Path, work: Callable[[], object]) -> Job:
    """Return the ``work`` that makes a replicate, and what must be made before."""
    before = chosen.before(replicate)
    return Job(
        name=replicate.namespace,
        work=work,
        log=logs / f"{replicate.namespace}.log",
        after=None if before is None else before.namespace,
    )


def make(replicate: Replicate, stages: Sequence[str], asked: Asked) -> None:
    """Run stages of a replicate as `kedro run` does; leave this process if that fails."""
    try:
        run_stages(asked, replicate.source, stages, replicate.namespace)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)


def run_stages(
    asked: Asked, source: str, stages: Sequence[str], namespace: str | None = None
) -> None:
    """Run stages of a source, or of what is in one namespace of it, in this process."""
    with MaskwiseSession.create(
        asked.project, env=asked.env, runtime_params=read_params(asked.params)
    ) as session:
        cast(MaskwiseSession, session).run(
            pipeline_names=[source],
            tags=list(stages),
            namespaces=None if namespace is None else [namespace],
        )


def _import(source: str) -> None:
    """Import what replicates need, and register pipelines, once for all of them."""
    for name in IMPORTED:
        importlib.import_module(name)
    pipelines.set_requested([source])  # as each run does, which registers them anew otherwise
    pipelines.keys()
    gc.freeze()  # the forked processes share its memory


def missing(chosen: Study, exists: Callable[[str], bool]) -> dict[Replicate, list[str]]:
    """Return which stages each replicate lacks, one seed of every recipe after the other.

    An encoder that is there is kept: fine-tuning that was broken off begins again from it.
    """
    found: dict[Replicate, list[str]] = {}
    for one in sorted(chosen.all_replicates, key=lambda one: chosen.seeds.index(one.seed)):
        trained = all(map(exists, one.datasets("encoder", "history", "gallery", "policy")))
        stages = [] if trained else ["pretrain"]
        if chosen.finetunes and not (trained and exists(one.dataset("predictions"))):
            stages.append("finetune")
        if stages:
            found[one] = stages
    return found


def lacks_images(chosen: Study, catalog: Any) -> bool:
    """Return whether what all replicates share is yet to be made."""
    return not all(catalog.exists(chosen.dataset(name)) for name in ("store", "splits"))


def context_of(asked: Asked) -> Any:
    """Return Kedro's context of the project, with parameters and catalog."""
    with KedroSession.create(
        asked.project, env=asked.env, runtime_params=read_params(asked.params)
    ) as session:
        return cast(KedroSession, session).load_context()


def _stage(
    asked: Asked, source: str, tags: Sequence[str], environment: Mapping[str, str]
) -> None:
    """Run a stage in the foreground, on all cores; leave with its exit code where it fails."""
    command = [sys.executable, "-m", "kedro", "run", "--pipelines", source, *asked.options()]
    command += ["--tags", ",".join(tags)]
    code = subprocess.run(command, cwd=asked.project, env=environment, check=False).returncode
    if code:
        raise click.exceptions.Exit(code)


def _told(jobs: Sequence[Job], at_once: int) -> Iterable[Done]:
    """Run all and say how each ended, and when all are likely to have."""
    begun = time.monotonic()
    for number, done in enumerate(run(jobs, at_once), start=1):
        spent = time.monotonic() - begun
        left = spent / number * (len(jobs) - number)
        what = f"took {minutes(done.seconds)}" if done.code == 0 else _why(done)
        click.echo(
            f"{number} of {len(jobs)}: {done.job.name} {what}; about {minutes(left)} left"
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


def minutes(seconds: float) -> str:
    """Say how long something took."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
