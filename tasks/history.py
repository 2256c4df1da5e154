"""What the stages of earlier jobs took, learnt from the manifests that a store's newest job records lead to.

Read once and bounded, whatever the store holds. A rate is the median over the most similar of them; knows no plan.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from configs.errors import StoreError
from tasks.correspond_forecast import matched
from tasks.store import Manifest, StageKey, Store
from tasks.work import Clip, Traits, Work, work_of

JOBS = 12  # job records learnt from, newest first
LOOK = 100  # job records read at most: a library that is done has a quiet night after the other, which teaches little
SAMPLES = 12  # manifests read per stage
NEAR = 4.0  # work between a quarter and four times as large is near
_ENOUGH = 3


@dataclass(frozen=True)
class Sample:
    """One stage of an earlier job, computed whole: what kind of work, how much, and what it took."""

    work: Work
    seconds: float
    bytes: int


@dataclass(frozen=True)
class Rate:
    """Seconds and bytes of similar work: medians per unit, and the range of the seconds; `samples` of them."""

    seconds: float
    low: float
    high: float
    bytes: float
    samples: int


@dataclass
class History:
    """Samples by stage, the newest first; seconds that opening the workers took, by their traits; and `between`: the
    seconds of a job that no stage accounts for, per video."""

    samples: dict[str, list[Sample]] = field(default_factory=lambda: defaultdict(list))
    openings: list[tuple[Traits, float]] = field(default_factory=list)
    between: list[tuple[int, float]] = field(default_factory=list)
    _matched: list[Manifest] | None = None

    def matched(self, store: Store) -> list[Manifest]:
        """Manifests of stage `correspond`, read when first asked for: that stage's own forecast learns from them."""
        if self._matched is None:
            self._matched = matched(store)
        return self._matched

    @classmethod
    def read(cls, store: Store) -> History:
        """Read the newest finished jobs of a store; nothing where it cannot be read, for that is no reason to stop."""
        known = cls()
        try:
            folders = store.blobs.children("jobs")[1]
            names = sorted((folder.rstrip("/").rsplit("/", 1)[-1] for folder in folders), reverse=True)
            learnt = 0
            for job in names[:LOOK]:
                result = store.read_record(f"jobs/{job}/result.json")
                if isinstance(result, dict):
                    computed = any(True for _ in _computed(result))
                    learnt += computed
                    if computed or len(known.between) < JOBS:
                        known._learn_job(store, result, store.read_record(f"jobs/{job}/took.json"))
                if learnt == JOBS or all(len(known.samples[stage]) >= SAMPLES for stage in _USUAL):
                    break
        except (StoreError, OSError):
            return known
        return known

    def add(self, manifest: Manifest, clip: Clip) -> None:
        """Learn from one manifest; those of a stage that was resumed in its middle tell nothing."""
        meta = manifest.meta
        if meta.get("computed") != meta.get("window_steps", meta.get("total", meta.get("computed"))):
            return
        try:
            work = work_of(manifest.stage, manifest.preimage, clip, int(meta.get("lanes", 1)), manifest.host)
        except (KeyError, TypeError, ValueError):  # of another kind of job (deflicker), or of another version
            return
        opening = float(meta.get("opening", 0.0))
        self.samples[manifest.stage].append(Sample(work, max(0.0, manifest.seconds - opening), manifest.bytes))
        if opening > 0.2:
            self.openings.append((work.traits, opening))

    def rate(self, stage: str, work: Work) -> Rate | None:
        """The rate of the most similar work known, or None: nothing known, or only of another model."""
        found = self.samples.get(stage, [])
        alike = max((_alike(s.work.traits, work.traits) for s in found), default=0)
        if not alike and len(work.traits) > 1:
            return None
        class_ = [s for s in found if s.work.units and _alike(s.work.traits, work.traits) == alike]
        near = [s for s in class_ if 1 / NEAR <= work.units / s.work.units <= NEAR]
        chosen = near if len(near) >= min(_ENOUGH, len(class_)) else class_
        if not chosen:
            return None
        rates = sorted(s.seconds / s.work.units for s in chosen)
        usual = statistics.median(rates)
        low, high = rates[len(rates) // 10], rates[-1 - len(rates) // 10]
        if len(rates) < _ENOUGH:  # one or two tell no range
            low, high = min(low, usual / 1.25), max(high, usual * 1.25)
        held = statistics.median(s.bytes / s.work.size for s in chosen)
        return Rate(usual, low, high, held, len(chosen))

    def opening(self, work: Work) -> float:
        """Seconds until workers are there; 0 when none were ever opened here."""
        alike = max((_alike(traits, work.traits) for traits, _ in self.openings), default=0)
        found = [seconds for traits, seconds in self.openings if _alike(traits, work.traits) == alike]
        return statistics.median(found) if found and alike else 0.0

    def beside(self, videos: int) -> float:
        """Seconds of a job of so many videos that are no stage's: start, hand-over, pages of the server."""
        if not self.between:
            return 0.0
        # what starts once and what comes with every video are told apart only when jobs of both kinds are known
        per = statistics.median(seconds for _, seconds in self.between)
        usual = statistics.median(count for count, _ in self.between)
        return per * max(1.0, videos / max(1.0, usual))

    def _learn_job(self, store: Store, result: Mapping[str, Any], took: Any) -> None:
        clips = {row["source"]: Clip(row["frames"], row["width"] * row["height"]) for row in result["outputs"]}
        for stage, key, source in _computed(result):
            if len(self.samples[stage]) < SAMPLES and source in clips:
                manifest = store.lookup(StageKey(stage, key, {}))
                if manifest is not None and "params" in manifest.preimage:
                    self.add(manifest, clips[source])
        if isinstance(took, dict) and result["status"] in ("completed", "reused"):
            staged = sum(row["seconds"] for row in result["stages"])
            if len(clips) and math.isfinite(took.get("seconds", math.nan)):
                self.between.append((len(clips), max(0.0, took["seconds"] - staged)))


def _computed(result: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(stage, key, source) of what the job computed, without the parts of arms and previews."""
    for row in result["stages"]:
        name = row["stage"].split(" ")[0]
        if row["status"] == "computed" and name in _LEARNT:
            yield name, row["key"], row["source"]


_USUAL = ("decode", "condition", "denoise", "encode", "evaluate", "report")
_LEARNT = frozenset({"probe", "decode", "condition", "invert", "denoise", "encode", "evaluate", "report"})


def _alike(a: Traits, b: Traits) -> int:
    """How many traits two kinds of work share, from the first on."""
    for count, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return count
    return min(len(a), len(b))
