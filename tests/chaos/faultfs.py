"""`fault://`: an object store on a local folder that goes wrong as `tests.chaos.faults` has planned.

Objects appear whole, as on S3 (temporary name, then rename or link), unless the plan says otherwise. Content is never
changed and success never claimed for what did not happen: disks that lie are the business of
`tests.strategies.FaultyBlobs`.
"""

from __future__ import annotations

import errno
import os
import time
import uuid
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from fsspec.spec import AbstractFileSystem

from tests.chaos.faults import current, die


class FaultFileSystem(AbstractFileSystem):
    """See the module. Knows what `tasks.store.backends.ObjectStore` asks for, and no more."""

    protocol = "fault"
    cachable = False

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        """One PUT; `create` is If-None-Match."""
        self._put(path, lambda: value, mode)

    def put_file(self, lpath: str, rpath: str, **_: Any) -> None:
        """One upload."""
        self._put(rpath, Path(lpath).read_bytes, "overwrite")

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """One GET."""
        return self._read(lambda: Path(self._strip_protocol(path)).read_bytes()[start:end])

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """One HEAD; never old."""
        where = Path(self._strip_protocol(path))

        def ask() -> dict[str, Any]:
            if not where.exists():
                raise FileNotFoundError(errno.ENOENT, "NoSuchKey", str(where))
            kind = "file" if where.is_file() else "directory"
            return {"name": str(where), "size": where.stat().st_size, "type": kind}

        return self._read(ask)

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """One LIST with a delimiter."""
        return self._read(lambda: self._list(Path(self._strip_protocol(path)), False, detail))

    def find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, detail: bool = False, **_: Any
    ) -> Any:
        """One LIST."""
        entries = self._read(lambda: self._list(Path(self._strip_protocol(path)), True, True))
        return {e["name"]: e for e in entries} if detail else [e["name"] for e in entries]

    def rm_file(self, path: str) -> None:
        """One DELETE; deleting nothing is fine."""
        self._delete([Path(self._strip_protocol(path))])

    def rm(self, path: str, recursive: bool = False, maxdepth: int | None = None) -> None:
        """One DELETE of many; folders stay, as they are nothing here."""
        where = self._strip_protocol(path)
        self._delete(sorted(map(Path, _files(where, deep=True))) if os.path.isdir(where) else [Path(where)])

    def _read(self, ask: Callable[[], Any]) -> Any:
        if (injector := current()) is not None and injector.request()[0] == "lost":
            raise TimeoutError("the reply did not arrive")
        return ask()

    def _put(self, path: str, content: Callable[[], bytes], mode: str) -> None:
        where, data, injector = Path(self._strip_protocol(path)), content(), current()
        fault, dies = injector.request(len(data)) if injector is not None else ("", False)
        death = injector.plan.death if injector is not None and dies else None
        if death == "before":
            die()
        where.parent.mkdir(parents=True, exist_ok=True)
        if (fault == "torn" or death == "torn") and not where.exists():
            where.write_bytes(data[: len(data) // 2])
            if death:
                die()
            raise ConnectionResetError(errno.ECONNRESET, "the connection broke in the middle of the object")
        temporary = where.parent / f".part-{uuid.uuid4().hex}"
        temporary.write_bytes(data)
        if death == "temporary":
            die()
        try:
            if mode == "create":
                os.link(temporary, where)  # FileExistsError: the other one won
            else:
                os.replace(temporary, where)
        finally:
            temporary.unlink(missing_ok=True)
        if death:
            die()
        if fault == "lost":
            raise TimeoutError("the object is there, the reply did not arrive")

    def _delete(self, files: list[Path]) -> None:
        injector = current()
        fault, dies = injector.request(0) if injector is not None else ("", False)
        for number, file in enumerate(files):
            if dies and number == len(files) // 2:
                die()
            if injector is not None and file.exists():
                injector.gone[str(file)] = (time.time(), file.stat().st_size)
            file.unlink(missing_ok=True)
        if dies:
            die()
        if fault == "lost":
            raise TimeoutError("it is deleted, the reply did not arrive")

    def _list(self, folder: Path, deep: bool, detail: bool) -> list[Any]:
        found = _files(str(folder), deep)
        if (injector := current()) is not None:
            kept = injector.listed(found, _born)
            found = {p: size for p, size in kept.items() if folder in list(Path(p).parents)[: None if deep else 1]}
        entries = [{"name": path, "size": size, "type": "file"} for path, size in sorted(found.items())]
        if not deep:
            folders = [name for _, names, _ in islice(os.walk(folder), 1) for name in sorted(names)]
            entries += [{"name": str(folder / name), "size": 0, "type": "directory"} for name in folders]
        if not entries and not folder.exists():
            raise FileNotFoundError(errno.ENOENT, "NoSuchKey", str(folder))
        return entries if detail else [e["name"] for e in entries]


def _files(folder: str, deep: bool) -> dict[str, int]:
    """Path -> bytes of the objects in a folder; what vanishes meanwhile is not there."""
    found = {}
    for at, _, names in islice(os.walk(folder), None if deep else 1):
        for path in (os.path.join(at, name) for name in names if not name.startswith(".part-")):
            try:
                found[path] = os.stat(path).st_size
            except FileNotFoundError:
                continue
    return found


def _born(path: str) -> float:
    try:
        return Path(path).stat().st_ctime
    except FileNotFoundError:
        return 0.0
