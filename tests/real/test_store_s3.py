"""What only a store on the network can get wrong: other writers' objects, uploads in parts, refusals in our words."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from s3fs import S3FileSystem

from configs.errors import StoreError
from tasks.store import Store, stage_key
from tasks.store.blobs import Blobs
from tests.real.parts import BUCKET

KEY = stage_key("encode", 1, {}, {}, [], None)


def test_of_racing_clients_that_share_nothing_one_creates(s3: str) -> None:
    """Two connections each, as two machines have: the server decides, not our process."""
    for round_ in range(5):
        clients = [_elsewhere(s3) for _ in range(4)]
        barrier, won = threading.Barrier(4), []

        def create(
            me: int, blobs: Blobs, name: str = f"r/{round_}", at: threading.Barrier = barrier, won: list[int] = won
        ) -> None:
            at.wait()
            if blobs.put_new(name, b"%d" % me):
                won.append(me)

        threads = [threading.Thread(target=create, args=pair) for pair in enumerate(clients)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        assert len(won) == 1
        assert clients[0].get(f"r/{round_}") == b"%d" % won[0]


def test_what_others_write_and_delete_is_seen_at_once(store: Store) -> None:
    """Also in folders that were listed before; a client that caches listings would miss both."""
    folder, other = store.folder(KEY), Store(_elsewhere(store.url))
    assert (store.lookup(KEY), store.blobs.children(folder), store.blobs.list()) == (None, ({}, []), [])
    made = other.publish(KEY, [other.write_part(KEY, "a", b"1")])
    assert store.lookup(KEY) == made
    assert len(store.blobs.children(folder)[0]) == len(store.blobs.list()) == 2
    other.forget(KEY)
    assert (store.lookup(KEY), store.blobs.children(folder), store.blobs.list()) == (None, ({}, []), [])
    assert store.blobs.size(made.parts[0].path) is None


def test_a_reader_sees_old_bytes_or_new_never_a_mix(store: Store) -> None:
    seen: set[bytes] = set()
    stop = threading.Event()
    store.blobs.put("x", b"0" * 300_000)

    def read() -> None:
        other = _elsewhere(store.url)
        while not stop.is_set():
            seen.add(other.get("x")[::1000])

    reader = threading.Thread(target=read)
    reader.start()
    for n in range(30):
        store.blobs.put("x", b"%d" % (n % 10) * 300_000)
    stop.set()
    reader.join()
    assert seen
    assert all(len(set(one)) == 1 and len(one) == 300 for one in seen)


def test_an_upload_in_parts_appears_when_complete(store: Store, tmp_path: Path) -> None:
    """As of an encoded video over 100 MB: until the last part is there, there is nothing."""
    source = tmp_path / "video.mkv"
    with source.open("wb") as file:
        file.seek(101 * 2**20)
        file.write(b"end")
    sizes: list[int | None] = []
    stop = threading.Event()

    def watch() -> None:
        other = _elsewhere(store.url)
        while not stop.is_set():
            sizes.append(other.size("v/video.mkv"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    store.blobs.put_file("v/video.mkv", source)
    stop.set()
    watcher.join()
    assert set(sizes) <= {None, source.stat().st_size}
    assert None in sizes
    assert store.blobs.sizes("v") == {"v/video.mkv": source.stat().st_size}


def test_a_bucket_that_is_not_there_is_said_so(s3: str) -> None:
    with pytest.raises(StoreError, match=r"s3://nowhere-\w+/x.*create the bucket or folder first") as caught:
        Store.open(f"s3://nowhere-{s3[-8:]}/x", workers=0)
    assert caught.value.exit_code == 2


def test_a_server_that_is_not_there_is_said_so(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    S3FileSystem.clear_instance_cache()
    with pytest.raises(StoreError, match=rf"s3://{BUCKET}/.*Could not connect.*check the --store URL"):
        Store.open(s3, workers=0, storage_options={"config_kwargs": {"retries": {"max_attempts": 1}}})


def _elsewhere(url: str) -> Blobs:
    """The same store through a client of its own, as another machine has."""
    return Blobs(url, {"skip_instance_cache": True})
