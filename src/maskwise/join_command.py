"""`kedro join`: this machine takes part in the training that another machine leads."""

import click
from kedro.framework.startup import ProjectMetadata

from maskwise.errors import UserError
from maskwise.session import telling
from maskwise.wording import count


@click.command()
@click.argument("address")
@click.option("--node", type=click.IntRange(1), required=True, help="Which machine, from 1.")
@click.option(
    "--wait",
    type=click.FloatRange(0, 86_400, min_open=True),
    default=300.0,
    show_default=True,
    help="Seconds without a training after which it leaves.",
)
@click.option(
    "--trainings",
    type=click.IntRange(1),
    default=None,
    help="How many to take part in; any number by default.",
)
@click.pass_obj
def join(
    metadata: ProjectMetadata, address: str, node: int, wait: float, trainings: int | None
) -> None:
    """Lend this machine to the trainings at ADDRESS, one after the other.

    ADDRESS is the host:port that pretrain.processes.address of the first machine says. Both
    machines must see the same project in the same folder.
    """
    with telling():
        from maskwise.pretrain import processes
        from maskwise.pretrain.meeting import split

        del metadata
        try:
            split(address)
        except ValueError as error:
            raise UserError(f"join: {error}") from None
        joined = processes.join(address, node, wait, trainings)
        if not joined:
            raise UserError(
                f"join: no training began at {address} within {wait:g} s; start it there with "
                "pretrain.processes.nodes: 2 or more, or let --wait be longer"
            )
        click.echo(f"Took part in {count(joined, 'training')}.")
