"""The folder of results that people open: on this machine, or behind any fsspec URL (`s3://bucket/restyled`).

What lies there are copies, each written whole, of what the store keeps. Knows names below the folder, not whose they
are.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from configs.errors import StoreError
from tasks.publish import fill_whole, write_whole
from tasks.store.backends import local_folder
from tasks.store.blobs import Blobs, digest_file
from tasks.store.manifest import Part


class ResultFolder:
    """`out` of a job. Names are relative, with '/' between folders. Errors: StoreError, naming place and cause."""

    def __init__(self, out: str) -> None:
        folder = local_folder(out)
        self._blobs = Blobs(out) if folder is None else None
        self._root = (folder or Path()).absolute()
        self.place = self._blobs.url if self._blobs else str(self._root)

    def check(self) -> None:
        """Write and remove a small file, so that a folder that cannot be written is known before the work for it."""
        name = f".steadyframe-{os.getpid()}"
        if self._blobs:
            self._blobs.put(name, b"")
            with suppress(StoreError):  # some buckets let nobody delete
                self._blobs.delete(name)
            return
        write_whole(self._local(name), b"")
        self._local(name).unlink(missing_ok=True)

    def where(self, name: str) -> str:
        """The path or URL of a name."""
        return f"{self.place}/{name}" if self._blobs else str(self._root / name)

    def name_of(self, where: str) -> str:
        """The name whose path or URL this is; ValueError for what does not lie below the folder."""
        if not self._blobs:
            return Path(where).relative_to(self._root).as_posix()
        if not where.startswith(self.place + "/"):
            raise ValueError(f"{where} is not below {self.place}")
        return where.removeprefix(self.place + "/")

    def size(self, name: str) -> int | None:
        """Bytes of what lies there, None when nothing does."""
        if self._blobs:
            return self._blobs.size(name)
        target = self._local(name)
        return target.stat().st_size if target.is_file() else None

    def sha256(self, name: str) -> str:
        """Hex digest of what lies there, which is read for it."""
        return hashlib.sha256(self._blobs.get(name)).hexdigest() if self._blobs else digest_file(self._local(name))[0]

    def holds(self, name: str, part: Part, named_by_key: bool) -> bool:
        """Whether a whole copy of `part` is there already; one that has no key in its name is read to know."""
        return self.size(name) == part.bytes and (named_by_key or self.sha256(name) == part.sha256)

    def write(self, name: str, data: bytes) -> str:
        """Write whole, in place of what is there; returns the path or URL."""
        if self._blobs:
            self._blobs.put(name, data)
            return self.where(name)
        target = self._local(name)
        write_whole(target, data)
        return str(target)

    def fill(self, name: str, fill: Callable[[Path], object]) -> str:
        """Like `write`, of what need not be in memory: `fill` writes it to the local path that it is given."""
        if not self._blobs:
            target = self._local(name)
            fill_whole(target, fill)
            return str(target)
        with tempfile.TemporaryDirectory(prefix="steadyframe-") as folder:
            interim = Path(folder) / "result"
            fill(interim)
            self._blobs.put_file(name, interim)
        return self.where(name)

    def keep_aside(self, name: str) -> None:
        """Keep what lies there as `NAME.damaged` from now on; the name itself may be gone then."""
        if self._blobs:
            self._blobs.put(f"{name}.damaged", self._blobs.get(name))
            return
        target = self._local(name)
        try:
            os.replace(target, target.with_name(f"{target.name}.damaged"))
        except OSError as error:
            raise StoreError(f"cannot rename {target}: {error.strerror or error}; move it away") from error

    def _local(self, name: str) -> Path:
        target = self._root / name
        if not target.parent.resolve().is_relative_to(self._root.resolve()):
            raise StoreError(f"cannot write {target}: a link in it leads out of {self._root}; remove the link")
        return target


def result_at(where: str) -> tuple[ResultFolder, str]:
    """The folder and the name of one result, by the path or URL that a job told of it."""
    folder, _, name = where.rpartition("/")
    return ResultFolder(folder), name
