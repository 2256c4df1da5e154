"""Windows of tensors survive Parquet to the last bit, or are recognised as torn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.store import TornArtifact
from tasks.store.latents import decode_window, encode_window
from tests.strategies import untimed, windows


def _bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


@untimed
@given(windows())
def test_round_trip_to_the_last_bit(window: dict[str, Any]) -> None:
    """f16, bf16, f32, u8; NaN payloads and negative zero included; the same input gives the same bytes."""
    data = encode_window(**window)
    got = decode_window(data)
    assert (got.frames, got.pts, got.step, got.key) == tuple(window[n] for n in ("frames", "pts", "step", "key"))
    assert got.tensors.keys() == window["tensors"].keys()
    for name, tensor in window["tensors"].items():
        assert (got.tensors[name].dtype, got.tensors[name].shape) == (tensor.dtype, tensor.shape)
        assert _bits(got.tensors[name]) == _bits(tensor)
    assert encode_window(**window) == data


@untimed
@given(windows(), st.data())
def test_damage_is_noticed(window: dict[str, Any], draw: st.DataObject) -> None:
    """Whatever byte changes or wherever it is cut: the same window or TornArtifact, never another window."""
    data = bytearray(encode_window(**window))
    at = draw.draw(st.integers(0, len(data) - 1))
    cut = draw.draw(st.booleans())
    if not cut:
        data[at] ^= 1 << draw.draw(st.integers(0, 7))
    try:
        got = decode_window(bytes(data[:at] if cut else data))
    except TornArtifact:
        return
    assert not cut
    assert {n: _bits(t) for n, t in got.tensors.items()} == {n: _bits(t) for n, t in window["tensors"].items()}
    assert (got.frames, got.pts, got.step, got.key) == tuple(window[n] for n in ("frames", "pts", "step", "key"))


@pytest.mark.parametrize("name", ["x", "mem", "pts"])
def test_one_changed_bit_of_a_value_is_noticed(name: str) -> None:
    """Parquet itself has no check sum here: without ours other latents would be handed on."""
    values = {"x": b"latents!", "mem": b"memories", "pts": b"my clock"}
    tensors = {n: torch.frombuffer(bytearray(values[n]), dtype=torch.uint8)[None] for n in ("x", "mem")}
    data = encode_window([0], [int.from_bytes(values["pts"], "little")], 0, tensors, "k")
    assert data.count(values[name]) == 1
    with pytest.raises(TornArtifact, match="not what was written"):
        decode_window(data.replace(values[name], values[name][:-1] + b"?"))


def test_file_is_laid_out_as_the_contract_says() -> None:
    x = torch.zeros(8, 4, 8, 8, dtype=torch.bfloat16)
    data = encode_window(range(8), range(8), 3, {"mem": x[:, :1], "x": x}, "k" * 32)
    file = pq.ParquetFile(pa.BufferReader(data))
    assert file.metadata.num_row_groups == 1
    assert [(f.name, str(f.type)) for f in file.schema_arrow] == [
        ("frame", "int32"),
        ("pts", "int64"),
        ("step", "int16"),
        ("x", "fixed_size_binary[512]"),
        ("mem", "fixed_size_binary[128]"),
    ]
    column = file.metadata.row_group(0).column(3)
    assert (column.compression, column.is_stats_set) == ("UNCOMPRESSED", False)
    assert not any("DICTIONARY" in e for e in column.encodings)
    assert {b"shape", b"dtype", b"key", b"schema_version", b"sha256"} <= set(file.schema_arrow.metadata)


def test_decoded_tensors_are_the_callers_own() -> None:
    data = encode_window([0], [0], 0, {"x": torch.ones(1, 2)}, "k")
    decode_window(data).tensors["x"].mul_(5)
    assert decode_window(data).tensors["x"].tolist() == [[1.0, 1.0]]


def test_numpy_and_strided_tensors_are_taken() -> None:
    frames = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    got = decode_window(encode_window([0, 1], [0, 1], 0, {"x": frames, "t": torch.eye(2).t()[:, :1]}, "k"))
    assert got.tensors["x"].numpy().tolist() == frames.tolist()
    assert got.tensors["t"].tolist() == [[1.0], [0.0]]


@pytest.mark.parametrize(
    ("frames", "pts", "tensors"),
    [
        ([], [], {"x": torch.ones(0, 1)}),
        ([0], [0, 1], {"x": torch.ones(1, 1)}),
        ([0], [0], {"y": torch.ones(1, 1)}),
        ([0], [0], {"x": torch.ones(2, 1)}),
        ([0], [0], {"x": torch.ones(1, 1), "pts": torch.ones(1, 1)}),
        ([0], [0], {"x": torch.ones(1, 0)}),
    ],
)
def test_windows_that_do_not_fit_together_are_refused(frames: Any, pts: Any, tensors: Any) -> None:
    with pytest.raises(ValueError, match=r"window needs|must have"):
        encode_window(frames, pts, 0, tensors, "k")
