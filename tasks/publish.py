"""Writing a local file whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from configs.errors import StoreError


def write_whole(target: Path, data: bytes) -> None:
    """Write a local file so that it is never seen half written; `StoreError` names the path and the cause."""
    fill_whole(target, lambda interim: interim.write_bytes(data))


def fill_whole(target: Path, fill: Callable[[Path], object]) -> None:
    """The same for what need not be in memory: `fill` writes the file at the path that it is given."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, interim = tempfile.mkstemp(dir=target.parent, prefix=".steadyframe-")
        try:
            try:
                fill(Path(interim))
                os.fsync(handle)  # of the file, whoever wrote it
            finally:
                os.close(handle)
            os.chmod(interim, 0o644)
            os.replace(interim, target)
        except BaseException:
            Path(interim).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StoreError(
            f"cannot write {target}: {error.strerror or error}; choose another --out or free space"
        ) from error
