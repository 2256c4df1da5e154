"""Stage `probe`: what the container of one video says, with every limit checked before a frame is decoded."""

from __future__ import annotations

import hashlib
from pathlib import Path

from configs.errors import UnreadableVideo
from configs.job import InputConfig
from configs.redact import redact
from tasks.ref import Ref
from tasks.run import Run
from tasks.stage import Computed, Writing, run_stage
from tasks.store.keys import StageKey, stage_key
from tasks.video.facts import ClipFacts
from tasks.video.source import probe as probe_file

VERSION = 1


def probe_key(limits: InputConfig, file_digest: str) -> StageKey:
    """Key of the facts of a file with this sha256."""
    params = {"input": limits.model_dump(exclude={"damaged", "max_bytes"})}
    return stage_key("probe", VERSION, params, {}, [{"file": file_digest}], None)


def probe(run: Run, path: Path) -> Ref:
    """Facts of the video at `path` (the local copy of `run.source`); raises a `VideoError` when it is refused."""
    if not path.is_file():
        probe_file(run.source, run.job.input, path)  # says what is wrong with it
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UnreadableVideo(
            f"{run.source}: cannot be read ({error.strerror or error}); check its permissions"
        ) from error
    key = probe_key(run.job.input, digest)

    def compute(writing: Writing) -> Computed:
        facts = probe_file(run.source, run.job.input, path)
        return [writing.part("facts.json", facts.model_dump_json().encode())], {}

    return run_stage(run, key, compute)


def facts_of(run: Run, ref: Ref) -> ClipFacts:
    """The facts a `probe` left, under the name this run knows the file by."""
    data = run.store.read_part(run.store.resolve(ref), "facts.json")
    return ClipFacts.model_validate_json(data).model_copy(update={"uri": redact(run.source)})
