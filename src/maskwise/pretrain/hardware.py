"""Device and precision, chosen by what the machine can do, and said in the log."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import torch

from maskwise.device import Device, Precision, choose_device, trains_in_half
from maskwise.errors import HinderedError
from maskwise.pretrain.meeting import HERE, Seat

if TYPE_CHECKING:
    from lightning_fabric import Fabric

log = logging.getLogger(__name__)

FiniteChecks = Literal["auto", "step", "checkpoint"]


def device_of(device: Device, devices: int) -> str:
    """Return ``cpu`` or ``cuda``, of which this machine has ``devices``.

    Raises:
        HinderedError: if it has not.
    """
    chosen = choose_device(device, "pretrain.device").type
    there = torch.cuda.device_count()
    if chosen == "cuda" and devices > there:
        raise HinderedError(
            f"pretrain.processes.devices: {devices}, but this machine has {there} CUDA "
            f"device{'s' * (there != 1)}; take at most so many, or pretrain.device: cpu"
        )
    return chosen


def build_fabric(
    device: Device,
    precision: Precision,
    seat: Seat | None = None,
    nodes: int = 1,
    loggers: Sequence[Any] = (),
) -> "Fabric":
    """Return the Fabric of one device, or of one process's ``seat`` among several.

    Device and precision are chosen as ``maskwise.device`` says.

    Raises:
        HinderedError: if this machine lacks what was asked for.
    """
    # It takes a second to import, and every run looks at its options, which stand here too.
    from lightning_fabric import Fabric

    chosen = device_of(device, 1 if seat is None else seat.devices)
    half = trains_in_half(precision, chosen, "pretrain.precision")
    where = chosen if seat is None else f"{seat.ranks.number} processes of {chosen}"
    log.info(
        "Training on %s in %s.", where, "bfloat16 where it suffices" if half else "float32"
    )
    named: Any = {"precision": "bf16-mixed" if half else "32-true", "loggers": list(loggers)}
    if seat is None:
        return Fabric(accelerator=chosen, devices=1, **named)
    fabric = Fabric(
        accelerator=chosen,
        devices=seat.devices,
        num_nodes=nodes,
        strategy="ddp",
        plugins=[_as_environment(seat)],
        **named,
    )
    with _quiet_fabric():
        fabric.launch()
    return fabric


@contextmanager
def _quiet_fabric() -> Iterator[None]:
    """Leave out Fabric's own announcement of what was just said."""
    fabrics = logging.getLogger("lightning_fabric")
    before = fabrics.level
    fabrics.setLevel(logging.WARNING)
    try:
        yield
    finally:
        fabrics.setLevel(before)


@contextmanager
def determinism(wanted: bool) -> Iterator[None]:
    """Let torch choose reproducible kernels in the block, or else the fastest."""
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    if wanted:
        # cuBLAS reads it when its first handle is made; without it torch refuses to multiply.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(wanted)
    torch.backends.cudnn.benchmark = not wanted
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


def _as_environment(seat: Seat) -> Any:
    """Return what tells Fabric where a process sits."""
    from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment

    class Environment(ClusterEnvironment):
        """Of processes that are there already, and have met."""

        creates_processes_externally = True
        main_address, main_port = HERE, 0

        @staticmethod
        def detect() -> bool:
            return False

        def world_size(self) -> int:
            return seat.ranks.number

        def set_world_size(self, size: int) -> None:
            del size

        def global_rank(self) -> int:
            return seat.ranks.rank

        def set_global_rank(self, rank: int) -> None:
            del rank

        def local_rank(self) -> int:
            return seat.local

        def node_rank(self) -> int:
            return seat.node

    return Environment()
