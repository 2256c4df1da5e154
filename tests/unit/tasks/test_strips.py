"""Strips of finished frames: what a stopped run left is told from what is torn, and not unpacked to be counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tasks import strips
from tasks.store import StageKey, Store
from tasks.strips import forget_notes, strips_left, write_strip

KEY = StageKey("filter", "ab" * 16, {})


@pytest.fixture
def store() -> Store:
    return Store.open("memory://strips", workers=0)


def frames(seed: int) -> list[np.ndarray[Any, Any]]:
    return list(np.random.default_rng(seed).integers(0, 256, (3, 8, 12, 3), dtype=np.uint8))


@pytest.mark.parametrize("noted", [True, False])
def test_strips_that_are_left_are_those_that_were_written(
    store: Store, monkeypatch: pytest.MonkeyPatch, noted: bool
) -> None:
    store.refresh(KEY)
    parts = {part.name: part for part in (write_strip(store, KEY, n, frames(n)) for n in range(3))}
    if noted:
        monkeypatch.setattr(strips, "_rows", lambda *_: pytest.fail("unpacked"))
    else:
        forget_notes(store, KEY)
    assert strips_left(store, KEY) == parts


@pytest.mark.parametrize("noted", [True, False])
def test_a_torn_strip_is_not_left(store: Store, noted: bool) -> None:
    store.refresh(KEY)
    one, two = (write_strip(store, KEY, n, frames(n)) for n in range(2))
    store.blobs.put(one.path, store.blobs.get(one.path)[:-5])
    if not noted:
        forget_notes(store, KEY)
    assert strips_left(store, KEY) == {two.name: two}


def test_a_note_of_another_strip_is_not_believed(store: Store) -> None:
    store.refresh(KEY)
    part = write_strip(store, KEY, 0, frames(0))
    store.write_record(f"steps/{KEY.key}/{part.name}.json", {"sha256": "another", "meta": {}})
    assert strips_left(store, KEY) == {part.name: part}
