"""What stage `correspond` will take, before it runs: pairs needed, pairs the store has, time and bytes for the rest.

Reads manifests and lists of pairs only: no frame, no match.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType

from configs.job import DeflickerConfig
from models.sampling import windows_of
from tasks.correspond import listed_pairs, packs_name, packs_stand, pairs_asked
from tasks.matches import folders
from tasks.store import Manifest, StageKey, Store
from tasks.store.pairs import Pair

# video.md 3.3 and 4, one thread at 512x512: 70 ms a pair; 76 ms of flow, both ways
_SECONDS_PER_PIXEL: Mapping[str, float] = MappingProxyType({"patchmatch": 70e-3 / 512**2, "flow": 2 * 76e-3 / 512**2})
_BYTES_PER_PIXEL = 2.0  # packed offsets and errors of real clips; 6 unpacked
_ENOUGH = 20
MOST = 100  # manifests read


@dataclass(frozen=True)
class PairForecast:
    """What matching the frames of a video takes: `pairs` in all, `cached` of them left by finished jobs.

    `seconds` and `bytes` are for the others, at the rate that `basis` names. Pairs that an interrupted job left are
    not counted as cached. Before the clip was decoded nothing can be cached, and a cut would take pairs away.
    """

    method: str
    pairs: int
    cached: int
    seconds: float
    bytes: int
    basis: str


def forecast(
    store: Store,
    config: DeflickerConfig,
    shots: Sequence[tuple[int, int]],
    size: tuple[int, int],
    window_size: int,
    digests: Sequence[str] | None,
    found: Sequence[Manifest] | None = None,
    device: str = "cpu",
) -> PairForecast:
    """Forecast for shots [first, stop) at working size (height, width), blended as `config` says.

    Other arguments as of `forecast_of`.
    """
    asked = ((first, stop, pairs_asked(windows_of(stop - first, window_size), config)) for first, stop in shots)
    return forecast_of(store, config, asked, size, digests, found, device)


def forecast_of(
    store: Store,
    config: DeflickerConfig,
    shots: Iterable[tuple[int, int, Collection[tuple[int, int]]]],
    size: tuple[int, int],
    digests: Sequence[str] | None,
    found: Sequence[Manifest] | None = None,
    device: str = "cpu",
) -> PairForecast:
    """Forecast for shots (first, stop, pairs of shot-relative frames); `digests`: of all frames, None if unknown.

    `found` are manifests of earlier shots to learn from (default: `matched` of the store); `device` matches.
    """
    found = matched(store) if found is None else found
    pairs = cached = 0
    for first, stop, wanted in shots:
        pairs += len(wanted)
        if digests is not None and wanted:
            there = _held(store, found, packs_name(config, size, device), digests[first:stop])
            cached += sum((digests[first + t], digests[first + s]) in there for t, s in wanted)
    rates = list(_rates(found, config))[-_ENOUGH:]
    seconds = statistics.median(r[0] for r in rates) if rates else _SECONDS_PER_PIXEL[config.correspondence]
    held = statistics.median(r[1] for r in rates) if rates else _BYTES_PER_PIXEL
    pixels = (pairs - cached) * size[0] * size[1]
    basis = f"measured here ({len(rates)} shots of earlier jobs)" if rates else "a rule of thumb for one CPU core"
    return PairForecast(config.correspondence, pairs, cached, seconds * pixels, round(held * pixels), basis)


def matched(store: Store) -> list[Manifest]:
    """What earlier jobs left of this stage, a bounded number of them: a library has thousands."""
    return list(islice(store.manifests("correspond"), MOST))


def _held(store: Store, found: Sequence[Manifest], base: str, digests: Sequence[str]) -> set[Pair]:
    """The pairs that finished jobs list and whose packs still stand, of lists that lean on packs of these frames."""
    mine = {f"pairs/{folder}" for folder in folders(base, digests)}
    near = [m for m in found if not mine.isdisjoint(path.rsplit("/", 1)[0] for path in m.meta.get("packs", ()))]
    whole = [m for m in near if store.lookup(StageKey(m.stage, m.key, {})) and packs_stand(store, m)]
    return {pair for m in whole for pair in listed_pairs(store, m)}


def _rates(found: Sequence[Manifest], config: DeflickerConfig) -> Iterator[tuple[float, float]]:
    """(seconds, bytes) per pixel and pair of earlier shots that were matched in the same way."""
    for manifest in sorted(found, key=lambda m: m.created):
        meta = manifest.meta
        same = (meta.get("method"), meta.get("patch")) == (config.correspondence, config.patch)
        if same and meta.get("computed") and meta.get("written"):
            height, width = manifest.preimage["params"]["size"]
            pixels = meta["computed"] * height * width
            yield manifest.seconds / pixels, meta["written"] / pixels
