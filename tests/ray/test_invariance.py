"""Bar 3: the number of workers and the size of a shard change no bit, with a halo wider than a shard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.chaos.killing import outcome, start
from tests.small_clips import write_clip

WAYS = [(0, None), (0, 1), (0, 2), (1, None), (2, 1), (3, 2)]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int | None], dict[str, Any]]:
    folder = tmp_path_factory.mktemp("ways")
    clip = write_clip(folder / "clip.mp4")
    found = {}
    for workers, shard in WAYS:
        options = ["--workers", str(workers), *(["--shard-windows", str(shard)] if shard else [])]
        found[workers, shard] = outcome(start(clip, folder / f"store-{workers}-{shard}", *options))
    return found


@pytest.mark.parametrize("way", WAYS[1:], ids=str)
def test_workers_and_shards_change_no_bit(
    way: tuple[int, int | None], results: dict[tuple[int, int | None], dict[str, Any]]
) -> None:
    first, here = results[WAYS[0]], results[way]
    assert here["deflicker_steps"] != []
    assert here["computed"] == here["total"]
    assert (here["latents"], here["rgb"]) == (first["latents"], first["rgb"])
    assert np.array_equal(pictures(here["uri"]), pictures(first["uri"]))


def test_the_trained_model_gives_the_same_bits_too(tmp_path: Path) -> None:
    """`dry` does no matrix product; this does: results of BLAS depend on shapes and threads, which the job fixes."""
    clip = write_clip(tmp_path / "clip.mp4")
    ways: list[list[str]] = [[], ["--shard-windows", "1"], ["--workers", "3", "--shard-windows", "1"]]
    found = [outcome(start(clip, tmp_path / f"store-{n}", "--pocket", *way)) for n, way in enumerate(ways)]
    assert len({(f["latents"], f["rgb"]) for f in found}) == 1
    assert found[0]["deflicker_steps"] != []


def pictures(uri: str) -> np.ndarray:
    with av.open(uri) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
