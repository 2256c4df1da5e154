"""The oracles of the deflicker specification, one test a row; numbers as there.

Guide-only fields: correspondence comes from the source frames alone, so what the specification says of fields that
also depend on the style holds here trivially or, where a docstring says so, is not a theorem.
Row 15 (attention) and 18 (CPU against GPU) are tested with the parts they belong to.
"""

import itertools
import math
from collections import Counter

import av
import cv2
import numpy as np
import pytest
import torch

from configs.job import DeflickerConfig
from models.blending import blend, blend_naive, pairs_needed, query
from models.corrections import Deflicker
from models.flow import PairFlow
from models.metrics import pair_mse, pixel_mse, psnr
from models.patchmatch import errors_of, identity, nnf
from models.remap import vote
from models.sampling import Context, Gathered, State, Window, windows_of
from models.schedule import fractions_to_steps as steps_at
from models.schedule import from_config
from models.solver import DDIMSolver

H, W = 40, 56
SD15 = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "timestep_spacing": "trailing",
}


def texture(height=H, width=W, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    fine = rng.integers(-20, 21, (height, width, 3))
    grown = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(grown + fine, 0, 255).astype(np.uint8)


def whole(n):
    return Window(0, 0, n, n)


def styles(n, seed=0, height=H, width=W):
    """Style frames on the 0..255 scale of the specification."""
    rng = np.random.default_rng(seed)
    return {f: (255 * rng.random((height, width, 3))).astype(np.float32) for f in range(n)}


def in_place(target, source):
    return identity(H, W)


def shifting(dy, dx):
    """Exactly composing fields: content moves by (dy, dx) a frame; matches are clamped to the picture."""
    y, x = np.mgrid[:H, :W]

    def correspond(target, source):
        k = source - target
        qy, qx = np.clip(y + k * dy, 0, H - 1), np.clip(x + k * dx, 0, W - 1)
        return np.stack([qy - y, qx - x], -1).astype(np.int16), np.zeros((H, W), np.float32)

    return correspond


def searched(frames, **settings):
    known = {}

    def correspond(target, source):
        if (target, source) not in known:
            known[target, source] = nnf(frames[target], frames[source], **settings)
        return known[target, source]

    return correspond


def test_oracle_01_identity_remap():
    image = styles(1)[0]
    for patch in (5, 7):
        np.testing.assert_array_equal(vote(image, identity(H, W)[0], patch), image)


def test_oracle_02_constant_linear_bounded():
    offsets, _ = nnf(texture(seed=1), texture(seed=2))
    one, two = styles(2).values()
    constant = np.full((H, W, 3), 77.3, np.float32)
    assert np.abs(vote(constant, offsets) - constant).max() < 1e-4
    mixed = vote(0.3 * one - 2 * two, offsets)
    assert np.abs(mixed - (0.3 * vote(one, offsets) - 2 * vote(two, offsets))).max() <= 1e-3
    out = vote(one, offsets)
    assert out.min() >= one.min() - 1e-4
    assert out.max() <= one.max() + 1e-4


@pytest.mark.parametrize("operator", ["mean", "confidence"])
def test_oracle_03_static_guide_gives_the_mean_of_the_window(operator):
    """Equal guides give exactly the identity, so F is a plain mean and noise falls by 1 / sqrt(window)."""
    frame, n, w, sigma = texture(37, 53), 9, 2, 16.0
    rng = np.random.default_rng(0)
    noisy = {f: (128 + sigma * rng.standard_normal((37, 53, 3))).astype(np.float32) for f in range(n)}
    correspond = searched([frame] * n)
    assert not correspond(3, 4)[0].any()
    out = blend(whole(n), noisy, correspond, w, operator)
    for i in range(n):
        mean = np.mean([noisy[j] for j in range(max(0, i - w), min(n, i + w + 1))], axis=0)
        np.testing.assert_allclose(out[i], mean, atol=1e-2)
    assert out[4].std() == pytest.approx(sigma / math.sqrt(5), rel=0.05)


def test_oracle_03_guide_noise_moves_few_matches():
    """Empirical, not a theorem: with guide noise of sigma 4 the field of our global search is not all identity
    (flat parts match elsewhere as well), but nowhere is it worse than the identity."""
    rng = np.random.default_rng(0)
    frame = texture()
    noisy = np.clip(frame + 4 * rng.standard_normal(frame.shape), 0, 255).astype(np.uint8)
    offsets, error = nnf(noisy, frame)
    assert (error <= errors_of(noisy, frame, identity(H, W)[0])).all()
    assert (~offsets.any(-1)).mean() > 0.95


@pytest.mark.parametrize("operator", ["mean", "confidence"])
def test_oracle_04_equal_frames_are_a_fixed_point(operator):
    frame, style = texture(), styles(1)[0]
    correspond = searched([frame] * 7)
    once = blend(whole(7), dict.fromkeys(range(7), style), correspond, 3, operator)
    np.testing.assert_allclose(once, np.broadcast_to(style, once.shape), atol=1e-3)
    twice = blend(whole(7), dict(enumerate(once)), correspond, 3, operator)
    np.testing.assert_allclose(twice, once, atol=1e-3)


def test_oracle_05_translation_is_found():
    scene = texture(140, 160)
    dy, dx = 4, -7
    target, source = scene[20:120, 20:130], scene[20 - dy : 120 - dy, 20 - dx : 130 - dx]
    offsets, _ = nnf(target, source)
    inner = offsets[12:-12, 14:-14]
    assert (inner == (dy, dx)).all(-1).mean() >= 0.99


def test_oracle_06_error_never_increases_and_is_near_the_optimum():
    """More sweeps never cost quality: acceptance is strict, and the first sweeps do not know of later ones."""
    scene = texture(64, 64)
    turn = cv2.getRotationMatrix2D((32, 32), 3, 1.02)
    warped = cv2.warpAffine(scene, turn, (64, 64), borderMode=cv2.BORDER_REFLECT)
    target, source = scene[16:48, 16:48].copy(), warped[16:48, 16:48].copy()
    errors = [nnf(target, source, levels=1, fine_sweeps=k)[1] for k in range(6)]
    for fewer, more in itertools.pairwise(errors):
        assert (more <= fewer).all()
    best = exhaustive(target, source)
    assert nnf(target, source, fine_sweeps=6)[1].mean() <= 1.05 * best.mean()


def exhaustive(target, source, patch=5):
    radius = patch // 2
    rows = []
    for image in (target, source):
        framed = np.pad(image.astype(np.int64), ((radius, radius), (radius, radius), (0, 0)), "edge")
        windows = np.lib.stride_tricks.sliding_window_view(framed, (patch, patch), (0, 1))
        rows.append(windows.reshape(image.shape[0] * image.shape[1], -1))
    a, b = rows
    return ((a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * a @ b.T).min(1)


@pytest.mark.parametrize("operator", ["mean", "confidence"])
@pytest.mark.parametrize("w", [0, 1, 2, 3, 5, 8])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 16, 17])
def test_oracle_07_table_equals_naive(n, w, operator):
    """Fields that compose exactly: identity everywhere, translations inside (margin: the way plus two votes)."""
    images = styles(n, height=H, width=W)
    window = whole(n)
    np.testing.assert_allclose(
        blend(window, images, in_place, w, operator),
        blend_naive(window, images, in_place, w, operator),
        atol=1e-3,
    )
    if operator == "confidence" or w > 5:
        return
    move = shifting(1, -2)
    table, naive = blend(window, images, move, w), blend_naive(window, images, move, w)
    y, x = w + 4, 2 * w + 4
    assert H > 2 * y
    assert W > 2 * x
    np.testing.assert_allclose(table[:, y:-y, x:-x], naive[:, y:-y, x:-x], atol=1e-3)
    i, lo, hi = n // 2, max(0, n // 2 - w), min(n, n // 2 + w + 1)
    centre = np.mean([images[j][20 + j - i, 28 - 2 * (j - i)] for j in range(lo, hi)], axis=0)
    np.testing.assert_allclose(table[i, 20, 28], centre, atol=1e-3)


CLIP = "../shared/clips/dog_audio.mp4"


def clip_frames(root, count):
    path = root / CLIP
    if not path.exists():
        pytest.skip("needs the clips beside the repository")
    frames = []
    with av.open(str(path)) as container:
        for frame in container.decode(container.streams.best("video")):
            frames.append(cv2.resize(frame.to_ndarray(format="rgb24"), (128, 72), interpolation=cv2.INTER_AREA))
            if len(frames) == count:
                return frames
    return frames


def test_oracle_07_table_is_close_to_naive_on_a_real_clip(pytestconfig):
    """Not a theorem with searched fields; the specification expects more than 30 dB."""
    frames = clip_frames(pytestconfig.rootpath, 9)
    images = {f: 255 - p.astype(np.float32) for f, p in enumerate(frames)}
    table = blend(whole(9), images, searched(frames), 4)
    naive = blend_naive(whole(9), images, searched(frames), 4)
    assert min(psnr(a, b) for a, b in zip(table, naive, strict=True)) > 30


@pytest.mark.parametrize("n", [1, 2, 5, 8, 13, 37, 64])
def test_oracle_08_coverage(n):
    for target in range(n):
        for left in range(target + 1):
            for right in range(target, n):
                seen = Counter()
                for side, end in (("left", left), ("right", right)):
                    for entry in query(side, target, end):
                        seen.update([entry.frame, *entry.others])
                seen[target] -= 1  # merged once, W_L + W_R - 1
                assert seen == Counter(range(left, right + 1))


@pytest.mark.parametrize(("n", "w", "per_frame"), [(200, 15, 9.8), (236, 30, 11.3), (900, 15, 10.0), (200, 60, 13.0)])
def test_oracle_09_number_of_fields(n, w, per_frame):
    """The specification's count for capped levels; alignment to the shot's start moves it by up to 2 %."""
    assert sum(map(len, pairs_needed(n, w).values())) / n == pytest.approx(per_frame, rel=0.02)


@pytest.mark.parametrize("operator", ["mean", "confidence"])
@pytest.mark.parametrize("size", [1, 3, 8])
def test_oracle_10_chunked_is_whole(size, operator):
    """Real searched fields, windows given nothing but the frames around them: the same bits."""
    n, w = 13, 3
    frames = [texture(seed=f // 2) for f in range(n)]
    images, correspond = styles(n), searched(frames, fine_sweeps=1, sweeps=1)
    one = blend(whole(n), images, correspond, w, operator)
    parts = []
    for window in windows_of(n, size):
        near = {f: images[f] for f in range(max(0, window.start - w), min(n, window.stop + w))}
        parts.append(blend(window, near, correspond, w, operator))
    np.testing.assert_array_equal(np.concatenate(parts), one)


def test_oracle_10_appending_frames_leaves_settled_outputs():
    w, images = 3, styles(14)
    frames = [texture(seed=f // 2) for f in range(14)]
    correspond = searched(frames, fine_sweeps=1, sweeps=1)
    short = blend(whole(10), images, correspond, w)
    long = blend(whole(14), images, correspond, w)
    np.testing.assert_array_equal(short[: 10 - w], long[: 10 - w])
    assert (short[9] != long[9]).any()


def test_oracle_11_time_reversal():
    """With exactly composing fields; with searched ones it is given up for alignment to the shot's start."""
    n, w = 11, 4
    images = styles(n)
    backwards = {f: images[n - 1 - f] for f in images}
    forward = blend(whole(n), images, in_place, w)
    np.testing.assert_allclose(blend(whole(n), backwards, in_place, w)[::-1], forward, atol=1e-3)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_oracle_12_window_zero_is_bit_exact(n):
    images = styles(n)
    np.testing.assert_array_equal(blend(whole(n), images, in_place, 0), np.stack(list(images.values())))


def test_oracle_12_every_frame_counts_its_last_neighbour():
    """The published balanced mode drops frame i + w."""
    n, w = 9, 3
    images = {f: np.full((H, W, 3), 2.0**f, np.float32) for f in range(n)}
    out = blend(whole(n), images, in_place, w)
    assert len(out) == n
    for i in range(n):
        expected = np.mean([2.0**f for f in range(max(0, i - w), min(n, i + w + 1))])
        np.testing.assert_allclose(out[i], expected, rtol=1e-6)


class Plain:
    """A VAE that is the identity on 3-channel latents, plus `shift` on the way back."""

    def __init__(self, shift=0.0):
        self.shift = shift

    def decode(self, latents):
        return latents

    def encode(self, frames):
        return frames + self.shift


def corrected(schedule, step, x0, eps, backbone, window=0, residual=False, correspond=None):
    """State before and after one correction of a whole shot, in one window."""
    a = schedule.alpha(step)
    latents = a**0.5 * x0 + (1 - a) ** 0.5 * eps
    config = DeflickerConfig(window=window, vae_residual=residual)
    n, height, width = len(x0), x0.shape[2], x0.shape[3]
    correction = Deflicker(backbone, frozenset({step}), schedule, config, n)
    fields = correspond or (lambda target, source: identity(height, width))
    context = Context(lambda name, frames: torch.empty(0), fields)
    state = State(latents, x0, eps)
    asking = correction(state, step, whole(n), context)
    wish = next(asking)
    with pytest.raises(StopIteration) as done:
        asking.send(Gathered(wish.exchange.frames(whole(n)), wish.value))
    return state, done.value.value


def some_x0(n=3):
    """Values that float16 holds exactly, so that a correction by F = id is exact."""
    rng = torch.Generator().manual_seed(0)
    x0 = torch.randint(0, 257, (n, 3, 16, 16), generator=rng) / 256
    return x0, torch.randn(x0.shape, generator=rng)


@pytest.mark.parametrize("step", range(0, 20, 3))
def test_oracle_13_identity_correction_changes_nothing(step):
    schedule = from_config(SD15, 20)
    assert schedule.timesteps[0] == 999
    assert schedule.timesteps[-1] == 49
    x0, eps = some_x0()
    before, after = corrected(schedule, step, x0, eps, Plain())
    assert torch.equal(after.x0, x0)
    assert torch.allclose(after.eps, eps, rtol=1e-4 if step == 0 else 1e-5, atol=1e-5)
    solver = DDIMSolver(schedule)
    assert torch.allclose(solver.step(after, step).latents, solver.step(before, step).latents, atol=1e-5)


GAINS = ".023 .029 .034 .041 .047 .054 .061 .068 .075 .082 .090 .099 .109 .120 .135 .155 .185 .234 .339 1.000"


@pytest.mark.parametrize(("step", "gain"), enumerate(map(float, GAINS.split())))
def test_oracle_13_step_gain(step, gain):
    """x' - x = g_t (x0bar - x0hat), with the table of section 1.1."""
    schedule = from_config(SD15, 20)
    x0, eps = some_x0()
    delta = 0.25
    before, after = corrected(schedule, step, x0, eps, Plain(shift=delta))
    solver = DDIMSolver(schedule)
    moved = solver.step(after, step).latents - solver.step(before, step).latents
    a, prev = schedule.alpha(step), schedule.alpha_prev(step)
    exact = prev**0.5 - (a * (1 - prev) / (1 - a)) ** 0.5
    assert exact == pytest.approx(gain, abs=6e-4)
    assert torch.allclose(moved, torch.full_like(moved, exact * delta), atol=2e-6)
    if step == 19:
        assert torch.equal(solver.step(after, step).latents, after.x0)


def test_oracle_14_schedule_of_steps():
    """Ours are fractions of the schedule; the published interval 5 of 20 steps is one such list."""
    assert set(steps_at((0.05, 0.3, 0.55, 0.8), 20)) == {0, 5, 10, 15}
    assert steps_at((0.5, 0.75, 1.0), 20) == (9, 14, 19)
    assert len(from_config(SD15, 10).truncate(0.3)) == 3
    assert len(from_config(SD15, 20)) == 20


def test_oracle_16_identical_frames_stay_identical():
    x0, eps = some_x0(1)
    for residual in (True, False):
        _, after = corrected(
            from_config(SD15, 10), 5, x0.expand(6, -1, -1, -1), eps.expand(6, -1, -1, -1), Plain(), 2, residual
        )
        for frame in range(1, 6):
            assert torch.equal(after.x0[frame], after.x0[0])
            assert torch.equal(after.eps[frame], after.eps[0])


def test_oracle_17_nothing_crosses_a_cut():
    """Two shots of a clip, each blended by its own windows: perturbing one leaves the other's bits alone."""
    cut, n, w = 6, 13, 4
    frames = [texture(seed=f // 3) for f in range(n)]
    correspond_clip = searched(frames, fine_sweeps=1, sweeps=1)

    def restyled(images):
        rows = []
        for first, last in ((0, cut), (cut, n)):
            for window in windows_of(last - first, 4, first_frame=first):

                def correspond(target, source, window=window):
                    return correspond_clip(window.first_frame + target, window.first_frame + source)

                shot = {f: images[window.first_frame + f] for f in range(window.shot_frames)}
                rows.append(blend(window, shot, correspond, w))
        return np.concatenate(rows)

    calm = restyled(styles(n))
    shaken = restyled({f: p + 50 if f < cut else p for f, p in styles(n).items()})
    np.testing.assert_array_equal(calm[cut:], shaken[cut:])
    assert (calm[:cut] != shaken[:cut]).all()


def panning_flow(dx):
    backward = np.zeros((H, W, 2), np.float32)
    backward[..., 0] = -dx
    x = np.arange(W)[None] - dx
    return PairFlow(backward, -backward, np.broadcast_to((x >= 0) & (x < W), (H, W)))


def test_oracle_19_translation_with_exact_flow_is_zero():
    scene = texture(H, W + 12)
    frames = [scene[:, 12 - 3 * t : 12 - 3 * t + W] for t in range(4)]
    assert pixel_mse(frames, [panning_flow(3)] * 3) == (0.0, 0.0, 0.0)


def test_oracle_19_noise_counts_twice():
    """Independent noise of deviation s in both frames: 2 s^2, on the 0-255 scale."""
    rng, s = np.random.default_rng(0), 6.0
    noise = rng.normal(128, s, (2, H * 4, W * 4, 3)).astype(np.float32)
    still = np.zeros((H * 4, W * 4, 2), np.float32)
    flow = PairFlow(still, still, np.ones(still.shape[:2], bool))
    assert pair_mse(noise[0], noise[1], flow) == pytest.approx(2 * s * s, rel=0.05)
