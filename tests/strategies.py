"""Hypothesis strategies and seeded faults that several test files share. Knows no pytest."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import fsspec
import torch
from hypothesis import settings
from hypothesis import strategies as st

from tasks.store import Store
from tasks.store.blobs import Blob, Blobs

Kind = Literal["file", "memory"]
Fault = Literal["before", "after", "torn", "short", "flipped"]

untimed = settings(deadline=None)  # the machine is shared, a slow example is no failure
on_disk = settings(deadline=None, max_examples=40)  # every write is an fsync

kinds = st.sampled_from(["file", "memory"])
stage_names = st.from_regex(r"[a-z][a-z0-9_]{0,11}", fullmatch=True)
finite = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
params = st.dictionaries(st.text(max_size=6), json_values, max_size=4)
crashes = st.tuples(st.integers(0, 30), st.sampled_from(["before", "after", "torn"]))
lies = st.tuples(st.integers(0, 12), st.sampled_from(["short", "flipped"]))
dtypes = st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.uint8])


@st.composite
def windows(draw: st.DrawFn) -> dict[str, Any]:
    """Arguments of `encode_window`: any bit pattern (NaN too), 1-4 frames, `x` and up to two extras."""
    count = draw(st.integers(1, 4))
    tensors = {}
    for name in ["x", *draw(st.lists(st.sampled_from(["mem", "é mean"]), unique=True))]:
        shape = (count, *draw(st.lists(st.integers(1, 3), max_size=3)))
        dtype = draw(dtypes)
        size = torch.empty(shape, dtype=dtype).nbytes
        raw = draw(st.binary(min_size=size, max_size=size))
        tensors[name] = torch.frombuffer(bytearray(raw), dtype=dtype).reshape(shape)
    return {
        "frames": draw(st.lists(st.integers(0, 2**31 - 1), min_size=count, max_size=count)),
        "pts": draw(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=count, max_size=count)),
        "step": draw(st.integers(0, 1000)),
        "tensors": tensors,
        "key": draw(st.text(max_size=8)),
        "compression": draw(st.sampled_from(["none", "zstd"])),
    }


@contextmanager
def fresh_url(kind: Kind) -> Iterator[str]:
    """URL of an empty store that is gone afterwards."""
    if kind == "file":
        with tempfile.TemporaryDirectory() as folder:
            yield folder
        return
    url = f"memory://{uuid.uuid4().hex}"
    yield url
    fs = fsspec.filesystem("memory")
    if fs.exists(url):
        fs.rm(url, recursive=True)


@contextmanager
def fresh_store(kind: Kind) -> Iterator[Store]:
    """An empty store that is gone afterwards."""
    with fresh_url(kind) as url:
        yield Store.open(url, workers=0)


class Killed(BaseException):
    """Stands for `kill -9`: nothing of ours may catch it."""


class FaultyBlobs(Blobs):
    """Blobs whose write number `at` (deletions count) goes wrong, once.

    `before`: killed before it; `after`: killed after it; `torn`: half of the bytes are there, then killed;
    `short` and `flipped`: the disk lies (half of the bytes; one bit changed) and the writer goes on.
    """

    def __init__(self, url: str, at: int, fault: Fault) -> None:
        super().__init__(url)
        self.count, self.at, self.fault = 0, at, fault

    def put(self, path: str, data: bytes) -> Blob:
        """See the class."""
        return self._do(lambda d: super(FaultyBlobs, self).put(path, d), data)

    def put_new(self, path: str, data: bytes) -> bool:
        """See the class."""
        return self._do(lambda d: super(FaultyBlobs, self).put_new(path, d), data)

    def delete(self, path: str) -> None:
        """See the class."""
        self._do(lambda _: super(FaultyBlobs, self).delete(path), b"")

    def _do(self, write: Any, data: bytes) -> Any:
        self.count += 1
        if self.count - 1 != self.at:
            return write(data)
        if self.fault == "before":
            raise Killed
        if self.fault == "flipped":
            return write(data[:-1] + bytes([data[-1] ^ 1]) if data else data)
        result = write(data if self.fault == "after" else data[: len(data) // 2])
        if self.fault == "short":
            return result
        raise Killed
