"""Reading a store again and comparing every byte with the digest it was written under.

What is torn counts as absent for every reader already; forgetting it frees its place and says so. Artifacts by
their manifests, step commits by what they list, packs of matches by their names. Knows no job and no output.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

from configs.errors import SteadyframeError
from tasks.store.blobs import TornArtifact, digest
from tasks.store.in_use import store_time
from tasks.store.keys import StageKey
from tasks.store.pairs import NAMES
from tasks.store.removal import alone
from tasks.store.store import Store
from tasks.store.survey import Artifact, Objects, Survey, Unfinished, commits, survey

READERS = 4  # parts are held whole in memory while they are hashed
DAY = 86400.0


@dataclass(frozen=True)
class Which:
    """What is read: of these stages (none: all, with commits and packs), of an age in seconds, one n-th of it.

    `nth` 7 reads another seventh of the keys every day, so that a nightly run has read all after a week.
    """

    stages: frozenset[str] = frozenset()
    newer_than: float | None = None
    older_than: float | None = None
    nth: int = 1

    def takes(self, stage: str, key: str, written: float, now: float) -> bool:
        """Whether something written at `written` is read at `now`."""
        age = now - written
        return (
            (not self.stages or stage in self.stages)
            and (self.newer_than is None or age <= self.newer_than)
            and (self.older_than is None or age >= self.older_than)
            and (self.nth == 1 or int(key[:8], 16) % self.nth == int(now // DAY) % self.nth)
        )


@dataclass(frozen=True)
class Torn:
    """Something that is not what was written: `name` for people, `paths` that forgetting it removes, in order."""

    kind: Literal["artifact", "commit", "pack"]
    stage: str
    key: str
    paths: tuple[str, ...]
    why: str

    @property
    def name(self) -> str:
        """'denoise 3fa9...'."""
        return f"{self.stage} {self.key}"


@dataclass
class Audit:
    """What was read and what of it is torn."""

    artifacts: int = 0
    commits: int = 0
    packs: int = 0
    bytes: int = 0
    torn: list[Torn] = field(default_factory=list)


def audit(
    store: Store,
    which: Which,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> Audit:
    """Read all that `which` names; `told(done, total)` counts things. What vanishes meanwhile is not torn."""
    found, now, result = survey(store), store_time(store), Audit()
    checks = list(_checks(store, found, which, now, result))
    pool = ThreadPoolExecutor(READERS)
    try:
        for number, torn in enumerate(pool.map(lambda check: check(), checks)):
            if torn is not None:
                result.torn.append(torn)
            told(number + 1, len(checks))
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C need not wait for the rest of the store
    return result


def forget(store: Store, torn: Torn) -> bool:
    """Remove something torn, what makes it count first; False where a running job holds its key."""
    if torn.kind == "pack":  # named by its content: whoever needs it writes another
        store.blobs.delete(torn.paths[0])
        return True
    with alone(store, torn.stage, torn.key) as lease:
        if lease is not None:
            for path in torn.paths:
                store.blobs.delete(path)
        return lease is not None


Check = Callable[[], Torn | None]


def _checks(store: Store, found: Survey, which: Which, now: float, result: Audit) -> Iterator[Check]:
    for artifact in found.artifacts.values():
        if which.takes(artifact.stage, artifact.key, artifact.objects.newest, now):
            result.artifacts += 1
            result.bytes += artifact.objects.bytes
            yield _Bound(_artifact, store, artifact)
    for left in found.unfinished.values():
        manifest = [path for path in left.objects.stats if path.endswith("/manifest.json")]
        if manifest and which.takes(left.stage, left.key, left.objects.newest, now):
            result.artifacts += 1
            yield _Bound(_unfinished, store, left)
    for key, steps in found.steps.items():
        if which.takes("steps", key, steps.newest, now):
            result.bytes += steps.bytes
            for path in commits(steps):
                result.commits += 1
                yield _Bound(_commit, store, key, path, steps)
    for base, packs in found.packs.items():
        if which.takes("correspond", base, packs.newest, now):
            result.bytes += packs.bytes
            for path in packs.stats:
                if not path.endswith(NAMES):  # what lies beside a pack is a hint, and may be anything
                    result.packs += 1
                    yield _Bound(_pack, store, base, path)


class _Bound:
    """A check with its arguments (a closure in a loop would see the last ones)."""

    def __init__(self, check: Callable[..., Torn | None], *arguments: object) -> None:
        self._check, self._arguments = check, arguments

    def __call__(self) -> Torn | None:
        return self._check(*self._arguments)


def _artifact(store: Store, artifact: Artifact) -> Torn | None:
    if store.lookup(StageKey(artifact.stage, artifact.key, {}), verify="digests") is not None:
        return None
    return _still_torn(store, artifact.stage, artifact.key, artifact.objects, "a part is missing or changed")


def _unfinished(store: Store, left: Unfinished) -> Torn | None:
    if store.lookup(StageKey(left.stage, left.key, {}), verify="digests") is not None:
        return None  # finished since the survey
    return _still_torn(store, left.stage, left.key, left.objects, "its manifest is unreadable or lists what is gone")


def _still_torn(store: Store, stage: str, key: str, objects: Objects, why: str) -> Torn | None:
    manifest = f"{store.folder(StageKey(stage, key, {}))}/manifest.json"
    if not store.blobs.exists(manifest):  # removed since the survey: absent, not torn
        return None
    paths = (manifest, *sorted(objects.stats.keys() - {manifest}))
    return Torn("artifact", stage, key, paths, why)


def _commit(store: Store, key: str, path: str, steps: Objects) -> Torn | None:
    try:
        parts = json.loads(store.blobs.get(path))["parts"]
        for part in parts:
            store.read_path(part["path"], part["sha256"])
    except (TornArtifact, ValueError, KeyError, TypeError) as error:
        if not store.blobs.exists(path):  # pruned since the survey
            return None
        return Torn("commit", "steps", key, (path,), str(error) or "it is unreadable")
    return None


def _pack(store: Store, base: str, path: str) -> Torn | None:
    try:
        data = store.blobs.get(path)
    except TornArtifact:
        return None
    except SteadyframeError as error:
        return Torn("pack", "correspond", base, (path,), str(error))
    named = path.rsplit("/", 1)[-1].removesuffix(".parquet")
    return None if digest(data) == named else Torn("pack", "correspond", base, (path,), "its bytes are not its name's")
