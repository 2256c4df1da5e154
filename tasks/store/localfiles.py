"""Whole files below a local folder: temp in the same folder, fsync, rename or link, fsync of the folder.

Refuses to know why something is stored. Does not go through fsspec: its local `mode="create"` checks and then
writes, and it does not fsync.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

_TEMP = ".part-"  # names of unfinished writes start so; no listing shows them
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS, errno.EXDEV}


class Stat(NamedTuple):
    """Bytes of an object, and when it was written: seconds since 1970 by the clock of whoever stores it.

    `modified` is infinite where a file system does not tell: unknown counts as just now.
    """

    bytes: int
    modified: float


class LocalFiles:
    """Files below `root`; nothing is created before the first write."""

    protocol = "file"

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.abspath(root))
        self.url = f"file://{self.root.as_posix()}"

    def put(self, path: str, data: bytes) -> None:
        """Replace or create atomically."""
        self._finish(path, lambda fd: _write_all(fd, data), os.replace)

    def put_file(self, path: str, source: Path) -> None:
        """Copy a file in, then rename."""

        def copy(fd: int) -> None:
            with source.open("rb") as f, os.fdopen(os.dup(fd), "wb") as out:
                shutil.copyfileobj(f, out, 1 << 22)

        self._finish(path, copy, os.replace)

    def put_new(self, path: str, data: bytes) -> bool:
        """A hard link is the one local operation that both creates exclusively and shows complete content."""
        try:
            self._finish(path, lambda fd: _write_all(fd, data), _link)
        except FileExistsError:
            return False
        return True

    def get(self, path: str) -> bytes:
        """The whole file."""
        return (self.root / path).read_bytes()

    def get_file(self, path: str, target: Path, size: int) -> None:
        """A copy, by the kernel where it can."""
        shutil.copyfile(self.root / path, target)

    def size(self, path: str) -> int | None:
        """Bytes, None unless a regular file is there."""
        try:
            target = self.root / path
            return target.stat().st_size if target.is_file() else None
        except (FileNotFoundError, NotADirectoryError):
            return None

    def stats(self, prefix: str) -> dict[str, Stat]:
        """All files below, depth first; folders that vanish meanwhile are skipped."""
        files, folders = self._entries(prefix)
        for folder in folders:
            files.update(self.stats(f"{prefix}/{folder}" if prefix else folder))
        return files

    def children(self, prefix: str) -> tuple[dict[str, int], list[str]]:
        """Files and folder names of one folder."""
        files, folders = self._entries(prefix)
        return {path: stat.bytes for path, stat in files.items()}, folders

    def _entries(self, prefix: str) -> tuple[dict[str, Stat], list[str]]:
        files: dict[str, Stat] = {}
        folders: list[str] = []
        try:
            with os.scandir(self.root / prefix) as entries:
                for entry in entries:
                    if entry.name.startswith(_TEMP):
                        continue
                    if entry.is_dir():
                        folders.append(entry.name)
                        continue
                    try:
                        info = entry.stat()
                    except FileNotFoundError:
                        continue
                    path = f"{prefix}/{entry.name}" if prefix else entry.name
                    files[path] = Stat(info.st_size, info.st_mtime)
        except (FileNotFoundError, NotADirectoryError):
            return {}, []
        return files, sorted(folders)

    def delete(self, path: str) -> None:
        """Unlink."""
        (self.root / path).unlink(missing_ok=True)

    def delete_tree(self, prefix: str) -> None:
        """Remove a folder; a writer may add to it meanwhile, so what cannot be removed now is left."""
        target = self.root / prefix
        if target.is_dir():
            shutil.rmtree(target, onerror=_unless_gone)

    def sweep(self, older_than: float, dry: bool = False) -> int:
        """Unfinished writes by age of the file."""
        freed, limit = 0, time.time() - older_than
        for temp in self.root.rglob(f"{_TEMP}*"):
            try:
                info = temp.stat()
                if info.st_mtime <= limit:
                    if not dry:
                        temp.unlink()
                    freed += info.st_size
            except FileNotFoundError:
                continue
        return freed

    def local_path(self, path: str) -> Path | None:
        """The file itself."""
        return self.root / path

    def _finish(self, path: str, fill: Callable[[int], None], publish: Callable[[Path, Path], None]) -> None:
        target = self.root / path
        temp = target.parent / f"{_TEMP}{uuid.uuid4().hex}"
        try:
            fd = _open_new(temp)
            try:
                fill(fd)
                os.fsync(fd)
            finally:
                os.close(fd)
            publish(temp, target)
        finally:
            temp.unlink(missing_ok=True)
        _fsync_folder(target.parent)


def _open_new(temp: Path) -> int:
    for attempt in range(5):
        temp.parent.mkdir(parents=True, exist_ok=True)
        try:
            return os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileNotFoundError:  # someone deleted the folder between the two calls
            if attempt == 4:
                raise
    raise AssertionError


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _link(temp: Path, target: Path) -> None:
    try:
        os.link(temp, target)
    except FileExistsError:
        raise
    except OSError as e:
        if e.errno not in _NO_LINKS:
            raise
        # exFAT, some network and FUSE mounts have no hard links: still one winner, but for a moment
        # readers may see a short file, which every reader of ours treats as absent
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            _write_all(fd, temp.read_bytes())
            os.fsync(fd)
        finally:
            os.close(fd)


def _fsync_folder(folder: Path) -> None:
    """Make the new name survive a power cut; not all systems can open a folder."""
    try:
        fd = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except OSError:
        return
    try:
        os.fsync(fd)
    except OSError as e:
        if e.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(fd)


def _unless_gone(_function: Any, _path: str, info: Any) -> None:
    error = info[1]
    if not isinstance(error, FileNotFoundError) and error.errno != errno.ENOTEMPTY:
        raise error
