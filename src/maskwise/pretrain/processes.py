"""The processes of a run: how they start and meet, and what is said if one is lost.

The process that runs the stage is rank 0; it starts the others of its own machine, and hands
all of them their work through torch's ``TCPStore``. On further machines `kedro join` starts
them. Nothing but rank 0 talks to the terminal, to Kedro or to the disk.
"""

import hashlib
import pickle
import signal
import socket
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.connection import wait

import torch
import torch.distributed
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]

from maskwise.errors import HinderedError, UserError, listed
from maskwise.pretrain.checkpoint import digest_of
from maskwise.pretrain.meeting import (
    ANSWER,
    HERE,
    LAST_WORDS,
    ProcessesConfig,
    Seat,
    join_group,
    opened,
    split,
)
from maskwise.ranks import Ranks
from maskwise.wording import count
from maskwise.workers import deaf_to_interrupts, leave_with_parent, without_main

LOOK = 0.2
"""Seconds between two looks at who has come."""
LOST = 75
"""Exit code of a process that lost the others, and so did not fail itself (EX_TEMPFAIL)."""
_SAME = "install the same on all machines"

Work = Callable[[Seat], None]
"""What a rank but 0 does; picklable."""


@dataclass(frozen=True)
class _Job:
    """What rank 0 hands out."""

    name: str
    work: Work
    devices: int
    nodes: int
    backend: str
    threads: int
    code: str
    limit: timedelta
    """To join the others."""


@contextmanager
def leading(
    config: ProcessesConfig, backend: str, work: Work, replicate: str
) -> Iterator[Seat]:
    """Let the other processes do ``work`` while the block runs as rank 0.

    Args:
        config: how many processes.
        backend: ``gloo`` or ``nccl``.
        work: done by each of the others.
        replicate: for messages.

    Raises:
        HinderedError: if a process does not come, is lost, or fails, naming it.
        UserError: that another process raised.
    """
    before = torch.get_num_threads()
    threads = max(1, before // config.devices)
    job = _Job(
        name=uuid.uuid4().hex,
        work=work,
        devices=config.devices,
        nodes=config.nodes,
        backend=backend,
        threads=threads,
        code=digest_of(),
        limit=config.limit,
    )
    host = HERE if config.address is None else split(config.address)[0]
    store = opened(host, config)
    handed = pickle.dumps(job)
    store.set("code", job.code)
    store.set("job", handed)  # type: ignore[arg-type] # takes bytes
    children = _Children(host, store.port, range(1, config.devices), _hash(handed))
    seat = Seat(Ranks(0, config.number), config.devices)
    watch = _Watch(store, children, config, replicate)
    try:
        watch.gather()
        torch.set_num_threads(threads)
        try:
            join_group(store, seat.ranks, backend, config.limit)
            yield seat
        except RuntimeError as error:
            raise watch.explained(error) from error
        children.dismiss()
    finally:
        torch.set_num_threads(before)
        children.kill()
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def join(address: str, node: int, seconds: float, most: int | None = None) -> int:
    """Lend this machine, the ``node``-th, to the runs at ``address``; return how many came.

    One run after the other is joined; it ends after ``most`` of them, or when none has come for
    ``seconds``.

    Raises:
        UserError: if the run has no such machine or another version, or, at the end, if the
            work of one failed here: the next may be another trial of the same study.
    """
    host, port = split(address)
    done: set[str] = set()
    failed: list[str] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and len(done) != most:
        offered = _offered(host, port, node)
        if offered is None or offered[0].name in done:
            time.sleep(LOOK)
            continue
        job, digest = offered
        if not 0 < node < job.nodes:
            raise UserError(
                f"join: node {node}, but the run at {address} has the machines 0 to "
                f"{job.nodes - 1} (pretrain.processes.nodes), of which it is 0 itself"
            )
        first = node * job.devices
        children = _Children(host, port, range(first, first + job.devices), digest)
        try:
            children.wait()
        finally:
            children.kill()  # where Ctrl-C, which they never hear of, ended the wait
        done.add(job.name)
        ended = {rank: code for rank, code in children.ended().items() if code != LOST}
        if ended:
            rank, code = next(iter(ended.items()))
            failed.append(f"process {rank} {_end_of(code)}")
        deadline = time.monotonic() + seconds
    if failed:
        raise UserError(
            f"join: of {count(len(done), 'training')} at {address} {len(failed)} failed on "
            f"this machine ({failed[-1]}); the run there says why"
        )
    return len(done)


def _offered(host: str, port: int, node: int) -> tuple[_Job, str] | None:
    """Return what the run that listens there hands out, if one does, and its hash.

    Raises:
        UserError: if the run is of another version, whose work cannot be read here.
    """
    try:
        # torch's own client writes pages about an address where nobody listens yet.
        socket.create_connection((host, port), timeout=LAST_WORDS).close()
        store = TCPStore(host, port, None, False, timedelta(seconds=LAST_WORDS))
        if store.get("code").decode() != digest_of():
            other = "another version of Maskwise or torch"
            store.set(_failed(node), f"hindered machine {node} runs {other}; {_SAME}")
            raise UserError(f"join: the run at {host}:{port} is of {other}; {_SAME}")
        handed = store.get("job")
    except (OSError, RuntimeError):  # torch's errors of connections are the latter
        return None
    return pickle.loads(handed), _hash(handed)  # of our own run


class _Children:
    """The processes that this one started."""

    def __init__(self, host: str, port: int, ranks: Sequence[int], job: str) -> None:
        """Start the ``ranks``, which take a job of the hash ``job`` and no other."""
        # Spawned: a child forked after a backward pass hangs in torch's threads.
        context = get_context("spawn")
        self.by_rank = {
            rank: context.Process(target=_serve, args=(host, port, rank, job), daemon=True)
            for rank in ranks
        }
        # Whoever stops the run tells its whole group; the others leave that to rank 0.
        with deaf_to_interrupts(signal.SIGTERM), without_main():
            for child in self.by_rank.values():
                child.start()

    def ended(self) -> dict[int, int]:
        """Return the exit codes, by rank, of those that have ended with another than 0."""
        return {rank: one.exitcode for rank, one in self.by_rank.items() if one.exitcode}

    def wait(self, seconds: float | None = None) -> None:
        """Wait until all have ended."""
        deadline = None if seconds is None else time.monotonic() + seconds
        for child in self.by_rank.values():
            child.join(None if deadline is None else max(0.0, deadline - time.monotonic()))

    def dismiss(self) -> None:
        """Let them end, whose work is done."""
        self.wait(LAST_WORDS)

    def kill(self) -> None:
        """End those that have not."""
        for child in self.by_rank.values():
            child.kill()
            child.join()

    def look(self, seconds: float) -> None:
        """Wait until one ends, for so long at most."""
        living = [one.sentinel for one in self.by_rank.values() if one.is_alive()]
        if living:
            wait(living, timeout=seconds)
        else:
            time.sleep(seconds)


class _Watch:
    """Rank 0's eye on the others."""

    def __init__(
        self, store: TCPStore, children: _Children, config: ProcessesConfig, replicate: str
    ) -> None:
        self.store, self.children, self.config = store, children, config
        self.start = f"pretrain {replicate}"

    def gather(self) -> None:
        """Wait until all have come; raises as ``leading`` does."""
        deadline = time.monotonic() + self.config.wait
        missing = set(range(1, self.config.number))
        while missing:
            missing = {rank for rank in missing if not self.store.check([_here(rank)])}
            if missing and (told := self._told()):
                raise told
            if missing and time.monotonic() > deadline:
                raise HinderedError(self._late(sorted(missing)))
            if missing:
                self.children.look(LOOK)

    def _late(self, missing: list[int]) -> str:
        named = listed([str(rank) for rank in missing])
        noun = "process" if len(missing) == 1 else "processes"
        nodes = sorted({rank // self.config.devices for rank in missing} - {0})
        remedy = (
            f"run `kedro join {self.config.address} --node N` on the machines "
            f"{listed([str(node) for node in nodes])}"
            if nodes
            else "look whether this machine has memory and cores for so many"
        )
        return (
            f"{self.start}: {noun} {named} of {self.config.number} (counted from 0) did not "
            f"come within {self.config.wait:g} s (pretrain.processes.wait); {remedy}"
        )

    def explained(self, error: RuntimeError) -> Exception:
        """Return why the connection was lost, or ``error`` where no process was."""
        deadline = time.monotonic() + LAST_WORDS
        while time.monotonic() < deadline:
            told = self._told()
            if told:
                return told
            self.children.look(LOOK)
        if self.config.nodes > 1 and _of_connection(error):
            return HinderedError(
                f"{self.start}: the connection to a process on another machine was lost "
                f"({str(error).splitlines()[0]}); the last checkpoint is kept: run the same "
                "command again to go on from there"
            )
        return error

    def _told(self) -> UserError | None:
        """Say which process was lost, a killed one rather than one that missed it."""
        ended = self.children.ended()
        for rank, code in ended.items():
            if code < 0:
                cause = "most often because memory ran out" if code == -9 else "from outside"
                return HinderedError(
                    f"{self.start}: process {rank} of {self.config.number} (counted from 0) "
                    f"was killed by {signal.Signals(-code).name}, {cause}; the last checkpoint "
                    "is kept: run the same command again to go on from there"
                )
        for rank in range(1, self.config.number):
            if self.store.check([_failed(rank)]):
                kind, _, text = self.store.get(_failed(rank)).decode().partition(" ")
                if kind == "user":
                    return UserError(text)
                if kind == "hindered":
                    return HinderedError(text)
                if kind == "failed":
                    return HinderedError(f"{self.start}: process {rank} failed\n{text}")
        if ended and all(code > 0 for code in ended.values()):
            rank, code = next(iter(ended.items()))
            if not self.store.check([_failed(rank)]):
                return HinderedError(
                    f"{self.start}: process {rank} ended with exit code {code}"
                )
        return None


def _serve(host: str, port: int, rank: int, expected: str) -> None:
    """Do the job of the hash ``expected``; the whole life of another rank."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=leave_with_parent, daemon=True).start()
    store = TCPStore(host, port, None, False, ANSWER)
    try:
        job = _taken(store, rank, expected)
        if job.code != digest_of():
            raise UserError(
                f"process {rank} runs another version of Maskwise or torch than process 0; "
                f"{_SAME}"
            )
        torch.set_num_threads(job.threads)
        seat = Seat(Ranks(rank, job.devices * job.nodes), job.devices)
        if job.backend == "nccl":
            torch.cuda.set_device(seat.local)
        store.set(_here(rank), "")
        join_group(store, seat.ranks, job.backend, job.limit)
        job.work(seat)
        torch.distributed.destroy_process_group()
    except Exception as error:  # whatever it is, the first process ends the run with it
        said = _last_words(error)
        with suppress(RuntimeError):  # nobody is there any more to be told
            store.set(_failed(rank), said)
        raise SystemExit(LOST if said == "lost" else 1) from None


def _end_of(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else "failed"


def _last_words(error: Exception) -> str:
    if isinstance(error, UserError):
        return f"{'hindered' if isinstance(error, HinderedError) else 'user'} {error}"
    if isinstance(error, RuntimeError) and _of_connection(error):
        return "lost"
    return f"failed {''.join(traceback.format_exception(error))}"


def _of_connection(error: RuntimeError) -> bool:
    """Say whether torch lost a process; gloo's errors have no class of their own."""
    of_torch = isinstance(error, torch.distributed.DistError)
    return of_torch or "gloo" in str(error) or "onnection" in str(error)


def _taken(store: Store, rank: int, expected: str) -> _Job:
    """Return what rank 0 handed out, if its hash is as the parent said.

    Whoever reaches the port may write there, and what is unpickled may be made to run.
    """
    handed = store.get("job")
    if _hash(handed) != expected:
        raise HinderedError(
            f"process {rank} was started for other work than stands in the store of the run; "
            "look at who else reaches it"
        )
    job: _Job = pickle.loads(handed)
    return job


def _hash(handed: bytes) -> str:
    return hashlib.sha256(handed).hexdigest()


def _here(rank: int) -> str:
    return f"here {rank}"


def _failed(rank: int) -> str:
    return f"failed {rank}"
