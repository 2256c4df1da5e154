"""Handing finished work over: the file a person opens, under its name in the output folder, whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from configs.errors import StoreError
from configs.names import output_relative
from tasks.ref import Ref
from tasks.run import Run


def place_output(run: Run, encoded: Ref) -> str:
    """Copy the encoded video to `job.out`; returns its path. A file that is already there whole is left alone."""
    manifest = run.store.resolve(encoded)
    part = manifest.parts[0]
    name = output_relative(
        run.source,
        run.relative,
        style=run.job.style,
        prompt=run.job.prompt,
        key=encoded.key,
        ext=manifest.meta["suffix"],
    )
    target = Path(run.job.out).expanduser().absolute() / name
    if not (target.is_file() and target.stat().st_size == part.bytes):
        write_whole(target, run.store.read_part(manifest, part.name))
    return str(target)


def place_report(run: Run, page: Ref, beside: str) -> str:
    """Copy the report next to the video it speaks of; returns its path."""
    target = Path(beside).with_suffix(".html")
    write_whole(target, run.store.read_part(run.store.resolve(page), "report.html"))
    return str(target)


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
