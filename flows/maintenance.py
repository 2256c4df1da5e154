"""Keeping a store in order: what of it may go, and whether it still is what was written.

Adds what only flows know to `tasks.store.retention` and `tasks.store.audit`: which results are the newest of their
source, when jobs last used a key, how long records are kept, and the output files that were handed out. Decides
nothing about results: whatever goes is computed again when it is needed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache

from configs.errors import StoreError
from flows.records import jobs
from tasks.results import result_at
from tasks.run import Progress, silent
from tasks.store import StageKey, Store
from tasks.store.audit import Torn, Which, audit, forget
from tasks.store.blobs import TornArtifact
from tasks.store.in_use import in_use, store_time
from tasks.store.removal import Removed, carry_out
from tasks.store.retention import DAY, Item, Plan, Policy, Wanted, plan
from tasks.store.survey import Survey, grouped, survey

Observe = Callable[[Progress], None]


@dataclass(frozen=True)
class Keeping:
    """What is kept of results and records: the newest `last` results of every source with all they were made from,
    and (`outputs`) of every result whose output file is still there; `jobs` and `dead` are ages in seconds.
    """

    last: int = 1
    outputs: bool = False
    jobs: float = 90 * DAY
    dead: float = 180 * DAY


@dataclass(frozen=True)
class Cleaned:
    """What would go (`plan`, and `temporary` bytes of half-written files), and what went (None after a dry run)."""

    plan: Plan
    temporary: int
    removed: Removed | None = None


def clean(store: Store, policy: Policy, keeping: Keeping, *, dry: bool = True, observe: Observe = silent) -> Cleaned:
    """Plan what goes and, unless `dry`, remove it. Safe beside running jobs; a store error of one item is noted."""
    now, found = store_time(store), survey(store)
    wanted, kept_jobs = _wanted(store, keeping)
    records = [] if policy.stages else list(_records(store, keeping, policy.grace, now, kept_jobs))
    records += [] if policy.stages else list(_notes(store, keeping, policy.grace, now, found))
    # asked after the survey: who began since works on what is young
    planned = plan(found, policy, in_use(store, now, policy.grace), now, wanted, records)
    temporary = store.blobs.sweep(max(policy.grace, 60.0), dry=True)
    if dry:
        return Cleaned(planned, temporary)

    def told(done: int, total: int) -> None:
        observe(Progress(store.url, "clean", done, total))

    return Cleaned(planned, temporary, carry_out(store, planned, policy, told))


def _wanted(store: Store, keeping: Keeping) -> tuple[Wanted, set[str]]:
    """What jobs know of keys: those to keep, when each was last used; and the jobs whose records say so."""
    written = {path: stat.modified for path, stat in store.blobs.stats("jobs").items()}
    newest: dict[str, set[str]] = defaultdict(set)  # source -> keys of the results kept for it
    keep, used, telling = set[str](), dict[str, float](), set[str]()
    is_there = cache(_is_there)  # every night's record names the same files, and an object store is asked for each
    for job_id, _, result in jobs(store):
        when = written.get(f"jobs/{job_id}/result.json", 0.0)
        for stage in (result or {}).get("stages", ()):
            used[stage["key"]] = max(when, used.get(stage["key"], 0.0))
        for output in (result or {}).get("outputs", ()):
            kept = newest[output["source"]]
            recent = output["key"] in kept or len(kept) < keeping.last
            if recent or (keeping.outputs and is_there(output["uri"])):
                if recent:
                    kept.add(output["key"])
                telling.add(job_id)
                keep.add(output["key"])
                keep |= {s["key"] for s in (result or {})["stages"] if s["source"] == output["source"]}
    return Wanted(frozenset(keep), used), telling


def _records(store: Store, keeping: Keeping, grace: float, now: float, kept_jobs: set[str]) -> Iterator[Item]:
    """Records of jobs and dead letters past their age. A job that says what is kept stays, and so do its letters."""
    for job_id, objects in grouped(store.blobs.stats("jobs"), 2).items():
        if job_id not in kept_jobs and now - objects.newest > max(keeping.jobs, grace):
            why = "the record of an old job"
            yield Item("record", "jobs", job_id, tuple(sorted(objects.stats)), objects.bytes, objects.newest, why)
    for path, stat in store.blobs.stats("dead").items():
        letter = store.read_record(path)
        buried = isinstance(letter, dict) and letter.get("buried") is not None
        if now - stat.modified > max(keeping.jobs if buried else keeping.dead, grace):
            why = "a dead letter that was replayed" if buried else "an old dead letter"
            yield Item("record", "dead", path.split("/", 1)[1], (path,), stat.bytes, stat.modified, why)


def _notes(store: Store, keeping: Keeping, grace: float, now: float, found: Survey) -> Iterator[Item]:
    """Old notes of libraries about results that are not here any more (`flows.library.known`)."""
    for path, stat in store.blobs.stats("known").items():
        if now - stat.modified > max(keeping.jobs, grace):
            note = store.read_record(path)
            last = note.get("last", {}) if isinstance(note, dict) else {}
            if not last or any(key not in found.artifacts for key, *_ in last.values()):
                why = "a note about a result that is gone"
                yield Item("record", "known", path, (path,), stat.bytes, stat.modified, why)


@dataclass
class Verified:
    """What was read again, what of it is torn, and what was done about it."""

    artifacts: int = 0
    commits: int = 0
    packs: int = 0
    outputs: int = 0
    bytes: int = 0
    torn: list[Torn] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)  # outputs that are not what was written
    repaired: int = 0
    busy: list[Torn] = field(default_factory=list)  # torn, but a running job holds the key

    @property
    def whole(self) -> bool:
        """Whether nothing was torn."""
        return not self.torn and not self.changed


def verify(store: Store, which: Which, *, repair: bool = False, observe: Observe = silent) -> Verified:
    """Read everything `which` names again. `repair`: forget what is torn, put outputs back from the store."""

    def told(done: int, total: int) -> None:
        observe(Progress(store.url, "verify", done, total))

    read = audit(store, which, told)
    result = Verified(read.artifacts, read.commits, read.packs, bytes=read.bytes, torn=read.torn)
    if repair:
        for torn in read.torn:
            if forget(store, torn):
                result.repaired += 1
            else:
                result.busy.append(torn)
    if not which.stages or "encode" in which.stages:
        _outputs(store, which, repair, result, observe)
    return result


def _outputs(store: Store, which: Which, repair: bool, result: Verified, observe: Observe) -> None:
    """Compare the output files, here or behind URLs, with the artifacts they are copies of, where both are there still.

    A file that cannot be read is a warning: its artifact was read before.
    """
    now = store_time(store)
    copies = {o["uri"]: o["key"] for _, _, job in reversed(list(jobs(store))) for o in (job or {}).get("outputs", ())}
    for number, (uri, key) in enumerate(sorted(copies.items()), 1):
        manifest = store.lookup(StageKey("encode", key, {}))
        if manifest is None or not which.takes("encode", key, manifest.created, now):
            continue
        observe(Progress(store.url, "verify outputs", number, len(copies)))
        part = manifest.parts[0]
        try:
            folder, name = result_at(uri)
            size = folder.size(name)
            if size is None:
                continue
            same = folder.sha256(name) == part.sha256
            result.outputs += 1
            result.bytes += size
            if same:
                continue
            result.changed.append(uri)
            if repair:
                data = store.read_part(manifest, part.name)
                folder.keep_aside(name)  # it may be somebody's own edit
                folder.write(name, data)
                result.repaired += 1
        except (TornArtifact, OSError, StoreError) as error:
            observe(Progress(store.url, "verify outputs", message=f"{uri}: {error}", level="warning"))


def _is_there(uri: str) -> bool:
    """Whether an output file is where it was written to; one behind an address that does not answer counts as there."""
    try:
        folder, name = result_at(uri)
        return folder.size(name) is not None
    except StoreError:
        return True
