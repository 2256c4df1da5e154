"""Correspondence packs: matches between pairs of source frames, computed once per clip and read by every job.

Refuses to know how matches are found. The unit of reuse is one pair; pairs are packed by the window of their
target frame because one object per pair would cost more requests than bytes. Packs are immutable and named by
their content, so several jobs may add packs to a window at the same time and a torn one is noticed by its
name.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.store.blobs import TornArtifact, digest

if TYPE_CHECKING:
    from tasks.store.store import Store

Pair = tuple[int, int] | tuple[str, str]
Match = tuple[np.ndarray[Any, np.dtype[np.int16]], np.ndarray[Any, Any] | None]

_SCHEMA = b"1"


class PairPacks:
    """All packs under one base key. A pair is (target, source): two frame numbers or two frame digests."""

    def __init__(self, store: Store, base_key: str) -> None:
        self._store, self.base_key = store, base_key
        self._known: dict[str, frozenset[Pair]] = {}  # packs are immutable, so what one holds is remembered

    def missing(self, window: int, pairs: Iterable[Pair]) -> list[Pair]:
        """Those of `pairs` that no whole pack of `window` holds, in the given order."""
        held: set[Pair] = set()
        for path in self._packs(window):
            if path not in self._known:
                self._open(path)
            held |= self._known.get(path, frozenset())
        return [pair for pair in pairs if pair not in held]

    def write(self, window: int, matches: Mapping[Pair, Match]) -> int:
        """Add a pack: pair -> (nnf int16 [H,W,2], error float32 or uint16 [H,W] or None); returns its bytes.

        All pairs of a pack have one size, and one kind of error. Raises ValueError otherwise.
        """
        if not matches:
            return 0
        data = _encode(matches)
        self._store.blobs.put(f"{self._folder(window)}/{digest(data)}.parquet", data)
        return len(data)

    def read(self, window: int, pairs: Iterable[Pair]) -> dict[Pair, Match]:
        """The matches of those `pairs` that are there; the arrays are the caller's own."""
        wanted, found = set(pairs), dict[Pair, Match]()
        for path in self._packs(window):
            known = self._known.get(path)
            left = wanted - found.keys()
            if not left or (known is not None and not left & known):
                continue
            file = self._open(path)
            if file is not None:
                found |= _decode(file, left)
        return found

    def sizes(self, windows: Iterable[int]) -> dict[str, int]:
        """Bytes of every pack of these windows, by path."""
        return {p: n for w in windows for p, n in self._store.blobs.sizes(self._folder(w)).items()}

    def open(self, window: int) -> OpenPacks:
        """All whole packs of `window`, held as they are stored, for many single reads."""
        files = [file for path in self._packs(window) if (file := self._open(path)) is not None]
        return OpenPacks({pair: (file, row) for file in files for row, pair in enumerate(_names(file))})

    def _folder(self, window: int) -> str:
        return f"pairs/{self.base_key}/{window:05d}"

    def _packs(self, window: int) -> list[str]:
        return sorted(p for p in self._store.blobs.children(self._folder(window))[0] if p.endswith(".parquet"))

    def _open(self, path: str) -> pq.ParquetFile | None:
        """The pack if its bytes are what its name says, else None."""
        try:
            data = self._store.blobs.get(path)
            if digest(data) != path.rsplit("/", 1)[-1].removesuffix(".parquet"):
                raise TornArtifact(path)
            file = pq.ParquetFile(pa.BufferReader(data))
            if (file.schema_arrow.metadata or {}).get(b"pairs_schema") != _SCHEMA:
                return None
        except (TornArtifact, pa.ArrowException, OSError):  # no StoreError: what cannot be asked for is not lost
            self._known.pop(path, None)
            return None
        self._known[path] = frozenset(_names(file))
        return file


class OpenPacks:
    """Packs of one window in memory, compressed; `read` unpacks one pair at a time."""

    def __init__(self, rows: Mapping[Pair, tuple[pq.ParquetFile, int]]) -> None:
        self._rows = rows

    def read(self, pair: Pair) -> Match:
        """The match of `pair`; TornArtifact when no pack holds it."""
        if pair not in self._rows:
            raise TornArtifact(
                f"the correspondence of frames {pair} is gone from the store; run the same command again"
            )
        return _decode_row(*self._rows[pair])


def _names(file: pq.ParquetFile) -> list[Pair]:
    table = file.read(["target", "source"], use_threads=False)
    return list(zip(table["target"].to_pylist(), table["source"].to_pylist(), strict=True))


def _encode(matches: Mapping[Pair, Match]) -> bytes:
    pairs = sorted(matches, key=str)
    nnfs = [np.ascontiguousarray(matches[p][0]) for p in pairs]
    errs = [matches[p][1] for p in pairs]
    height, width = nnfs[0].shape[:2]
    if any(f.shape != (height, width, 2) or f.dtype != np.int16 for f in nnfs):
        raise ValueError(
            f"nnf must be int16 [H,W,2] of one size, got {sorted({(str(f.dtype), f.shape) for f in nnfs})}"
        )
    kinds = {"none" if e is None else str(e.dtype) for e in errs}
    shapes = {e.shape for e in errs if e is not None}
    if len(kinds) != 1 or not kinds <= {"none", "float32", "uint16"} or not shapes <= {(height, width)}:
        raise ValueError(f"errors must all be None, float32 or uint16 [H,W], got {sorted(kinds)} {sorted(shapes)}")
    kind = pa.int64() if isinstance(pairs[0][0], int) else pa.string()
    columns = {
        "target": pa.array([p[0] for p in pairs], kind),
        "source": pa.array([p[1] for p in pairs], kind),
        # planes dy and dx apart: neighbours of one plane are alike, which is what zstd finds
        "nnf": pa.array([f.transpose(2, 0, 1).tobytes() for f in nnfs], pa.binary(nnfs[0].nbytes)),
    }
    raw = [np.ascontiguousarray(e).tobytes() for e in errs if e is not None]
    if raw:
        columns["err"] = pa.array(raw, pa.binary(len(raw[0])))
    meta = {"pairs_schema": _SCHEMA, "height": str(height), "width": str(width), "err": kinds.pop()}
    sink = io.BytesIO()
    pq.write_table(
        pa.table(columns).replace_schema_metadata(meta),
        sink,
        row_group_size=1,  # one pair is decompressed without its neighbours
        use_dictionary=False,
        write_statistics=False,
        compression="zstd",
        compression_level=1,
    )
    return sink.getvalue()


def _decode(file: pq.ParquetFile, wanted: set[Pair]) -> dict[Pair, Match]:
    return {pair: _decode_row(file, row) for row, pair in enumerate(_names(file)) if pair in wanted}


def _decode_row(file: pq.ParquetFile, row: int) -> Match:
    meta = file.schema_arrow.metadata
    height, width, kind = int(meta[b"height"]), int(meta[b"width"]), meta[b"err"].decode()
    table = file.read_row_group(row, use_threads=False)
    planes = np.frombuffer(table["nnf"][0].as_py(), np.int16).reshape(2, height, width)
    err = None
    if kind != "none":
        err = np.frombuffer(table["err"][0].as_py(), np.dtype(kind)).reshape(height, width).copy()
    return np.ascontiguousarray(planes.transpose(1, 2, 0)), err
