"""What `Blobs` needs of a file system, the choice by URL, and object stores: S3, memory, the rest of fsspec.

Refuses to know why something is stored. Files on local disks are `tasks.store.localfiles`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import fsspec

from tasks.store.localfiles import LocalFiles, Stat

_PIECE = 64 << 20  # bytes of a large object asked for at once


class Backend(Protocol):
    """What `Blobs` needs; paths are checked, errors are whatever the file system raises."""

    url: str
    protocol: str

    def put(self, path: str, data: bytes) -> None: ...  # noqa: D102
    def put_new(self, path: str, data: bytes) -> bool: ...  # noqa: D102
    def put_file(self, path: str, source: Path) -> None: ...  # noqa: D102
    def get(self, path: str) -> bytes: ...  # noqa: D102
    def get_file(self, path: str, target: Path, size: int) -> None: ...  # noqa: D102
    def size(self, path: str) -> int | None: ...  # noqa: D102
    def stats(self, prefix: str) -> dict[str, Stat]: ...  # noqa: D102
    def children(self, prefix: str) -> tuple[dict[str, int], list[str]]: ...  # noqa: D102
    def delete(self, path: str) -> None: ...  # noqa: D102
    def delete_tree(self, prefix: str) -> None: ...  # noqa: D102
    def sweep(self, older_than: float, dry: bool = False) -> int: ...  # noqa: D102
    def local_path(self, path: str) -> Path | None: ...  # noqa: D102


def open_backend(url: str, storage_options: Mapping[str, Any]) -> Backend:
    """`LocalFiles` for a folder of this machine, `ObjectStore` for every other fsspec URL."""
    if (folder := local_folder(url)) is not None:
        return LocalFiles(folder)
    # listings of other writers' objects must be fresh: s3fs hides them until invalidate_cache() otherwise
    fs, root = fsspec.core.url_to_fs(url, **{"use_listings_cache": False, **storage_options})
    return ObjectStore(fs, url.rstrip("/") if not url.endswith("://") else url, root)


def local_folder(url: str) -> Path | None:
    """The folder that a plain path, `file://` or `local://` names; None for an address of anything else."""
    if "://" in url and not url.startswith(("file://", "local://")):
        return None
    return Path(url.split("://", 1)[-1]).expanduser()


class ObjectStore:
    """Any other fsspec file system: one request per object, conditional create, no cached listing."""

    def __init__(self, fs: Any, url: str, root: str) -> None:
        self._fs, self.url, self._root = fs, url, root.rstrip("/")
        self.protocol = fs.protocol if isinstance(fs.protocol, str) else fs.protocol[0]

    def put(self, path: str, data: bytes) -> None:
        """One PUT, atomic."""
        self._fs.pipe_file(self._at(path), data)

    def put_file(self, path: str, source: Path) -> None:
        """An upload (multipart when large) that appears when complete."""
        self._fs.put_file(str(source), self._at(path))

    def put_new(self, path: str, data: bytes) -> bool:
        """PUT with If-None-Match; memory:// checks and then writes, so there the dict decides."""
        target = self._at(path)
        if self.protocol == "memory":
            from fsspec.implementations.memory import MemoryFile

            mine = MemoryFile(self._fs, target, data)
            return self._fs.store.setdefault(target, mine) is mine
        try:
            self._fs.pipe_file(target, data, mode="create")
        except FileExistsError:
            return False
        return True

    def get(self, path: str) -> bytes:
        """One GET (without `start` s3fs asks HEAD first)."""
        try:
            return bytes(self._fs.cat_file(self._at(path), start=0))
        except FileNotFoundError:
            raise
        except OSError:  # S3 answers 416 when asked for a range of an empty object
            if self.size(path) == 0:
                return b""
            raise

    def get_file(self, path: str, target: Path, size: int) -> None:
        """One GET per 64 MiB, so that no more is ever in memory."""
        with target.open("wb") as file:
            for start in range(0, size, _PIECE):
                file.write(self._fs.cat_file(self._at(path), start=start, end=min(start + _PIECE, size)))

    def size(self, path: str) -> int | None:
        """One HEAD."""
        try:
            info = self._fs.info(self._at(path))
        except FileNotFoundError:
            return None
        return int(info["size"]) if info["type"] == "file" else None

    def stats(self, prefix: str) -> dict[str, Stat]:
        """One LIST per 1000 objects."""
        try:
            found = self._fs.find(self._at(prefix), detail=True)
        except FileNotFoundError:
            return {}
        return {self._relative(name): Stat(int(info["size"]), _modified(info)) for name, info in found.items()}

    def children(self, prefix: str) -> tuple[dict[str, int], list[str]]:
        """One LIST with a delimiter."""
        try:
            entries = self._fs.ls(self._at(prefix), detail=True)
        except FileNotFoundError:
            return {}, []
        at = [(self._relative(e["name"]), e) for e in entries if e["name"].rstrip("/") != self._at(prefix)]
        files = {path: int(e["size"]) for path, e in at if e["type"] == "file"}
        return files, sorted(path.rstrip("/").rsplit("/", 1)[-1] for path, e in at if e["type"] == "directory")

    def delete(self, path: str) -> None:
        """One DELETE."""
        try:
            self._fs.rm_file(self._at(path))
        except FileNotFoundError:
            return

    def delete_tree(self, prefix: str) -> None:
        """All objects below; those others removed meanwhile do not matter."""
        try:
            self._fs.rm(self._at(prefix), recursive=True)
        except FileNotFoundError:
            return

    def sweep(self, older_than: float, dry: bool = False) -> int:
        """Nothing unfinished is ever visible here (the bucket's lifecycle rules end old uploads)."""
        return 0

    def local_path(self, path: str) -> Path | None:
        """Not on this disk."""
        return None

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    def _relative(self, name: str) -> str:
        return name[len(self._root) :].lstrip("/")


# what file systems call it: s3fs, memory, adlfs, sftp and local ones, gcsfs
_WRITTEN = ("LastModified", "last_modified", "mtime", "modified", "updated", "created")


def _modified(info: Mapping[str, Any]) -> float:
    """When an object was written, seconds since 1970; infinity where it is not told."""
    told = next((info[name] for name in _WRITTEN if info.get(name)), None)
    try:
        told = datetime.fromisoformat(told) if isinstance(told, str) else told
    except ValueError:
        return math.inf
    if isinstance(told, datetime):
        return (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()
    return float(told) if isinstance(told, (int, float)) else math.inf
