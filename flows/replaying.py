"""`replay`: the dead videos of earlier jobs once more, each with exactly the inputs it died with.

A letter whose video works now is marked and kept; one that fails again has one more try on its count. Letters of
several nights that ask for the same are answered by one try. Knows no stage, no argument parser.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from configs.deflicker_job import DeflickerJob
from configs.errors import ConfigError
from configs.job import RestyleJob
from configs.presets import nearest
from configs.settings import load_settings
from flows import api
from flows.dead import DeadLetter, bury, dead_letters, died_again
from flows.filtering import filter_one
from flows.resources import served
from flows.result import ErrorEntry, JobResult
from flows.tally import Tally
from tasks.failure import FailureClass
from tasks.run import Progress, silent
from tasks.store import Store

if TYPE_CHECKING:
    from tasks.engine.pool import EnginePool


class ReplayRequest(BaseModel):
    """What the store remembers of a replay: whose letters, and which."""

    model_config = ConfigDict(frozen=True)

    method: Literal["replay"] = "replay"
    sources: tuple[str, ...]
    letters: tuple[str, ...]


class Replayed(BaseModel):
    """What became of one letter; `job` is the job it died in, `attempt` counts all tries that failed."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    letter: str
    job: str
    source: str
    failure: FailureClass
    class_name: str = Field(alias="class")
    message: str
    attempt: int
    outcome: Literal["worked", "died again", "waits"]


class ReplayResult(JobResult):
    """The JSON contract with one row per letter."""

    letters: tuple[Replayed, ...] = ()


def replay(
    job: str | None = None,
    classes: Sequence[str] = (),
    dry_run: bool = False,
    *,
    store: str | None = None,
    workers: int | None = None,
    device: str | None = None,
    observe: Callable[[Progress], None] = silent,
) -> ReplayResult:
    """Run the dead videos of the store once more: all, those of one `job`, those of some failure classes.

    With `dry_run` it says which, and runs nothing. With nothing to do it is completed without outputs. Errors:
    ConfigError for a class or a job that does not exist; `store`, `workers`, `device` as `flows.api.restyle` has
    them.
    """
    groups = _waiting(Store.attach(store or load_settings().store), job, _checked(classes))
    rows = {letter.path: _row(letter, "waits") for letters in groups for letter in letters}
    if dry_run or not groups:
        return ReplayResult(method="replay", status="completed", letters=tuple(rows.values()))

    def work(opened: Store, engines: EnginePool, tally: Tally) -> None:
        from flows.replay_flight import Again, fly_again

        def settle(letters: Sequence[DeadLetter], error: Exception | None) -> None:
            for letter in letters:
                if error is None:
                    bury(opened, letter, by=tally.job_id)
                    rows[letter.path] = _row(letter, "worked")
                else:
                    rows[letter.path] = _row(died_again(opened, letter, error), "died again")

        jobs = [(letters, _restored(letters[-1], tally)) for letters in groups]
        with served():
            for letters, made in jobs:
                if isinstance(made, DeflickerJob):
                    died: list[Exception] = []
                    one = partial(filter_one, made, opened, engines, observe, True)
                    if not tally.attempt(letters[-1].source, one, died.append):
                        return
                    settle(letters, died[0] if died else None)
            restyled = [Again(letters, made) for letters, made in jobs if isinstance(made, RestyleJob)]
            fly_again(restyled, opened, engines, observe, tally, settle)

    sources = tuple(letters[-1].source for letters in groups)
    result = api.whole_job(ReplayRequest(sources=sources, letters=tuple(rows)), store, workers, device, work)
    same = {name: getattr(result, name) for name in JobResult.model_fields}
    return ReplayResult(**same, letters=tuple(rows.values()))


def _waiting(store: Store, job: str | None, classes: Sequence[FailureClass]) -> list[list[DeadLetter]]:
    """Letters that one try each would answer, the oldest first. Errors: ConfigError when there is no such job."""
    groups: dict[str, list[DeadLetter]] = {}
    for letter in dead_letters(store, job):
        if not classes or letter.failure in classes:
            groups.setdefault(letter.inputs, []).append(letter)
    if job is not None and not groups:
        known = {*store.blobs.children("jobs")[1], *store.blobs.children("dead")[1]}
        if job not in known:
            raise ConfigError(f"--job {job}: {store.url} has no such job; `steadyframe runs` lists those there are")
    return list(groups.values())


def _restored(letter: DeadLetter, tally: Tally) -> RestyleJob | DeflickerJob | None:
    """The job of a letter; None, and noted in `tally`, when the letter cannot be tried."""
    try:
        return letter.restore()
    except ConfigError as error:
        tally.errors.append(ErrorEntry.of(error, letter.source))
        return None


def _row(letter: DeadLetter, outcome: Literal["worked", "died again", "waits"]) -> Replayed:
    return Replayed(
        letter=letter.path,
        job=letter.job_id,
        source=letter.source,
        failure=letter.failure,
        class_name=letter.exception,
        message=letter.message,
        attempt=letter.attempt,
        outcome=outcome,
    )


def _checked(classes: Sequence[str]) -> list[FailureClass]:
    known = get_args(FailureClass)
    for name in classes:
        if name not in known:
            raise ConfigError(f"--class must be one of {', '.join(known)}, got {name!r}{nearest(name, known)}")
    return [name for name in known if name in classes]
