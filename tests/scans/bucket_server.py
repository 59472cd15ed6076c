"""A process on loopback that speaks S3, and a line to it that can break."""

import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from maskwise.scans import bucket

_SERVER = (
    "from moto.server import ThreadedMotoServer as Server; s = Server('127.0.0.1', 0); "
    "s.start(); print(s.get_host_and_port()[1], flush=True); input()"
)


class BucketServer:
    """An S3 server; whoever asks needs no credentials that are true."""

    def __init__(self, port: int) -> None:
        self.port = port

    def put(self, name: str, content: bytes = b"", query: str = "") -> None:
        """Make a bucket, or an object in it."""
        self._ask("PUT", f"{name}{query}", content)

    def put_all(self, name: str, files: Mapping[str, bytes]) -> str:
        """Make the bucket ``name`` of ``files``, and return its URL."""
        self.put(name)
        for path, content in files.items():
            self.put(f"{name}/{path}", content)
        return f"s3://{name}"

    def remove(self, name: str) -> None:
        """Delete an object."""
        self._ask("DELETE", name)

    def _ask(self, method: str, name: str, content: bytes = b"") -> None:
        url = f"http://127.0.0.1:{self.port}/{urllib.request.pathname2url(name)}"
        url = url.replace("%3F", "?")
        request = urllib.request.Request(url, content, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            answer.read()


@contextmanager
def served() -> Iterator[BucketServer]:
    """Yield a server, which takes a second to start."""
    with subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        port = process.stdout.readline()
        try:
            yield BucketServer(int(port))
        finally:
            process.kill()


def environment(port: int) -> dict[str, str]:
    """Return what leads AWS's libraries to the server, and nowhere else."""
    bucket._client.cache_clear()
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": "/nowhere",
        "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
    }


class BreakingLine:
    """A relay to a server that drops connections after so many bytes of an answer."""

    def __init__(self, port: int, after: int) -> None:
        self.breaks = 0
        """How often it still breaks."""
        self._upstream, self._after = port, after
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._door.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Take no further connection."""
        self._door.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client = self._door.accept()[0]
                server = socket.create_connection(("127.0.0.1", self._upstream))
                for pair in ((client, server, False), (server, client, True)):
                    threading.Thread(target=self._relay, args=pair, daemon=True).start()

    def _relay(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        passed = 0
        with suppress(OSError):
            while block := source.recv(16_384):
                passed += len(block)
                if answers and passed > self._after and self.breaks > 0:
                    self.breaks -= 1
                    break
                target.sendall(block)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
