"""Correspondence packs: any job finds the pairs another has written; torn packs do not count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.store import Store
from tasks.store.pairs import Match, Pair, PairPacks
from tests.strategies import fresh_store, untimed


def match(seed: int, size: tuple[int, int] = (6, 9), err: str | None = "float32") -> Match:
    rng = np.random.default_rng(seed)
    nnf = rng.integers(-300, 300, (*size, 2)).astype(np.int16)
    return nnf, None if err is None else (rng.random(size) * 60_000).astype(err)


def same(a: Match, b: Match) -> bool:
    if (a[1] is None) != (b[1] is None) or a[0].dtype != b[0].dtype:
        return False
    return np.array_equal(a[0], b[0]) and (a[1] is None or (a[1].dtype == b[1].dtype and np.array_equal(a[1], b[1])))


pairs = st.tuples(st.integers(0, 5), st.integers(0, 5))


@untimed
@given(
    st.lists(st.sets(pairs, min_size=1, max_size=5), max_size=4),
    st.sets(pairs),
    st.sampled_from([None, "float32", "uint16"]),
)
def test_a_pair_is_found_in_whichever_pack(packs: list[set[Pair]], asked: set[Pair], err: str | None) -> None:
    """The result depends on the pair alone, so packs that overlap agree."""
    with fresh_store("memory") as store:
        truth = {p: match(hash(p) % 1000, err=err) for p in set().union(asked, *packs)}
        writer, reader = PairPacks(store, "b"), PairPacks(store, "b")
        for pack in packs:
            assert reader.missing(3, sorted(pack)) == [p for p in sorted(pack) if p in writer.missing(3, sorted(pack))]
            writer.write(3, {p: truth[p] for p in pack})
        held = set().union(*packs)
        got = reader.read(3, asked)
        assert got.keys() == asked & held
        assert all(same(got[p], truth[p]) for p in got)
        assert reader.missing(3, sorted(asked)) == sorted(asked - held)
        assert reader.missing(4, sorted(asked)) == sorted(asked)


@pytest.mark.parametrize("damage", ["cut", "flip", "delete", "other"])
def test_torn_packs_are_ignored(store: Store, damage: str) -> None:
    packs = PairPacks(store, "b")
    packs.write(0, {(0, 1): match(1)})
    [path] = store.blobs.list("pairs")
    packs.write(0, {(0, 2): match(2)})
    data = store.blobs.get(path)
    if damage == "delete":
        store.blobs.delete(path)
    else:
        flipped = data[:60] + bytes([data[60] ^ 1]) + data[61:]
        store.blobs.put(path, {"cut": data[:-9], "flip": flipped, "other": b"x"}[damage])
    for reader in (packs, PairPacks(store, "b")):
        assert reader.read(0, [(0, 1), (0, 2)]).keys() == {(0, 2)}
        assert reader.missing(0, [(0, 1), (0, 2)]) == [(0, 1)]
    packs.write(0, {(0, 1): match(1)})
    assert same(packs.read(0, [(0, 1)])[(0, 1)], match(1))


def test_pairs_may_be_frame_digests_and_arrays_are_the_callers_own(store: Store) -> None:
    packs = PairPacks(store, "b")
    packs.write(0, {("aa", "bb"): match(1)})
    first = packs.read(0, [("aa", "bb")])["aa", "bb"]
    first[0][:] = 0
    assert first[1] is not None
    first[1][:] = 0
    assert same(packs.read(0, [("aa", "bb")])["aa", "bb"], match(1))


def test_packs_that_do_not_fit_together_are_refused(store: Store) -> None:
    packs = PairPacks(store, "b")
    with pytest.raises(ValueError, match="one size"):
        packs.write(0, {(0, 1): match(1), (0, 2): match(1, (3, 3))})
    with pytest.raises(ValueError, match="errors must"):
        packs.write(0, {(0, 1): match(1), (0, 2): match(1, err=None)})
    with pytest.raises(ValueError, match="one size"):
        packs.write(0, {(0, 1): (np.zeros((2, 2, 2), np.int32), None)})  # type: ignore[dict-item]
    assert packs.write(0, {}) == 0
    assert store.blobs.list("pairs") == []
