"""A window of tensors as one Parquet object, to the last bit: latents, what corrections keep, uint8 frames.

Refuses to know where it is stored and whether the numbers make sense (NaN is the engine's business).
Rows are frames; tensors are `fixed_size_binary` columns, 4-5 times faster than lists (uint8 lists are stored
as INT32).
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from tasks.store.blobs import TornArtifact

SCHEMA_VERSION = 1
_ROW = ("frame", "pts", "step")


@dataclass(frozen=True)
class WindowData:
    """What `encode_window` was given: frame numbers, pts, steps done, tensors [F, ...] by name, key."""

    frames: list[int]
    pts: list[int]
    step: int
    tensors: dict[str, torch.Tensor]
    key: str


def encode_window(
    frames: Sequence[int],
    pts: Sequence[int],
    step: int,
    tensors: Mapping[str, torch.Tensor | np.ndarray[Any, Any]],
    key: str,
    compression: Literal["none", "zstd"] = "none",
) -> bytes:
    """Parquet bytes of a window: a row per frame, one row group, a binary column per tensor (any dtype).

    `tensors` must hold `x`; each has len(frames) rows. The same input gives the same bytes. Raises ValueError
    when rows do not agree.
    """
    count = len(frames)
    if not count or len(pts) != count or "x" not in tensors or any(name in _ROW for name in tensors):
        raise ValueError(
            f"a window needs frames, as many pts and a tensor 'x'; got {count} frames, {len(pts)} pts, "
            f"tensors {sorted(tensors)}"
        )
    columns: dict[str, pa.Array] = {
        "frame": pa.array(frames, pa.int32()),
        "pts": pa.array(pts, pa.int64()),
        "step": pa.array([step] * count, pa.int16()),
    }
    shapes: dict[str, list[int]] = {}
    dtypes: dict[str, str] = {}
    digests: dict[str, str] = {}
    for name in sorted(tensors, key=lambda n: (n != "x", n)):
        tensor = torch.as_tensor(tensors[name]).detach().cpu().contiguous()
        if tensor.dim() < 1 or tensor.shape[0] != count or tensor.numel() == 0:
            raise ValueError(f"tensor {name!r} must have {count} rows, one per frame; its shape is {[*tensor.shape]}")
        raw = tensor.reshape(-1).view(torch.uint8).numpy()
        shapes[name], dtypes[name] = list(tensor.shape[1:]), str(tensor.dtype).removeprefix("torch.")
        digests[name] = hashlib.sha256(raw.data).hexdigest()
        columns[name] = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(raw.nbytes // count), count, [None, pa.py_buffer(raw)]
        )
    meta = {
        "schema_version": str(SCHEMA_VERSION),
        "key": key,
        "shape": json.dumps(shapes),
        "dtype": json.dumps(dtypes),
        "sha256": json.dumps(digests),
        "rows_sha256": _rows_digest(list(frames), list(pts), step, key, shapes, dtypes),
    }
    table = pa.table(columns).replace_schema_metadata(meta)
    sink = io.BytesIO()
    pq.write_table(
        table,
        sink,
        row_group_size=count,
        use_dictionary=False,
        write_statistics=False,
        compression=compression,
        compression_level=1 if compression == "zstd" else None,
    )
    return sink.getvalue()


def decode_window(data: bytes) -> WindowData:
    """The window of `encode_window`, bit for bit, in its own memory; TornArtifact when not as written."""
    try:
        table = pq.read_table(pa.BufferReader(data), use_threads=False)
        meta = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
        if meta["schema_version"] != str(SCHEMA_VERSION):
            raise TornArtifact(f"window of schema {meta['schema_version']}, this version reads {SCHEMA_VERSION}")
        shapes, dtypes, digests = (json.loads(meta[name]) for name in ("shape", "dtype", "sha256"))
        tensors = {name: _tensor(table[name], shapes[name], dtypes[name], digests[name], name) for name in shapes}
        frames, pts, steps = (table[name].to_pylist() for name in _ROW)
        if _rows_digest(frames, pts, steps[0], meta["key"], shapes, dtypes) != meta["rows_sha256"]:
            raise TornArtifact("frame numbers, pts or step of a window are not what was written")
        return WindowData(frames, pts, steps[0], tensors, meta["key"])
    except (pa.ArrowException, OSError, KeyError, IndexError, ValueError, AttributeError, RuntimeError) as e:
        raise TornArtifact(f"window of latents is unreadable: {type(e).__name__}: {e}") from e


def _rows_digest(*rows: Any) -> str:
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()


def _tensor(column: pa.ChunkedArray, shape: list[int], dtype: str, sha256: str, name: str) -> torch.Tensor:
    width = column.type.byte_width
    out = np.empty(len(column) * width, np.uint8)
    at = 0
    for chunk in column.chunks:
        part = np.frombuffer(chunk.buffers()[1], np.uint8, len(chunk) * width, chunk.offset * width)
        out[at : at + part.size] = part
        at += part.size
    if hashlib.sha256(out.data).hexdigest() != sha256:
        raise TornArtifact(f"tensor {name!r} of a window is not what was written")
    return torch.from_numpy(out).view(getattr(torch, dtype)).reshape([len(column), *shape])
