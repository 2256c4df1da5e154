"""Sharing out the rows of a pass to threads. Knows ranges of numbers; which thread takes which changes no bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise

Over = Callable[[Callable[[int, int], None], Sequence[int]], None]
"""`over(work, edges)` does `work(first, last)` for all neighbours in `edges`, and returns when all is done."""


def bands(rows: int, threads: int) -> list[int]:
    """Edges of as many bands of rows as there are threads, for an `Over`."""
    return [rows * part // threads for part in range(threads + 1)]


@contextmanager
def shared(threads: int) -> Iterator[Over]:
    """Threads that live as long as a search: its passes are short, and starting threads for each would cost as much."""
    if threads == 1:
        yield lambda work, edges: work(edges[0], edges[-1])
        return
    with ThreadPoolExecutor(threads) as pool:

        def over(work: Callable[[int, int], None], edges: Sequence[int]) -> None:
            for done in [pool.submit(work, *pair) for pair in pairwise(edges)]:
                done.result()

        yield over
