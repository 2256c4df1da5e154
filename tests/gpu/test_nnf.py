"""On a CUDA device: the fields of Triton and of torch are those of the numba twin, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.patch_plan import Plan
from models.patchmatch import algorithm, nnf_batch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: nothing here says anything about GPUs"),
]


def pairs(count: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames of random blobs with noise, each against its own shifted mirror image."""
    import cv2

    rng = np.random.default_rng(height * width)
    coarse = rng.integers(0, 256, (count, height // 6 + 1, width // 6 + 1, 3), dtype=np.uint8)
    targets = np.stack([cv2.resize(c, (width, height), interpolation=cv2.INTER_CUBIC) for c in coarse])
    noise = rng.integers(-3, 4, targets.shape)
    return targets, np.clip(np.roll(targets[:, ::-1], 9, 2) + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("method", ["triton", "torch"])
@pytest.mark.parametrize("patch", [5, 7])
@pytest.mark.parametrize("shape", [(128, 160), (141, 97), (45, 203), (9, 7), (1, 1)])
def test_oracle_18_a_gpu_finds_the_field_of_the_numba_twin(method: str, patch: int, shape: tuple[int, int]) -> None:
    if method == "triton":
        pytest.importorskip("triton")
    targets, sources = pairs(2, *shape)
    twin = nnf_batch(targets, sources, Plan(patch, seed=5), method="jumps")
    found = nnf_batch(targets, sources, Plan(patch, seed=5), method=method, device="cuda")  # type: ignore[arg-type]
    np.testing.assert_array_equal(found[0], twin[0])
    np.testing.assert_array_equal(found[1], twin[1])


@pytest.mark.parametrize("method", ["triton", "torch"])
@pytest.mark.parametrize("patch", [5, 7])
def test_one_pair_alone_is_the_same_as_among_eight(method: str, patch: int) -> None:
    if method == "triton":
        pytest.importorskip("triton")
    targets, sources = pairs(8, 93, 130)
    whole = nnf_batch(targets, sources, Plan(patch), method=method, device="cuda")  # type: ignore[arg-type]
    for k in (0, 3, 7):
        alone = nnf_batch(targets[k : k + 1], sources[k : k + 1], Plan(patch), method=method, device="cuda")  # type: ignore[arg-type]
        np.testing.assert_array_equal(alone[0][0], whole[0][k])
        np.testing.assert_array_equal(alone[1][0], whole[1][k])


def test_auto_on_a_gpu_is_the_jumps() -> None:
    targets, sources = pairs(1, 64, 64)
    auto = nnf_batch(targets, sources, device="cuda")
    assert algorithm("auto", "cuda") == "jumps"
    np.testing.assert_array_equal(auto[0], nnf_batch(targets, sources, method="jumps")[0])
