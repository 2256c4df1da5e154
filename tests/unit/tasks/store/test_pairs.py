"""Correspondence packs: any job finds the pairs another has written; torn packs do not count."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.store import Store, TornArtifact
from tasks.store.pairs import NAMES, Match, Pair, PairPacks
from tests.strategies import fresh_store, untimed


def match(seed: int, size: tuple[int, int] = (6, 9)) -> Match:
    rng = np.random.default_rng(seed)
    return rng.integers(-300, 300, (*size, 2)).astype(np.int16), rng.integers(0, 60_000, size).astype(np.uint16)


def same(a: Match, b: Match) -> bool:
    return all(x.dtype == y.dtype and np.array_equal(x, y) for x, y in zip(a, b, strict=True))


frames = st.sampled_from(["aa", "bb", "cc", "dd", "ee", "ff"])
pairs = st.tuples(frames, frames)


@untimed
@given(
    st.lists(st.sets(pairs, min_size=1, max_size=5), max_size=4), st.sets(pairs), st.sampled_from(["memory", "file"])
)
def test_a_pair_is_found_in_whichever_pack(packs: list[set[Pair]], asked: set[Pair], where: Any) -> None:
    """The result depends on the pair alone, so packs that overlap agree."""
    with fresh_store(where) as store:
        truth = {p: match(n) for n, p in enumerate(sorted(set().union(asked, *packs)))}
        writer, reader = PairPacks(store), PairPacks(store)
        for pack in packs:
            writer.write("b", {p: truth[p] for p in pack})
        held = set().union(*packs)
        opened = reader.open("b")
        assert all(same(opened.read(p), truth[p]) for p in asked & held)
        assert {p for p in asked if p in opened} == asked & held
        assert reader.missing("b", sorted(asked)) == sorted(asked - held)
        assert reader.missing("c", sorted(asked)) == sorted(asked)


def test_who_asks_what_is_there_reads_no_match(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    packs = PairPacks(store)
    packs.write("b", {("aa", "bb"): match(1)})
    packs.write("b", {("aa", "cc"): match(2)})
    read: list[str] = []
    get = store.blobs.get
    monkeypatch.setattr(store.blobs, "get", lambda path: (read.append(path), get(path))[1])
    assert packs.missing("b", [("aa", "bb"), ("cc", "aa")]) == [("cc", "aa")]
    [(path, size)] = packs.sizes("b", [("aa", "bb")]).items()
    opened = packs.open("b")
    assert all(one.endswith(NAMES) for one in read)
    read.clear()
    opened.read(("aa", "bb"))
    assert (read, size) == ([path], len(get(path)))


def test_two_listings_that_differ_are_not_mixed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run adds a pack meanwhile, or the store lists what it lists a moment late."""
    packs = PairPacks(store)
    packs.write("b", {("aa", "bb"): match(0)})
    children, added = store.blobs.children, iter(range(1, 9))

    def grown(prefix: str) -> Any:
        found = children(prefix)
        packs.write("b", {("aa", "bb"): match(next(added))})
        return found

    monkeypatch.setattr(store.blobs, "children", grown)
    assert len(packs.sizes("b", [("aa", "bb")])) == 1


@pytest.mark.parametrize("damage", ["cut", "flip", "delete", "other"])
@pytest.mark.parametrize("named", [True, False])
def test_torn_packs_are_noticed_when_they_are_read_and_then_count_no_more(
    store: Store, damage: str, named: bool
) -> None:
    packs, torn, whole = PairPacks(store), ("aa", "bb"), ("aa", "cc")
    packs.write("b", {torn: match(1)})
    [path] = packs.sizes("b", [torn])
    packs.write("b", {whole: match(2)})
    if not named:
        store.blobs.delete(path.replace(".parquet", NAMES))
    data = store.blobs.get(path)
    if damage == "delete":
        store.blobs.delete(path)
    else:
        flipped = data[:60] + bytes([data[60] ^ 1]) + data[61:]
        store.blobs.put(path, {"cut": data[:-9], "flip": flipped, "other": b"x"}[damage])
    opened = packs.open("b")
    assert same(opened.read(whole), match(2))
    with pytest.raises(TornArtifact, match="gone from the store"):
        opened.read(torn)
    assert packs.missing("b", [torn, whole]) == [torn]
    assert PairPacks(store).sizes("b", [torn]) == {}
    packs.write("b", {torn: match(1)})
    assert same(packs.open("b").read(torn), match(1))


@pytest.mark.parametrize("told", [b"", b"{ torn", b"[]", json.dumps({"bytes": 1, "pairs": []}).encode()])
def test_names_that_are_not_those_of_the_pack_are_not_believed(store: Store, told: bytes) -> None:
    packs = PairPacks(store)
    packs.write("b", {("aa", "bb"): match(1)})
    [path] = packs.sizes("b", [("aa", "bb")])
    store.blobs.put(path.replace(".parquet", NAMES), told)
    assert packs.missing("b", [("aa", "bb")]) == []


def test_arrays_are_the_callers_own(store: Store) -> None:
    packs = PairPacks(store)
    packs.write("b", {("aa", "bb"): match(1)})
    opened = packs.open("b")
    for array in opened.read(("aa", "bb")):
        array[:] = 0
    assert same(opened.read(("aa", "bb")), match(1))


def test_packs_that_do_not_fit_together_are_refused(store: Store) -> None:
    packs = PairPacks(store)
    with pytest.raises(ValueError, match="offsets must be"):
        packs.write("b", {("aa", "bb"): match(1), ("aa", "cc"): match(1, (3, 3))})
    with pytest.raises(ValueError, match="errors must be"):
        packs.write("b", {("aa", "bb"): (match(1)[0], match(1)[1].astype(np.float32))})  # type: ignore[dict-item]
    assert store.blobs.list("pairs") == []
