"""Writing a local file whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from configs.errors import StoreError


def write_whole(target: Path, data: bytes) -> None:
    """Write a local file so that it is never seen half written; `StoreError` names the path and the cause."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, interim = tempfile.mkstemp(dir=target.parent, prefix=".steadyframe-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(interim, 0o644)
            os.replace(interim, target)
        except BaseException:
            Path(interim).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StoreError(
            f"cannot write {target}: {error.strerror or error}; choose another --out or free space"
        ) from error
