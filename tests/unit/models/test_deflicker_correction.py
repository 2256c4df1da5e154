"""The correction inside the loop: what it publishes, what it calls, what it leaves alone."""

from dataclasses import replace
from threading import Thread

import numpy as np
import pytest
import torch

from configs.errors import ConfigError
from configs.job import DeflickerConfig
from models.corrections import Deflicker, fill, post_filter, post_filter_exchange
from models.patchmatch import identity
from models.sampling import Context, Exchange, Gathered, State, Window, windows_of
from models.schedule import from_config

SIDE = 8
SCHEDULE = from_config({"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}, 10)


class Tiles:
    """A VAE stand-in: latents are 2x2 pixel tiles over a picture, coarser by `loss`; notes its call shapes."""

    def __init__(self, loss=0.0):
        self.loss = loss
        self.calls = []

    def decode(self, latents):
        self.calls.append(("decode", len(latents)))
        picture = latents.repeat_interleave(2, 2).repeat_interleave(2, 3)
        return picture * (1 - self.loss) + self.loss / 2

    def encode(self, frames):
        self.calls.append(("encode", len(frames)))
        return torch.nn.functional.avg_pool2d(frames, 2)


def still(target, source):
    return identity(2 * SIDE, 2 * SIDE)


CONTEXT = Context(condition=lambda name, frames: torch.empty(0), correspond=still)


def states_of(windows, seed=0, low=0.2, high=0.8):
    rng = torch.Generator().manual_seed(seed)
    x0 = low + (high - low) * torch.rand(windows[0].shot_frames, 3, SIDE, SIDE, generator=rng)
    eps = torch.randn(x0.shape, generator=rng)
    a = SCHEDULE.alpha(5)
    latents = a**0.5 * x0 + (1 - a) ** 0.5 * eps
    return [
        State(latents[w.start : w.stop], x0[w.start : w.stop], eps[w.start : w.stop], {"kept": torch.ones(1)})
        for w in windows
    ]


def together(generators, windows):
    """Run the windows of a shot in lockstep; returns what each returned, and what travelled."""
    wishes = [next(g) for g in generators]
    whole = torch.cat([w.value for w in wishes])
    results = []
    for generator, wish, window in zip(generators, wishes, windows, strict=True):
        frames = wish.exchange.frames(window)
        try:
            generator.send(Gathered(frames, whole[list(frames)]))
        except StopIteration as done:
            results.append(done.value)
    return results, wishes


def correct(correction, states, windows, context=CONTEXT):
    runs = [correction(s, 5, w, context) for s, w in zip(states, windows, strict=True)]
    return together(runs, windows)


def deflicker(backbone=None, size=4, **config):
    settings = DeflickerConfig(**{"window": 2, **config})
    return Deflicker(backbone or Tiles(), frozenset({5}), SCHEDULE, settings, size)


def test_blends_x0_and_keeps_x_t():
    windows = windows_of(10, 4)
    states = states_of(windows)
    after, _ = correct(deflicker(), states, windows)
    before = torch.cat([s.x0 for s in states])
    x0 = torch.cat([s.x0 for s in after])
    for i in range(10):
        near = before[max(0, i - 2) : i + 3].mean(0)
        assert torch.allclose(x0[i], near, atol=1e-3)  # float16 on the way
    a = SCHEDULE.alpha(5)
    for s, t in zip(states, after, strict=True):
        assert t.latents is s.latents
        assert torch.allclose(a**0.5 * t.x0 + (1 - a) ** 0.5 * t.eps, s.latents, atol=1e-5)
        assert t.extras == s.extras
        assert t.x0.dtype == t.eps.dtype == torch.float32


def test_publishes_float16_pictures_of_its_own_frames_as_declared():
    windows = windows_of(10, 4)
    correction = deflicker()
    _, wishes = correct(correction, states_of(windows), windows)
    assert correction.exchanges == (Exchange("decoded", "correct", before=2, after=2),)
    for wish, window in zip(wishes, windows, strict=True):
        assert wish.exchange == correction.exchanges[0]
        assert wish.value.dtype == torch.float16
        assert wish.value.shape == (len(window.frames), 3, 2 * SIDE, 2 * SIDE)


@pytest.mark.parametrize("residual", [True, False])
def test_every_vae_call_has_the_window_shape(residual):
    backbone = Tiles()
    windows = windows_of(10, 4)
    correct(deflicker(backbone, vae_residual=residual), states_of(windows), windows)
    kinds = [kind for kind, _ in backbone.calls]
    assert {count for _, count in backbone.calls} == {4}
    assert kinds.count("decode") == 3
    assert kinds.count("encode") == (6 if residual else 3)


def test_residual_gives_back_what_the_vae_loses():
    """A static x0 through a lossy VAE: unchanged with the residual, changed without."""
    windows = windows_of(6, 4)
    states = states_of(windows)
    one = states[0].x0[:1]
    states = [replace(s, x0=one.expand(len(s.latents), -1, -1, -1).clone()) for s in states]
    kept, _ = correct(deflicker(Tiles(loss=0.3)), states, windows)
    lost, _ = correct(deflicker(Tiles(loss=0.3), vae_residual=False), states, windows)
    assert torch.allclose(kept[0].x0, states[0].x0, atol=1e-6)
    assert (lost[0].x0 - states[0].x0).abs().max() > 0.05


def test_window_size_changes_no_bit_where_the_vae_works_per_frame():
    whole, cut = windows_of(11, 11), windows_of(11, 4)
    states = states_of(whole)[0]
    pieces = [
        State(states.latents[w.start : w.stop], states.x0[w.start : w.stop], states.eps[w.start : w.stop]) for w in cut
    ]
    one, _ = correct(deflicker(size=11), [states], whole)
    many, _ = correct(deflicker(size=4), pieces, cut)
    assert torch.equal(one[0].x0, torch.cat([s.x0 for s in many]))
    assert torch.equal(one[0].eps, torch.cat([s.eps for s in many]))


def test_lanes_in_one_process_do_not_disturb_each_other():
    windows = windows_of(10, 4)
    correction, states = deflicker(operator="confidence"), states_of(windows)
    expected, _ = correct(correction, states, windows)
    seen = {}

    def lane(k):
        seen[k] = correct(correction, states, windows)[0]

    lanes = [Thread(target=lane, args=(k,)) for k in range(4)]
    for thread in lanes:
        thread.start()
    for thread in lanes:
        thread.join()
    for k in range(4):
        assert all(torch.equal(a.x0, b.x0) for a, b in zip(seen[k], expected, strict=True))


def test_acts_at_its_steps_only():
    assert [s for s in range(10) if deflicker().active(s)] == [5]
    assert not deflicker(enabled=False).active(5)


def test_pictures_outside_the_range_are_clamped():
    windows = windows_of(4, 4)
    states = states_of(windows, low=-1.0, high=2.0)
    _, wishes = correct(deflicker(), states, windows)
    assert wishes[0].value.min() >= 0
    assert wishes[0].value.max() <= 1


def test_post_filter_is_the_same_blend_without_a_model():
    config = DeflickerConfig(window=2)
    windows = windows_of(9, 4)
    frames = torch.rand(9, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    runs = [post_filter(w, frames[w.start : w.stop], CONTEXT, config) for w in windows]
    results, wishes = together(runs, windows)
    out = torch.cat(results)
    assert wishes[0].exchange == post_filter_exchange(config) == Exchange("rgb", "finish", before=2, after=2)
    assert out.dtype == torch.float32
    assert torch.allclose(out[4], frames[2:7].mean(0), atol=1e-3)


def test_fill_repeats_the_last_row():
    rows = torch.arange(6.0).reshape(3, 2)
    assert torch.equal(fill(rows, 5), rows[[0, 1, 2, 2, 2]])
    assert fill(rows, 3) is rows
    with pytest.raises(ConfigError, match="3 frames does not fit calls of 2"):
        fill(rows, 2)


def test_needs_what_the_solver_fills_in():
    window = Window(0, 0, 2, 2)
    with pytest.raises(ValueError, match="x0 and eps"):
        next(deflicker()(State(torch.zeros(2, 3, SIDE, SIDE)), 5, window, CONTEXT))


def test_correspondence_of_another_size_is_refused():
    wrong = Context(CONTEXT.condition, lambda t, s: identity(SIDE, SIDE))
    windows = windows_of(4, 4)
    with pytest.raises(ConfigError, match="working size"):
        correct(deflicker(), states_of(windows), windows, wrong)


def test_moving_correspondence_is_followed():
    """Content that moves by two pixels a frame, flickering in brightness: blended along its way."""
    scene = np.random.default_rng(0).random((3, 16, 40), dtype=np.float32) * 0.5 + 0.2
    gain = [1.0, 1.3, 0.7, 1.1, 0.9]
    frames = torch.stack([torch.from_numpy(scene[..., 2 * t : 2 * t + 16] * gain[t]) for t in range(5)])

    def moved(target, source):
        offsets, error = identity(16, 16)
        x = np.arange(16)
        offsets[..., 1] = np.clip(x + 2 * (target - source), 0, 15) - x
        return offsets, error

    window = Window(0, 0, 5, 5)
    config = DeflickerConfig(window=4)
    results, _ = together([post_filter(window, frames, Context(CONTEXT.condition, moved), config)], [window])
    middle = results[0][2][:, :, 7:9]  # seen in all five frames, away from the borders
    assert torch.allclose(middle, torch.from_numpy(scene[..., 11:13]) * np.mean(gain), atol=2e-3)


def drifting_guides(n):
    scene = np.random.default_rng(4).integers(0, 256, (16, 16 + n, 3), dtype=np.uint8)
    return torch.from_numpy(np.stack([scene[:, f : f + 16] for f in range(n)]))


@pytest.mark.parametrize("match", ["style", "fastblend"])
def test_source_frames_are_asked_for_where_pictures_have_a_say(match):
    """Exactly those the window was sent pictures of; and the cut into windows changes no bit."""
    n = 7
    guides, asked = drifting_guides(n), []

    def condition(name, frames):
        assert name == "guide"
        asked.append(tuple(frames))
        return guides[list(frames)]

    def run(size):
        asked.clear()
        windows = windows_of(n, size)
        runs = [post_filter(w, frames[w.start : w.stop], Context(condition, still), config) for w in windows]
        return torch.cat(together(runs, windows)[0])

    frames = torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    config = DeflickerConfig(window=2, match=match)
    whole = run(n)
    assert asked == [tuple(range(n))]
    cut = run(3)
    assert asked == [(0, 1, 2, 3, 4), (1, 2, 3, 4, 5, 6), (4, 5, 6)]
    assert torch.equal(cut, whole)


def test_guide_mode_asks_for_no_source_frames():
    def nothing(name, frames):
        raise AssertionError(f"asked for {name}")

    windows = windows_of(6, 4)
    correct(deflicker(), states_of(windows), windows, Context(nothing, still))


@pytest.mark.parametrize("change", [{"mode": "naive"}, {"detail": 0.5}, {"operator": "mean"}, {"match": "fastblend"}])
def test_every_choice_of_the_configuration_reaches_the_blend(change):
    """Content that moves with its guides, flickering: no choice gives the pictures of the default."""
    n = 6
    guides = drifting_guides(n)
    gain = torch.linspace(0.5, 1.0, n)[torch.randperm(n, generator=torch.Generator().manual_seed(1))]
    frames = guides.permute(0, 3, 1, 2) / 255 * gain[:, None, None, None]

    def ragged(target, source):
        offsets, _ = identity(16, 16)
        x = np.arange(16)
        offsets[..., 1] = np.clip(x + (target - source) * (1 + x % 2), 0, 15) - x
        return offsets, np.random.default_rng([target, source]).random((16, 16), np.float32) * 20000

    context = Context(lambda name, wanted: guides[list(wanted)], ragged)
    [window] = windows_of(n, n)

    def run(**changes):
        config = DeflickerConfig(window=4, **changes)
        return together([post_filter(window, frames, context, config)], [window])[0][0]

    assert not torch.equal(run(**change), run())
