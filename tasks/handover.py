"""Handing finished work over: the file a person opens, under its name in the folder of results."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath

from configs.naming import result_name
from tasks.ref import Ref
from tasks.results import ResultFolder
from tasks.run import Run
from tasks.store import Part, Store, TornArtifact
from tasks.store.blobs import digest_file


def place_output(run: Run, encoded: Ref) -> str:
    """Copy the encoded video to `job.out`; returns its path or URL. A file that is there whole is left alone."""
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
    folder = ResultFolder(run.job.out)
    if folder.holds(name, part, named_by_key="{key8}" in run.job.naming):
        return folder.where(name)
    return folder.fill(name, partial(_copied, run.store, part))


def _copied(store: Store, part: Part, target: Path) -> None:
    """Copy a part to a local file, as it comes: a video need not fit the memory. Errors: TornArtifact, StoreError."""
    store.blobs.get_file(part.path, target, part.bytes)
    if digest_file(target) != (part.sha256, part.bytes):
        raise TornArtifact(f"{part.path} is not what was published")


def place_report(run: Run, page: Ref, beside: str) -> str:
    """Copy the report next to the video it speaks of; returns its path or URL. One that is there already stays."""
    folder = ResultFolder(run.job.out)
    name = str(PurePosixPath(folder.name_of(beside)).with_suffix(".html"))
    manifest = run.store.resolve(page)
    part = manifest.part("report.html")
    if part is not None and folder.holds(name, part, named_by_key=False):  # its name has the key of the video only
        return folder.where(name)
    return folder.write(name, run.store.read_part(manifest, "report.html"))
