"""`plan` counts from the header alone; `evaluate` measures a video against its source."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from click.testing import CliRunner

import models
from configs.overrides import build_job
from flows.cli import main
from models.judge import JUDGE_VERSION
from models.pocket.styles import apply_style
from models.sampling import Window
from models.tables import pairs_for_window
from tasks.correspond import correspond
from tasks.decode import decode, index_of
from tasks.engine.pool import EnginePool
from tasks.pipeline import shots_of
from tasks.probe import facts_of, probe
from tasks.run import Run
from tasks.store import Store

FRAMES, HEIGHT, WIDTH = 10, 48, 64


def written(path: Path, frames: list[np.ndarray[Any, Any]]) -> str:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"crf": "1"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return str(path)


@pytest.fixture
def clip(tmp_path: Path) -> str:
    blocks = np.random.default_rng(1).integers(40, 215, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    picture = np.kron(blocks, np.ones((8, 8, 1), np.uint8))
    return written(tmp_path / "clip.mp4", [picture + 2 * np.uint8(t % 2) for t in range(FRAMES)])


def found(*args: str) -> dict[str, Any]:
    result = CliRunner().invoke(main, [*args, "--json"])
    value: dict[str, Any] = json.loads(result.stdout)
    return {**value, "exit_code": result.exit_code}


def test_plan_counts_windows_and_steps_and_writes_nothing(clip: str, tmp_path: Path) -> None:
    store = tmp_path / "store"
    args = ["plan", "restyle", clip, "--style", "oil", "--store", str(store), "--set", "window.size=4"]
    (plan,) = found(*args, "--set", "working_size=64", "--set", "steps=6")["plans"]
    assert (plan["frames"], plan["width"], plan["height"]) == (FRAMES, WIDTH, HEIGHT)
    assert (plan["working_width"], plan["working_height"]) == (WIDTH, HEIGHT)
    assert (plan["windows"], plan["steps"], plan["window_steps"]) == (3, 6, 18)
    assert plan["shots_known"] is False
    assert plan["seconds"] > 0
    assert plan["basis"].startswith("a rule of thumb")
    assert not store.exists()


def test_plan_obeys_a_range_of_frames_and_says_what_dry_costs(clip: str) -> None:
    args = ["plan", "restyle", clip, "--style", "oil", "--preset", "dry", "--set", "input.frames=2,7"]
    (plan,) = found(*args)["plans"]
    assert (plan["frames"], plan["windows"], plan["seconds"]) == (5, 2, 0.0)


def test_plan_reads_the_sizes_of_a_local_model_folder(clip: str) -> None:
    """Not taken for a Stable Diffusion 1, whose sides are multiples of 64."""
    folder = Path(models.__file__).parent / "pocket" / "weights"
    mine, known = (
        found("plan", "restyle", clip, "--style", "oil", *sets)["plans"][0]
        for sets in (("--set", f"model.path={folder}"), ())
    )
    assert (mine["working_width"], mine["working_height"]) == (known["working_width"], known["working_height"])
    assert mine["bytes"] == known["bytes"] > 0


DRY = ("--style", "oil", "--preset", "dry", "--set", "window.size=4", "--set", "working_size=64")


def matching(clip: str, store: Path, *sets: str) -> dict[str, Any]:
    """What `plan` says about correspondence."""
    args = [arg for one in sets for arg in ("--set", one)]
    (plan,) = found("plan", "restyle", clip, *DRY, "--store", str(store), *args)["plans"]
    value: dict[str, Any] = plan["correspondence"]
    return value


def test_plan_tells_correspondence_apart(clip: str, tmp_path: Path) -> None:
    shot = Window(0, 0, FRAMES, FRAMES)
    needed = len(pairs_for_window(shot, 2))
    first = matching(clip, tmp_path / "none", "deflicker.window=2")
    assert (first["method"], first["pairs"], first["cached"]) == ("patchmatch", needed, 0)
    assert first["basis"].startswith("a rule of thumb")
    assert first["seconds"] > 0
    assert first["bytes"] > 0
    assert matching(clip, tmp_path / "none", "deflicker.window=2", "deflicker.correspondence=flow")["method"] == "flow"
    naive = matching(clip, tmp_path / "none", "deflicker.window=2", "deflicker.mode=naive")
    assert naive["pairs"] == len(pairs_for_window(shot, 2, mode="naive")) > needed
    for nothing in ("deflicker.enabled=false", "deflicker.window=0", "deflicker.match=fastblend"):
        assert matching(clip, tmp_path / "none", nothing)["pairs"] == 0


def test_plan_finds_the_pairs_of_earlier_jobs_and_learns_their_rate(tmp_path: Path) -> None:
    picture = np.random.default_rng(1).integers(40, 215, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    clip = written(tmp_path / "moving.mp4", [np.roll(picture, t, 1) for t in range(FRAMES)])  # no two frames alike
    store = Store.open(str(tmp_path / "store"), workers=0)
    job = build_job("dry", None, DRY[5::2], {"style": "oil"})
    job = job.model_copy(update={"deflicker": job.deflicker.model_copy(update={"window": 3})})
    with EnginePool(store.url, 0, "cpu", lanes=1) as engines:
        run = Run(job, clip, store, engines)
        probed = probe(run, Path(clip))
        facts = facts_of(run, probed)
        decoded = decode(run, probed, facts, Path(clip))
        shots = shots_of(run, facts, index_of(run, decoded), Path(clip), decoded)
        for shot in shots:
            correspond(run, shot)
    full = matching(clip, tmp_path / "store", "deflicker.window=3")
    assert full["cached"] == full["pairs"] > 0
    assert (full["seconds"], full["bytes"]) == (0.0, 0)
    assert full["basis"] == f"measured here ({len(shots)} shots of earlier jobs)"
    wider = matching(clip, tmp_path / "store", "deflicker.window=4")
    assert 0 < wider["cached"] < wider["pairs"]
    assert wider["seconds"] > 0
    assert matching(clip, tmp_path / "store", "deflicker.window=3", "deflicker.correspondence=flow")["cached"] == 0
    args = ["plan", "restyle", clip, *DRY, "--store", str(tmp_path / "store"), "--set", "deflicker.window=3"]
    said = " ".join(CliRunner().invoke(main, args).stdout.split())
    assert f"correspondence (patchmatch): {full['pairs']} pairs of frames, {full['pairs']} of them in the store" in said
    shutil.rmtree(tmp_path / "store" / "pairs")
    assert matching(clip, tmp_path / "store", "deflicker.window=3")["cached"] == 0, "a list without its packs"


def test_a_way_to_match_that_does_not_exist_exits_2_and_names_those_that_do(clip: str) -> None:
    result = found("plan", "restyle", clip, "--style", "oil", "--set", "deflicker.correspondence=optical")
    assert (result["exit_code"], result["status"]) == (2, "failed")
    said = result["errors"][0]["message"]
    assert all(word in said for word in ("deflicker.correspondence", "patchmatch", "flow"))


def test_plan_goes_on_after_a_bad_source(clip: str) -> None:
    result = found("plan", "restyle", "/nowhere.mp4", clip, "--style", "oil")
    assert (result["exit_code"], result["status"], len(result["plans"])) == (3, "partial", 1)
    assert result["errors"][0]["source"] == "/nowhere.mp4"


def test_plan_of_a_library_goes_by_the_sidecar_of_each_video(clip: str, tmp_path: Path) -> None:
    shutil.copy(clip, tmp_path / "other.mp4")
    Path(f"{clip}.yaml").write_text("num_inference_steps: 3\n")
    args = ["plan", "library", clip, str(tmp_path / "other.mp4"), "/nowhere.mp4", *DRY, "--set", "steps=6"]
    result = found(*args, "--store", str(tmp_path / "store"))
    assert (result["exit_code"], result["status"]) == (3, "partial")
    assert {Path(plan["source"]).name: plan["steps"] for plan in result["plans"]} == {"clip.mp4": 3, "other.mp4": 6}
    assert [error["source"] for error in result["errors"]] == ["/nowhere.mp4"]
    assert result["job_parameters"]["max_in_flight"] == 2
    assert not (tmp_path / "store").exists()
    none = found("plan", "library")
    assert (none["exit_code"], none["method"]) == (2, "plan")


def test_plan_of_nothing_readable_exits_2(tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("not a video")
    assert found("plan", "restyle", str(text), "--style", "oil")["exit_code"] == 2


def test_evaluate_sees_added_flicker(clip: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with av.open(clip) as container:
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    noisy = [np.clip(f + rng.normal(0, 20), 0, 255).astype(np.uint8) for f in frames]
    worse = written(tmp_path / "worse.mp4", noisy)
    same = found("evaluate", clip)["metrics"]
    bad = found("evaluate", worse, "--source", clip)["metrics"]
    assert bad["pixel_mse"] > 10 * same["pixel_mse"]
    assert bad["ratio"] > 10
    assert bad["source_pixel_mse"] == pytest.approx(same["pixel_mse"])
    assert len(bad["curves"]["video"]) == FRAMES - 1
    assert same["ratio"] is None
    assert "flicker" in CliRunner().invoke(main, ["evaluate", worse, "--source", clip]).stdout


def test_evaluate_refuses_another_number_of_frames(clip: str, tmp_path: Path) -> None:
    short = written(tmp_path / "short.mp4", [np.zeros((HEIGHT, WIDTH, 3), np.uint8)] * 4)
    result = found("evaluate", short, "--source", clip)
    assert result["exit_code"] == 2
    assert "has 4 frames" in result["errors"][0]["message"]


def test_evaluate_with_a_style_asks_the_judge(clip: str, tmp_path: Path) -> None:
    with av.open(clip) as container:
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    styled = written(tmp_path / "styled.mp4", [apply_style("oil", f) for f in frames])
    right = found("evaluate", styled, "--source", clip, "--style", "oil")["metrics"]
    wrong = found("evaluate", styled, "--source", clip, "--style", "neon")["metrics"]
    assert right["styles"] == wrong["styles"] == {"oil": right["judged_frames"]}
    assert (right["style_accuracy"], wrong["style_accuracy"]) == (1.0, 0.0)
    assert right["fidelity_psnr"] > wrong["fidelity_psnr"] + 8.0
    assert right["colour_error"] < 0.3 * wrong["colour_error"]
    assert 0.9 < right["structure_ratio"] < 1.1
    assert (right["judge_version"], right["judged_frames"]) == (JUDGE_VERSION, -(-FRAMES // right["judge_every"]))
    said = CliRunner().invoke(main, ["evaluate", styled, "--source", clip, "--style", "oil"]).stdout
    assert "style accuracy" in said
    assert "oil 3" in said
    assert "styles" not in found("evaluate", styled, "--source", clip)["metrics"]


@pytest.mark.parametrize(
    ("args", "words"),
    [(["--style", "oil"], "--style needs --source"), (["--style", "cubism", "--source", "CLIP"], "no known filter")],
)
def test_evaluate_refuses_a_style_it_cannot_judge(clip: str, args: list[str], words: str) -> None:
    result = found("evaluate", clip, *(clip if arg == "CLIP" else arg for arg in args))
    assert result["exit_code"] == 2
    assert words in result["errors"][0]["message"]
