"""Joins a Ray cluster, or starts one of this machine, and asks it whether it has enough."""

import logging
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Annotated, Any

from maskwise.bounds import Within
from maskwise.errors import UserError, refuse
from maskwise.side_by_side import THREADS

SECONDS_TO_ANSWER = 30
"""How long the head of a cluster may take to accept a connection."""
_NAMES = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}
"""Ray's option of a task -> what it calls that of a machine."""


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
        if options.address is not None:
            _knock(ray, options.address)
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


def _knock(ray: Any, address: str) -> None:
    """Raise ``OSError`` if nobody answers; Ray itself would try for a quarter of an hour."""
    if "://" in address:  # of Ray's client, which gives up by itself
        return
    resolved = ray._private.services.canonicalize_bootstrap_address_or_die(address)
    host, _, port = resolved.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), SECONDS_TO_ANSWER).close()


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


def check_machines(ray: Any, wanted: Mapping[str, Mapping[str, float]]) -> None:
    """Raise ``UserError`` where no machine has what a stage asks for: it would wait for ever.

    Args:
        ray: connected.
        wanted: of each stage, Ray's options of a task.
    """
    machines = [machine["Resources"] for machine in ray.nodes() if machine["Alive"]]
    problems = []
    for stage, amounts in wanted.items():
        asked = {_NAMES[key]: amount for key, amount in amounts.items()}
        most = {
            name: max((each.get(name, 0) for each in machines), default=0) for name in asked
        }
        scarce = [name for name, amount in asked.items() if amount > most[name]]
        problems += [
            f"resources.{stage}.{name.lower()}: is {_spoken(name, asked[name])}, but no "
            f"machine of the cluster has more than {_spoken(name, most[name])}; ask for less, "
            "or add a machine"
            for name in scarce
        ]
        if not scarce and not any(_has(machine, asked) for machine in machines):
            together = ", ".join(
                f"{name.lower()} {_spoken(name, amount)}"
                for name, amount in asked.items()
                if amount
            )
            problems.append(
                f"resources.{stage}: no single machine of the cluster has all of it "
                f"({together}); ask for less, or add a machine"
            )
    refuse(problems)


def _has(machine: Mapping[str, float], asked: Mapping[str, float]) -> bool:
    return all(machine.get(name, 0) >= amount for name, amount in asked.items())


def _spoken(name: str, amount: float) -> str:
    """Say how much it is as a configuration does, whose unit of memory is a gigabyte."""
    return f"{amount / (2**30 if name == 'memory' else 1):.4g}"
