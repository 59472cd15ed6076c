"""A replicate run in a process of its own, which is hit at a chosen instant."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from maskwise.artefacts.splits import read_splits
from maskwise.artefacts.store import open_store
from maskwise.pretrain import loop
from maskwise.pretrain.replicate import pretraining
from pretrain.toys import make_run


def run_replicate(folder: Path, instant: str, block: dict[str, Any]) -> None:
    """Pre-train what lies in ``folder`` and write weights and history there.

    ``instant``: ``step 4`` (SIGKILL before the fourth step of this process), ``write 2``
    (SIGKILL before the second file is put in place), ``SIGTERM 4``, ``SIGINT 4``, or ``never``.
    """
    with (folder / "stderr").open("w") as errors:
        os.dup2(errors.fileno(), sys.stderr.fileno())
    torch.set_num_threads(1)
    what, _, number = instant.partition(" ")
    if what == "write":
        os.replace = _hit(os.replace, int(number), signal.SIGKILL)
    elif what != "never":
        sent = signal.SIGKILL if what == "step" else signal.Signals[what]
        loop.Loop._one_step = _hit(loop.Loop._one_step, int(number), sent)  # type: ignore[method-assign]
    store, splits = open_store(folder / "store"), read_splits(folder / "splits.parquet")
    with pretraining(store, splits, make_run(folder / "checkpoints", block)) as result:
        torch.save(result.encoder.state_dict(), folder / "weights.pt")
        result.history.to_csv(folder / "history.csv")


def _hit(call: Callable[..., Any], number: int, sent: signal.Signals) -> Callable[..., Any]:
    calls: list[int] = []

    def counted(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == number:
            os.kill(os.getpid(), sent)
        return call(*arguments, **named)

    return counted
