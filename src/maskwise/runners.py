"""`--runner maskwise.runners.RayRunner`: nodes on all machines of a Ray cluster.

Kedro has no runner for several machines. Ray finds each node a machine, and another when that
dies; here stands only what waits for what. Artefacts go through the catalog's storage, which
all machines share; tables that the pipeline keeps in memory go from worker to worker through
Ray's object store. Nothing passes through this process.
"""

import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from kedro.framework.project import LOGGING, PACKAGE_NAME
from kedro.pipeline import Node, Pipeline
from kedro.runner import AbstractRunner
from kedro.runner.task import Task

from maskwise.bounds import Within
from maskwise.config import parse
from maskwise.errors import UserError, joined, listed
from maskwise.pipelines import standing
from maskwise.progress import spoken
from maskwise.resources import ResourcesConfig
from maskwise.session import mendable
from maskwise.side_by_side import FAREWELL
from maskwise.wording import count

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 10.0


@dataclass(frozen=True)
class RayOptions:
    """What `--runner-params` may say."""

    address: str | None = None
    """Of the cluster: ``auto`` on one of its machines, else host and port of its head. Without
    it there is a cluster of this machine alone, which ends with the run."""
    num_cpus: Annotated[int, Within(1, 1_024)] | None = None
    """Cores of that cluster of one machine; None = all."""
    retries: Annotated[int, Within(0, 100)] = 3
    """How often a node is tried again whose worker or machine died."""


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
        wanted = {node: resources.of(node.tags).of_ray() for node in pipeline.nodes}
        with _cluster(options) as ray:
            _check_machines(ray, wanted)
            import cloudpickle  # which comes with Ray

            logging_config = dict(LOGGING.data)
            job = (Path.cwd(), PACKAGE_NAME, logging_config, run_id, cloudpickle.dumps(catalog))
            work = ray.remote(_work).options(max_retries=options.retries)
            shared = ray.put(job)
            kept: dict[str, Any] = {}  # references to what stays in memory, by name

            def submit(node: Node) -> Any:
                given = [name for name in node.inputs if name in kept]
                memory = [name for name in node.outputs if catalog.get(name)._EPHEMERAL]
                task = work.options(
                    name=standing.address_of(node),
                    num_returns=1 + len(memory),
                    **wanted[node],
                )
                found = task.remote(
                    shared, cloudpickle.dumps(node), memory, given, *map(kept.get, given)
                )
                first, *others = found if memory else [found]
                kept.update(zip(memory, others, strict=True))
                return first

            _follow(ray, pipeline, submit)


@contextmanager
def _cluster(options: RayOptions) -> Iterator[Any]:
    """Join the cluster, or begin one, for the block."""
    # Read at import: else lines of several nodes that are much alike would be left out.
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    try:
        import ray
    except ImportError:
        raise UserError(
            'RayRunner needs Ray, which is not installed: pip install "maskwise[ray]"'
        ) from None
    passed = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address=options.address or "local",
            num_cpus=options.num_cpus,
            include_dashboard=None if options.address else False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": passed},
        )
    except Exception as error:  # of any kind, among them bare ones
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise UserError(
            f"--runner-params address={options.address}: no cluster of Ray can be joined there "
            f"({reason}); begin one with `ray start --head`, or leave address out to take this "
            "machine alone"
            if options.address
            else f"RayRunner: Ray cannot be started on this machine ({reason}); is it overloaded?"
        ) from None
    finally:
        with suppress(ValueError):  # not in the main thread, where Ray leaves it alone
            signal.signal(signal.SIGTERM, handler)
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_machines(ray: Any, wanted: dict[Node, dict[str, float]]) -> None:
    """Raise ``UserError`` where no machine has what a node asks for: it would wait for ever."""
    machines = [machine["Resources"] for machine in ray.nodes() if machine["Alive"]]
    problems = []
    for node, amounts in wanted.items():
        for key, amount in amounts.items():
            name = {"num_cpus": "CPU", "num_gpus": "GPU"}.get(key, key)
            most = max((machine.get(name, 0) for machine in machines), default=0)
            if amount > most:
                unit = 2**30 if key == "memory" else 1
                problems.append(
                    f"resources.{min(node.tags)}.{name.lower()}: is {amount / unit:g}, but no "
                    f"machine of the cluster has more than {most / unit:.3g}; ask for less, or "
                    "add a machine"
                )
    if problems:
        raise UserError(joined(problems))


def _follow(ray: Any, pipeline: Pipeline, submit: Any) -> None:
    """Submit what can begin, say how it goes, and raise ``UserError`` if anything failed."""
    waiting, made = list(pipeline.nodes), set(pipeline.inputs())
    running: dict[Any, Node] = {}
    failed: dict[str, str] = {}
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
                said = _said(ray, reference)
                if said is None:
                    made.update(node.outputs)
                else:
                    failed[standing.address_of(node)] = said
                    log.error("%s failed: %s", standing.address_of(node), said)
            done = len(pipeline.nodes) - len(waiting) - len(running)
            left = (time.monotonic() - begun) / max(done, 1) * (len(waiting) + len(running))
            at_work = listed([standing.address_of(node) for node in running.values()], 8)
            log.info(
                "%d of %s ended; at work or in the queue: %s; about %s left",
                done, count(len(pipeline.nodes), "node"), at_work or "none", spoken(left),
            )  # fmt: skip
    except KeyboardInterrupt:  # SIGTERM as well
        for reference in running:
            ray.cancel(reference)
        ray.wait(list(running), num_returns=len(running), timeout=FAREWELL)
        raise
    if failed:
        names = "; ".join(f"{name}: {said}" for name, said in failed.items())
        unbegun = listed([standing.address_of(node) for node in waiting], 8)
        raise UserError(
            f"{count(len(failed), 'node')} of {len(pipeline.nodes)} failed ({names}), and so "
            f"{unbegun or 'nothing else'} was not begun; what does not depend on them is "
            "made: mend them, and run the same command with --only-missing-outputs"
        )


def _said(ray: Any, reference: Any) -> str | None:
    """Return why the task failed; None if it ended well."""
    try:
        ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        mended = error.cause if isinstance(error.cause, UserError) else error
        return str(mended)
    except ray.exceptions.RayError as error:
        first = str(error).strip().partition("\n")[0]
        return f"its worker or machine died, again and again ({first}); is there memory left?"
    return None


def _work(
    job: tuple[Path, str, dict[str, Any], Any, bytes],
    node: bytes,
    memory: list[str],
    given: list[str],
    *values: Any,
) -> Any:
    """Run one node in a worker; return None, and what of its outputs stays in memory."""
    import cloudpickle

    project, package, logging_config, run_id, pickled = job
    if not (project / "conf").is_dir():
        raise UserError(
            f"{os.uname().nodename}: there is no {project}; the project's folder must lie "
            "where all machines of the cluster see it, under the same path"
        )
    os.chdir(project)
    Task._bootstrap_subprocess(package, logging_config)
    catalog = cloudpickle.loads(pickled)
    for name, value in zip(given, values, strict=True):
        catalog.save(name, value)
    hooks = Task._run_node_synchronization(package, logging_config)
    try:
        Task(cloudpickle.loads(node), catalog, False, hooks, run_id).execute()
    except BaseException as error:
        standing.abandon(error)
        # Of an error's causes nothing would arrive.
        raise mendable(error) or error from error
    return (None, *map(catalog.load, memory)) if memory else None
