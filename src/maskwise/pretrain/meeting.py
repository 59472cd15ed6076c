"""Where the processes of a run meet: how many, at which address, and within which time."""

import socket
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

import torch.distributed
from torch.distributed import TCPStore, distributed_c10d  # type: ignore[attr-defined]

from maskwise.bounds import Within
from maskwise.errors import HinderedError, UserError
from maskwise.ranks import Ranks

ANSWER = timedelta(minutes=30)
"""How long a step may wait for another process that lives: rank 0 measures after an epoch."""
LAST_WORDS = 5.0
"""Seconds in which a lost process is seen to have ended, and says why."""
HERE = "127.0.0.1"


@dataclass(frozen=True)
class ProcessesConfig:
    """On how many processes each replicate is trained; the same training on any number."""

    devices: Annotated[int, Within(1, 1_024)] = 1
    """Processes on each machine: GPUs, or on a CPU parts of its cores."""
    nodes: Annotated[int, Within(1, 10_000)] = 1
    """Machines. On all but the first runs `kedro join`."""
    address: str | None = None
    """``host:port`` of the first machine, where the others reach it; of one machine null."""
    wait: Annotated[float, Within(0, 86_400, above=True)] = 300.0
    """Seconds within which all processes must have come."""

    def __post_init__(self) -> None:
        if (self.nodes > 1) != (self.address is not None):
            raise ValueError(
                f"nodes is {self.nodes}, and address {self.address or 'null'}: several "
                "machines need the host:port of the first, and one needs none"
            )
        if self.address is not None:
            split(self.address)

    @property
    def number(self) -> int:
        """Of processes on all machines."""
        return self.devices * self.nodes

    @property
    def limit(self) -> timedelta:
        """Within which whoever is there answers: ``wait``, but neither a moment nor hours."""
        return min(ANSWER, timedelta(seconds=max(self.wait, LAST_WORDS)))

    def check(self, batch_size: int, parts: int, where: str) -> None:
        """Raise ``UserError`` unless each part of a batch can be shared out evenly."""
        if batch_size // parts % self.number:
            each = f"each of its {parts} parts" if parts > 1 else "it"
            raise UserError(
                f"{where}: {batch_size} images, but pretrain.processes asks for {self.number} "
                f"processes, which cannot have equal shares of {each}; choose a multiple of "
                f"{self.number * parts}"
            )


def split(address: str) -> tuple[str, int]:
    """Return host and port of ``host:port``, or raise ``ValueError``."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise ValueError(f"address is {address!r}, but should be host:port")
    return host, int(port)


@dataclass(frozen=True)
class Seat:
    """Where a process sits."""

    ranks: Ranks
    devices: int
    """Processes on a machine."""

    @property
    def local(self) -> int:
        """Which process of its machine it is."""
        return self.ranks.rank % self.devices

    @property
    def node(self) -> int:
        """Which machine it is on."""
        return self.ranks.rank // self.devices


def opened(host: str, config: ProcessesConfig) -> TCPStore:
    """Return rank 0's store, which others reach at ``host``; raises as ``_listener`` does."""
    # Left to itself torch listens on every network that the machine is in.
    own = config.address is None
    listener = socket.create_server((HERE, 0)) if own else _listener(config)
    port = int(listener.getsockname()[1])
    handle = listener.detach()
    store = TCPStore(
        host, port, None, True, config.limit, wait_for_workers=False, master_listen_fd=handle
    )
    store.set_timeout(ANSWER)
    return store


def _listener(config: ProcessesConfig) -> socket.socket:
    """Return what listens at the address, by which this machine has reached itself.

    torch tries for its whole time limit to reach a wrong address, and writes pages about it.

    Raises:
        HinderedError: if it cannot listen, or the address is unknown or another machine's.
    """
    host, port = split(str(config.address))
    where = f"pretrain.processes.address: {config.address}"
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        listener = socket.create_server(("", port), family=family, dualstack_ipv6=both)
    except OSError as error:
        raise HinderedError(
            f"{where}: this machine cannot listen there ({error.strerror}); take a free port "
            "of the first machine"
        ) from None
    seconds = config.limit.total_seconds()
    listener.settimeout(seconds)
    try:
        with socket.create_connection((host, port), seconds):
            listener.accept()[0].close()
    except (OSError, UnicodeError) as error:  # the latter of what can be no host's name
        listener.close()
        said = getattr(error, "strerror", None) or error
        raise HinderedError(
            f"{where}: does not lead to this machine ({said}); name the one on which `kedro "
            "run` is started, as the others know it"
        ) from None
    return listener


def join_group(store: TCPStore, ranks: Ranks, backend: str, limit: timedelta) -> None:
    """Wait until all others have joined as well, for ``limit`` at most."""
    try:
        torch.distributed.init_process_group(
            backend, store=store, rank=ranks.rank, world_size=ranks.number, timeout=limit
        )
    except RuntimeError:
        # torch numbers groups, and would seek the next one where nobody else does.
        distributed_c10d._world.group_count = 0
        raise
    # They are all there: from here on each may have to wait for another's work.
    distributed_c10d._set_pg_timeout(ANSWER)
    store.set_timeout(ANSWER)
