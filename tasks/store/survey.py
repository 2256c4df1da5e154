"""What lies in a store, sorted by what it is: finished artifacts, unfinished ones, step commits, packs, the rest.

One listing per folder and one small read per finished artifact; no part is read. Decides nothing.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tasks.store.keys import StageKey
from tasks.store.localfiles import Stat
from tasks.store.manifest import Manifest
from tasks.store.store import Store

READERS = 16  # on object stores a manifest is one round trip
_COMMIT = re.compile(r"commit-\d+-\d+\.json")
_NOT_OURS = ("stages", "steps", "pairs", "leases", "probes")


@dataclass(frozen=True)
class Objects:
    """Objects that come and go together, by path."""

    stats: Mapping[str, Stat] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Their size."""
        return sum(stat.bytes for stat in self.stats.values())

    @property
    def newest(self) -> float:
        """When the last of them was written, by the store's clock; 0 for none."""
        return max((stat.modified for stat in self.stats.values()), default=0.0)


@dataclass(frozen=True)
class Artifact:
    """A finished artifact: what its manifest lists is there. `stray` objects lie in its folder and are not listed.

    `created` and `seconds` are the manifest's; `inputs` the keys it was made from, `packs` the base keys of matches it
    leans on beside its parts.
    """

    stage: str
    key: str
    objects: Objects
    stray: Objects
    created: float
    seconds: float
    inputs: tuple[str, ...]
    packs: frozenset[str]


@dataclass(frozen=True)
class Unfinished:
    """Objects under a key without a whole artifact: torn, being computed, or left by a killed run."""

    stage: str
    key: str
    objects: Objects


@dataclass(frozen=True)
class Survey:
    """A store at one moment. Artifacts, unfinished work, `steps` and `leases` by key, `packs` by base key."""

    artifacts: Mapping[str, Artifact]
    unfinished: Mapping[str, Unfinished]
    steps: Mapping[str, Objects]
    packs: Mapping[str, Objects]
    leases: Mapping[str, Objects]
    probes: Objects
    rest: Objects  # records of flows, and what is not ours

    @property
    def bytes(self) -> int:
        """Size of all objects."""
        folders = [*self.steps.values(), *self.packs.values(), *self.leases.values(), self.probes, self.rest]
        folders += [found.objects for found in self.unfinished.values()]
        folders += [part for found in self.artifacts.values() for part in (found.objects, found.stray)]
        return sum(folder.bytes for folder in folders)

    def with_inputs(self, keys: frozenset[str]) -> frozenset[str]:
        """`keys` and, as far as manifests tell, everything they were made from."""
        seen, waiting = set[str](), list(keys)
        while waiting:
            key = waiting.pop()
            if key not in seen:
                seen.add(key)
                found = self.artifacts.get(key)
                waiting.extend(found.inputs if found else ())
        return frozenset(seen)


def survey(store: Store) -> Survey:
    """Look at everything below the root; what others write meanwhile may or may not be in it."""
    artifacts, unfinished = dict[str, Artifact](), dict[str, Unfinished]()
    for stage in store.blobs.children("stages")[1]:
        for found in _stage(store, stage):
            if isinstance(found, Artifact):
                artifacts[found.key] = found
            else:
                unfinished[found.key] = found
    rest = dict[str, Stat]()
    files, folders = store.blobs.children()
    rest.update({path: Stat(size, float("inf")) for path, size in files.items()})
    for folder in folders:
        if folder not in _NOT_OURS:
            rest.update(store.blobs.stats(folder))
    return Survey(
        artifacts,
        unfinished,
        grouped(store.blobs.stats("steps"), 2),
        grouped(store.blobs.stats("pairs"), 2),
        grouped(store.blobs.stats("leases"), 2),
        Objects(store.blobs.stats("probes")),
        Objects(rest),
    )


def grouped(stats: Mapping[str, Stat], depth: int) -> dict[str, Objects]:
    """Objects by the last of the first `depth` names of their path."""
    groups: dict[str, dict[str, Stat]] = defaultdict(dict)
    for path, stat in stats.items():
        names = path.split("/")
        if len(names) > depth:
            groups[names[depth - 1]][path] = stat
    return {name: Objects(group) for name, group in groups.items()}


def commits(steps: Objects) -> list[str]:
    """Paths of the commit records among step objects, oldest step first."""
    return sorted(path for path in steps.stats if _COMMIT.fullmatch(path.rsplit("/", 1)[-1]))


def _stage(store: Store, stage: str) -> Iterator[Artifact | Unfinished]:
    folders = grouped(store.blobs.stats(f"stages/{stage}"), 4)

    def look(key: str) -> Artifact | Unfinished:
        return _artifact(store, stage, key, folders[key])

    with ThreadPoolExecutor(READERS) as pool:
        yield from pool.map(look, folders)


def _artifact(store: Store, stage: str, key: str, objects: Objects) -> Artifact | Unfinished:
    path = f"{store.folder(StageKey(stage, key, {}))}/manifest.json"
    manifest = _manifest(store, path) if path in objects.stats else None
    if manifest is None or (manifest.stage, manifest.key) != (stage, key):
        return Unfinished(stage, key, objects)
    listed = {path, *(part.path for part in manifest.parts)}
    if any(part.path not in objects.stats or objects.stats[part.path].bytes != part.bytes for part in manifest.parts):
        return Unfinished(stage, key, objects)
    return Artifact(
        stage,
        key,
        Objects({p: s for p, s in objects.stats.items() if p in listed}),
        Objects({p: s for p, s in objects.stats.items() if p not in listed}),
        manifest.created,
        manifest.seconds,
        tuple(str(item["key"]) for item in manifest.inputs if "key" in item),
        frozenset(p.split("/")[1] for p in manifest.meta.get("packs", ()) if p.startswith("pairs/")),
    )


def _manifest(store: Store, path: str) -> Manifest | None:
    record = store.read_record(path)
    try:
        return Manifest.model_validate(record)
    except ValueError:
        return None
