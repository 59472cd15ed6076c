"""Runs as Kedro does, and reports a user's mistakes as one message without a traceback."""

import logging
import re
import signal
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any

import click
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.io import DatasetError
from kedro.pipeline import Pipeline
from kedro.runner import ParallelRunner, ThreadRunner
from yaml import MarkedYAMLError

from maskwise.errors import Terminated, UserError, hint, shown
from maskwise.experiment import EXPERIMENT
from maskwise.interruption import handing_on
from maskwise.pipelines import standing
from maskwise.replicates import NEED_LABELS, RAW_ROOT
from maskwise.yaml_file import read_yaml

log = logging.getLogger(__name__)

_TWO_FILES = "Duplicate keys found in "
"""Kedro's words for a key that two files of one environment set."""
_FROM_ARTEFACT = "maskwise.datasets.artefact.ArtefactError: "
"""In a traceback: what a user can put right about a file."""
INTERRUPTED = 128 + signal.SIGINT
"""Exit code of a run that Ctrl-C ended, as shells have it."""
TERMINATED = 128 + signal.SIGTERM
"""The same of SIGTERM."""


class MaskwiseSession(KedroSession):
    """Kedro's session, which first looks whether it was asked for something that exists."""

    def run(self, *args: Any, **options: Any) -> dict[str, Any]:
        """Run as ``KedroSession.run``; see there.

        Raises:
            UserError: for what a user can put right; on the command line a
                ``click.ClickException``, which is shown as one message with exit code 1.
        """
        with telling():
            conf, env = Path(str(self._conf_source)), self.store.get("env")
            check_environment(conf, env)
            check_files(conf, ("base", env or "local"))
            check_runtime(self.store.get("runtime_params") or {})
            # As Kedro is about to, which would otherwise register all pipelines once more.
            pipelines.set_requested(options.get("pipeline_names") or None)
            check_request(pipelines, options)
            runner = options.get("runner")
            check_runner(runner)
            with handing_on(beside=isinstance(runner, ParallelRunner | ThreadRunner)):
                return self._closing(*args, **options)

    def _closing(self, *args: Any, **options: Any) -> dict[str, Any]:
        try:
            return super().run(*args, **options)
        except BaseException as error:
            standing.abandon(error)
            raise


@contextmanager
def telling() -> Iterator[None]:
    """Turn a ``UserError``, however deeply Kedro wrapped it, into one message.

    On the command line Ctrl-C and SIGTERM are one message as well.
    """
    on_command_line = click.get_current_context(silent=True) is not None
    try:
        with stoppable() if on_command_line else nullcontext():
            yield
    except KeyboardInterrupt as interrupt:
        if not on_command_line:
            raise
        terminated = isinstance(interrupt, Terminated)
        said = "Stopped by SIGTERM" if terminated else "Interrupted"
        log.warning("%s", str(interrupt) or f"{said}; run the same command again.")
        sys.exit(TERMINATED if terminated else INTERRUPTED)
    except Exception as error:  # Kedro wraps what a node raised; what nobody can mend goes on
        told = mendable(error)
        if told is None:
            raise
        if on_command_line:
            raise click.ClickException(str(told)) from error
        raise told from None


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM raise ``Terminated``, so that nothing half-made and no process is left."""
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL  # somebody has other plans
    ):
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def check_runner(runner: Any) -> None:
    """Raise ``UserError`` where loading and saving were asked to run beside a node."""
    if getattr(runner, "_is_async", False):
        raise UserError(
            "--async (is_async=true): a node holds its lock until its outputs are saved, so it "
            "cannot save them beside itself; leave it out"
        )


def check_environment(conf: Path, name: str | None) -> None:
    """Raise ``UserError`` unless ``conf`` holds the folder that ``--env`` names."""
    if name is None or (conf / name).is_dir():
        return
    known = [path.name for path in conf.iterdir() if path.is_dir() and path.name != "base"]
    raise UserError(f"--env: there is no {shown(name)} in {conf}; {hint(name, known)}")


def check_files(conf: Path, environments: Collection[str]) -> None:
    """Raise ``UserError`` for a file of ``conf`` that is not YAML, naming file and line.

    Kedro would name no line, or no file, or end in a traceback.
    """
    for environment in environments:
        for path in sorted((conf / environment).rglob("*")):
            if path.suffix in (".yml", ".yaml", ".json") and not path.name.startswith("."):
                read_yaml(path)


def check_runtime(parameters: dict[str, Any]) -> None:
    """Raise ``UserError`` for ``--params`` that would not do what they say."""
    if "experiment" in parameters:
        raise UserError(
            "--params experiment: which replicates there are is read from "
            "conf/base/experiment.yml alone, before any parameter; edit that file"
        )
    folder = parameters.get(RAW_ROOT, ".")
    if not isinstance(folder, str) or not folder:
        raise UserError(
            f"{RAW_ROOT}: should be the path of a folder, but is {folder!r}; in a file of "
            "--config a name that looks like a number or a word of YAML needs quotation marks"
        )


def check_request(registered: Any, options: dict[str, Any]) -> None:
    """Raise ``UserError`` for a pipeline, namespace, tag, node or data set that is none."""
    names = options.get("pipeline_names") or ["__default__"]
    known = [name for name in registered.keys() if name != "__default__"]  # noqa: SIM118
    for name in names:
        if name not in registered:
            raise UserError(f"--pipelines: there is no {shown(name)}; {hint(name, known)}")
    if len(names) > 1:
        raise UserError(
            f"--pipelines: {', '.join(sorted(names))} are run one after another; "
            "give one name per run"
        )
    pipeline: Pipeline = registered[names[0]]
    _check_names("--namespaces", options.get("namespaces") or (), _namespaces(pipeline))
    tags = {tag for node in pipeline.nodes for tag in node.tags}
    for name in options.get("tags") or ():
        if name in NEED_LABELS - tags and "pretrain" in tags:
            raise UserError(
                f"--tags: {name} needs labels, and this source stops after pre-training, for "
                f"{EXPERIMENT} says `fractions: []` of it"
            )
    _check_names("--tags", options.get("tags") or (), tags)
    nodes = {node.name for node in pipeline.nodes}
    for option, key in (("nodes", "node_names"), ("from-nodes",) * 2, ("to-nodes",) * 2):
        _check_names(f"--{option}", options.get(key.replace("-", "_")) or (), nodes)
    ends = {"from_inputs": pipeline.datasets(), "to_outputs": pipeline.all_outputs()}
    for option, there in ends.items():
        given = options.get(option) or ()
        _check_names(f"--{option.replace('_', '-')}", given, there)
    try:
        pipeline.filter(
            tags=options.get("tags") or None,
            from_nodes=options.get("from_nodes") or None,
            to_nodes=options.get("to_nodes") or None,
            node_names=options.get("node_names") or None,
            from_inputs=options.get("from_inputs") or None,
            to_outputs=options.get("to_outputs") or None,
            node_namespaces=options.get("namespaces") or None,
        )
    except ValueError:
        raise UserError(
            "--tags, --namespaces, --nodes, --from-… and --to-… together leave nothing to run; "
            "a namespace is a recipe or one of its seeds and holds pretrain and finetune: the "
            "other stages belong to all recipes, so leave --namespaces out for them"
        ) from None
    if options.get("load_versions"):
        raise UserError(
            "--load-versions: no artefact has versions of Kedro's; `git checkout REV && dvc "
            "checkout` brings back the state of a revision"
        )


def _check_names(option: str, given: Collection[str], known: Collection[str]) -> None:
    for name in given:
        if name not in known:
            raise UserError(f"{option}: there is no {shown(name)}; {hint(name, known)}")


def _namespaces(pipeline: Pipeline) -> set[str]:
    """Return every namespace and all that enclose it: ``dqn.s0`` and ``dqn``."""
    found: set[str] = set()
    for node in pipeline.nodes:
        parts = (node.namespace or "").split(".")
        found.update(".".join(parts[: n + 1]) for n in range(len(parts)))
    return found - {""}


def mendable(error: BaseException | None) -> UserError | None:
    """Return the ``UserError`` among the causes of ``error``, or what is one in fact."""
    while error is not None and not isinstance(error, UserError):
        if isinstance(error, DatasetError) and _FROM_ARTEFACT in str(error.__cause__):
            # From another process, whose traceback is all that is left of the causes.
            return UserError(str(error).partition(": ")[2])
        if isinstance(error, MarkedYAMLError):
            return _broken_yaml(error)
        if isinstance(error, ValueError) and str(error).startswith(_TWO_FILES):
            return UserError(f"{error}; keep one of them")
        error = error.__cause__
    return error


def _broken_yaml(error: MarkedYAMLError) -> UserError:
    """Name file and line; Kedro's own message counts lines from 0."""
    file = re.search(r"file (.+), unable to read", str(error))
    where = file[1] if file else "a file of conf"
    inner = error.__cause__ if isinstance(error.__cause__, MarkedYAMLError) else error
    if inner.problem_mark is not None:
        where += f", line {inner.problem_mark.line + 1}"
    return UserError(f"{where}: is not YAML ({inner.problem or error}); correct it there")
