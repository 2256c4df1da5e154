"""Matches computed just ahead of who asks for them and let go behind: for clips whose matches no disk would hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tasks.matcher import Matcher, Pair, Picture
from tasks.matches import StoredMatches, restored
from tasks.store.pairs import Match


class MatchesAhead:
    """`models.sampling.Correspond` of a shot that keeps nothing: the same fields as out of packs, bit for bit.

    `needed`: the pairs that will be asked for, frame after frame; those that `stored` holds are read from there. A
    few pairs ahead and those of one frame are in memory, and may be asked for again. `pictures` gives (target, source).
    """

    def __init__(
        self,
        matcher: Matcher,
        stored: StoredMatches,
        needed: Iterable[Iterable[Pair]],
        pictures: Callable[[Pair], tuple[Picture, Picture]],
    ) -> None:
        def missing() -> Iterator[tuple[int, Pair]]:
            for frame, pairs in enumerate(needed):
                yield from ((frame, pair) for pair in pairs if not stored.holds(*pair))

        self._stored = stored
        self._coming = matcher.each(missing(), lambda item: pictures(item[1]))
        self._frame, self._held = -1, dict[Pair, Match]()

    def __call__(self, target: int, source: int) -> tuple[Any, Any]:
        """(offsets int16 [H,W,2] as (dy, dx), error float32 [H,W]) of two shot-relative frames."""
        if self._stored.holds(target, source):
            return self._stored(target, source)
        while (target, source) not in self._held:
            (frame, pair), match = next(self._coming)
            if frame != self._frame:
                self._frame, self._held = frame, {}
            self._held[pair] = match
        offsets, error = self._held[target, source]
        return offsets, restored(error)
