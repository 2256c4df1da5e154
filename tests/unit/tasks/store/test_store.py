"""An artifact exists if and only if it is whole, wherever a writer was killed and whoever raced it."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Any

import platformdirs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import LeaseLost, StoreError
from tasks.store import Lease, Manifest, Part, Store, TornArtifact, stage_key
from tests.strategies import FaultyBlobs, Killed, Kind, crashes, fresh_store, fresh_url, kinds, lies, on_disk

KEY = stage_key("encode", 2, {"crf": 18}, {}, [{"stage": "decode", "key": "a" * 32}], None)
CONTENT = {"video.mp4": b"moving pictures" * 100, "index.json": b"{}", "empty": b""}


def produce(store: Store, content: dict[str, bytes] = CONTENT, lease: Lease | None = None) -> Manifest:
    parts = [store.write_part(KEY, name, data, {"n": len(data)}) for name, data in content.items()]
    return store.publish(KEY, parts, {"shots": 3}, 1.5, lease)


def content_of(store: Store, manifest: Manifest) -> dict[str, bytes]:
    return {part.name: store.read_part(manifest, part.name) for part in manifest.parts}


def test_publish_then_lookup(store: Store) -> None:
    assert store.lookup(KEY) is None
    made = produce(store)
    assert store.lookup(KEY) == store.lookup(KEY, "digests") == made
    assert content_of(store, made) == CONTENT
    assert (made.stage, made.key, made.preimage, made.inputs) == (
        KEY.stage,
        KEY.key,
        KEY.preimage,
        [{"stage": "decode", "key": "a" * 32}],
    )
    assert (made.meta, made.seconds, made.epoch, made.bytes) == ({"shots": 3}, 1.5, 0, 1502)
    assert all(path.startswith(f"stages/encode/{KEY.key[:2]}/{KEY.key}/") for path in store.blobs.list("stages"))
    with pytest.raises(KeyError, match=r"no part 'x'"):
        store.read_part(made, "x")


def test_ref_leads_back_to_its_manifest(store: Store) -> None:
    ref = store.ref(produce(store), "computed", 2.0)
    assert (ref.stage, ref.key, ref.bytes, ref.status, ref.seconds) == ("encode", KEY.key, 1502, "computed", 2.0)
    assert ref.uri == f"{store.url}/stages/encode/{KEY.key[:2]}/{KEY.key}"
    assert len(ref.model_dump_json()) < 4000
    assert content_of(store, store.resolve(ref)) == CONTENT
    store.refresh(KEY)
    produce(store, {"other": b"1"})
    with pytest.raises(TornArtifact, match="run the same command again"):
        store.resolve(ref)


def test_digest_speaks_of_content_only(store: Store) -> None:
    first = produce(store)
    store.forget(KEY)
    again = produce(store, dict(reversed(CONTENT.items())))
    assert (first.digest, first.created) != (again.digest, again.created)
    assert first.digest == again.digest


@on_disk
@given(kinds, crashes)
def test_a_kill_between_any_two_writes_leaves_nothing_or_all(kind: Kind, crash: tuple[int, Any]) -> None:
    """Also when the killed write itself is torn; and the next run always gets there."""
    with fresh_url(kind) as url:
        store = Store.open(url, workers=0)
        faulty = Store(FaultyBlobs(url, *crash))
        try:
            with Lease.acquire(faulty, KEY, heartbeat=False) as lease:
                produce(faulty, lease=lease)
            finished = True
        except Killed:
            finished = False
        for found in (store.lookup(KEY), store.lookup(KEY, "digests")):
            assert found is not None or not finished
            assert found is None or content_of(store, found) == CONTENT
        after = produce(store)
        assert store.lookup(KEY, "digests") == after
        assert content_of(store, after) == CONTENT


@on_disk
@given(kinds, lies)
def test_a_lying_disk_is_never_believed(kind: Kind, lie: tuple[int, Any]) -> None:
    """A short or changed part or manifest: refused, absent, or found out when read; never handed on."""
    with fresh_url(kind) as url:
        faulty, store = Store(FaultyBlobs(url, *lie)), Store.open(url, workers=0)
        try:
            produce(faulty)
        except TornArtifact:
            assert store.lookup(KEY) is None
        found = store.lookup(KEY, "digests")
        assert found is None or content_of(store, found) == CONTENT
        cheap = store.lookup(KEY)
        if cheap is not None and found is None:
            with pytest.raises(TornArtifact):
                content_of(store, cheap)
            store.forget(KEY)
        assert content_of(store, produce(store)) == CONTENT


@on_disk
@given(kinds, st.data())
def test_deleting_anything_is_safe(kind: Kind, data: st.DataObject) -> None:
    with fresh_store(kind) as store:
        with Lease.acquire(store, KEY, heartbeat=False) as lease:
            produce(store, lease=lease)
        path = data.draw(st.sampled_from(store.blobs.list()))
        store.blobs.delete(path)
        assert (store.lookup(KEY) is None) == path.startswith("stages/")
        with Lease.acquire(store, KEY, heartbeat=False) as lease:
            assert content_of(store, produce(store, lease=lease)) == CONTENT


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff", b'{"schema_version": 2}'])
def test_unreadable_manifest_is_absent_and_replaced(store: Store, text: bytes) -> None:
    produce(store)
    store.blobs.put(f"{store.folder(KEY)}/manifest.json", text)
    assert store.lookup(KEY) is None
    assert store.find(KEY.key) == list(store.manifests()) == []
    produce(store)
    assert store.lookup(KEY) is not None


def test_manifest_copied_to_another_key_is_absent(store: Store) -> None:
    store.publish(KEY, [])
    assert store.lookup(KEY) is not None
    other = stage_key("encode", 3, {}, {}, [], None)
    manifest = store.blobs.get(f"{store.folder(KEY)}/manifest.json")
    store.blobs.put(f"{store.folder(other)}/manifest.json", manifest)
    assert store.lookup(other) is None


def test_of_racing_publishers_one_wins_and_both_see_it(store: Store) -> None:
    barrier, got = threading.Barrier(4), []

    def run(me: int) -> None:
        content = {"a": b"same", "b": str(me).encode()}
        barrier.wait()
        got.append(produce(store, content))

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    standing = store.lookup(KEY, "digests")
    assert [m == standing for m in got] == [True] * 4


def test_zombie_cannot_publish(store: Store) -> None:
    zombie = Lease.acquire(store, KEY, heartbeat=False)
    record = f"leases/{KEY.key}/{zombie.epoch:010d}.json"
    store.write_record(record, {**store.read_record(record), "renewed": 0})
    heir = Lease.acquire(store, KEY, heartbeat=False)
    with pytest.raises(LeaseLost):
        produce(store, {"a": b"zombie"}, zombie)
    assert store.lookup(KEY) is None
    made = produce(store, lease=heir)
    assert made.epoch == heir.epoch == 2
    with pytest.raises(LeaseLost):
        produce(store, {"a": b"zombie"}, zombie)
    assert store.lookup(KEY) == made


def test_zombie_that_passed_its_check_in_time_cannot_replace_a_newer_result(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    zombie = Lease.acquire(store, KEY, heartbeat=False)
    monkeypatch.setattr(zombie, "check", lambda: None)
    record = f"leases/{KEY.key}/{zombie.epoch:010d}.json"
    store.write_record(record, {**store.read_record(record), "renewed": 0})
    made = produce(store, lease=Lease.acquire(store, KEY, heartbeat=False))
    with pytest.raises(LeaseLost, match="published by epoch 2; ours is 1"):
        produce(store, {"a": b"zombie"}, zombie)
    assert store.lookup(KEY, "digests") == made


def test_newer_epoch_replaces_older_result(store: Store) -> None:
    produce(store, {"a": b"old"})
    with Lease.acquire(store, KEY, heartbeat=False) as lease:
        made = produce(store, {"a": b"new"}, lease)
    assert store.lookup(KEY, "digests") == made
    assert content_of(store, made) == {"a": b"new"}


def test_part_that_went_away_is_not_published(store: Store) -> None:
    part = store.write_part(KEY, "a", b"1")
    store.blobs.delete(part.path)
    with pytest.raises(TornArtifact, match="'a' of encode"):
        store.publish(KEY, [part])
    stranger = Part(name="a", path="jobs/x", bytes=1, sha256="0")
    store.blobs.put("jobs/x", b"1")
    with pytest.raises(TornArtifact):
        store.publish(KEY, [stranger])


def test_parts_have_plain_and_different_names(store: Store, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"1")
    for name in ("../x", "a/b", "", ".hidden", "a b"):
        with pytest.raises(ValueError, match="part name"):
            store.write_part(KEY, name, b"")
        with pytest.raises(ValueError, match="part name"):
            store.write_part_file(KEY, name, tmp_path / "f")
    part = store.write_part(KEY, "a", b"1")
    with pytest.raises(ValueError, match="different names"):
        store.publish(KEY, [part, part])


def test_part_from_a_file_is_the_same_part(store: Store, tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(CONTENT["video.mp4"])
    assert store.write_part_file(KEY, "v.mp4", tmp_path / "v.mp4") == store.write_part(
        KEY, "v.mp4", CONTENT["video.mp4"]
    )


def test_find_and_iterate(store: Store) -> None:
    keys = [stage_key(stage, 1, {"i": i}, {}, [], None) for stage in ("probe", "decode") for i in range(3)]
    made = [store.publish(k, [store.write_part(k, "a", b"1")]) for k in keys]
    assert {m.key for m in store.manifests()} == {k.key for k in keys}
    assert {m.key for m in store.manifests("probe")} == {k.key for k in keys[:3]}
    assert store.find(keys[4].key[:9]) == [made[4]]
    assert store.find("0" * 32) == []
    with pytest.raises(StoreError, match="beginning of a key"):
        store.find("..")


def test_refresh_drops_the_steps_too_forget_does_not(store: Store) -> None:
    for act, left in ((store.forget, 1), (store.refresh, 0)):
        produce(store)
        store.blobs.put(f"steps/{KEY.key}/00001/x.parquet", b"1")
        act(KEY)
        assert store.lookup(KEY) is None
        assert len(store.blobs.list()) == left


def test_records(store: Store) -> None:
    assert store.read_record("jobs/a/job.json") is None
    store.write_record("jobs/a/job.json", {"b": [1, None]})
    assert store.read_record("jobs/a/job.json") == {"b": [1, None]}
    store.blobs.put("jobs/a/job.json", b"{")
    assert store.read_record("jobs/a/job.json") is None


def test_memory_is_refused_with_workers_and_has_a_fix() -> None:
    with pytest.raises(StoreError, match=r"memory://x .* --workers 2; use --workers 0") as caught:
        Store.open("memory://x", workers=2)
    assert caught.value.exit_code == 2


def test_default_store_is_the_user_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platformdirs, "user_data_dir", lambda name: str(tmp_path / name))
    store = Store.open(None, workers=2)
    assert store.url == f"file://{tmp_path}/steadyframe/store"
    assert store.blobs.list() == []


def test_full_disk_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.open(str(tmp_path), workers=0)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"part-.*-a: No space left on device; free some space"):
        store.write_part(KEY, "a", b"1")
    monkeypatch.undo()
    assert store.blobs.list() == []
