"""What a second run computes: nothing when nothing changed, and only what depends on what did."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from configs.errors import Interrupted
from configs.job import RestyleJob
from flows.explain import explain
from models.sampling import Window
from models.tables import Pair, pairs_for_window
from tasks.engine.pool import EnginePool
from tasks.pipeline import restyle_video
from tasks.run import Run, VideoResult
from tasks.store import StageKey, Store
from tests.small_clips import write_clip

FRAMES = 10


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", FRAMES)


Restyle = Callable[..., VideoResult]


@pytest.fixture
def restyle(clip: Path, tmp_path: Path) -> Restyle:
    def run(stop: Callable[[], bool] = lambda: False, **changes: Any) -> VideoResult:
        job = RestyleJob.model_validate(
            {
                "prompt": "x",
                "model": {"path": "dry"},
                "num_inference_steps": 3,
                "guidance_scale": 2.0,
                "start": "inverted",
                "inversion": {"num_inference_steps": 3},
                "window": {"size": 4},
                "deflicker": {"window": 3},
                "working_size": 64,
                "out": str(tmp_path / "out"),
                **changes,
            }
        )
        store = Store.open(str(tmp_path / "store"), workers=0)
        with EnginePool(store.url, 0, "cpu", lanes=1) as engines:
            return restyle_video(Run(job, str(clip), store, engines, should_stop=stop))

    return run


def statuses(result: VideoResult) -> dict[str, str]:
    return {stage.stage: stage.status for stage in result.stages}


def test_a_second_identical_run_computes_nothing_and_loads_no_model(
    restyle: Restyle, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = restyle()
    assert set(statuses(first).values()) == {"computed"}
    assert first.window_steps.computed == first.window_steps.total == 3 * 3

    def loads(*_: object) -> None:
        raise AssertionError("a run that finds everything must not load a model")

    monkeypatch.setattr("tasks.engine.local.load", loads)
    second = restyle()
    assert set(statuses(second).values()) == {"reused"}
    assert (second.window_steps.computed, second.window_steps.reused) == (0, second.window_steps.total)
    assert second.output.latents_digest == first.output.latents_digest
    assert second.output.uri == first.output.uri


def test_guidance_alone_reuses_all_that_does_not_depend_on_it(restyle: Restyle, tmp_path: Path) -> None:
    first = restyle()
    changed = restyle(guidance_scale=3.0)
    found = statuses(changed)
    assert {stage for stage, status in found.items() if status == "reused"} == {
        "probe",
        "decode",
        "condition",
        "invert",
        "correspond",
    }
    assert found["denoise"] == "computed"
    store = Store.attach(str(tmp_path / "store"))
    said = {stage.stage: stage for stage in explain(store, changed.output.uri, first.output.uri).stages}
    assert "guidance_scale" in str(said["denoise"])
    assert "2.0" in str(said["denoise"])
    assert "3.0" in str(said["denoise"])
    assert said["invert"].changes == ()


def test_commit_interval_and_window_radius_reuse_what_they_should(restyle: Restyle) -> None:
    first = restyle()
    assert statuses(restyle(commit_every=2))["denoise"] == "reused"
    wider = restyle(deflicker={"window": 4})
    assert statuses(wider)["condition"] == "reused"
    assert statuses(wider)["denoise"] == "computed"
    assert wider.output.latents_digest != first.output.latents_digest


def test_a_negative_prompt_counts_only_where_guidance_reads_it(restyle: Restyle) -> None:
    restyle(guidance_scale=1.0)
    assert statuses(restyle(guidance_scale=1.0, negative_prompt="bad"))["denoise"] == "reused"
    restyle()
    assert statuses(restyle(negative_prompt="bad"))["denoise"] == "computed"


def test_words_of_a_style_and_the_same_words_in_the_prompt_are_two_things(restyle: Restyle) -> None:
    """In a text too long for the model only the prompt is cut."""
    restyle(prompt="x, oil painting")
    assert statuses(restyle(style="oil"))["denoise"] == "computed"


def matched(result: VideoResult, store: Store) -> dict[str, Any]:
    """What stage `correspond` noted."""
    (stage,) = (stage for stage in result.stages if stage.stage == "correspond")
    return store.require(StageKey("correspond", stage.key, {})).meta


def pairs_needed(radius: int) -> set[Pair]:
    return pairs_for_window(Window(0, 0, FRAMES, FRAMES), radius)


def test_a_second_job_on_the_clip_matches_no_frames_again(restyle: Restyle, tmp_path: Path) -> None:
    """Another prompt finds the very list; smaller radii whose pairs are all there list them and compute none."""
    wide, store = restyle(), Store.attach(str(tmp_path / "store"))
    asked = pairs_needed(3)
    assert matched(wide, store)["computed"] == matched(wide, store)["pairs"] == len(asked)
    assert statuses(restyle(prompt="y", seed=3))["correspond"] == "reused"
    for radius in (2, 1):
        fewer = pairs_needed(radius)
        assert fewer <= asked, "else this radius proves nothing"
        again = restyle(prompt="z", deflicker={"window": radius})
        assert statuses(again)["correspond"] == "computed"
        assert statuses(again)["denoise"] == "computed"
        assert matched(again, store)["pairs"] == len(fewer) > 0
        assert matched(again, store)["computed"] == matched(again, store)["written"] == 0


def test_a_wider_radius_matches_only_what_is_new(restyle: Restyle, tmp_path: Path) -> None:
    restyle()
    wide, store = restyle(deflicker={"window": 4}), Store.attach(str(tmp_path / "store"))
    new = len(pairs_needed(4) - pairs_needed(3))
    assert 0 < new == matched(wide, store)["computed"] < matched(wide, store)["pairs"]


def test_the_report_counts_pairs_on_a_line_of_its_own(restyle: Restyle) -> None:
    total = len(pairs_needed(3))
    first, again = restyle(), restyle(prompt="y")
    for result, computed in ((first, total), (again, 0)):
        page = Path(result.output.report).read_text()
        said = f"{total} pairs of frames, {computed} computed and {total - computed} reused"
        assert f"Correspondence (patchmatch): {said}" in page
    sizes = {stage.bytes for result in (first, again) for stage in result.stages if stage.stage == "correspond"}
    assert len(sizes) == 1
    assert sizes.pop() > 1000, "what the packs take, not only their list"


def test_stopping_keeps_committed_steps(restyle: Restyle) -> None:
    whole = restyle(seed=5)
    asked = {"times": 0}

    def stop_in_the_middle() -> bool:
        asked["times"] += 1
        return asked["times"] > 7

    with pytest.raises(Interrupted):
        restyle(stop=stop_in_the_middle, seed=6)
    resumed = restyle(seed=6)
    assert resumed.window_steps.computed < resumed.window_steps.total
    # from inverted latents no noise is drawn: the seed makes another key, not another picture
    assert resumed.output.latents_digest == whole.output.latents_digest


def test_a_full_device_steps_down_a_rung_and_the_key_says_so(restyle: Restyle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for a GPU that is full until the VAE works slice by slice."""
    from tasks.engine import local

    load = local.load

    def short_of_memory(model: Any, device: str) -> Any:
        backbone = load(model, device)
        if not model.vae_slicing:

            def full(*_: object) -> None:
                raise torch.OutOfMemoryError("tried to allocate 2 GiB")

            object.__setattr__(backbone, "decode", full)
        return backbone

    monkeypatch.setattr(local, "load", short_of_memory)
    result = restyle()
    assert result.window_steps.computed == result.window_steps.total
    conditions = [s for s in result.stages if s.stage == "condition"]
    assert len({s.key for s in conditions}) == 2, "the rung is part of the numerics class, so of the key"


def test_deleting_any_artifact_is_safe(restyle: Restyle, tmp_path: Path) -> None:
    """Correspondence packs, a condition, a finished result: what is gone is computed again, to the same bits."""
    import shutil

    first = restyle()
    for folder in ("pairs", "stages/condition", "stages/denoise", "stages/encode"):
        shutil.rmtree(tmp_path / "store" / folder)
        if folder == "pairs":
            shutil.rmtree(tmp_path / "store" / "stages" / "denoise")
        again = restyle()
        assert again.output.latents_digest == first.output.latents_digest
        assert again.output.rgb_digest == first.output.rgb_digest
