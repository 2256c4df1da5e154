"""Oracles 13, 14 and 16 of deflicker.md section 5: the correction in the loop, its steps, and fixed noise.

Row 13 at the level of the solver is in `test_ddim`; row 15 is in `test_attention`.
"""

import pytest
import torch

from configs.job import DeflickerConfig, ModelConfig, RestyleJob, WindowConfig
from models.backbone import load
from models.corrections import Deflicker
from models.methods.restyle import restyle_program
from models.patchmatch import identity
from models.sampling import Context, Gathered, State, run_whole, windows_of
from models.schedule import fractions_to_steps as steps_at
from models.schedule import from_config
from models.solver import DDIMSolver
from tests.deflicker_clips import whole

SD15 = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "timestep_spacing": "trailing",
}


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
    """Ours are fractions of the schedule; the published interval 5 of 20 steps is one such list.

    Its second setting, `ignore k removes the last k`, is dropped: we have no interval whose end has to be cut off, and
    a list that leaves out the last k says the same.
    """
    published = (0.05, 0.3, 0.55, 0.8)
    assert set(steps_at(published, 20)) == {0, 5, 10, 15}
    assert set(steps_at(published[:-1], 20)) == {0, 5, 10}
    assert steps_at((0.5, 0.75, 1.0), 20) == (9, 14, 19)
    assert len(from_config(SD15, 10).truncate(0.3)) == 3
    assert len(from_config(SD15, 20)) == 20


SIZE, WINDOWS = 4, 5


@pytest.fixture(scope="module")
def backbone(tiny_sd):
    return load(ModelConfig(path=str(tiny_sd)), "cpu")


def restyled(backbone, job, first_frame=0):
    """Latents of a shot of equal frames under a loop with attention across frames and two corrections.

    [window, slot of the batch, C, h, w]; the VAE gives its mean, so it is deterministic.
    """
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    source = backbone.encode(picture)
    conditions = Context(lambda name, frames: source.expand(len(frames), -1, -1, -1), lambda t, s: identity(32, 32))
    program = restyle_program(job, "a cat", backbone, tuple(source.shape[1:]))
    shot = windows_of(SIZE * WINDOWS, SIZE, first_frame)
    results = run_whole(Latents(program), shot, conditions)
    return torch.stack([result["latents"] for result in results])


class Latents:
    """A program that ends with its latents, which no rounding to 8 bit has made alike."""

    def __init__(self, program):
        self.program, self.num_steps = program, program.num_steps
        self.phases, self.initial, self.steps = program.phases, program.initial, program.steps

    def finish(self, window, state, ctx):
        result = yield from self.program.finish(window, state, ctx)
        return {**result, "latents": state.latents}


@pytest.mark.parametrize("start", ["noise", "noised"])
def test_oracle_16_fixed_noise_makes_equal_frames_equal(backbone, start):
    """Bit for bit in equal slots of a batch, by the inner windows (the outer ones have fewer neighbours); to rounding
    in any slot. Where the shot lies in the clip makes no difference either. Noise of its own for each frame does.
    """
    job = RestyleJob(
        prompt="a cat",
        model=ModelConfig(path="unused"),
        num_inference_steps=4,
        guidance_scale=3.0,
        start=start,
        strength=1.0 if start == "noise" else 0.75,
        window=WindowConfig(size=SIZE),
        deflicker=DeflickerConfig(window=2, steps=(0.5, 1.0)),
    )
    latents = restyled(backbone, job)
    for window in range(2, WINDOWS - 1):
        assert torch.equal(latents[window], latents[1])
    torch.testing.assert_close(latents, latents[1:2, :1].expand_as(latents), rtol=0, atol=1e-4)
    assert torch.equal(restyled(backbone, job, first_frame=7), latents)
    own = restyled(backbone, job.model_copy(update={"noise": "per_frame"}))
    assert (own[2] - own[1]).abs().max() > 0.1
