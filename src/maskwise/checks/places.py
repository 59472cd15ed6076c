"""What is refused before a run trains: folders in use or shut, weights that are absent."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from maskwise.errors import UserError, refuse, shown
from maskwise.pipelines import parsing
from maskwise.replicates import Replicate


def check_idle(
    project: Path, parameters: Mapping[str, Any], source: str, stages: Iterable[str]
) -> None:
    """Raise ``UserError`` where a run would replace images that another one is training on.

    Whatever ``second_run`` says: a run holds one replicate at a time, so that waiting for what
    it holds now would end between two of them, and the images would change under the next.

    Args:
        project: The folder that paths in parameters begin at.
        parameters: All parameters, checked.
        source: Whose images they are.
        stages: What this run does of it.
    """
    from filelock import FileLock, Timeout

    if not {"generate", "ingest", "preprocess"} & set(stages):
        return
    config = parsing.pretrain(parameters["pretrain"], "pretrain")
    folder = project / config.checkpoints / source
    trials = folder.glob("tune/*/study_*/trial_*/*/lock")
    for path in sorted([*folder.glob("checkpoints/*/*/lock"), *trials]):
        try:
            with FileLock(path, blocking=False):
                pass
        except Timeout:
            raise UserError(
                f"{source}: another run is training {path.parent.parent.name}."
                f"{path.parent.name} on these images (it holds {path}), and this one would "
                "make them anew, for which `pretrain.second_run: wait` does not wait; wait "
                "until that run ends, or run other replicates of it: --tags pretrain,finetune "
                "--namespaces RECIPE"
            ) from None


def check_writable(
    project: Path, parameters: Mapping[str, Any], source: str, stages: Iterable[str]
) -> None:
    """Raise ``UserError`` where a run would train for hours and then save no checkpoint.

    Args:
        project: The folder that paths in parameters begin at.
        parameters: All parameters, checked.
        source: Whose replicates are trained.
        stages: What this run does of it.
    """
    if "pretrain" not in stages:
        return
    config = parsing.pretrain(parameters["pretrain"], "pretrain")
    folder = project / config.checkpoints / source / "checkpoints"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"pretrain.checkpoints: {shown(str(config.checkpoints))}, where nothing can be "
            f"saved ({folder}: {error.strerror}); name a folder that you can write to, or "
            "change its permissions"
        ) from None


def check_weights(
    project: Path, parameters: Mapping[str, Any], replicates: Collection[Replicate]
) -> None:
    """Raise ``UserError`` where weights that a recipe begins with are absent or do not fit.

    Or where this machine lacks what the training asks for.

    A file that the run itself writes before, of a recipe of the same source, need not be there.

    Args:
        project: The folder that paths in parameters begin at.
        parameters: All parameters, checked.
        replicates: Those that this run pre-trains.
    """
    parsing.machine(parameters, replicates)
    config = parsing.pretrain(parameters["pretrain"], "pretrain")
    made = {project / config.checkpoints / replicate.source for replicate in replicates}
    problems = []
    for replicate in replicates:
        try:
            parsing.weights(parameters, replicate, made)
        except UserError as error:
            problems.append(str(error))
    refuse(problems)
