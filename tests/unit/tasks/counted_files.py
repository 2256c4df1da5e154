"""A remote file system that counts what is fetched from it: `memory://` under the name `counted://`. No pytest."""

from __future__ import annotations

from collections import Counter
from typing import Any

import fsspec
from fsspec.implementations.memory import MemoryFileSystem


def counted() -> Counter[str]:
    """Register `counted://` anew; its fetches of whole files, by path, are in the counter returned."""
    fetched: Counter[str] = Counter()

    class Counted(MemoryFileSystem):
        protocol = "counted"
        cachable = False

        def cat_file(self, path: str, *args: Any, **options: Any) -> Any:
            fetched[path] += 1
            return super().cat_file(path, *args, **options)

        def get_file(self, rpath: str, lpath: str, **options: Any) -> Any:
            fetched[rpath] += 1
            return super().get_file(rpath, lpath, **options)

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return str(MemoryFileSystem._strip_protocol(path.replace("counted://", "memory://")))

    fsspec.register_implementation("counted", Counted, clobber=True)
    return fetched
