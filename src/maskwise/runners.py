"""`--runner maskwise.runners.RayRunner`: nodes on all machines of a Ray cluster.

Kedro has no runner for several machines. Ray finds each node a machine, and another when that
dies; here stands only what waits for what. Artefacts go through the catalog's storage, which
all machines share; tables that the pipeline keeps in memory go from worker to worker through
Ray's object store. Nothing passes through this process.
"""

import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from kedro.framework import project
from kedro.pipeline import Node, Pipeline
from kedro.runner import AbstractRunner

from maskwise.config import parse
from maskwise.errors import UserError, listed
from maskwise.pipelines.standing import address_of
from maskwise.progress import SECONDS_BETWEEN_LINES, spoken
from maskwise.ray_cluster import RayOptions, check_machines, cluster, threads
from maskwise.ray_worker import WorkerSetup, run_node
from maskwise.resources import ResourcesConfig
from maskwise.side_by_side import FAREWELL
from maskwise.wording import count

log = logging.getLogger(__name__)

MOST_NAMED = 8
"""Nodes in one line of the log."""


class RayRunner(AbstractRunner):
    """Deals nodes out as soon as their inputs exist, each with what its stage may take."""

    def __init__(self, is_async: bool = False, **options: Any) -> None:
        super().__init__(is_async=is_async)
        self._options = options  # read in the run, where a mistake is told as any other

    def _get_executor(self, max_workers: int) -> None:
        return None

    def _run(
        self, pipeline: Pipeline, catalog: Any, hook_manager: Any = None, run_id: Any = None
    ) -> None:
        options = parse(RayOptions, self._options, "--runner-params")
        block = catalog.load("parameters").get("resources", {})
        resources = parse(ResourcesConfig, block, "resources")
        with cluster(options) as ray:
            stages = {min(node.tags) for node in pipeline.nodes}
            check_machines(ray, {stage: resources.of([stage]).of_ray() for stage in stages})
            import cloudpickle  # which comes with Ray

            logging_config = dict(getattr(project.LOGGING, "data", {}))
            setup = WorkerSetup(Path.cwd(), project.PACKAGE_NAME, logging_config, run_id)
            # The catalog knows environment and runtime parameters.
            shared = ray.put((setup, cloudpickle.dumps(catalog)))
            work = ray.remote(run_node)
            # A process that has used one GPU cannot move to another, and keeps its memory.
            work_on_gpu = ray.remote(max_calls=1)(run_node)
            kept: dict[str, Any] = {}  # references to what stays in memory, by name

            def submit(node: Node) -> Any:
                given = [name for name in node.inputs if name in kept]
                memory = [name for name in node.outputs if catalog.get(name)._EPHEMERAL]
                wanted = resources.of(node.tags)
                asked: dict[str, Any] = dict(
                    name=address_of(node),
                    max_retries=options.retries,
                    num_returns=1 + len(memory),
                    **wanted.of_ray(),
                )
                if wanted.cpu > 1:  # others have one thread: Ray starts workers for this node
                    asked["runtime_env"] = {"env_vars": threads(wanted.cpu)}
                task = (work_on_gpu if wanted.gpu else work).options(**asked)
                pickled = cloudpickle.dumps(node)
                found = task.remote(shared, pickled, memory, given, *map(kept.get, given))
                first, *others = found if memory else [found]
                kept.update(zip(memory, others, strict=True))
                return first

            _follow(ray, pipeline, submit)


def _follow(ray: Any, pipeline: Pipeline, submit: Callable[[Node], Any]) -> None:
    """Submit what can begin, say how it goes, and raise ``UserError`` if anything failed."""
    waiting, made = list(pipeline.nodes), set(pipeline.inputs())
    running: dict[Any, Node] = {}
    failed: dict[Node, str] = {}
    lost: list[Node] = []
    begun = time.monotonic()
    try:
        while True:
            for node in [each for each in waiting if made.issuperset(each.inputs)]:
                waiting.remove(node)
                running[submit(node)] = node
            if not running:
                break
            for reference in ray.wait(list(running), timeout=SECONDS_BETWEEN_LINES)[0]:
                node = running.pop(reference)
                said = _said(ray, reference, address_of(node))
                if said is None:
                    made.update(node.outputs)
                else:
                    failed[node] = said
            lost += _lost(waiting, [*failed, *lost])
            waiting = [node for node in waiting if node not in lost]
            to_come = len(waiting) + len(running)
            ended = len(pipeline.nodes) - len(lost) - to_come
            log.info(
                "%d of %s ended; at work or in the queue: %s%s",
                ended,
                count(len(pipeline.nodes), "node"),
                _names(running.values()) or "none",
                _left(time.monotonic() - begun, ended, to_come),
            )
    except KeyboardInterrupt:  # SIGTERM as well
        for reference in running:
            ray.cancel(reference)
        if running:
            ray.wait(list(running), num_returns=len(running), timeout=FAREWELL)
        raise
    if failed:
        names = "; ".join(f"{address_of(node)}: {said}" for node, said in failed.items())
        unbegun = f"What depends on that ({_names(lost)}) was not started; e" if lost else "E"
        raise UserError(
            f"{len(failed)} of {count(len(pipeline.nodes), 'node')} failed ({names}). {unbegun}"
            "verything else was made. Mend what failed, and run the same command with "
            "--only-missing-outputs"
        )


def _lost(waiting: Iterable[Node], unmade: Iterable[Node]) -> list[Node]:
    """Return which nodes, in the order in which they run, need outputs of ``unmade``."""
    lacking = {name for node in unmade for name in node.outputs}
    found = []
    for node in waiting:
        if not lacking.isdisjoint(node.inputs):
            lacking.update(node.outputs)
            found.append(node)
    return found


def _left(seconds: float, ended: int, to_come: int) -> str:
    """Say how long the rest takes at the speed so far, once there is one."""
    return f"; about {spoken(seconds / ended * to_come)} left" if ended and to_come else ""


def _names(nodes: Any) -> str:
    return listed([address_of(node) for node in nodes], MOST_NAMED)


def _said(ray: Any, reference: Any, name: str) -> str | None:
    """Return why a task failed, and log it; None if it ended well."""
    try:
        ray.get(reference)
        return None
    except ray.exceptions.RayTaskError as error:
        mended = isinstance(error.cause, UserError)
        said = str(error.cause) if mended else f"{type(error.cause).__name__}: {error.cause}"
        log.error("%s failed: %s", name, said if mended else error)  # with its traceback
    except ray.exceptions.RayError as error:
        reason = str(error).strip().partition("\n")[0]
        said = f"its worker or machine died, again and again ({reason}); is there memory left?"
        log.error("%s failed: %s", name, said)
    return said
