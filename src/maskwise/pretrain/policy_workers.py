"""Several processes teach one policy against the frozen network, at once and without locks.

What A3C's name promises (Mnih et al., ICML 2016; updates as Hogwild's, Recht et al., NeurIPS
2011): each worker asks its own copy of the policy, and adds its gradient to the shared one. Two
runs never give the same weights to the last bit.
"""

import queue
import signal
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from typing import Any, cast

import torch
import torch.multiprocessing
from torch import Generator, Tensor

from maskwise import seeds
from maskwise.errors import UserError
from maskwise.masks import Grid
from maskwise.pretrain.batches import Batches
from maskwise.pretrain.contracts import Objective, SharedPolicy
from maskwise.pretrain.phases import Timeline
from maskwise.workers import deaf_to_interrupts, leave_with_parent

Assemble = Callable[[], tuple[Objective, Any, Batches]]
"""Builds objective, policy and batches anew in a worker; picklable."""
SECONDS_BETWEEN_LOOKS = 1.0
"""At whether all workers are alive, while no figures come."""
SECONDS_TO_LEAVE = 10.0
"""After which a worker that was asked to stop is killed."""


@dataclass(frozen=True)
class Shift:
    """What every worker is told; ``shared`` and ``weights`` lie in shared memory."""

    assemble: Assemble
    shared: Any
    """What the policy's ``share`` returned."""
    weights: dict[str, Tensor]
    """Of the frozen network."""
    timeline: Timeline
    last: int
    """Step at which the phase ends."""
    grid: Grid
    seed: int
    mask_generator: Tensor
    """State; the first worker goes on with it."""
    channels_last: bool
    threads: int
    """A worker's; together the workers have as many as one process would."""


class PolicyWorkers:
    """The workers of one phase, which answer with a step's figures until they are dismissed."""

    def __init__(self, shift: Shift, first: int, workers: int, replicate: str) -> None:
        # Spawned: a child forked after a backward pass hangs in torch's threads. And files in
        # place of descriptors, because in containers /dev/shm may hold 64 MB.
        torch.multiprocessing.set_sharing_strategy("file_system")
        context = torch.multiprocessing.get_context("spawn")
        self.replicate, self.mask_generator = replicate, shift.mask_generator
        self._results: Any = context.Queue()
        self._stop = context.Event()
        # Kept here: a lock or memory that nobody holds is gone before a worker has opened it.
        self._shift, self._tickets = shift, context.Value("q", first)
        self._workers = [
            context.Process(
                target=_work,
                args=(rank, shift, self._tickets, self._results, self._stop),
                daemon=True,
            )
            for rank in range(workers)
        ]
        # Whoever stops the run tells its whole group: workers leave it to the parent, which
        # lets them finish, saves a checkpoint and dismisses them.
        with deaf_to_interrupts(signal.SIGTERM):
            for worker in self._workers:
                worker.start()

    def figures(self) -> dict[str, Tensor]:
        """Wait for the next step that some worker makes, and return its figures.

        Raises:
            UserError: naming the worker that died, and how.
        """
        while True:
            try:
                kind, rank, content = self._results.get(timeout=SECONDS_BETWEEN_LOOKS)
            except queue.Empty:
                self._refuse_dead()
                continue
            if kind == "step":
                return {name: torch.tensor(value) for name, value in content.items()}
            self._take(kind, rank, content)

    def close(self) -> None:
        """Let the workers leave, and kill what does not; nothing of the policy is lost."""
        self._stop.set()
        deadline = time.monotonic() + SECONDS_TO_LEAVE
        while any(one.is_alive() for one in self._workers) and time.monotonic() < deadline:
            self._drain()  # a worker whose figures nobody takes cannot leave
            wait([one.sentinel for one in self._workers if one.is_alive()], timeout=0.1)
        for worker in self._workers:
            worker.kill()
            worker.join()
        self._drain()
        self._results.close()

    def _drain(self) -> None:
        while True:
            try:
                kind, rank, content = self._results.get_nowait()
            except queue.Empty:
                return
            if kind == "left":
                self._take(kind, rank, content)

    def _take(self, kind: str, rank: int, content: Any) -> None:
        if kind == "failed":
            raise UserError(f"pretrain {self.replicate}: worker {rank} failed\n{content}")
        if rank == 0:
            self.mask_generator = torch.frombuffer(bytearray(content), dtype=torch.uint8)

    def _refuse_dead(self) -> None:
        for rank, worker in enumerate(self._workers):
            if worker.exitcode:
                worker.join()
                cause = (
                    " (killed, most often because memory ran out)"
                    if worker.exitcode == -9
                    else ""
                )
                raise UserError(
                    f"pretrain {self.replicate}: worker {rank} of {len(self._workers)} died "
                    f"with exit code {worker.exitcode}{cause}; the last checkpoint is kept: "
                    "run the same command again, or set policy.workers lower"
                )


def _work(rank: int, shift: Shift, tickets: Any, results: Any, stop: Any) -> None:
    """Teach until the phase ends; a worker's whole life."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=leave_with_parent, daemon=True).start()
    try:
        torch.set_num_threads(shift.threads)
        results.put(("left", rank, _teach(rank, shift, tickets, results, stop)))
    except Exception:  # whatever it is, the parent ends the run with it
        results.put(("failed", rank, traceback.format_exc()))


def _teach(rank: int, shift: Shift, tickets: Any, results: Any, stop: Any) -> bytes:
    """Return the state of the mask's generator, as bytes: a tensor would go with its owner."""
    objective, policy, batches = shift.assemble()
    layout = torch.channels_last if shift.channels_last else torch.contiguous_format
    objective = cast(Any, objective).to("cpu", memory_format=layout)
    objective.load_state_dict(shift.weights)
    objective.train(False)
    policy.join(shift.shared)
    generator = mask_generator(rank, shift)
    while not stop.is_set():
        with tickets.get_lock():
            step = tickets.value
            tickets.value += 1
        if step >= shift.last:
            break
        batch = batches.batch(step, shift.timeline.progress(step))
        proposal = policy.propose(batch, shift.grid, generator)
        images = batch.images.to(memory_format=layout)
        with torch.no_grad():
            outcome = objective(replace(batch, images=images), proposal.mask)
        learnt = policy.learn(proposal, outcome)
        figures = {"loss": outcome.loss, **outcome.figures, **learnt}
        results.put(("step", rank, {name: float(value) for name, value in figures.items()}))
    return generator.get_state().numpy().tobytes()


def mask_generator(rank: int, shift: Shift) -> Generator:
    """Go on with the run's own generator, or as another worker with one of one's own.

    Without it every worker would hide the same cells.
    """
    generator = Generator()
    if rank == 0:
        return generator.set_state(shift.mask_generator)
    return generator.manual_seed(seeds.torch_seed(shift.seed, "mask", rank))


def check_shareable(
    policy: Any, timeline: Timeline, device: torch.device, replicate: str, processes: int
) -> None:
    """Raise ``UserError`` where several workers would meet a GPU, or a network that learns."""
    if not isinstance(policy, SharedPolicy) or not policy.workers:
        return
    start = f"pretrain {replicate}: policy.learner: asynchronous"
    if any(phase.network and phase.policy for phase in timeline.phases):
        raise UserError(
            f"{start} needs a network that stands still; set `schedule: {{name: staged}}`, or "
            "learner: synchronous"
        )
    if processes > 1:
        raise UserError(
            f"{start} has workers of its own; set pretrain.processes.devices and nodes to 1, "
            "or learner: synchronous"
        )
    if device.type != "cpu":
        raise UserError(
            f"{start} is for the cores of a CPU; set pretrain.device: cpu, or learner: "
            "synchronous, which is the faster on a GPU"
        )
