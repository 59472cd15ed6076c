"""`kedro run` of this project: Kedro's own, but a path in `--params` means what was typed."""

import copy
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run

from maskwise.errors import UserError
from maskwise.join_command import join
from maskwise.new_source_command import new_source
from maskwise.replay_command import replay
from maskwise.slurm_command import slurm
from maskwise.study_command import study
from maskwise.typed_params import read_params


def _read(context: click.Context, option: click.Parameter, given: Any) -> dict[str, Any]:
    """Read the option for click; a file of `--config` may give a block instead of text."""
    del context, option
    if isinstance(given, dict):
        return given
    try:
        return read_params(given)
    except UserError as error:
        raise click.ClickException(str(error)) from None


def _with_text(command: click.Command) -> click.Command:
    """Return Kedro's command with `--params` read as above."""
    own = copy.copy(command)
    own.params = [copy.copy(option) for option in command.params]
    for option in own.params:
        if option.name == "params":
            option.callback = _read
    return own


run = _with_text(kedro_run)


@click.group(name="maskwise")
def cli() -> None:
    """Run the commands of this project; Kedro adds its own to them."""


cli.add_command(run)
cli.add_command(study)
cli.add_command(slurm)
cli.add_command(replay)
cli.add_command(join)
cli.add_command(new_source)
