"""Joins a Ray cluster, or starts one of this machine, and asks it whether it has enough."""

import logging
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Annotated, Any

from maskwise.bounds import Within
from maskwise.errors import UserError, joined
from maskwise.resources import Resources
from maskwise.side_by_side import THREADS

_MACHINE = {"cpu": "CPU", "gpu": "GPU", "memory": "memory"}
"""What a stage asks for -> what Ray calls that of a machine."""
_GIGABYTE = 2**30


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

    def __post_init__(self) -> None:
        if self.address is not None and self.num_cpus is not None:
            raise ValueError(
                "num_cpus is for a cluster of this machine alone; leave it or address out"
            )


@contextmanager
def cluster(options: RayOptions) -> Iterator[Any]:
    """Yield the module ``ray``, which is connected in the block.

    Raises:
        UserError: if Ray is not installed, or no cluster answers.
    """
    # Read at import: else lines of several nodes that are much alike would be left out.
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    try:
        import ray
    except ImportError:
        raise UserError(
            'RayRunner needs Ray, which is not installed: pip install "maskwise[ray]"'
        ) from None
    # Without the first, Ray lets a task that asked for no GPU see all of its machine's.
    passed = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1", **threads(1)}
    if "PYTHONPATH" in os.environ:
        passed["PYTHONPATH"] = os.environ["PYTHONPATH"]
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
        raise _explained(options.address, error) from None
    finally:
        with suppress(ValueError):  # not in the main thread, where Ray leaves it alone
            signal.signal(signal.SIGTERM, handler)
    try:
        yield ray
    finally:
        ray.shutdown()


def threads(number: int) -> dict[str, str]:
    """Return what a worker's environment says about threads, which libraries read at import."""
    return dict.fromkeys(THREADS, str(number))


def _explained(address: str | None, error: Exception) -> UserError:
    reason = (str(error).strip() or type(error).__name__).partition("\n")[0].rstrip(".")
    if address is None:
        return UserError(
            f"RayRunner: Ray cannot be started on this machine ({reason}); is it short of "
            "memory, or busy with something else?"
        )
    return UserError(
        f"--runner-params address={address}: no cluster of Ray can be joined there ({reason}); "
        "start one with `ray start --head`, or leave address out to take this machine alone"
    )


def check_machines(ray: Any, wanted: Mapping[str, Resources]) -> None:
    """Raise ``UserError`` where no machine has what a stage asks for: it would wait for ever.

    Args:
        ray: connected.
        wanted: by stage.
    """
    machines = [_of_machine(each["Resources"]) for each in ray.nodes() if each["Alive"]]
    problems = []
    for stage, resources in wanted.items():
        asked = {
            name: amount
            for name in _MACHINE
            if (amount := getattr(resources, name)) is not None
        }
        if any(_has(machine, asked) for machine in machines):
            continue
        most = {name: max((machine[name] for machine in machines), default=0) for name in asked}
        scarce = [name for name, amount in asked.items() if amount > most[name]]
        for name in scarce:
            problems.append(
                f"resources.{stage}.{name}: is {asked[name]:g}, but no machine of the cluster "
                f"has more than {most[name]:.3g}; ask for less, or add a machine"
            )
        if not scarce:
            together = ", ".join(f"{name} {asked[name]:g}" for name in asked if asked[name])
            problems.append(
                f"resources.{stage}: no single machine of the cluster has all of it "
                f"({together}); ask for less, or add a machine"
            )
    if problems:
        raise UserError(joined(problems))


def _of_machine(amounts: Mapping[str, float]) -> dict[str, float]:
    found = {name: amounts.get(of_ray, 0) for name, of_ray in _MACHINE.items()}
    return {**found, "memory": found["memory"] / _GIGABYTE}


def _has(machine: Mapping[str, float], asked: Mapping[str, float]) -> bool:
    return all(machine[name] >= amount for name, amount in asked.items())
