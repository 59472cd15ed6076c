"""Where a long run can be watched while it is at work: Fabric's loggers, by name."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from maskwise.errors import UserError

Tracker = Literal["tensorboard", "dvclive"]
NEEDED: dict[Tracker, tuple[str, ...]] = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "dvclive": ("dvclive",),
}
"""Packages of which one must be there."""


def _tensorboard(folder: Path, replicate: str) -> Any:
    from lightning_fabric.loggers.tensorboard import TensorBoardLogger

    # A run that goes on writes beside what it wrote before it was stopped.
    return TensorBoardLogger(folder, name="", version="tensorboard")


def _dvclive(folder: Path, replicate: str) -> Any:
    from dvclive.fabric import DVCLiveLogger

    return DVCLiveLogger(
        run_name=replicate.replace(" ", "_"),
        dir=str(folder / "dvclive"),
        dvcyaml=None,
        save_dvc_exp=False,
        resume=True,  # or what was written before a run was stopped would be deleted
    )


BUILT: dict[Tracker, Callable[[Path, str], Any]] = {
    "tensorboard": _tensorboard,
    "dvclive": _dvclive,
}


def check_trackers(names: Sequence[Tracker]) -> None:
    """Raise ``UserError`` for a tracker whose package is not installed."""
    for name in names:
        if not any(find_spec(package) for package in NEEDED[name]):
            raise UserError(
                f"pretrain.trackers: {name} needs the package {NEEDED[name][0]}, which is not "
                "installed; `pip install 'maskwise[track]'` brings it"
            )


def trackers(names: Sequence[Tracker], folder: Path, replicate: str) -> list[Any]:
    """Return Fabric's loggers; they write to ``folder``, which no stage's output lies in.

    Raises:
        UserError: for one whose package is not installed.
    """
    check_trackers(names)
    return [BUILT[name](folder, replicate) for name in names]
