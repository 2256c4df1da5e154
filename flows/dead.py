"""Dead letters: what a failed video was to be made of, and why it failed, kept so that it can be tried again.

One object per video and job, `dead/<job>/<digest of the source>.json`: the job as it was for this video, the cause,
how often it was tried, when, and by which versions. A video that fails again adds to its letter; one that worked in
a replay marks it as buried and leaves it there. Letters hold no secrets: where the inputs had one it is withheld,
and such a letter is read by people only. Knows the store and the job models; runs nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import traceback
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from configs.deflicker_job import LOOP_ONLY, DeflickerJob
from configs.errors import ConfigError, SteadyframeError
from configs.job import RestyleJob
from configs.redact import redact, redact_all
from flows.telemetry import telemetry
from tasks.failure import FailureClass, classify
from tasks.store import Store

_PACKAGES = ("steadyframe", "torch", "diffusers", "prefect", "ray", "av")
_MOST = 20_000  # characters of a traceback: its end says what happened

log = logging.getLogger("steadyframe")


class Attempt(BaseModel):
    """One try that failed; `exception` is the class of the error, `time` is UTC in ISO form."""

    model_config = ConfigDict(frozen=True)

    attempt: int
    time: str
    failure: FailureClass
    exception: str
    message: str


class DeadLetter(Attempt):
    """The newest try, its inputs and, in `earlier`, the tries before it.

    `relative` is the source's folder below a folder source, `sidecar` the overrides of its own file that are in
    `job` already, `withheld` the names of inputs that held a secret, `traceback` is kept for bugs only.
    """

    job_id: str
    job: dict[str, Any]
    source: str
    relative: str = ""
    sidecar: dict[str, Any] | None = None
    withheld: tuple[str, ...] = ()
    traceback: str = ""
    versions: dict[str, str] = {}
    earlier: tuple[Attempt, ...] = ()
    buried: str | None = None
    buried_by: str = ""

    @property
    def path(self) -> str:
        """Where it lies in the store."""
        return letter_path(self.job_id, self.source, self.relative)

    @property
    def inputs(self) -> str:
        """Digest of what a replay would be given: letters of several nights that agree in it need one replay."""
        whole = json.dumps([self.job, self.source, self.relative], sort_keys=True)
        return hashlib.sha256(whole.encode()).hexdigest()

    def restore(self) -> RestyleJob | DeflickerJob:
        """The strict job with exactly the inputs that failed. Errors: ConfigError, with what to do instead."""
        if self.withheld:
            raise ConfigError(
                f"{self.source}: {', '.join(self.withheld)} held a secret, which is not kept; "
                "give the same command again, with the secret, for this video"
            )
        if "sidecar" in self.job:  # its own overrides made no job
            raise ConfigError(f"{self.job['sidecar']}; mend it and run the library again")
        model = DeflickerJob if self.job.get("method") == "deflicker" else RestyleJob
        try:
            return model.model_validate(_without_loop_keys(self.job) if model is DeflickerJob else self.job)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            made_by = self.versions.get("steadyframe", "unknown")
            raise ConfigError(
                f"{self.source}: the job kept by version {made_by} is not one of this version "
                f"({where}: {first['msg']}); give the command again for this video"
            ) from None


def write_dead(
    store: Store,
    *,
    job_id: str,
    job: BaseModel | Mapping[str, Any],
    source: str,
    relative: str,
    error: BaseException,
    attempt: int,
    sidecar: Mapping[str, Any] | None = None,
) -> str:
    """Keep the inputs of a failed video and what ended its `attempt`-th try (from 1); returns the letter's path.

    `job` is the job as it was for this video, overrides included. A letter that cannot be written is a warning
    and returns '': the error itself is in the result of the job, and no other video may suffer for it.
    """
    given = job.model_dump(mode="json") if isinstance(job, BaseModel) else json.loads(json.dumps(job))
    if "sources" in given:
        given["sources"] = [source]  # the others are none of this letter's business
    kept = redact_all(given)
    kept_source = redact(source)
    before = read_letter(store, letter_path(job_id, kept_source, relative))
    letter = DeadLetter(
        **_attempt(error, attempt).model_dump(),
        job_id=job_id,
        job=kept,
        source=kept_source,
        relative=relative,
        sidecar=redact_all(sidecar) if sidecar is not None else None,
        withheld=tuple(name for name in given if given[name] != kept[name]),
        traceback=_trace(error) if classify(error) == "bug" else "",
        versions=_versions(),
        earlier=(*before.earlier, _as_attempt(before)) if before is not None else (),
    )
    telemetry().dead(letter.failure)
    return letter.path if _write(store, letter) else ""


def died_again(store: Store, letter: DeadLetter, error: BaseException) -> DeadLetter:
    """Add one more failed try to a letter and return it as it now is."""
    changed = letter.model_copy(
        update={
            **_attempt(error, letter.attempt + 1).model_dump(),
            "traceback": _trace(error) if classify(error) == "bug" else "",
            "versions": _versions(),
            "earlier": (*letter.earlier, _as_attempt(letter)),
        }
    )
    _write(store, changed)
    return changed


def bury(store: Store, letter: DeadLetter, by: str = "") -> None:
    """Mark a letter whose video has worked, by the job `by`; the letter stays."""
    _write(store, letter.model_copy(update={"buried": _now(), "buried_by": by}))


def dead_letters(store: Store, job_id: str | None = None, *, buried: bool = False) -> Iterator[DeadLetter]:
    """The letters that still wait, oldest job first; with `buried` those that worked since as well.

    One that cannot be read counts as absent, as everything torn in the store does.
    """
    for job in [job_id] if job_id is not None else store.blobs.children("dead")[1]:
        for path in sorted(store.blobs.children(f"dead/{job}")[0]):
            letter = read_letter(store, path)
            if letter is not None and (buried or letter.buried is None):
                yield letter


def letter_path(job_id: str, source: str, relative: str) -> str:
    """Where the letter about a source of a job lies; `source` without secrets."""
    named = json.dumps([source, relative]).encode()
    return f"dead/{job_id}/{hashlib.sha256(named).hexdigest()[:16]}.json"


def read_letter(store: Store, path: str) -> DeadLetter | None:
    """The letter at a path; None when there is none that can be read."""
    try:
        return DeadLetter.model_validate(store.read_record(path))
    except (ValidationError, SteadyframeError):
        return None


def _write(store: Store, letter: DeadLetter) -> bool:
    try:
        store.write_record(letter.path, letter.model_dump(mode="json"))
    except SteadyframeError as fault:
        log.warning("%s: its dead letter could not be kept: %s", letter.source, redact(str(fault)))
        return False
    return True


def _attempt(error: BaseException, attempt: int) -> Attempt:
    name = type(error).__name__
    return Attempt(
        attempt=attempt,
        time=_now(),
        failure=classify(error),
        exception=name,
        message=redact(str(error)) or name,
    )


def _as_attempt(letter: DeadLetter) -> Attempt:
    return Attempt.model_validate(letter.model_dump(include=set(Attempt.model_fields)))


def _trace(error: BaseException) -> str:
    return redact("".join(traceback.format_exception(error)))[-_MOST:]


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _without_loop_keys(job: Mapping[str, Any]) -> dict[str, Any]:
    """A whole deflicker job names keys that its model refuses from people: they hold their defaults."""
    filtered = {name: value for name, value in job.get("deflicker", {}).items() if name not in LOOP_ONLY}
    return {**job, "deflicker": filtered}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
