"""A process on loopback that speaks S3, and a line to it that can break."""

import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any

from maskwise.scans import bucket

_SERVER = (
    "from moto.server import ThreadedMotoServer as Server; s = Server('127.0.0.1', 0); "
    "s.start(); print(s.get_host_and_port()[1], flush=True); input()"
)


class BucketServer:
    """An S3 server; whoever asks needs no credentials that are true."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._strict = 0

    @cached_property
    def owner(self) -> Any:
        """The client of whoever fills the buckets."""
        return self._client("s3", "owner", "secret")

    def put_all(self, name: str, files: Mapping[str, bytes]) -> str:
        """Make the bucket ``name`` of ``files``, and return its URL."""
        self.owner.create_bucket(Bucket=name)
        for path, content in files.items():
            self.put(name, path, content)
        return f"s3://{name}"

    def put(self, name: str, path: str, content: bytes) -> None:
        """Make an object, or replace it."""
        self.owner.put_object(Bucket=name, Key=path, Body=content)

    def remove(self, name: str, path: str) -> None:
        """Delete an object."""
        self.owner.delete_object(Bucket=name, Key=path)

    def forbid_reading(self, name: str) -> None:
        """Let nobody read the objects of a bucket, though everybody may list them."""
        policy = (
            '{"Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", '
            f'"Resource": "arn:aws:s3:::{name}/*"}}]}}'
        )
        self.owner.put_bucket_policy(Bucket=name, Policy=policy)

    @contextmanager
    def strict(self) -> Iterator[dict[str, str]]:
        """Look at rights from now on; yield the credentials of somebody who has none."""
        iam = self._client("iam", "owner", "secret")
        name = f"nobody-{self._strict}"
        self._strict += 1
        iam.create_user(UserName=name)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        self._look_at_rights_after(b"0")
        try:
            yield {
                "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
                "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
            }
        finally:
            self._look_at_rights_after(b"inf")

    def _look_at_rights_after(self, requests: bytes) -> None:
        url = f"http://127.0.0.1:{self.port}/moto-api/reset-auth"
        kind = {"Content-Type": "text/plain"}  # or it would be taken for a form
        with urllib.request.urlopen(urllib.request.Request(url, requests, kind), timeout=30):
            pass

    def _client(self, service: str, key: str, secret: str) -> Any:
        import boto3

        return boto3.client(
            service,
            endpoint_url=f"http://127.0.0.1:{self.port}",
            region_name="us-east-1",
            aws_access_key_id=key,
            aws_secret_access_key=secret,
        )


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
        port = next(line for line in process.stdout if line.strip().isdigit())
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
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._upstream)) as server:
            asking = threading.Thread(target=self._relay, args=(client, server, False))
            asking.start()
            self._relay(server, client, True)
            asking.join()

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
