"""Commands of Kedro and DVC that find all libraries imported, which takes each start seconds.

Run as a script, this imports what the project's commands import and none of the project's own
code, and forks for each command that it is told of, one at a time. What a test sees is what a
user sees: a process of its own that begins in the project's folder, its streams, its exit code.
Commands that other commands start, as DVC does, find `kedro` and `dvc` in a folder of their own
on PATH: they hand their streams to such a process, and wait for it.
"""

import atexit
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

LIBRARIES = (
    "torch", "torch._dynamo", "lightning_fabric", "pytorch_optimizer", "safetensors.torch",
    "scipy.ndimage", "scipy.optimize", "scipy.sparse.csgraph", "scipy.stats",
    "sklearn.ensemble", "sklearn.linear_model", "sklearn.metrics", "sklearn.model_selection",
    "sklearn.neighbors", "pandas", "pandera.pandas", "pyarrow.dataset", "pyarrow.parquet",
    "matplotlib.backends.backend_agg", "matplotlib.backends.backend_pdf",
    "matplotlib.backends.backend_svg", "matplotlib.figure", "fontTools.subset",
    "PIL.Image", "pydicom", "nibabel.nifti1", "tifffile", "jinja2", "omegaconf", "psutil",
    "pydantic", "rich.console", "tqdm", "dynaconf", "flask", "click", "pathspec",
)  # fmt: skip
"""No module of Kedro's, which looks for the project's settings where it is imported."""
OF_DVC = (
    "dvc.cli.parser", "dvc.data_cloud", "dvc.dependency", "dvc.output", "dvc.repo.graph",
    "dvc.repo.experiments.queue.celery", "dvc.repo.plots", "dvc.rwlock", "dvc.stage.cache",
    "dulwich.worktree", "networkx", "psutil", "rich.status", "rich.table",
)  # fmt: skip
_DOOR = """#!{python} -IS
import json, os, signal, socket, sys, time
door = socket.socket(socket.AF_UNIX)
for wait in range(6000):
    try:
        door.connect({address!r})
        break
    except (FileNotFoundError, ConnectionRefusedError):  # it is still importing
        time.sleep(0.02)
asked = json.dumps([[{name!r}, *sys.argv[1:]], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(door, [len(asked).to_bytes(4, "big")], [0, 1, 2])
door.sendall(asked)
code = int(door.makefile().readline())
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""
"""What stands for a command on PATH."""


class Running:
    """``kedro …`` at work in ``folder``, in a group of processes of its own."""

    def __init__(
        self, command: tuple[str, ...], folder: Path, environment: Mapping[str, str]
    ) -> None:
        self.returncode: int | None = None
        self._server, self._pipes = _server("kedro"), tempfile.TemporaryDirectory()
        # What it prints is read when it has ended, what it logs as it comes.
        self._out, err = (os.path.join(self._pipes.name, name) for name in ("out", "err"))
        Path(self._out).touch()
        os.mkfifo(err)
        _ask(self._server, (command, str(folder), dict(environment), self._out, err, True))
        self._log = os.open(err, os.O_RDONLY)
        self.pid = _answer(self._server)

    def line(self, timeout: float = 120) -> str:
        """Return the next line of the log with its end, as a bar is that is drawn anew.

        Empty at the end of the log.
        """
        line = b""
        while not line.endswith((b"\n", b"\r")) and (byte := self._read(1, timeout)):
            line += byte
        return line.decode("utf-8").replace("\r", "\n")

    def _read(self, most: int, timeout: float) -> bytes:
        if not select.select([self._log], [], [], timeout)[0]:
            raise TimeoutError(f"process {self.pid} said nothing for {timeout} s")
        return os.read(self._log, most)

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        answers = self._server.stdout
        assert answers
        if self.returncode is None and select.select([answers], [], [], 0)[0]:
            self.returncode = _answer(self._server)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to the process alone."""
        os.kill(self.pid, number)

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Wait for the end; return what it printed, and what it has logged since ``line``."""
        log = b""
        while part := self._read(1 << 16, timeout):
            log += part
        os.close(self._log)
        if self.returncode is None:
            self.returncode = _answer(self._server)
        printed = Path(self._out).read_text(encoding="utf-8")
        self._pipes.cleanup()
        return printed, log.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")


def run(
    command: tuple[str, ...], folder: Path, environment: Mapping[str, str]
) -> tuple[int, str]:
    """Run ``kedro …`` in ``folder``; return its exit code and what it wrote to both streams."""
    server = _server("kedro")
    with tempfile.NamedTemporaryFile() as both:
        _ask(server, (command, str(folder), dict(environment), both.name, both.name, False))
        _answer(server)  # its number
        code = _answer(server)
        written = both.read().decode("utf-8")
    return code, written.replace("\r\n", "\n").replace("\r", "\n")


def doors(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with a PATH on which `kedro` and `dvc` begin with libraries."""
    path = os.pathsep.join((str(_doors()), environment["PATH"]))
    return {**environment, "PATH": path}


@cache
def _doors() -> Path:
    """Make a folder of the commands."""
    folder = _folder()
    for name in ("kedro", "dvc"):
        _server(name)
        text = _DOOR.format(
            python=sys.executable, name=name, address=str(folder / f"{name}.socket")
        )
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    return folder


@cache
def _folder() -> Path:
    # Short: the address of a socket may have 107 characters.
    folder = tempfile.TemporaryDirectory(prefix="warm-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


@cache
def _server(name: str) -> "subprocess.Popen[bytes]":
    """Start what forks; it ends with the session, which closes its end of the pipe."""
    pipe, environment = subprocess.PIPE, {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, name, str(_folder() / f"{name}.socket")]
    return subprocess.Popen(command, bufsize=0, env=environment, stdin=pipe, stdout=pipe)


def _ask(server: "subprocess.Popen[bytes]", asked: Any) -> None:
    assert server.stdin
    server.stdin.write(json.dumps(asked).encode() + b"\n")


def _answer(server: "subprocess.Popen[bytes]") -> int:
    assert server.stdout
    return int(server.stdout.readline())


def serve(name: str, address: str) -> None:
    """Fork for each command that is asked for; return in a child that is to be it."""
    for library in LIBRARIES if name == "kedro" else OF_DVC:
        import_module(library)
    gc.freeze()  # else every child copies the pages of all that it collects
    if name == "dvc" or not os.fork():
        serve_doors(address)
    else:
        serve_pipe()


def serve_pipe() -> None:
    """Fork for each line of the input, and answer number and exit code; return in a child."""
    while line := sys.stdin.readline():
        child = os.fork()
        if not child:
            command, folder, environment, out, err, own_group = json.loads(line)
            streams = [os.open(path, os.O_WRONLY | os.O_APPEND) for path in (out, err)]
            streams = [os.open(os.devnull, os.O_RDONLY), *streams]
            become(command, folder, environment, streams, own_group)
            return
        os.write(1, b"%d\n" % child)
        os.write(1, b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    sys.exit()


def serve_doors(address: str) -> None:
    """Fork for each door that calls, any number at once; return in a child."""
    parent = os.getppid()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # none of those that answer is waited for
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        while os.getppid() == parent:
            if select.select([listening], [], [], 1.0)[0]:
                caller, _ = listening.accept()
                with caller:
                    if not os.fork() and answer(caller):
                        return
    sys.exit()


def answer(caller: socket.socket) -> bool:
    """Be a command for a door that called: return in it, and tell the door how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, streams, _, _ = socket.recv_fds(caller, 4, 3)
    text = caller.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
    child = os.fork()
    if not child:
        command, folder, environment = json.loads(text)
        become(command, folder, environment, streams, own_group=False)
        return True
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with suppress(BrokenPipeError):  # the door was killed meanwhile
        caller.sendall(b"%d\n" % code)
    os._exit(0)


def become(
    command: list[str],
    folder: str,
    environment: dict[str, str],
    streams: list[int],
    own_group: bool,
) -> None:
    """Make of this process one that was just started so."""
    if own_group:
        os.setsid()
        # A job in the background is deaf to Ctrl-C, and so is whatever it starts.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    tempfile.tempdir = None  # a library may have asked for it, and it is kept
    sys.argv = command
    sys.path[0] = str(Path(sys.executable).parent)


if __name__ == "__main__":
    serve(*sys.argv[1:])
    if sys.argv[0] == "dvc":
        from dvc.cli import main as dvc

        sys.exit(dvc())
    from kedro.framework.cli import main

    main()
