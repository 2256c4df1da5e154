"""Whole objects under one root of any fsspec URL: written complete or not at all, created at most once.

Refuses to know keys, manifests and stages. There is no way to write an object piece by piece here: an
exception inside `fs.open(..., 'wb')` publishes the partial object on local disks and on S3 alike.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from configs.errors import SteadyframeError, StoreError
from tasks.failure import classify
from tasks.store.backends import Backend, open_backend
from tasks.store.localfiles import Stat
from tasks.store.patience import DELAYS, patiently

_FIXES = {
    errno.ENOSPC: "free some space there (`steadyframe clean`) or choose another --store",
    errno.EDQUOT: "your disk quota is used up: free some space or choose another --store",
    errno.EACCES: "give this user read and write permission there or choose another --store",
    errno.EPERM: "give this user read and write permission there or choose another --store",
    errno.EROFS: "the file system is read-only: choose another --store",
    errno.ENOENT: "create the bucket or folder first, or choose another --store",
    errno.ENOTDIR: "a file is in the place of a folder: move it away or choose another --store",
    errno.EISDIR: "a folder is in the place of a file: move it away or choose another --store",
}
_AGAIN = "it was asked several times: run the same command again later, or check the --store URL"

T = TypeVar("T")
Listing = tuple[dict[str, int], list[str]]  # objects of one folder with their bytes, names of its subfolders


class TornArtifact(SteadyframeError):
    """What the store holds under a name is missing or not what was written: treat it as absent."""


class MissingBlob(TornArtifact):
    """No object has this path."""


@dataclass(frozen=True)
class Blob:
    """A stored object: its path below the root, its size and the hex sha256 of its bytes."""

    path: str
    bytes: int
    sha256: str


def digest(data: bytes) -> str:
    """Hex sha256 of some bytes (1.8 GB/s on a laptop core, so we always check)."""
    return hashlib.sha256(data).hexdigest()


def digest_file(source: Path) -> tuple[str, int]:
    """(hex sha256, bytes) of a local file."""
    with source.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest(), f.tell()


def checked_path(path: str) -> str:
    """Return `path` if it is relative, in POSIX form and stays below the root; else StoreError."""
    bad = "\\" in path or "\0" in path or ":" in path
    if bad or not path or any(part in ("", ".", "..") for part in path.split("/")):
        raise StoreError(f"store path {path!r} must be relative, with '/' between non-empty names and without '..'")
    return path


class Blobs:
    """Objects under one root. Safe to use from many threads; pickles as its URL and options."""

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        self.storage_options = dict(storage_options or {})
        with _named(url):
            self._backend: Backend = open_backend(url, self.storage_options)
        self.url, self._answered = self._backend.url, False

    def __reduce__(self) -> tuple[type[Blobs], tuple[str, dict[str, Any]]]:
        return Blobs, (self.url, self.storage_options)

    @property
    def protocol(self) -> str:
        """`file`, `memory`, `s3`, ..."""
        return self._backend.protocol

    def put(self, path: str, data: bytes) -> Blob:
        """Write a whole object, replacing an older one; readers see the old bytes or the new, never a mix."""
        self._ask(path, lambda: self._backend.put(checked_path(path), data))
        return Blob(path, len(data), digest(data))

    def put_new(self, path: str, data: bytes) -> bool:
        """Create an object whole unless it exists; of racing creators exactly one gets True."""
        tries = 0

        def create() -> bool:
            nonlocal tries
            tries += 1
            if self._backend.put_new(checked_path(path), data):
                return True
            # the try before may have worked, and only its reply been lost: then what is there is ours
            return tries > 1 and self._backend.get(path) == data

        return self._ask(path, create)

    def put_file(self, path: str, source: Path) -> None:
        """Like `put`, from a local file too large to hold in memory; the file must not change meanwhile."""
        self._ask(path, lambda: self._backend.put_file(checked_path(path), source))

    def get(self, path: str) -> bytes:
        """All bytes of an object; MissingBlob when there is none."""
        with self._missing(path):
            return self._ask(path, lambda: self._backend.get(checked_path(path)))

    def get_file(self, path: str, target: Path, size: int) -> None:
        """The same into a local file, of an object of `size` bytes that is too large to hold in memory."""
        with self._missing(path):
            self._ask(path, lambda: self._backend.get_file(checked_path(path), target, size))

    @contextmanager
    def _missing(self, path: str) -> Iterator[None]:
        try:
            yield
        except StoreError as e:
            if isinstance(e.__cause__, FileNotFoundError):
                raise MissingBlob(f"store {self.url}/{path}: no such object") from e
            raise

    def exists(self, path: str) -> bool:
        """Whether an object (not a folder) has this path, asked anew each time."""
        return self.size(path) is not None

    def size(self, path: str) -> int | None:
        """Bytes of an object, None when there is none."""
        return self._ask(path, lambda: self._backend.size(checked_path(path)))

    def list(self, prefix: str = "") -> list[str]:
        """Sorted paths of all objects below the folder `prefix`, at any depth; never cached."""
        return sorted(self.sizes(prefix))

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """Path -> bytes of all objects below the folder `prefix` (one listing request per 1000 on S3)."""
        return {path: stat.bytes for path, stat in self.stats(prefix).items()}

    def stats(self, prefix: str = "") -> dict[str, Stat]:
        """Path -> bytes and time of writing of all objects below the folder `prefix`."""
        prefix = prefix.rstrip("/")
        return self._ask(prefix, lambda: self._backend.stats(checked_path(prefix) if prefix else ""))

    def children(self, prefix: str = "") -> Listing:
        """(objects directly in the folder `prefix` -> bytes, names of its subfolders sorted)."""
        prefix = prefix.rstrip("/")
        return self._ask(prefix, lambda: self._backend.children(checked_path(prefix) if prefix else ""))

    def delete(self, path: str) -> None:
        """Remove an object; nothing happens when there is none."""
        self._ask(path, lambda: self._backend.delete(checked_path(path)))

    def delete_tree(self, prefix: str) -> None:
        """Remove all objects below the folder `prefix`; the root itself is refused."""
        self._ask(prefix, lambda: self._backend.delete_tree(checked_path(prefix.rstrip("/"))))

    def sweep(self, older_than: float, dry: bool = False) -> int:
        """Remove (`dry`: only count) unfinished writes of killed writers, `older_than` seconds old; bytes freed."""
        return self._ask("", lambda: self._backend.sweep(older_than, dry))

    def local_path(self, path: str) -> Path | None:
        """Where the object lies on this machine's disk, for readers that want a file; None elsewhere."""
        return self._backend.local_path(checked_path(path))

    def free_bytes(self) -> int | None:
        """Bytes left on the disk that the store lies on, used before or not; None where that is not of this machine."""
        folder = self.local_path("free")
        if folder is None:
            return None
        return shutil.disk_usage(next(parent for parent in folder.parents if parent.exists())).free

    def _ask(self, path: str, request: Callable[[], T]) -> T:
        # a store that has never answered is more likely an address typed wrong than one that stumbles
        with _named(f"{self.url}/{path}"):
            answer = patiently(request, DELAYS if self._answered else DELAYS[:1])
        self._answered = True
        return answer


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Turn whatever a file system raises into a StoreError with place, cause and fix."""
    try:
        yield
    except (SteadyframeError, TypeError, AttributeError):
        raise  # ours, or a bug of the caller
    except Exception as e:  # fsspec back ends raise their own kinds (botocore, aiohttp), not only OSError
        code = e.errno if isinstance(e, OSError) else None
        cause = os.strerror(code) if code else f"{type(e).__name__}: {e}".rstrip(": ")
        if code is None and isinstance(e, (PermissionError, FileNotFoundError)):
            code = errno.EACCES if isinstance(e, PermissionError) else errno.ENOENT  # s3fs sets no errno
        usual = _AGAIN if classify(e) == "transient" else "check the --store URL and its credentials"
        fix = _FIXES.get(code or 0, usual)
        raise StoreError(f"store {what}: {cause}; {fix}") from e
