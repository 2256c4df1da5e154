"""What need not run: videos whose result is in the store already, known without a model, a worker or a flow run.

Two ways, both checked by what the store really holds. `recall` finds the note that an earlier run left for this very
file (bytes, times or ETag) and this very question (job, model, numerics, code) and looks its last artifacts up; it
hashes nothing. `answered` walks the pipeline itself over a store that only answers, so the content keys decide. A note
that does not fit in every point is no note: deleting them all costs time and changes no result.

A video that its own bytes ended is noted too, and is not tried again while its dead letter waits. A changed file, job
or code is another question; a replay that worked buries the letter.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from configs import errors
from configs.errors import Interrupted, SteadyframeError, VideoError
from configs.job import RestyleJob
from configs.presets import styled_prompt
from configs.redact import redact
from flows.dead import letter_path, read_letter
from flows.sources import DEMO, Stamp, is_url, stamp_of
from tasks.code import code_digest
from tasks.handover import place_output, place_report
from tasks.run import Run, VideoResult, WindowSteps, silent
from tasks.store import Manifest, StageKey, Store
from tasks.store.keys import canonical_json

VERSION = 1
SETTLED_SECONDS = 2.0
"""A file that changed less than this before it was read may change again within the same tick of its clock."""
_LAST = ("encode", "report")
_NOT_ASKED = {"sources", "out", "naming", "commit_every", "budget", "preview"}


class NotThere(Exception):
    """An artifact that the question needs is not in the store."""


class Answers(Store):
    """A store that looks up and never lets anything be computed: what is not there ends the walk."""

    def lookup(self, key: Any, verify: Any = "sizes") -> Manifest:
        """The artifact, or NotThere."""
        found = super().lookup(key, verify)
        if found is None:
            raise NotThere(f"{key.stage} {key.key}")
        return found

    def highest_epoch(self, key: Any) -> int:
        """Asked by whoever is about to take a lease in order to compute."""
        raise NotThere(str(key))


def answered(run: Run) -> VideoResult | None:
    """The result of a video by its content keys alone; None when any stage of it would have to be computed.

    Reads the source once, to hash it. Of sources elsewhere it answers nothing: they would be fetched for the question.
    """
    from tasks import pipeline

    if is_url(run.source) and not run.source.startswith("file://"):
        return None
    try:
        return pipeline.restyle_video(replace(run, store=Answers(run.store.blobs), observe=silent, uses=[]))
    except Interrupted:
        raise
    except Exception:  # what is wrong with it is said by the run that follows, with its flow run and its dead letter
        return None


@dataclass(frozen=True)
class Death:
    """What a video died of in an earlier job, where it would again."""

    error: SteadyframeError
    job_id: str


class Known:
    """Notes of finished and dead videos in one store; thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def recall(self, run: Run) -> VideoResult | Death | None:
        """What an earlier run noted for this file and question: its result, put in place, or its death; else None."""
        stamp = stamp_of(run.source)
        if stamp is None or not stamp.mark or run.source == DEMO:
            return None
        note = self._store.read_record(self._path(run))
        try:
            if not isinstance(note, dict) or (note["bytes"], note["mark"]) != (stamp.bytes, stamp.mark):
                return None
            if "died" in note:
                return self._death(run, note["died"])
            last = [self._store.lookup(StageKey(stage, note["last"][stage][0], {})) for stage in _LAST]
            if any(m is None or m.digest != note["last"][m.stage][1] for m in last):
                return None
            encoded, page = (self._store.ref(m, "reused") for m in last if m is not None)
            result = VideoResult.model_validate(note["result"])
        except (KeyError, TypeError, IndexError, ValidationError):
            return None
        uri = place_output(run, encoded)
        told = {"source": run.source, "uri": uri, "report": place_report(run, page, uri)}
        return reused(result.model_copy(update={"output": result.output.model_copy(update=told)}))

    def note(self, run: Run, result: VideoResult, before: Stamp | None, read: float) -> None:
        """Leave a note of a finished video; `before` is its stamp from before it was read, at time `read`.

        None is left of a file that has no mark, changed meanwhile, or changed so shortly before that it may again.
        """
        if before is None or not _settled(run, before, read):
            return
        keys = {stage.stage: stage.key for stage in result.stages if stage.stage in _LAST}
        found = {stage: self._store.lookup(StageKey(stage, key, {})) for stage, key in keys.items()}
        last = {stage: [m.key, m.digest] for stage, m in found.items() if m is not None}
        if set(last) == set(_LAST):
            note = {**_seen(run, before), "last": last, "result": result.model_dump(mode="json")}
            self._store.write_record(self._path(run), note)

    def note_death(self, run: Run, error: BaseException, job_id: str, before: Stamp | None, read: float) -> None:
        """Leave a note of a video that died in a job of what is in the file, as `note` does."""
        if before is not None and _settled(run, before, read):
            died = {"class": type(error).__name__, "message": redact(str(error)), "job": job_id}
            self._store.write_record(self._path(run), {**_seen(run, before), "died": died})

    def _death(self, run: Run, died: Mapping[str, str]) -> Death | None:
        """The death that a note tells of; None when its letter is buried or gone."""
        letter = read_letter(self._store, letter_path(died["job"], redact(run.source), run.relative))
        if letter is None or letter.buried is not None:
            return None
        kind = getattr(errors, died["class"], VideoError)
        tries = f"unchanged since it died; `steadyframe replay --job {died['job']}` tries it"
        return Death(kind(f"{died['message']} ({tries})"), died["job"])

    def _path(self, run: Run) -> str:
        asked = [VERSION, run.source, run.relative, self._question(run)]
        name = hashlib.sha256(canonical_json(asked)).hexdigest()[:32]
        return f"known/{name[:2]}/{name}.json"

    def _question(self, run: Run) -> dict[str, Any]:
        """Everything besides the file itself that any key of its stages may hang on, and more."""
        job, facts = run.job, run.engines.facts(run.job.model)
        return {
            "job": job.model_dump(mode="json", exclude=_NOT_ASKED),
            "words": [styled_prompt(job.prompt, job.style)] + [_words_of_shot(job, shot) for shot in job.shots],
            "model": facts.digest,
            "numerics": facts.numerics,
            "files": [_files(control.path) for control in job.controls],
            "code": code_digest(),
        }


def _settled(run: Run, before: Stamp, read: float) -> bool:
    """Whether the file is what it was when it was read, and cannot have changed since without its mark showing it."""
    settled = not before.changed or before.changed < read - SETTLED_SECONDS
    return bool(before.mark) and stamp_of(run.source) == before and settled


def _seen(run: Run, before: Stamp) -> dict[str, Any]:
    return {"uri": redact(run.source), "bytes": before.bytes, "mark": before.mark, "noted": time.time()}


def reused(result: VideoResult) -> VideoResult:
    """The same result as a run that computed nothing tells it."""
    steps = result.window_steps
    stages = [stage.model_copy(update={"status": "reused", "seconds": 0.0}) for stage in result.stages]
    return result.model_copy(
        update={"stages": stages, "window_steps": WindowSteps(total=steps.total, reused=steps.total)}
    )


def _words_of_shot(job: RestyleJob, shot: str) -> str:
    own = job.of_shot(int(shot))
    return styled_prompt(own.prompt, own.style)


def _files(path: str | None) -> list[list[Any]]:
    """Names and stamps of a control's own files; a touched file is another question."""
    if path is None:
        return []
    place = Path(path).expanduser()
    files = [place] if place.is_file() else sorted(place.glob("*"))
    stamps: list[tuple[Path, Stamp | None]] = [(file, stamp_of(str(file))) for file in files]
    return [[file.name, stamp.bytes, stamp.mark] for file, stamp in stamps if stamp is not None]
