"""The folder of results that people open: on this machine, or behind any fsspec URL (`s3://bucket/restyled`).

What lies there are copies, each written whole, of what the store keeps. Knows names below the folder, not whose they
are.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from configs.errors import StoreError
from tasks.publish import write_whole
from tasks.store.blobs import Blobs, digest_file
from tasks.store.manifest import Part


class ResultFolder:
    """`out` of a job. Names are relative, with '/' between folders. Errors: StoreError, naming place and cause."""

    def __init__(self, out: str) -> None:
        self._blobs = Blobs(out) if is_remote(out) else None
        self._root = Path(out.removeprefix("file://")).expanduser().absolute()
        self.place = self._blobs.url if self._blobs else str(self._root)

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

    def holds(self, name: str, part: Part, named_by_key: bool) -> bool:
        """Whether a whole copy of `part` is there already; one that has no key in its name is read to know."""
        if self._blobs:
            if self._blobs.size(name) != part.bytes:
                return False
            return named_by_key or hashlib.sha256(self._blobs.get(name)).hexdigest() == part.sha256
        target = self._local(name)
        if not target.is_file() or target.stat().st_size != part.bytes:
            return False
        return named_by_key or digest_file(target)[0] == part.sha256

    def write(self, name: str, data: bytes) -> str:
        """Write whole, in place of what is there; returns the path or URL."""
        if self._blobs:
            self._blobs.put(name, data)
            return self.where(name)
        target = self._local(name)
        write_whole(target, data)
        return str(target)

    def _local(self, name: str) -> Path:
        target = self._root / name
        if not target.parent.resolve().is_relative_to(self._root.resolve()):
            raise StoreError(f"cannot write {target}: a link in it leads out of {self._root}; remove the link")
        return target


def is_remote(out: str) -> bool:
    """Whether `out` is an address and not a folder of this machine."""
    return "://" in out and not out.startswith(("file://", "local://"))
