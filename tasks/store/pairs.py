"""Correspondence packs: matches between pairs of source frames, computed once per frame and read by every job.

Refuses to know how matches are found. The unit of reuse is one pair, named by the digests of its frames; pairs lie in
folders of a few neighbouring targets because one object per pair would cost more requests than bytes. Packs are
immutable and named by their content, so several jobs may add packs to a folder at the same time and a torn one is
noticed by its name. Beside a pack lie the names of its pairs: who only asks what there is reads no match. They are a
hint, and may be missing: what is asked for is checked when it is read.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.store.blobs import TornArtifact, digest

if TYPE_CHECKING:
    from tasks.store.store import Store

Pair = tuple[str, str]
"""(target, source): digests of two frames."""
Match = tuple[np.ndarray[Any, np.dtype[np.int16]], np.ndarray[Any, np.dtype[np.uint16]]]
"""Offsets int16 [H,W,2], and errors uint16 [H,W] on whatever scale their writer uses."""

_SCHEMA = b"2"
_PACK, NAMES = ".parquet", ".names"


class PairPacks:
    """The packs of a store, folder by folder."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def missing(self, folder: str, pairs: Iterable[Pair]) -> list[Pair]:
        """Those of `pairs` that no pack of `folder` holds, in the given order."""
        held = {pair for names in self._named(self._sizes(folder)).values() for pair in names}
        return [pair for pair in pairs if pair not in held]

    def write(self, folder: str, matches: Mapping[Pair, Match]) -> int:
        """Add a pack of at least one match, all of one size; returns its bytes. Raises ValueError for others."""
        pairs = sorted(matches)
        data = _encode(pairs, matches)
        path = f"pairs/{folder}/{digest(data)}{_PACK}"
        self._store.blobs.put(path, data)
        names = json.dumps({"bytes": len(data), "pairs": pairs})
        self._store.blobs.put(_beside(path), names.encode())
        return len(data)

    def sizes(self, folder: str, pairs: Iterable[Pair]) -> dict[str, int]:
        """Bytes of every pack of `folder` that holds one of `pairs`, by path."""
        wanted, sizes = set(pairs), self._sizes(folder)
        return {path: sizes[path] for path, names in self._named(sizes).items() if not wanted.isdisjoint(names)}

    def open(self, folder: str) -> OpenPacks:
        """The packs of `folder`, for many single reads; none is read before a pair of it is."""
        places: dict[Pair, list[str]] = {}
        for path, names in self._named(self._sizes(folder)).items():
            for pair in names:
                places.setdefault(pair, []).append(path)
        return OpenPacks(self._store, places)

    def _sizes(self, folder: str) -> dict[str, int]:
        found = self._store.blobs.children(f"pairs/{folder}")[0]
        return {path: found[path] for path in sorted(found) if path.endswith(_PACK)}

    def _named(self, sizes: Mapping[str, int]) -> dict[str, list[Pair]]:
        """The pairs of each pack of `sizes` (one listing: the next may differ); without readable names beside it, by
        reading the pack.
        """
        named = {}
        for path, size in sizes.items():
            told = self._store.read_record(_beside(path))
            if isinstance(told, dict) and told.get("bytes") == size and isinstance(told.get("pairs"), list):
                named[path] = [(str(target), str(source)) for target, source in told["pairs"]]
            elif (file := _opened(self._store, path)) is not None:
                named[path] = list(_rows(file))
        return named


class OpenPacks:
    """Packs of one folder; `read` unpacks one pair at a time. In memory, compressed, only where the store is remote."""

    def __init__(self, store: Store, places: Mapping[Pair, list[str]]) -> None:
        self._store, self._places = store, places
        self._files: dict[str, tuple[pq.ParquetFile, dict[Pair, int]] | None] = {}

    def __contains__(self, pair: object) -> bool:
        return pair in self._places

    def read(self, pair: Pair) -> Match:
        """The match of `pair`, the caller's own arrays; TornArtifact when no whole pack holds it."""
        for path in sorted(self._places.get(pair, ()), key=lambda path: path not in self._files):
            if path not in self._files:
                file = _opened(self._store, path)
                self._files[path] = None if file is None else (file, _rows(file))
            opened = self._files[path]
            if opened is not None and pair in opened[1]:
                return _decode(opened[0], opened[1][pair])
        raise TornArtifact(f"the correspondence of frames {pair} is gone from the store; run the same command again")


def _beside(path: str) -> str:
    return path.removesuffix(_PACK) + NAMES


def _opened(store: Store, path: str) -> pq.ParquetFile | None:
    """The pack if its bytes are what its name says, else None; one that can be proven torn is removed.

    Were it left, those who go by names and sizes would count on it again and again.
    """
    try:
        data = store.blobs.get(path)
    except TornArtifact:  # no StoreError: what cannot be asked for is not lost
        return None
    if digest(data) != path.rsplit("/", 1)[-1].removesuffix(_PACK):
        store.blobs.delete(path)
        return None
    local = store.blobs.local_path(path)
    file = pq.ParquetFile(pa.BufferReader(data) if local is None else str(local))
    return file if (file.schema_arrow.metadata or {}).get(b"pairs_schema") == _SCHEMA else None


def _rows(file: pq.ParquetFile) -> dict[Pair, int]:
    """Where each pair lies."""
    table = file.read(["target", "source"], use_threads=False)
    names = zip(table["target"].to_pylist(), table["source"].to_pylist(), strict=True)
    return {pair: row for row, pair in enumerate(names)}


def _encode(pairs: list[Pair], matches: Mapping[Pair, Match]) -> bytes:
    height, width = matches[pairs[0]][0].shape[:2]
    for offsets, error in matches.values():
        if offsets.shape != (height, width, 2) or offsets.dtype != np.int16:
            raise ValueError(f"offsets must be int16 [{height},{width},2], got {offsets.dtype} {offsets.shape}")
        if error.shape != (height, width) or error.dtype != np.uint16:
            raise ValueError(f"errors must be uint16 [{height},{width}], got {error.dtype} {error.shape}")
    schema = pa.schema(
        [
            ("target", pa.string()),
            ("source", pa.string()),
            ("nnf", pa.binary(4 * height * width)),
            ("err", pa.binary(2 * height * width)),
        ],
        {"pairs_schema": _SCHEMA, "height": str(height), "width": str(width)},
    )
    sink = io.BytesIO()
    with pq.ParquetWriter(
        sink, schema, use_dictionary=False, write_statistics=False, compression="zstd", compression_level=1
    ) as writer:
        for target, source in pairs:  # a row group each, so that one pair is decompressed without its neighbours
            offsets, error = matches[target, source]
            # planes dy and dx apart: neighbours of one plane are alike, which is what zstd finds
            row = [target, source, offsets.transpose(2, 0, 1).tobytes(), error.tobytes()]
            columns = [pa.array([value], field.type) for value, field in zip(row, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
    return sink.getvalue()


def _decode(file: pq.ParquetFile, row: int) -> Match:
    meta = file.schema_arrow.metadata
    height, width = int(meta[b"height"]), int(meta[b"width"])
    table = file.read_row_group(row, use_threads=False)
    planes = np.frombuffer(table["nnf"][0].as_py(), np.int16).reshape(2, height, width)
    error = np.frombuffer(table["err"][0].as_py(), np.uint16).reshape(height, width).copy()
    return np.ascontiguousarray(planes.transpose(1, 2, 0)), error
