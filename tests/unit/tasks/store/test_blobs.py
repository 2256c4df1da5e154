"""Objects are whole or absent, created once, inside the root; listings are never stale; errors name place and fix."""

from __future__ import annotations

import errno
import os
import pickle
import threading
from pathlib import Path

import fsspec
import pytest

from configs.errors import StoreError
from tasks.store import Store
from tasks.store.backends import ObjectStore
from tasks.store.blobs import Blobs, MissingBlob, digest


def test_put_get_size_list_delete(store: Store) -> None:
    blobs = store.blobs
    blob = blobs.put("a/b/c.bin", b"hello")
    assert (blob.path, blob.bytes, blob.sha256) == ("a/b/c.bin", 5, digest(b"hello"))
    assert blobs.get("a/b/c.bin") == b"hello"
    assert (blobs.size("a/b/c.bin"), blobs.size("a/b"), blobs.size("a/x"), blobs.size("a/b/c.bin/x")) == (
        5,
        None,
        None,
        None,
    )
    assert (blobs.exists("a/b/c.bin"), blobs.exists("a/b")) == (True, False)
    blobs.put("a/b/c.bin", b"")
    blobs.put("a/d", b"1")
    blobs.put("ab/e", b"1")
    assert blobs.list("a") == ["a/b/c.bin", "a/d"]
    assert blobs.children("a") == ({"a/d": 1}, ["b"])
    assert blobs.list("nowhere") == []
    assert blobs.children("nowhere") == ({}, [])
    assert blobs.list("") == ["a/b/c.bin", "a/d", "ab/e"]
    blobs.delete("a/d")
    blobs.delete("a/d")
    blobs.delete_tree("a")
    blobs.delete_tree("a")
    assert blobs.list() == ["ab/e"]
    with pytest.raises(MissingBlob, match="a/d"):
        blobs.get("a/d")


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/./b", "a\\..\\b", "C:x", "a\0b"])
def test_paths_cannot_leave_the_root(store: Store, path: str) -> None:
    for act in (store.blobs.get, store.blobs.delete, store.blobs.delete_tree, store.blobs.exists):
        with pytest.raises(StoreError, match="must be relative"):
            act(path)
    with pytest.raises(StoreError, match="must be relative"):
        store.blobs.put(path, b"x")
    assert store.blobs.list() == []


def test_of_racing_creators_exactly_one_wins(store: Store) -> None:
    for round_ in range(20):
        barrier, won = threading.Barrier(8), []

        def create(
            me: int, name: str = f"r/{round_}", barrier: threading.Barrier = barrier, won: list[int] = won
        ) -> None:
            barrier.wait()
            if store.blobs.put_new(name, str(me).encode()):
                won.append(me)

        threads = [threading.Thread(target=create, args=(i,)) for i in range(8)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        assert len(won) == 1
        assert store.blobs.get(f"r/{round_}") == str(won[0]).encode()


def test_readers_never_see_a_mix_or_a_temporary(tmp_path: Path) -> None:
    """A reader in a tight loop beside a writer sees old bytes or new bytes, and no unfinished name in a listing."""
    blobs, stop = Blobs(str(tmp_path)), threading.Event()
    seen: set[bytes] = set()
    listed: set[str] = set()
    blobs.put("x", b"0" * 50_000)

    def read() -> None:
        while not stop.is_set():
            seen.add(blobs.get("x")[::1000])
            listed.update(blobs.list())

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(100):
        blobs.put("x", str(i % 10).encode() * 50_000)
    stop.set()
    reader.join()
    assert listed == {"x"}
    assert all(len(set(s)) == 1 and len(s) == 50 for s in seen)


def test_failed_write_leaves_old_bytes_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = Blobs(str(tmp_path))
    blobs.put("x", b"old")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StoreError, match=r"x: No space left on device; free some space"):
        blobs.put("x", b"new")
    monkeypatch.undo()
    assert blobs.get("x") == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_leftovers_of_killed_writers_are_swept_by_age(tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path))
    blobs.put("a/x", b"kept")
    (tmp_path / "a" / ".part-dead").write_bytes(b"12345")
    os.utime(tmp_path / "a" / ".part-dead", (0, 0))
    (tmp_path / "a" / ".part-live").write_bytes(b"1")
    assert blobs.list() == ["a/x"]
    assert blobs.sweep(3600) == 5
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == [".part-live", "x"]


def test_create_once_works_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    blobs = Blobs(str(tmp_path))
    assert [blobs.put_new("x", b"1"), blobs.put_new("x", b"2")] == [True, False]
    assert blobs.get("x") == b"1"


def test_files_go_in_whole(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "video.mp4"
    source.write_bytes(bytes(range(256)) * 50_000)
    store.blobs.put_file("v/video", source)
    assert store.blobs.get("v/video") == source.read_bytes()


def test_pickles_as_its_url(store: Store) -> None:
    store.blobs.put("x", b"1")
    again = pickle.loads(pickle.dumps(store))
    assert again.url == store.url
    assert again.blobs.get("x") == b"1"


def test_relative_paths_are_made_absolute_for_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Blobs("here").url == f"file://{tmp_path}/here"
    assert Blobs(f"file://{tmp_path}/here").url == Blobs("here").url


def test_errors_name_the_place_the_cause_and_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file/store.*a file is in the place of a folder") as caught:
        Store.open(str(tmp_path / "file" / "store"), workers=0)
    assert caught.value.exit_code == 2
    with pytest.raises(StoreError, match=r"nosuch://bucket.*nosuch"):
        Store.open("nosuch://bucket", workers=0)

    def denied(*_: object, **__: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(StoreError, match=r"Permission denied; give this user read and write permission"):
        Store.open(str(tmp_path / "other"), workers=0)


class _Bucket(fsspec.AbstractFileSystem):
    """The least an object store does, with a log of its requests; `create` is conditional as on S3."""

    protocol = "bucket"
    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, bytes] = {}
        self.log: list[str] = []

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: object) -> None:
        self.log.append(f"PUT {mode}")
        if mode == "create" and path in self.objects:
            raise FileExistsError(path)
        self.objects[path] = value

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: object) -> bytes:
        self.log.append("GET" if start is not None else "HEAD+GET")
        if path not in self.objects:
            raise FileNotFoundError(path)
        if start is not None and not self.objects[path]:
            raise OSError(errno.EINVAL, "The requested range is not satisfiable")
        return self.objects[path]

    def open(self, *_: object, **__: object) -> None:
        raise AssertionError("nothing may be opened for writing piece by piece")

    def info(self, path: str, **_: object) -> dict[str, object]:
        return {"type": "file", "size": len(self.objects[path])}


def test_empty_objects_read_as_empty_though_s3_refuses_the_range() -> None:
    backend = ObjectStore(_Bucket(), "bucket://b/root", "b/root")
    backend.put("x", b"")
    assert backend.get("x") == b""


def test_missing_bucket_is_an_error_of_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that finds no bucket is not the same as reading an object that is not there."""
    blobs = Blobs("memory://elsewhere")

    def no_bucket(*_: object) -> None:
        raise FileNotFoundError("The specified bucket does not exist")

    monkeypatch.setattr(blobs._backend, "put", no_bucket)
    with pytest.raises(StoreError, match=r"bucket does not exist; create the bucket or folder first"):
        blobs.put("x", b"1")


def test_object_stores_are_asked_once_per_object() -> None:
    bucket = _Bucket()
    backend = ObjectStore(bucket, "bucket://b/root", "b/root")
    backend.put("x", b"1")
    assert backend.get("x") == b"1"
    assert [backend.put_new("y", b"1"), backend.put_new("y", b"2")] == [True, False]
    assert bucket.log == ["PUT overwrite", "GET", "PUT create", "PUT create"]
    assert set(bucket.objects) == {"b/root/x", "b/root/y"}


def test_whatever_a_file_system_raises_becomes_a_store_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoCredentialsError(Exception):
        """As botocore's: not an OSError."""

    blobs = Blobs("memory://elsewhere")
    monkeypatch.setattr(blobs._backend, "put", lambda *_: (_ for _ in ()).throw(NoCredentialsError("no keys")))
    with pytest.raises(StoreError, match=r"memory://elsewhere/x: NoCredentialsError: no keys; check the --store URL"):
        blobs.put("x", b"1")
