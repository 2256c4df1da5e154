"""One contract for every backend of the nearest-neighbour field that this machine has."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from configs.errors import ConfigError, DeviceError
from models.patch_plan import Plan
from models.patch_pyramid import tolls
from models.patchmatch import algorithm, errors_of, nnf, nnf_batch

ROOT = Path(__file__).resolve().parents[3]
CUDA = torch.cuda.is_available()
BACKENDS: list[dict[str, Any]] = [{"method": "scan"}, {"method": "jumps"}, {"method": "torch"}]
if CUDA:
    BACKENDS += [{"method": "torch", "device": "cuda"}]
    BACKENDS += [{"method": "triton", "device": "cuda"}] if find_spec("triton") else []

KNOWN = {"scan": (-393835, 230559), "jumps": (-356473, 214693)}

every_backend = pytest.mark.parametrize("backend", BACKENDS, ids=lambda b: "-".join(b.values()))


def texture(height, width, seed=0):
    """Smooth random blobs: unlike noise, neighbouring matches are nearly as good."""
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def mirrored(height, width, seed=0):
    """A pair without exact matches."""
    target = texture(height, width, seed)
    return target, np.ascontiguousarray(np.roll(target[::-1], 5, 1))


def shifted(height, width, dy, dx):
    """A pair whose every match is (dy, dx), and the pixels whose patch and match lie inside."""
    scene = texture(height + 2 * abs(dy), width + 2 * abs(dx))
    y, x = abs(dy), abs(dx)
    target, source = scene[y : y + height, x : x + width], scene[y - dy : y - dy + height, x - dx : x - dx + width]
    return target, source, np.s_[y + 3 : height - y - 3, x + 3 : width - x - 3]


def flat_and_noise(sigma, height=96, width=128):
    """Two frames of one flat grey, each with noise of its own."""
    rng = np.random.default_rng(5)
    frames = 120 + rng.normal(0, sigma, (2, height, width, 3))
    return np.clip(np.rint(frames), 0, 255).astype(np.uint8)


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@every_backend
@pytest.mark.parametrize("shape", [(40, 56), (23, 31), (5, 7), (3, 40), (1, 1)])
def test_a_frame_matches_itself_in_place(backend, shape):
    frame = texture(*shape)
    offsets, errors = nnf(frame, frame, **backend)
    assert offsets.dtype == np.int16
    assert errors.dtype == np.float32
    assert not offsets.any()
    assert not errors.any()


@every_backend
@pytest.mark.parametrize(("dy", "dx"), [(7, -13), (-20, 11)])
def test_a_shift_is_found(backend, dy, dx):
    target, source, inner = shifted(96, 112, dy, dx)
    offsets, _ = nnf(target, source, **backend)
    assert (offsets[inner] == (dy, dx)).all(-1).mean() >= 0.99


@pytest.mark.parametrize("method", ["scan", "jumps"])
@pytest.mark.parametrize(("dy", "dx"), [(0, 64), (-40, 50)])
def test_a_shift_of_up_to_64_pixels_is_found(method, dy, dx):
    target, source, inner = shifted(192, 256, dy, dx)
    offsets, _ = nnf(target, source, method=method)
    assert (offsets[inner] == (dy, dx)).all(-1).mean() >= 0.99


@every_backend
@pytest.mark.parametrize("patch", [5, 7])
def test_errors_and_matches_are_what_they_say(backend, patch):
    target, source = mirrored(33, 46)
    offsets, errors = nnf(target, source, patch, **backend)
    assert same([errors_of(target, source, offsets, patch)], [errors])
    y, x = np.mgrid[:33, :46]
    match = y + offsets[..., 0], x + offsets[..., 1]
    assert match[0].min() >= 0
    assert match[0].max() < 33
    assert match[1].min() >= 0
    assert match[1].max() < 46
    assert offsets.any(), "a mirrored picture has better matches than its own place"


@every_backend
def test_threads_change_no_bit(backend):
    target, source = mirrored(150, 20)
    assert same(nnf(target, source, threads=1, **backend), nnf(target, source, threads=2, **backend))


@every_backend
def test_the_batch_changes_no_bit(backend):
    pairs = [mirrored(27, 34, seed) for seed in range(3)]
    offsets, errors = nnf_batch(np.stack([t for t, _ in pairs]), np.stack([s for _, s in pairs]), **backend)
    for k, (target, source) in enumerate(pairs):
        assert same(nnf(target, source, **backend), (offsets[k], errors[k]))


@every_backend
def test_the_seed_decides(backend):
    target, source = mirrored(40, 40)
    assert same(nnf(target, source, seed=3, **backend), nnf(target, source, seed=3, **backend))
    assert not same(nnf(target, source, seed=3, **backend), nnf(target, source, seed=4, **backend))


@every_backend
@pytest.mark.parametrize("sigma", [1, 2])
def test_noise_on_a_flat_area_does_not_scatter_matches(backend, sigma):
    target, source = flat_and_noise(sigma, 64, 64)
    drift = np.hypot(*np.moveaxis(nnf(target, source, **backend)[0].astype(float), -1, 0))
    scattered = np.hypot(*np.moveaxis(nnf(target, source, margin=0, **backend)[0].astype(float), -1, 0))
    assert np.percentile(drift, 90) <= 1
    assert np.percentile(scattered, 90) > 8, "without the margin it does: else this test shows nothing"


@pytest.mark.parametrize("patch", [5, 7])
@pytest.mark.parametrize("shape", [(45, 38), (21, 64), (7, 9)])
@pytest.mark.parametrize("options", [{}, {"margin": 0}, {"levels": 2, "radius": 9, "sweeps": 2, "seed": 11}])
def test_torch_is_the_jumps_to_the_bit(patch, shape, options):
    target, source = mirrored(*shape)
    assert same(
        nnf(target, source, patch, method="jumps", **options), nnf(target, source, patch, method="torch", **options)
    )


def test_scan_and_jumps_are_two_algorithms():
    target, source = mirrored(60, 60)
    assert not same(nnf(target, source, method="scan"), nnf(target, source, method="jumps"))
    assert [algorithm(m) for m in ("auto", "scan", "jumps", "torch")] == ["scan", "scan", "jumps", "jumps"]
    assert algorithm("auto", "cuda") == "jumps"


def test_a_cpu_scans_unless_told_otherwise():
    target, source = mirrored(40, 40)
    assert same(nnf(target, source), nnf(target, source, method="scan"))


@every_backend
def test_known_fields_do_not_drift(backend):
    """Fields are cached across versions: who changes these numbers must change the version of the pairs' key too."""
    numbers = np.arange(2 * 40 * 52 * 3, dtype=np.uint32) * np.uint32(2654435761) >> np.uint32(24)
    target, source = (100 + numbers % 7).astype(np.uint8).reshape(2, 40, 52, 3)  # faint noise of its own in each ...
    blocks = numbers[: 7 * 9 * 3].astype(np.uint8).reshape(7, 9, 3).repeat(3, 0).repeat(3, 1)
    target[9:30, 13:40], source[9:30, 18:45] = blocks, blocks  # ... and a thing that moved by 5
    offsets, errors = nnf(target, source, seed=7, **backend)
    y, x = np.mgrid[:40, :52]
    digest = int((offsets[..., 0].astype(np.int64) * (y + 1) + offsets[..., 1] * (x + 3)).sum())
    assert (digest, int(errors.astype(np.int64).sum())) == KNOWN[algorithm(**backend)]


def test_the_toll_is_chance_where_there_is_noise_only_and_little_where_there_is_structure():
    noise, _ = flat_and_noise(2)
    charged = tolls(noise, Plan()) / 75
    assert 0.8 <= np.median(charged) / (0.75 * 2 * 2**2) <= 1.05  # 3/4 of 2 v; the patch's own mean takes 1/25
    assert tolls(texture(60, 60), Plan()).max() <= Plan().peak
    assert np.median(tolls(texture(60, 60), Plan())) / 75 <= 1
    assert not tolls(np.full((9, 9, 3), 7, np.uint8), Plan()).any()
    assert not tolls(noise, Plan(margin=0)).any()


@every_backend
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch": 6}, "patch must be 5 or 7, got 6"),
        ({"radius": 0}, "radius must be a whole number of 1..32767, got 0"),
        ({"radius": 2**15}, "radius must be a whole number of 1..32767, got 32768"),
        ({"threads": 0}, "threads must be >= 1, got 0"),
        ({"levels": 0}, "levels must be >= 1, got 0"),
        ({"fine_sweeps": -1}, "fine_sweeps must be >= 0"),
        ({"margin": -1}, "margin must be a whole number"),
        ({"margin": 0.5}, "margin must be a whole number"),
        ({"source": np.zeros((9, 8, 3), np.uint8)}, r"\(9, 8, 3\)"),
        ({"source": np.zeros((8, 8, 3), np.float32)}, "float32"),
    ],
)
def test_every_backend_refuses_what_it_cannot_match(backend, change, message):
    arguments = {"target": np.zeros((8, 8, 3), np.uint8), "source": np.zeros((8, 8, 3), np.uint8), **backend, **change}
    with pytest.raises(ConfigError, match=message):
        nnf(**arguments)


def test_a_batch_is_no_frame_and_a_frame_no_batch():
    frame = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ConfigError, match=r"\[B,H,W,3\]"):
        nnf_batch(frame, frame)
    with pytest.raises(ConfigError, match=r"\[H,W,3\]"):
        nnf(frame[None], frame[None])


def test_methods_and_devices_that_are_not_there_are_named(monkeypatch):
    frame = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ConfigError, match="'magic'"):
        nnf(frame, frame, method="magic")
    with pytest.raises(ConfigError, match="'scan' runs on the cpu only"):
        nnf(frame, frame, method="scan", device="cuda")
    with pytest.raises(DeviceError, match="'cuda:99'"):
        nnf(frame, frame, method="torch", device="cuda:99")
    with pytest.raises(DeviceError, match="'potato'"):
        nnf(frame, frame, method="torch", device="potato")
    monkeypatch.setattr("models.patchmatch.find_spec", lambda name: None)
    with pytest.raises(DeviceError, match="Triton"):
        nnf(frame, frame, method="triton", device="cpu")


INTERPRETED = """
import numpy as np
from models.patch_plan import Plan
from models.patchmatch import nnf_batch
rng = np.random.default_rng(1)
for patch, shape in ((5, (11, 12)), (7, (7, 8))):  # 132 pixels: more than one block
    target, source = rng.integers(0, 256, (2, 2, *shape, 3), dtype=np.uint8)
    plan = Plan(patch, levels=2, radius=3, sweeps=1, fine_sweeps=1)
    twin = nnf_batch(target, source, plan, method="jumps")
    kernel = nnf_batch(target, source, plan, method="triton")
    assert twin[0].any()
    assert np.array_equal(twin[0], kernel[0]) and np.array_equal(twin[1], kernel[1]), patch
print("same bits")
"""


@pytest.mark.slow
@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
def test_triton_in_its_interpreter_is_the_jumps_to_the_bit():
    environment = {**os.environ, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", INTERPRETED], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert "same bits" in done.stdout, done.stderr


HITS = """
import json
import numpy as np
from models import patch_kernels, patch_pyramid
from models.patchmatch import nnf, warm_up
warm_up(5)
kernels = [patch_kernels.begin, patch_kernels.measure, patch_kernels.sweep, patch_kernels.jump]
kernels += [patch_pyramid.halve, patch_pyramid._charge]
warm = [len(k.signatures) for k in kernels]
frames = np.zeros((2, 61, 83, 3), np.uint8)
frames.setflags(write=False)
for method in ("scan", "jumps"):
    for patch in (5, 7):
        nnf(frames[0, ::2], frames[1, ::2], patch, seed=9, method=method, threads=2)
stats = {k.__name__: [sum(k.stats.cache_hits.values()), sum(k.stats.cache_misses.values())] for k in kernels}
print(json.dumps([stats, warm == [len(k.signatures) for k in kernels]]))
"""


def test_a_fresh_process_compiles_nothing_and_a_warm_one_nothing_more(tmp_path):
    """Actors start by the dozen: each loads machine code from numba's cache, views and both patches included."""
    import json

    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    runs = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", HITS], cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        runs.append(json.loads(done.stdout))
    (first, settled), (second, _) = runs
    assert settled, "warm_up left a signature to be compiled by the first real pair"
    assert all(hits == 0 and misses >= 1 for hits, misses in first.values()), first
    assert all(hits >= 1 and misses == 0 for hits, misses in second.values()), second
