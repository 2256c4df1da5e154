"""Step commits: a killed run goes on in the middle of denoising, from a step that all windows finished.

Refuses to know what a step computes. A commit lists its parts by window and digest; parts are named by their
content, so doing a step again never changes what an older commit lists.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from configs.errors import LeaseLost
from tasks.store.blobs import TornArtifact, digest
from tasks.store.keys import StageKey
from tasks.store.lease import newest_epoch

if TYPE_CHECKING:
    from tasks.store.store import Store

_COMMIT = re.compile(r"commit-(\d+)-(\d+)\.json")
_KEEP = re.compile(r"last|all|every_([1-9]\d*)")


@dataclass(frozen=True)
class PartRef:
    """One window's state after `step` steps: where its bytes are and what they must be."""

    step: int
    window: int
    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Commit:
    """All windows of a shot after `step` steps, made under lease `epoch`; `parts` by window index 0..n-1."""

    step: int
    epoch: int
    parts: Mapping[int, PartRef]


class StepLog:
    """The commits of one key. Workers `write` and `read` parts; the driver, holding the lease, `commit`s.

    `windows` is the number of windows of the shot: given, commits of another number are refused and ignored.
    """

    def __init__(self, store: Store, key: StageKey | str, windows: int | None = None) -> None:
        self._store, self.key, self._windows = store, key if isinstance(key, str) else key.key, windows
        self._folder = f"steps/{self.key}"

    def write(self, step: int, window: int, data: bytes) -> PartRef:
        """Store one window's state after `step` steps; it counts only when a commit lists it."""
        sha = digest(data)
        path = f"{self._folder}/{step:05d}/{sha}.parquet"
        self._store.blobs.put(path, data)
        return PartRef(step, window, path, len(data), sha)

    def commit(self, step: int, epoch: int, parts: Sequence[PartRef]) -> Commit:
        """Make `step` resumable; `epoch` is the lease's (0 = no lease), `parts` one per window of `step`.

        Doing it twice is fine: the first complete commit of (step, epoch) stands and is returned. Raises
        LeaseLost when the key has a newer holder, ValueError for a wrong set of windows, TornArtifact when a
        part is gone.
        """
        mine = Commit(step, epoch, {part.window: part for part in sorted(parts, key=lambda p: p.window)})
        if len(mine.parts) != len(parts) or not self._complete(mine) or any(p.step != step for p in parts):
            raise ValueError(
                f"commit of step {step} needs each window 0..{(self._windows or len(parts)) - 1} once, "
                f"got {[(p.window, p.step) for p in parts]} (window, step)"
            )
        if (newest := newest_epoch(self._store, self.key)) > epoch:
            raise LeaseLost(f"step {step} of {self.key} is not committed: epoch {newest} took over from {epoch}")
        sizes = self._store.blobs.sizes(f"{self._folder}/{step:05d}")
        unseen = [part for part in parts if sizes.get(part.path) != part.bytes]  # a listing may be old: ask by name
        if any(self._store.blobs.size(part.path) != part.bytes for part in unseen):
            raise TornArtifact(f"a part of step {step} of {self.key} went away before it was committed")
        path = self._path(step, epoch)
        data = json.dumps({"step": step, "epoch": epoch, "parts": [asdict(p) for p in mine.parts.values()]})
        if self._store.blobs.put_new(path, data.encode()):
            return mine
        there = self._load(path)
        if there is not None and self._whole(there):
            return there
        self._store.blobs.put(path, data.encode())
        return mine

    def newest(self, max_epoch: int | None = None) -> Commit | None:
        """The last commit (by step, then epoch) whose parts are all there with the right digests.

        A newer commit with a lost or damaged part is passed over; a store that cannot be asked is a StoreError, for
        that commit may be hours of work. Commits above `max_epoch` are ignored, and so
        are those of a zombie: a commit is void when a higher epoch has committed the same or an earlier step,
        for that holder did not continue from it.
        """
        for commit in self._standing(max_epoch):
            if self._whole(commit):
                return commit
        return None

    def commits(self, max_epoch: int | None = None) -> list[Commit]:
        """Standing commits whose parts are there with the right sizes, last first (a trajectory)."""
        sizes = self._store.blobs.sizes(self._folder)
        return [
            commit
            for commit in self._standing(max_epoch)
            if all(sizes.get(part.path) == part.bytes for part in commit.parts.values())
        ]

    def read(self, commit: Commit, window: int) -> bytes:
        """Bytes of one window; TornArtifact when they are missing or not what was committed."""
        part = commit.parts[window]
        data = self._store.blobs.get(part.path)
        if digest(data) != part.sha256:
            raise TornArtifact(f"window {window} of step {commit.step} of {self.key} is not what was committed")
        return data

    def prune(self, keep: str = "last", n: int = 2) -> None:
        """Delete commits: `last` keeps the newest `n`, `every_<k>` also steps k, 2k, ..., `all` everything.

        Commits go before their parts. Steps after the newest commit are never touched: they are being
        written.
        """
        match = _KEEP.fullmatch(keep)
        if match is None or n < 1:
            raise ValueError(f"keep must be 'last', 'all' or 'every_<k>' and n at least 1, got {keep!r}, {n}")
        standing = self.commits()
        if keep == "all" or not standing:
            return
        every = int(match[1]) if match[1] else 0
        kept = [c for i, c in enumerate(standing) if i < n or (every and c.step % every == 0)]
        stay = {self._path(c.step, c.epoch) for c in kept} | {p.path for c in kept for p in c.parts.values()}
        newest = standing[0].step
        for path, (step, _) in self._named().items():
            if path not in stay and step <= newest:
                self._store.blobs.delete(path)
        for path in self._store.blobs.sizes(self._folder):
            step_name = path.split("/")[2]
            if path not in stay and step_name.isdigit() and int(step_name) <= newest:
                self._store.blobs.delete(path)

    def clear(self) -> None:
        """Delete all commits and parts (their artifact is published, or is to be computed again)."""
        for path in self._named():
            self._store.blobs.delete(path)
        self._store.blobs.delete_tree(self._folder)

    def _path(self, step: int, epoch: int) -> str:
        return f"{self._folder}/commit-{step:05d}-{epoch:010d}.json"

    def _named(self) -> dict[str, tuple[int, int]]:
        """Path -> (step, epoch) of every commit object, readable or not."""
        paths = self._store.blobs.children(self._folder)[0]
        found = {path: _COMMIT.fullmatch(path.rsplit("/", 1)[-1]) for path in paths}
        return {path: (int(m[1]), int(m[2])) for path, m in found.items() if m}

    def _standing(self, max_epoch: int | None) -> list[Commit]:
        named = {p: se for p, se in self._named().items() if max_epoch is None or se[1] <= max_epoch}
        order = sorted(named, key=lambda p: named[p], reverse=True)
        first: dict[int, int] = {}
        for step, epoch in named.values():
            first[epoch] = min(step, first.get(epoch, step))
        loaded = []
        for path in order:
            step, epoch = named[path]
            void = any(e > epoch and s <= step for e, s in first.items())
            commit = None if void else self._load(path)
            if commit is not None and (commit.step, commit.epoch) == (step, epoch):
                loaded.append(commit)
        return loaded

    def _load(self, path: str) -> Commit | None:
        try:
            record: Any = json.loads(self._store.blobs.get(path))
            parts = {p["window"]: PartRef(**p) for p in record["parts"]}
            commit = Commit(record["step"], record["epoch"], parts)
        except (TornArtifact, ValueError, KeyError, TypeError):
            return None
        return commit if self._complete(commit) else None

    def _complete(self, commit: Commit) -> bool:
        count = len(commit.parts) if self._windows is None else self._windows
        return count > 0 and sorted(commit.parts) == list(range(count))

    def _whole(self, commit: Commit) -> bool:
        try:
            return all(self.read(commit, window) is not None for window in commit.parts)
        except TornArtifact:
            return False
