"""`kedro replay`: a step whose loss was no number, made again from the file that kept it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
from kedro.framework.session import KedroSession
from kedro.framework.startup import ProjectMetadata

from maskwise.errors import UserError, hint
from maskwise.experiment import read_studies
from maskwise.replicates import Replicate
from maskwise.session import check_environment, check_files, telling
from maskwise.typed_params import read_params

if TYPE_CHECKING:
    from maskwise.pretrain.divergence import Replayed

MOST = 5
"""Parameters that are named."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--env", "-e", default=None, help="Settings, as of `kedro run`.")
@click.option("--params", default="", help="Options, as of `kedro run`.")
@click.pass_obj
def replay(metadata: ProjectMetadata, file: Path, env: str | None, params: str) -> None:
    """Make a step again whose loss was no number, and say where it broke.

    FILE is one that pretrain named when it stopped. Nothing is trained, and nothing is written.
    """
    with telling():
        file = file.absolute()
        project = Path(metadata.project_path)
        check_environment(project / "conf", env)
        check_files(project / "conf", ("base", env or "local"))
        os.chdir(project)  # where paths in options begin
        from maskwise.pretrain.divergence import read_kept

        origin = read_kept(file).about.origin
        with KedroSession.create(
            project, env=env, runtime_params=read_params(params)
        ) as session:
            context = cast(KedroSession, session).load_context()
            replayed = _replayed(file, origin, context, project)
        for line in lines(replayed):
            click.echo(line)


def _replayed(file: Path, origin: Any, context: Any, project: Path) -> "Replayed":
    from maskwise.pipelines.pretrain import run_of
    from maskwise.pretrain.training import replay_step

    studies = read_studies(project)
    if origin.source not in studies or origin.recipe not in context.params:
        known = studies if origin.source not in studies else context.params
        missing = origin.source if origin.source not in studies else origin.recipe
        raise UserError(
            f"replay: {file} is of {origin.recipe} on {origin.source}, but there is no "
            f"{missing} here; {hint(missing, known)}"
        )
    study = studies[origin.source]
    replicate = Replicate(origin.source, origin.recipe, origin.seed)
    before = study.before(replicate) if origin.recipe in study.recipes else None
    run = run_of(
        context.params[origin.recipe],
        context.params[origin.source]["pretrain"],
        context.params["pretrain"],
        None if before is None else context.catalog.load(before.dataset("policy")),
        replicate,
        project,
    )
    store, splits = (context.catalog.load(study.dataset(name)) for name in ("store", "splits"))
    return replay_step(file, store, splits, run)


def lines(replayed: "Replayed") -> list[str]:
    """Say what came of the step."""
    losses = ", ".join(f"{loss:g}" for loss in replayed.losses)
    least, most = replayed.pixels
    said = [
        f"Loss: {losses}",
        f"Images: from {least:.3g} to {most:.3g}, normalised",
        f"First layer that breaks: {replayed.forward or 'none, forward all is finite'}",
    ]
    broken = replayed.backward
    more = f" and {len(broken) - MOST} more" if len(broken) > MOST else ""
    said.append(f"Gradients that are not finite: {', '.join(broken[:MOST]) or 'none'}{more}")
    largest = ", ".join(f"{name} {value:.3g}" for name, value in replayed.largest)
    said.append(f"Largest weights: {largest}")
    return said
