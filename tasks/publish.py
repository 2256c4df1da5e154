"""Handing finished work over: the file a person opens, under its name in the output folder, whole or not at all."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from configs.errors import StoreError
from configs.naming import result_name
from tasks.ref import Ref
from tasks.run import Run
from tasks.store.blobs import digest_file
from tasks.store.manifest import Part


def place_output(run: Run, encoded: Ref) -> str:
    """Copy the encoded video to `job.out`; returns its path. A file that is already there whole is left alone."""
    manifest = run.store.resolve(encoded)
    part = manifest.parts[0]
    name = result_name(
        run.job.naming,
        run.source,
        run.relative,
        style=run.job.style,
        prompt=run.job.prompt,
        key=encoded.key,
        ext=manifest.meta["suffix"],
        date=f"{datetime.now(UTC):%Y-%m-%d}",
    )
    out = Path(run.job.out).expanduser().absolute()
    target = out / name
    if not target.parent.resolve().is_relative_to(out.resolve()):
        raise StoreError(f"cannot write {target}: a link in it leads out of {out}; remove the link")
    if not _is_there(target, part, named_by_key="{key8}" in run.job.naming):
        write_whole(target, run.store.read_part(manifest, part.name))
    return str(target)


def _is_there(target: Path, part: Part, named_by_key: bool) -> bool:
    """Whether the file is this very result; one that has no key in its name is read to know."""
    if not target.is_file() or target.stat().st_size != part.bytes:
        return False
    return named_by_key or digest_file(target)[0] == part.sha256


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
