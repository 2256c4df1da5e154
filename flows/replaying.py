"""`replay`: the dead videos of earlier jobs once more, each with exactly the inputs it died with.

A letter whose video works now is marked and kept; one that fails again has one more try on its count. Letters of
several nights that ask for the same are answered by one try. Knows no stage, no argument parser.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from configs.errors import ConfigError
from configs.job import RestyleJob
from configs.presets import nearest
from configs.settings import load_settings
from flows import api
from flows.dead import DeadLetter, bury, dead_letters, died_again
from flows.filtering import filter_one
from flows.resources import served
from flows.result import ErrorEntry, JobResult
from flows.sources import Source, expand
from flows.tally import Tally
from tasks.failure import FailureClass
from tasks.run import Progress, StageRecord, VideoResult, silent
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
        with ExitStack() as serving:
            serving.enter_context(served())
            for letters in groups:
                told = _again(letters, opened, engines, observe, tally)
                if told is None:
                    return
                rows.update({row.letter: row for row in told})

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


def _again(
    letters: Sequence[DeadLetter],
    store: Store,
    engines: EnginePool,
    observe: Callable[[Progress], None],
    tally: Tally,
) -> list[Replayed] | None:
    """Try what these letters ask for and mark them; None when it was stopped, which changes no letter."""
    letter = letters[-1]
    try:
        job = letter.restore()
    except ConfigError as error:  # nothing was tried
        tally.errors.append(ErrorEntry.of(error, letter.source))
        return [_row(each, "waits") for each in letters]
    works: list[tuple[str, Callable[[list[StageRecord]], VideoResult]]] = []
    if isinstance(job, RestyleJob):
        from tasks.purse import Purse

        purse = Purse(job.budget)
        for source in _sources(letter):
            one = partial(api.restyle_source, job, source, store, engines, observe, True, purse)
            works.append((source.uri, one))
    else:
        works.append((letter.source, partial(filter_one, job, store, engines, observe, True)))
    died: list[Exception] = []
    for named, work in works:
        if not tally.attempt(named, work, died.append):
            return None
    if died:
        return [_row(died_again(store, each, died[0]), "died again") for each in letters]
    for each in letters:
        bury(store, each, by=tally.job_id)
    return [_row(each, "worked") for each in letters]


def _sources(letter: DeadLetter) -> list[Source]:
    """The video of a letter; a folder or pattern that held none may hold several by now."""
    found = expand((letter.source,))
    if len(found) == 1:
        return [Source(found[0].uri, letter.relative or found[0].relative, found[0].error)]
    return found


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
