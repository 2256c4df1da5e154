"""Shards give the bits of the definition, `run_whole`, however a shot is cut; and hold no more than a halo."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from configs.errors import NumericsError
from configs.job import RestyleJob
from models.backbone import load
from models.methods.restyle import RestyleProgram, restyle_program
from models.patchmatch import identity
from models.sampling import Context, Exchange, Window, run_whole, windows_of
from tasks.engine.lockstep import cut_shards
from tasks.engine.shard import Shard, windows_needed

HEIGHT, WIDTH = 32, 48


def program(**changes: object) -> RestyleProgram:
    job = RestyleJob.model_validate(
        {
            "prompt": "x",
            "model": {"path": "dry"},
            "num_inference_steps": 4,
            "window": {"size": 4},
            "deflicker": {"window": 5, "steps": (0.5, 1.0), "post": True},
            **changes,
        }
    )
    backbone = load(job.model, "cpu")
    return restyle_program(job, "x", backbone, (backbone.latent_channels, HEIGHT // 8, WIDTH // 8))


def context() -> Context:
    same = identity(HEIGHT, WIDTH)
    return Context(
        lambda name, frames: torch.stack([torch.full((4, HEIGHT // 8, WIDTH // 8), f / 20) for f in frames]),
        lambda target, source: same,
    )


def run_shards(
    run: RestyleProgram, windows: tuple[Window, ...], shards: list[tuple[int, ...]], restart: int | None = None
) -> tuple[list[torch.Tensor], int]:
    """Drive shards by hand as the lockstep does; returns frames by window and the most values any shard held."""
    pieces = [Shard(run, context(), windows, mine) for mine in shards]
    for piece in pieces:
        piece.start(0)
    held = 0
    frames: list[torch.Tensor] = []
    for step in range(run.num_steps + 1):
        if step == restart:
            states = {k: state for piece in pieces for k, state in piece.states.items()}
            pieces = [Shard(run, context(), windows, mine) for mine in shards]
            for piece, mine in zip(pieces, shards, strict=True):
                piece.start(step, {k: states[k] for k in mine})
        phases = run.phases(step)
        needs = [
            [sorted({j for k in mine for j in windows_needed(e, windows[k], windows)} - {*mine}) for mine in shards]
            for e in phases
        ]
        before: dict[int, torch.Tensor] = {}
        for phase in range(len(phases)):
            wanted = {k for need in needs[phase] for k in need}
            published: dict[int, torch.Tensor] = {}
            for s, (piece, mine) in enumerate(zip(pieces, shards, strict=True)):
                foreign = {k: before[k] for k in needs[phase - 1][s]} if phase else {}
                own = [k for k in mine if k in wanted]
                published.update(zip(own, piece.publish(step, phase, own, foreign), strict=True))
            before = published
        for s, piece in enumerate(pieces):
            foreign = {k: before[k] for k in needs[-1][s]} if phases else {}
            if step < run.num_steps:
                piece.complete(step, foreign)
            else:
                frames += piece.finish(foreign, lambda window, state, result: result["frames"])
                assert piece.states == {}, "a warm worker keeps the shard, not its tensors"
            held = max(held, piece.most_held)
    return frames, held


@pytest.mark.parametrize("frames", [1, 3, 4, 5, 18])
@pytest.mark.parametrize("shard_windows", [1, 2, 3, None])
def test_any_cut_into_shards_gives_the_bits_of_the_definition(frames: int, shard_windows: int | None) -> None:
    run, windows = program(), windows_of(frames, 4)
    expected = [result["frames"] for result in run_whole(run, windows, context())]
    shards = cut_shards(len(windows), 2, shard_windows)
    got, _ = run_shards(run, windows, shards)
    assert len(got) == len(expected)
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_the_halo_matters_to_the_result() -> None:
    """The control of the test above: without context frames the same windows come out differently."""
    windows = windows_of(18, 4)
    with_halo = run_whole(program(), windows, context())
    alone = run_whole(program(attention={"pattern": ["0"]}, deflicker={"enabled": False}), windows, context())
    assert not torch.equal(with_halo[1]["frames"], alone[1]["frames"])


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_restarting_from_any_committed_step_changes_nothing(step: int) -> None:
    run, windows = program(), windows_of(18, 4)
    shards = cut_shards(len(windows), 2)
    expected, _ = run_shards(run, windows, shards)
    got, _ = run_shards(run, windows, shards, restart=step)
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_values_held_at_a_time_do_not_grow_with_the_shot() -> None:
    run = program()
    few = run_shards(run, windows_of(40, 4), [tuple(range(10))])[1]
    many = run_shards(run, windows_of(160, 4), [tuple(range(40))])[1]
    # latents wait in every window at a step's border; decoded pictures, the large ones, only within a halo
    assert many <= few


def test_a_nan_is_refused_with_frames_and_step() -> None:
    run, windows = program(), windows_of(6, 4)
    shard = Shard(run, context(), windows, (0, 1))
    shard.start(0)
    shard.states[0].latents.fill_(float("nan"))
    with pytest.raises(NumericsError, match=r"frames 0-3 .*step 1"):
        shard.complete(0, {})


@pytest.mark.parametrize(("windows", "workers", "expected"), [(5, 2, [2, 3]), (1, 3, [1]), (6, 3, [2, 2, 2])])
def test_shards_are_runs_of_whole_windows_as_even_as_can_be(windows: int, workers: int, expected: list[int]) -> None:
    shards = cut_shards(windows, workers)
    assert sorted(map(len, shards)) == sorted(expected)
    assert [k for shard in shards for k in shard] == list(range(windows))


def test_windows_needed_reaches_several_windows_away_and_to_the_anchor() -> None:
    windows = windows_of(40, 4)
    exchange = Exchange("decoded", "correct", before=9, after=9, anchors=(0,))
    assert windows_needed(exchange, windows[6], windows) == (0, 3, 4, 5, 6, 7, 8, 9)


def test_noise_depends_on_nothing_but_seed_and_frame() -> None:
    from models.noise import initial_noise

    whole = initial_noise("per_frame", 7, range(0, 10), (4, 2, 3))
    part = initial_noise("per_frame", 7, range(4, 6), (4, 2, 3))
    assert torch.equal(whole[4:6], part)
    assert not torch.equal(whole[0], whole[1])
    fixed = initial_noise("fixed", 7, range(0, 3), (4, 2, 3))
    assert torch.equal(fixed[0], fixed[2])
    assert np.isclose(float(whole.std()), 1.0, atol=0.2)
