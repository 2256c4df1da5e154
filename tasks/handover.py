"""Handing finished work over: the file a person opens, under its name in the folder of results."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import PurePosixPath

from configs.naming import result_name
from tasks.ref import Ref
from tasks.results import ResultFolder
from tasks.run import Run


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
    return folder.write(name, run.store.read_part(manifest, part.name))


def place_report(run: Run, page: Ref, beside: str) -> str:
    """Copy the report next to the video it speaks of; returns its path or URL."""
    folder = ResultFolder(run.job.out)
    name = str(PurePosixPath(folder.name_of(beside)).with_suffix(".html"))
    return folder.write(name, run.store.read_part(run.store.resolve(page), "report.html"))
