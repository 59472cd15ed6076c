"""A bucket that speaks S3: what it holds, and one object of it as a file.

s3fs speaks the protocol. Here every way in which a bucket can fail becomes one sentence, and
an object is taken only if it still is what was listed: its entity tag (ETag) is the same.
"""

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PosixPath
from typing import Any, NamedTuple

from maskwise.errors import UserError, shown

SCHEME = "s3://"

_BLOCK = 8 * 2**20
"""Bytes of an object that are asked for at once."""
_CHANGED = ("PreconditionFailed", "412")


class Object(NamedTuple):
    """One object, as it was when the bucket was listed."""

    path: str
    """Relative to the URL."""
    size: int
    """Bytes."""
    etag: str


class BucketFolder(PosixPath):
    """A folder that this program made of a bucket, in this run.

    Being told so is all that tells it from a folder of raw files. What lies in it cannot: raw
    files are other people's, and whatever claims there to be a bucket is a file as any other.
    Worker processes are sent the path, and learn it with that.
    """


def is_bucket(location: str) -> bool:
    """Tell whether ``location`` names a bucket, and no folder."""
    return location.startswith(SCHEME)


@dataclass(frozen=True)
class Bucket:
    """The objects below ``s3://<name>/<prefix>``.

    Credentials, region and endpoint are those of the environment, as AWS's own tools find them
    (``AWS_PROFILE``, ``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``, ...).
    """

    name: str
    prefix: str
    """Without a slash at its end; "" = all of the bucket."""

    @classmethod
    def at(cls, url: str) -> "Bucket":
        """Read ``url``, or raise ``UserError`` where it names no bucket."""
        name, _, prefix = url.removeprefix(SCHEME).partition("/")
        # A secret may have slashes; no bucket's name has a colon.
        if "@" in name or (":" in name and "@" in prefix):
            raise UserError(
                "raw_root: there is an @ in the address of the bucket, which is not repeated "
                "here, because a key and its secret may stand before it; write "
                f"{SCHEME}<bucket>/<folder>, and name credentials in the environment "
                "(AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)"
            )
        if not name:
            raise UserError(f"{shown(url)}: names no bucket; write {SCHEME}<bucket>/<folder>")
        return cls(name, prefix.strip("/"))

    @property
    def url(self) -> str:
        """Return the URL in its one form."""
        return f"{SCHEME}{self.name}/{self.prefix}".rstrip("/")

    def objects(self) -> Iterator[Object]:
        """Yield all objects, a page of a thousand at a time; marks of folders are left out.

        Raises:
            UserError: if there is no such bucket, or it cannot be listed.
        """
        below = f"{self.prefix}/" if self.prefix else ""
        asked = {"Bucket": self.name, "Prefix": below}
        while True:
            with self._explained():
                page = _client(os.getpid()).call_s3("list_objects_v2", **asked)
            for entry in page.get("Contents", ()):
                path = entry["Key"].removeprefix(below)
                if path and not path.endswith("/"):
                    yield Object(path, entry["Size"], entry["ETag"])
            if not page.get("IsTruncated"):
                return
            asked["ContinuationToken"] = page["NextContinuationToken"]

    def fetch(self, wanted: Object, target: Path) -> None:
        """Write an object to the new file ``target``.

        Raises:
            UserError: if it changed or vanished since it was listed, or cannot be read.
            OSError: if ``target`` cannot be written.
        """
        with target.open("wb") as file:
            for block in self._blocks(wanted, wanted.size):
                file.write(block)

    def head(self, wanted: Object, size: int) -> bytes:
        """Return the first ``size`` bytes of an object; raises as ``fetch`` does."""
        return b"".join(self._blocks(wanted, min(size, wanted.size)))

    def _blocks(self, wanted: Object, size: int) -> Iterator[bytes]:
        """Yield the first ``size`` bytes; each request says which version it is about."""
        key = (
            f"{self.name}/{self.prefix}/{wanted.path}"
            if self.prefix
            else (f"{self.name}/{wanted.path}")
        )
        with self._explained(wanted.path):
            remote = _client(os.getpid()).open(key, "rb", _BLOCK, cache_type="none")
        if remote.details["ETag"] != wanted.etag:
            raise self._changed(wanted.path)
        for start in range(0, size, _BLOCK):
            with self._explained(wanted.path):
                block = remote.read(min(_BLOCK, size - start))
            yield block

    def _changed(self, path: str) -> UserError:
        return UserError(
            f"{self.url}/{path}: the object changed after the bucket was listed; run again "
            "when nobody writes to the bucket"
        )

    @contextmanager
    def _explained(self, path: str | None = None) -> Iterator[None]:
        """Say of the bucket, or of the object ``path``, what went wrong."""
        s3fs, failures = _library(), _failures()
        where = self.url if path is None else f"{self.url}/{path}"
        try:
            yield
        except FileNotFoundError:
            if path is None:
                raise UserError(
                    f"{where}: there is no bucket {shown(self.name)}; correct raw_root"
                ) from None
            raise UserError(
                f"{where}: the object is gone, though the bucket listed it; run again when "
                "nobody writes to the bucket"
            ) from None
        except PermissionError as error:
            raise UserError(
                f"{where}: there is no permission to {'list' if path is None else 'read'} it "
                f"({_said(error)}); ask for s3:ListBucket and s3:GetObject, or name other "
                "credentials in the environment (AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY)"
            ) from None
        except s3fs.utils.FileExpired:
            raise self._changed(path or "") from None
        except failures as error:
            if _code(error) in _CHANGED:
                raise self._changed(path or "") from None
            if type(error).__name__ == "NoCredentialsError":
                raise UserError(
                    f"{where}: there are no credentials for the bucket; set AWS_PROFILE, or "
                    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or for a public bucket "
                    "FSSPEC_S3_ANON=true"
                ) from None
            raise UserError(
                f"{where}: the bucket does not answer ({_said(error)}); look at the network "
                "and at AWS_ENDPOINT_URL, and run again: what has come is kept"
            ) from None


def _code(error: BaseException) -> str | None:
    """Return S3's own word for an error that s3fs has translated."""
    response = getattr(error.__cause__, "response", None) or {}
    code: str | None = response.get("Error", {}).get("Code")
    return code


def _said(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split()) or type(error).__name__


@functools.lru_cache(maxsize=1)
def _client(process: int) -> Any:
    """Return the connection of this process."""
    del process
    # What is listed is kept in a file of ours; a second copy in memory would grow with it.
    return _library().S3FileSystem(use_listings_cache=False, skip_instance_cache=True)


def _library() -> Any:
    try:
        import s3fs  # heavy, and needed by those alone whose scans lie in a bucket
        import s3fs.utils
    except ImportError:
        raise UserError(
            "raw_root: to read from a bucket this needs s3fs; install it: "
            "pip install 'maskwise[s3]' -c constraints.txt"
        ) from None
    return s3fs


def _failures() -> tuple[type[BaseException], ...]:
    """Return what a connection may raise that is nobody's mistake in this code."""
    from aiohttp import ClientError
    from botocore.exceptions import BotoCoreError

    return OSError, ClientError, BotoCoreError
