"""`steadyframe deflicker`: arguments, the one JSON object, and whole runs on a small clip without a Prefect server."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from configs.deflicker_job import DeflickerJob, build_deflicker_job
from configs.errors import ConfigError
from configs.overrides import parse_set as restyle_set
from flows import api, filtering
from flows.cli import main
from flows.result import JobResult
from tasks import strips
from tasks.filter import aligned, changed
from tasks.filter_pipeline import deflicker_video

FRAMES, WIDTH, HEIGHT = 12, 96, 64
KEYS = ["job", "method", "status", "outputs", "stages", "window_steps", "deflicker_steps", "errors"]


def scene(n: int) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(1)
    big = rng.integers(40, 216, (16, 40, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    return np.ascontiguousarray(np.roll(big, n, axis=1)[:, :WIDTH])


def write(path: Path, frames: list[np.ndarray[Any, Any]]) -> Path:
    """Lossless, so that what a test says of frames it says of files."""
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "bgr0"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A guide; a copy whose brightness flickers; one that is a frame short; one of another shape."""
    folder, rng = tmp_path_factory.mktemp("clips"), np.random.default_rng(2)
    guide = [scene(n) for n in range(FRAMES)]
    gains = rng.uniform(0.85, 1.15, FRAMES)
    flicker = [np.clip(f * g, 0, 255).astype(np.uint8) for f, g in zip(guide, gains, strict=True)]
    return {
        "guide": write(folder / "guide.mkv", guide),
        "flicker": write(folder / "flicker.mkv", flicker),
        "short": write(folder / "short.mkv", flicker[:-1]),
        "square": write(folder / "square.mkv", [f[:, :HEIGHT].copy() for f in flicker]),
    }


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEADYFRAME_STORE", str(tmp_path / "store"))
    for name in ("served", "quiet"):
        monkeypatch.setattr(api, name, nullcontext)
    flow_by(monkeypatch, lambda job, run, stoppable: deflicker_video(job, run))


def flow_by(monkeypatch: pytest.MonkeyPatch, deflicker_one: Any) -> None:
    """Put `deflicker_one` in the place of the flow run, and Prefect out of it."""
    monkeypatch.setitem(sys.modules, "flows.video", SimpleNamespace(deflicker_one=deflicker_one))


def run(*args: object) -> Result:
    return CliRunner().invoke(main, ["deflicker", *map(str, args)])


def found(result: Result) -> dict[str, Any]:
    assert result.stdout.count("\n") == 1, result.stdout + result.stderr
    told: dict[str, Any] = json.loads(result.stdout)
    assert list(told)[: len(KEYS)] == KEYS
    assert told["method"] == "deflicker"
    return told


def whole(clips: dict[str, Path], out: Path, *more: object) -> Result:
    return run(clips["flicker"], "--guide", clips["guide"], "--out", out, "--workers", 0, "--json", *more)


def test_a_flickering_video_comes_out_steadier_and_a_second_run_computes_nothing(
    clips: dict[str, Path], tmp_path: Path
) -> None:
    result = whole(clips, tmp_path / "out")
    told = found(result)
    assert (result.exit_code, told["status"], told["errors"]) == (0, "completed", [])
    (output,) = told["outputs"]
    assert (output["frames"], output["width"], output["height"]) == (FRAMES, WIDTH, HEIGHT)
    assert Path(output["uri"]).is_file()
    assert Path(output["uri"]).name.startswith("flicker--deflicker--")
    figures = output["metrics"]
    assert figures["pixel_mse"] < 0.7 * figures["input_pixel_mse"]
    assert figures["sharpness_ratio"] > 0.8
    again = found(whole(clips, tmp_path / "out"))
    assert again["status"] == "reused"
    assert again["outputs"] == told["outputs"]


def test_window_0_gives_every_frame_back_and_asks_for_no_match(clips: dict[str, Path], tmp_path: Path) -> None:
    told = found(whole(clips, tmp_path, "--set", "window=0", "--set", "codec=ffv1"))
    assert "correspond" not in [stage["stage"] for stage in told["stages"]]
    with av.open(told["outputs"][0]["uri"]) as container, av.open(str(clips["flicker"])) as given:
        frames = [[f.to_ndarray(format="rgb24") for f in c.decode(video=0)] for c in (container, given)]
    assert np.array_equal(*frames)


def filled(clips: dict[str, Path], out: Path) -> Result:
    """Two painted keys, in a folder beside `out`."""
    for frame in (2, 9):
        cv2.imwrite(str(out.parent / f"{frame}.png"), 255 - scene(frame)[..., ::-1])
    keys = [out.parent / f"{frame}.png" for frame in (2, 9)]
    return run("--keyframes", *keys, "--guide", clips["guide"], "--out", out, "--workers", 0, "--json")


@pytest.mark.parametrize("command", [lambda *where: whole(*where, "--set", "window=1"), filled], ids=["steady", "fill"])
def test_a_stopped_run_goes_on_from_its_strips_with_the_same_bits(
    clips: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., Result]
) -> None:
    monkeypatch.setattr(strips, "MOST_FRAMES", 3)  # strips short enough for a stop between them
    straight = found(command(clips, tmp_path / "a"))
    monkeypatch.setenv("STEADYFRAME_STORE", str(tmp_path / "other"))

    def stopped(job: DeflickerJob, run: Any, stoppable: bool) -> Any:
        def stop() -> bool:
            return any((tmp_path / "other").rglob("*strip-000001*"))

        return deflicker_video(job, replace(run, should_stop=stop))

    with monkeypatch.context() as patch:
        flow_by(patch, stopped)
        result = command(clips, tmp_path / "b")
    assert (result.exit_code, found(result)["status"]) == (130, "interrupted")
    resumed = found(command(clips, tmp_path / "b"))
    assert resumed["outputs"][0]["rgb_digest"] == straight["outputs"][0]["rgb_digest"]
    assert resumed["outputs"][0]["metrics"] == straight["outputs"][0]["metrics"]
    (manifest,) = (tmp_path / "other" / "stages" / "filter").rglob("manifest.json")
    assert json.loads(manifest.read_text())["meta"]["resumed"] == 2


def test_a_larger_video_is_blended_small_and_keeps_its_own_detail(clips: dict[str, Path], tmp_path: Path) -> None:
    told = found(whole(clips, tmp_path, "--set", "size=48"))
    (output,) = told["outputs"]
    assert (output["width"], output["height"]) == (WIDTH, HEIGHT)
    assert output["metrics"]["sharpness_ratio"] > 0.9
    assert output["metrics"]["pixel_mse"] < output["metrics"]["input_pixel_mse"]


def test_the_change_is_enlarged_and_not_the_picture() -> None:
    full = np.random.default_rng(0).integers(60, 196, (16, 24, 3), dtype=np.uint8)
    small = cv2.resize(full, (12, 8), interpolation=cv2.INTER_AREA)
    same = small.astype(np.float32) / 255
    assert np.array_equal(changed(full, small, same), full)
    assert np.array_equal(changed(full, small, same + 10 / 255), full + 10)


@pytest.mark.parametrize("w", [0, 1, 2, 3, 7, 30])
def test_a_stream_begins_far_enough_back_at_a_multiple_of_the_longest_entry(w: int) -> None:
    longest = max(2**k for k in range(8) if 2**k <= w + 1)
    for first in range(200):
        base = aligned(first, w)
        assert base % longest == 0
        assert 0 <= base <= max(0, first - w)


BAD = [
    (["{flicker}"], "no guide given"),
    (["--guide", "{guide}"], "no source given"),
    (["{short}", "--guide", "{guide}"], "short.mkv has 11 frames and its guide"),
    (["{square}", "--guide", "{guide}"], "not the same shape"),
    (["{flicker}", "{short}", "--guide", "{guide}"], "one video at a time has one guide, got 2"),
    (["/nowhere.mkv", "--guide", "{guide}"], "/nowhere.mkv: there is no such file"),
    (["{flicker}", "--guide", "/nowhere.mkv"], "/nowhere.mkv: there is no such file"),
    (["{flicker}", "--guide", "{guide}", "--set", "windwo=3"], "did you mean"),
    (["{flicker}", "--guide", "{guide}", "--set", "deflicker.steps=1.0"], "deflicker.steps is about the denoising"),
    (["{flicker}", "--guide", "{guide}", "--set", "window=-1"], "deflicker.window must be >= 0, got -1"),
    (["{flicker}", "--guide", "{guide}", "--device", "tpu"], "--device must be auto, cpu, cuda or cuda:N"),
    (["--keyframes", "painted.png", "--guide", "{guide}"], "which frame is painted.png?"),
    (["--keyframes", "3=/nowhere.png", "--guide", "{guide}"], "/nowhere.png: there is no such picture"),
    (["--keyframes", "99=x.png", "--guide", "{guide}"], "keyframe 99 lies outside frames 0 to 11"),
    (["--keyframes", "3=a.png", "--keyframes", "3=b.png", "--guide", "{guide}"], "frame 3 has two pictures"),
    (["--keyframes", "3=a.png", "--guide", "{guide}", "--set", "operator=checked"], "must be mean or confidence"),
]


@pytest.mark.parametrize(("args", "said"), BAD, ids=[said for _, said in BAD])
def test_bad_arguments_are_one_sentence_one_object_and_exit_code_2(
    clips: dict[str, Path], args: list[str], said: str
) -> None:
    result = run(*(arg.format(**clips) for arg in args), "--workers", 0, "--json")
    told = found(result)
    assert (result.exit_code, told["status"], told["outputs"]) == (2, "failed", [])
    assert said in " ".join(error["message"] for error in told["errors"])


def test_keyframes_from_a_folder_or_from_a_shell_pattern_are_the_same_job(tmp_path: Path) -> None:
    for frame in (2, 9):
        cv2.imwrite(str(tmp_path / f"key_{frame:06d}.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    files = sorted(map(str, tmp_path.iterdir()))
    one = build_deflicker_job(flags={"guide": "g.mkv", "keyframes": (str(tmp_path),)})
    assert one == build_deflicker_job(flags={"guide": "g.mkv", "keyframes": tuple(files)})
    assert [key.frame for key in one.keyframes] == [2, 9]
    (tmp_path / "notes").mkdir()
    with pytest.raises(ConfigError, match="holds no picture"):
        build_deflicker_job(flags={"guide": "g.mkv", "keyframes": (str(tmp_path / "notes"),)})


def test_keyframes_fill_the_clip_and_the_result_says_how_well_they_match(
    clips: dict[str, Path], tmp_path: Path
) -> None:
    told = found(filled(clips, tmp_path / "out"))
    keys = [tmp_path / f"{frame}.png" for frame in (2, 9)]
    again = run("--keyframes", *keys, "--guide", clips["guide"], "--out", tmp_path / "out", "--workers", 0)
    assert again.exit_code == 0, again.stderr
    assert "match error" in again.stdout
    assert "reused" in again.stdout
    (output,) = told["outputs"]
    assert output["frames"] == FRAMES
    assert Path(output["uri"]).name.startswith("guide--keyframes--")
    rows = output["metrics"]["segments"]
    assert [(row["first"], row["stop"], row["keys"]) for row in rows] == [(0, 2, [2]), (3, 9, [2, 9]), (10, 12, [9])]


def test_layers_and_short_keys_are_those_of_every_job(tmp_path: Path) -> None:
    config = tmp_path / "job.yaml"
    config.write_text("guide: a.mkv\nsource: b.mkv\ndeflicker: {window: 4}\noutput: {crf: 20}\n")
    job = build_deflicker_job(config, ["crf=30", "window=6"], {"guide": "c.mkv"})
    assert (job.guide, job.source, job.deflicker.window, job.output.crf) == ("c.mkv", "b.mkv", 6, 30)
    assert restyle_set("crf=30")[0] == ("output", "crf")
    config.write_text("output: {crf: 99}\nguide: a.mkv\nsource: b.mkv\n")
    with pytest.raises(ConfigError, match=r"output\.crf must be <= 63, got 99 \(job.yaml:1\)"):
        build_deflicker_job(config)


def test_interrupted_and_our_own_faults_keep_to_the_contract(
    clips: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error, code, status in [(KeyboardInterrupt(), 130, "interrupted"), (ZeroDivisionError("x"), 1, "failed")]:

        def raising(*_: Any, error: BaseException = error, **__: Any) -> JobResult:
            raise error

        monkeypatch.setattr(filtering, "one_video", raising)
        result = whole(clips, tmp_path)
        assert (result.exit_code, found(result)["status"]) == (code, status)
