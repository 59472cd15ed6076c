"""A node in a worker of Ray, which has to become like the process that submitted it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kedro.runner.task import Task

from maskwise.errors import UserError
from maskwise.pipelines.standing import abandon
from maskwise.session import mendable


@dataclass(frozen=True)
class WorkerSetup:
    """How a worker becomes like this process; the catalog goes to it beside this."""

    folder: Path
    """Where paths in options begin."""
    package: str | None
    logging: dict[str, Any]
    run_id: Any


def run_node(
    shared: tuple[WorkerSetup, bytes],
    node: bytes,
    memory: list[str],
    given: list[str],
    *values: Any,
) -> Any:
    """Run one node in a worker; return None, and what of its outputs stays in memory."""
    import cloudpickle

    setup, pickled = shared
    if not setup.folder.is_dir():
        raise UserError(
            f"{os.uname().nodename}: there is no {setup.folder}; the project's folder must lie "
            "where all machines of the cluster see it, under the same path"
        )
    os.chdir(setup.folder)
    if setup.package is not None:
        Task._bootstrap_subprocess(setup.package, setup.logging)
    catalog = cloudpickle.loads(pickled)
    for name, value in zip(given, values, strict=True):
        catalog.save(name, value)
    hooks = Task._run_node_synchronization()
    try:
        Task(cloudpickle.loads(node), catalog, False, hooks, setup.run_id).execute()
    except BaseException as error:
        abandon(error)
        mended = mendable(error)  # now: of an error's causes nothing would arrive
        if mended is None:
            raise
        raise mended from None
    return (None, *map(catalog.load, memory)) if memory else None
