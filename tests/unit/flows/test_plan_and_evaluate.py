"""`plan` counts from the header alone; `evaluate` measures a video against its source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from click.testing import CliRunner

from flows.cli import main
from models.judge import JUDGE_VERSION
from models.pocket.styles import apply_style

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
    (plan,) = found(*args, "--set", "working_size=32", "--set", "steps=6")["plans"]
    assert (plan["frames"], plan["width"], plan["height"]) == (FRAMES, WIDTH, HEIGHT)
    assert (plan["working_width"], plan["working_height"]) == (32, 24)
    assert (plan["windows"], plan["steps"], plan["window_steps"]) == (3, 6, 18)
    assert plan["shots_known"] is False
    assert plan["seconds"] > 0
    assert plan["basis"].startswith("a rule of thumb")
    assert not store.exists()


def test_plan_obeys_a_range_of_frames_and_says_what_dry_costs(clip: str) -> None:
    args = ["plan", "restyle", clip, "--style", "oil", "--preset", "dry", "--set", "input.frames=2,7"]
    (plan,) = found(*args)["plans"]
    assert (plan["frames"], plan["windows"], plan["seconds"]) == (5, 2, 0.0)


def test_plan_goes_on_after_a_bad_source(clip: str) -> None:
    result = found("plan", "restyle", "/nowhere.mp4", clip, "--style", "oil")
    assert (result["exit_code"], result["status"], len(result["plans"])) == (3, "partial", 1)
    assert result["errors"][0]["source"] == "/nowhere.mp4"


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
