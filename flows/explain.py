"""Why a stage of a result was computed or reused: its key's pre-image beside that of the run before it.

Reads job records and manifests, changes nothing. Stages of two runs are matched by name (`denoise (shot 2)`), and a
change is told where it entered; stages further down only say which input changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from configs.errors import ConfigError
from flows.records import jobs
from tasks.store import Manifest, Store, diff


@dataclass(frozen=True)
class StageWhy:
    """One stage of the run explained; `changes` are (name, before, after), `because` upstream stages that changed."""

    stage: str
    key: str
    status: str
    before: str = ""
    changes: tuple[tuple[str, Any, Any], ...] = ()
    because: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """Why, in words."""
        if self.before == self.key:
            return "the same question as before: reused" if self.status == "reused" else "the same question as before"
        if not self.before:
            return "not in the other run" if self.status == "computed" else "found in the store"
        parts = [f"{name} {_short(old)} -> {_short(new)}" for name, old, new in self.changes]
        parts += [f"its input {stage} changed" for stage in self.because]
        return "; ".join(parts) or "its key differs (a pre-image is gone from the store)"


@dataclass(frozen=True)
class Explained:
    """A run of one output beside another: `job`/`key` explained against `against_job`/`against_key` ('' for none)."""

    key: str
    job: str
    against_key: str = ""
    against_job: str = ""
    stages: tuple[StageWhy, ...] = ()


@dataclass(frozen=True)
class _Ran:
    """One output of one job with its stages by name."""

    job: str
    key: str
    source: str
    stages: dict[str, tuple[str, str]] = field(default_factory=dict)


def key_of(output: str, store: Store) -> str:
    """Return the full key of an output file, or of the beginning of a key. Errors: ConfigError."""
    path = Path(output).expanduser()
    if path.is_file():
        from tasks.video.writer import read_key

        key = read_key(path)
        if key is None:
            raise ConfigError(f"{output} carries no steadyframe_key: it was not made by Steadyframe, or was re-encoded")
        return key
    wanted = output.lower()
    if len(wanted) < 4 or any(c not in "0123456789abcdef" for c in wanted):
        raise ConfigError(f"{output}: no such file, and not the beginning of a key (4 or more of 0-9 a-f)")
    found = sorted({manifest.key for manifest in store.find(wanted)})
    if len(found) != 1:
        known = f"it fits {', '.join(k[:12] for k in found)}" if found else f"nothing in {store.url} begins so"
        raise ConfigError(f"key {output}: {known}; give the output file or more digits")
    return found[0]


def explain(store: Store, output: str, against: str | None = None) -> Explained:
    """Explain the newest run of an output against `against`, or else against the run of the same source before it.

    `output` and `against` are files or (beginnings of) keys. Errors: ConfigError when they are unknown.
    """
    key = key_of(output, store)
    ran = next(_runs(store, key=key), None)
    if ran is None:
        ran = _from_manifests(store, key)
    if against is not None:
        other_key = key_of(against, store)
        other = next((r for r in _runs(store, key=other_key) if r.job != ran.job or r.key != key), None)
        other = other or _from_manifests(store, other_key)
    else:
        other = next((r for r in _runs(store, source=ran.source) if not ran.job or r.job < ran.job), None)
    if other is None:
        return Explained(key, ran.job, stages=tuple(_alone(ran)))
    return Explained(key, ran.job, other.key, other.job, tuple(_compare(store, ran, other)))


def _runs(store: Store, *, key: str = "", source: str = "") -> Iterator[_Ran]:
    """Finished outputs in the job records, newest first, of a key or of a source."""
    for job_id, _, result in jobs(store):
        for output in (result or {}).get("outputs", ()):
            if (key and output["key"] == key) or (source and output["source"] == source):
                assert result is not None
                mine = [s for s in result["stages"] if s["source"] == output["source"]]
                stages = {s["stage"]: (s["key"], s["status"]) for s in mine}
                yield _Ran(job_id, output["key"], output["source"], stages)


def _from_manifests(store: Store, key: str) -> _Ran:
    """What the manifests alone tell when no job record names the key: the stage and all it was made from."""
    stages: dict[str, tuple[str, str]] = {}
    waiting = [key]
    while waiting:
        manifest = next(iter(store.find(waiting.pop())), None)
        if manifest is None or any(manifest.key == known for known, _ in stages.values()):
            continue
        same = sum(name.split(" (")[0] == manifest.stage for name in stages)
        stages[f"{manifest.stage} ({same + 1})" if same else manifest.stage] = (manifest.key, "computed")
        waiting.extend(str(i["key"]) for i in manifest.inputs if "key" in i)
    if not stages:
        raise ConfigError(f"key {key[:12]} is not in {store.url}: it was made with another store, or cleaned away")
    return _Ran("", key, "", dict(reversed(stages.items())))


def _alone(ran: _Ran) -> Iterator[StageWhy]:
    for name, (key, status) in ran.stages.items():
        yield StageWhy(name, key, status)


def _compare(store: Store, ran: _Ran, other: _Ran) -> Iterator[StageWhy]:
    names = {key: name for name, (key, _) in ran.stages.items()}
    for name, (key, status) in ran.stages.items():
        before = other.stages.get(name, ("", ""))[0]
        if not before or before == key:
            yield StageWhy(name, key, status, before)
            continue
        mine, theirs = _manifest(store, key), _manifest(store, before)
        if mine is None or theirs is None:
            yield StageWhy(name, key, status, before)
            continue
        changes = [row for row in diff(theirs.preimage, mine.preimage) if not row[0].startswith("inputs.")]
        because = tuple(dict.fromkeys(_changed_inputs(mine, theirs, names)))
        shown = tuple((_plain_name(path), old, new) for path, old, new in changes)
        yield StageWhy(name, key, status, before, shown, because)


def _changed_inputs(mine: Manifest, theirs: Manifest, names: Mapping[str, str]) -> Iterator[str]:
    had = [item.get("key", item.get("file")) for item in theirs.inputs]
    for item in mine.inputs:
        found = item.get("key", item.get("file"))
        if found not in had:
            yield names.get(str(found), str(item.get("stage", "the file itself")))


def _manifest(store: Store, key: str) -> Manifest | None:
    return next(iter(store.find(key)), None)


def _plain_name(path: str) -> str:
    """'params.guidance_scale' as people set it: 'guidance_scale'."""
    return path.removeprefix("params.")


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
