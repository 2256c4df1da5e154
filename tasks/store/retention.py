"""Which objects of a store may go: by age, by the size of the whole, and by what must stay. Pure; deletes nothing.

Deleting is always safe for results (what is gone is computed again), so this only decides what is worth keeping, and
keeps away from what running jobs use. Knows no job and no flow: who wants a result kept names its key.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from tasks.store.in_use import InUse
from tasks.store.survey import Artifact, Objects, Survey, commits

HOUR, DAY = 3600.0, 86400.0

Kind = Literal["artifact", "stray", "unfinished", "steps", "packs", "leases", "probes", "record"]


@dataclass(frozen=True)
class Policy:
    """What to keep; ages in seconds since the last use, None or 0 bytes for no limit.

    `older_than` and `max_bytes` are about finished work and the matches it leans on. The other ages are about rubbish:
    `unfinished` for what killed runs left (they could go on from it), `leases` for records of leases nobody holds,
    `grace` for everything: nothing younger is ever touched.
    """

    older_than: float | None = None
    max_bytes: int | None = None
    stages: frozenset[str] = frozenset()  # only these; empty for all
    keep_stages: frozenset[str] = frozenset()
    grace: float = HOUR
    unfinished: float = 7 * DAY
    leases: float = DAY


@dataclass(frozen=True)
class Item:
    """Objects that go together, `paths` in the order in which they must; `used` is their last use."""

    kind: Kind
    stage: str
    key: str
    paths: tuple[str, ...]
    bytes: int
    used: float
    why: str


@dataclass(frozen=True)
class Plan:
    """`items` to remove out of `total` bytes; `in_use` artifacts spared because running jobs lean on them.

    `short` bytes are over the limit on size and stay nevertheless: kept, in use or too young.
    """

    items: tuple[Item, ...] = ()
    total: int = 0
    in_use: int = 0
    short: int = 0

    @property
    def bytes(self) -> int:
        """What removing all items frees."""
        return sum(item.bytes for item in self.items)


@dataclass(frozen=True)
class Wanted:
    """What flows know about results: keys to keep (their inputs stay too), and the last use of keys by jobs."""

    keep: frozenset[str] = frozenset()
    used: Mapping[str, float] = field(default_factory=dict)


def plan(found: Survey, policy: Policy, busy: InUse, now: float, wanted: Wanted, more: Collection[Item] = ()) -> Plan:
    """What goes at `now` (the store's time). `more` are records that flows give up, counted before the size limit."""
    judge = _Judge(found, policy, busy, now, wanted)
    items = [*more, *judge.rubbish()]
    free = judge.free()
    doomed = _Doomed(judge)
    for artifact in free:
        if policy.older_than is not None and now - judge.last_use(artifact) > policy.older_than:
            doomed.add(artifact, "not used for longer than the limit on age")
    left = found.bytes - sum(item.bytes for item in items) - doomed.bytes
    limit = left if policy.max_bytes is None else policy.max_bytes
    for artifact in sorted(free, key=judge.worth):
        if left <= limit:
            break
        left -= doomed.add(artifact, "the store is over its limit on size")
    return Plan((*items, *doomed.items), found.bytes, judge.spared_in_use, max(0, left - limit))


class _Doomed:
    """Artifacts that go, each with what has no worth without it: its steps, and matches that no other list names."""

    def __init__(self, judge: _Judge) -> None:
        self._judge, self._keys = judge, set[str]()
        self.items: list[Item] = []
        self.bytes = 0

    def add(self, artifact: Artifact, why: str) -> int:
        """Doom one (once); returns the bytes that frees."""
        if artifact.key in self._keys:
            return 0
        self._keys.add(artifact.key)
        new = [self._judge.item("artifact", artifact.stage, artifact.key, artifact.objects, why)]
        if kept_steps := self._judge.trajectory(artifact.key):
            new.append(self._judge.item("steps", artifact.stage, artifact.key, kept_steps, why))
        for base in sorted(artifact.packs):
            if self._judge.listed_by(base) <= self._keys and self._judge.packs_free(base):
                new.append(self._judge.item("packs", artifact.stage, base, self._judge.found.packs[base], why))
        self.items += new
        freed = sum(item.bytes for item in new)
        self.bytes += freed
        return freed


class _Judge:
    """A survey seen with a policy, at one time."""

    def __init__(self, found: Survey, policy: Policy, busy: InUse, now: float, wanted: Wanted) -> None:
        self.found, self._policy, self._now, self._used = found, policy, now, wanted.used
        self._matching = "correspond" in busy.stages  # packs are being added and counted on
        self._busy = found.with_inputs(busy.keys)
        self._kept = found.with_inputs(wanted.keep)
        self._listed: dict[str, set[str]] = {}
        for artifact in found.artifacts.values():
            for base in artifact.packs:
                self._listed.setdefault(base, set()).add(artifact.key)

    @property
    def spared_in_use(self) -> int:
        """How many artifacts stay because running jobs lean on them."""
        return len(self._busy & self.found.artifacts.keys())

    def last_use(self, artifact: Artifact) -> float:
        """When it was made, or last found by a job."""
        return max(artifact.created, artifact.objects.newest, self._used.get(artifact.key, 0.0))

    def worth(self, artifact: Artifact) -> tuple[float, float]:
        """Least worth keeping first: longest unused, of those the cheapest to compute again by the byte."""
        return self.last_use(artifact), artifact.seconds / max(1, artifact.objects.bytes)

    def free(self) -> list[Artifact]:
        """Artifacts that may go if there is a reason."""
        return [
            artifact
            for artifact in self.found.artifacts.values()
            if artifact.key not in self._busy
            and artifact.key not in self._kept
            and self._about(artifact.stage)
            and self._now - self.last_use(artifact) > self._policy.grace
        ]

    def rubbish(self) -> Iterator[Item]:
        """What no finished artifact has any use for, by its own age."""
        for artifact in self.found.artifacts.values():
            stray = Objects({p: s for p, s in artifact.stray.stats.items() if self._silent(s.modified)})
            if stray.stats and self._about(artifact.stage) and artifact.key not in self._busy:
                yield self.item("stray", artifact.stage, artifact.key, stray, "in no manifest")
        for left in self.found.unfinished.values():
            if self._about(left.stage) and left.key not in self._busy and self._abandoned(left.objects):
                yield self.item("unfinished", left.stage, left.key, left.objects, "torn, or never finished")
        for key, steps in self.found.steps.items():
            artifact_of = self.found.artifacts.get(key)
            stage = artifact_of.stage if artifact_of else ""
            if key in self._busy or not self._about(stage) or self.trajectory(key):
                continue
            if artifact_of and self._silent(steps.newest):
                yield self.item("steps", stage, key, steps, "steps of a finished artifact")
            elif not artifact_of and self._abandoned(steps):
                yield self.item("steps", "steps", key, steps, "steps of work that was never finished")
        for base, packs in self.found.packs.items():
            if base not in self._listed and self.packs_free(base) and self._abandoned(packs):
                if self._about("correspond"):
                    yield self.item("packs", "correspond", base, packs, "matches that no finished list names")
        if not self._policy.stages:
            yield from self._ours()

    def _ours(self) -> Iterator[Item]:
        for key, records in self.found.leases.items():
            if key not in self._busy and self._now - records.newest > max(self._policy.leases, self._policy.grace):
                yield self.item("leases", "leases", key, records, "a lease that nobody holds")
        probes = {path: stat for path, stat in self.found.probes.stats.items() if self._silent(stat.modified)}
        if probes:
            yield self.item("probes", "probes", "", Objects(probes), "tests of the store that were killed")

    def trajectory(self, key: str) -> Objects | None:
        """Steps that a finished artifact keeps on purpose (`inversion.keep`): more than the two of any run."""
        steps = self.found.steps.get(key)
        return steps if steps and key in self.found.artifacts and len(commits(steps)) > 2 else None

    def listed_by(self, base: str) -> set[str]:
        """Keys of the artifacts that lean on these packs."""
        return self._listed.get(base, set())

    def packs_free(self, base: str) -> bool:
        """Whether packs may go: they are there, not new, and no run is matching."""
        packs = self.found.packs.get(base)
        return packs is not None and not self._matching and self._silent(packs.newest)

    def item(self, kind: Kind, stage: str, key: str, objects: Objects, why: str) -> Item:
        """Objects in order of removal: what makes others count (manifest, commits) goes first."""
        paths = sorted(objects.stats, key=lambda p: (not p.endswith(".json"), p))
        return Item(kind, stage, key, tuple(paths), objects.bytes, objects.newest, why)

    def _about(self, stage: str) -> bool:
        if stage in self._policy.keep_stages:
            return False
        return not self._policy.stages or stage in self._policy.stages

    def _silent(self, written: float) -> bool:
        return self._now - written > self._policy.grace

    def _abandoned(self, objects: Objects) -> bool:
        return self._now - objects.newest > max(self._policy.unfinished, self._policy.grace)
