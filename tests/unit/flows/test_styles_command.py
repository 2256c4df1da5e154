"""`steadyframe styles CLIP`: a sheet on disk, one object on stdout, one sentence for every mistake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from configs.presets import list_styles
from flows.cli import main

KEYS = ["job", "method", "status", "outputs", "stages", "window_steps", "deflicker_steps", "errors"]


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEADYFRAME_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("STEADYFRAME_WORKERS", "2")  # a preview starts no workers, whatever is set
    monkeypatch.chdir(tmp_path)


def clip(path: Path, height: int = 48, width: int = 64, frames: int = 5) -> str:
    path.parent.mkdir(exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for n in range(frames):
            picture = np.random.default_rng(n).integers(0, 255, (height, width, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return str(path)


def run(*args: str) -> tuple[int, dict[str, Any], str]:
    result = CliRunner().invoke(main, ["styles", "--preset", "dry", *args, "--json"])
    assert result.stdout.count("\n") == 1
    found: dict[str, Any] = json.loads(result.stdout)
    assert list(found)[: len(KEYS)] == KEYS
    assert found["method"] == "styles"
    return result.exit_code, found, result.stderr


def test_a_sheet_is_drawn_and_the_object_says_where(tmp_path: Path) -> None:
    target = tmp_path / "new" / "sheet.png"
    code, found, told = run(clip(tmp_path / "c.mp4"), "--out", str(target), "--prompt", "a car", "--frame", "2")
    assert (code, found["status"], found["errors"]) == (0, "completed", [])
    sheet = found["sheet"]
    assert (sheet["uri"], sheet["frame"], sheet["width"], sheet["height"]) == (str(target), 2, 64, 48)
    assert [style["name"] for style in sheet["styles"]] == list(list_styles())
    assert all(style["prompt"].startswith("a car, ") for style in sheet["styles"])
    assert sheet["seconds"] > 0
    assert found["window_steps"]["computed"] == 4 * len(list_styles())
    with Image.open(target) as image:
        assert min(image.size) > 3 * 48
        assert image.info["steadyframe_model"] == "dry"
    assert "styles 32/32" in told


def test_the_same_again_is_reused_and_another_seed_is_not(tmp_path: Path) -> None:
    given = [clip(tmp_path / "c.mp4"), "--out", str(tmp_path / "s.png")]
    run(*given)
    first = (tmp_path / "s.png").read_bytes()
    assert run(*given)[1]["status"] == "reused"
    assert (tmp_path / "s.png").read_bytes() == first
    assert run(*given, "--seed", "4")[1]["status"] == "completed"
    assert (tmp_path / "s.png").read_bytes() != first


def test_settings_reach_the_job(tmp_path: Path) -> None:
    _, found, _ = run(clip(tmp_path / "c.mp4", 130, 74), "--set", "working_size=32", "--set", "steps=2")
    assert (found["sheet"]["height"], found["sheet"]["width"]) == (32, 16)
    assert found["window_steps"]["total"] == 2 * len(list_styles())


@pytest.mark.parametrize(
    ("out", "expected"),
    [
        ([], "steadyframe-out/c--styles.png"),
        (["--set", "out=there"], "there/c--styles.png"),
        (["--out", "pictures"], "pictures/c--styles.png"),
        (["--out", "my.pictures/"], "my.pictures/c--styles.png"),
        (["--out", "A.PNG"], "A.PNG"),
    ],
)
def test_the_sheet_is_where_it_was_asked_for(tmp_path: Path, out: list[str], expected: str) -> None:
    (tmp_path / "my.pictures").mkdir()
    _, found, _ = run(clip(tmp_path / "c.mp4"), *out)
    assert found["sheet"]["uri"] == str(tmp_path / expected)
    assert (tmp_path / expected).is_file()


def test_people_are_told_the_path_and_the_time(tmp_path: Path) -> None:
    args = ["styles", clip(tmp_path / "c.mp4"), "--preset", "dry", "--out", "s.png"]
    result = CliRunner().invoke(main, args, env={"COLUMNS": "300"})  # a narrow terminal breaks a path over lines
    assert result.exit_code == 0
    assert str(tmp_path / "s.png") in result.stdout
    assert "took" in result.stdout


@pytest.mark.parametrize("named", [["--demo"], ["demo"]])
def test_the_demo_clip_needs_no_file(tmp_path: Path, named: list[str]) -> None:
    code, found, _ = run(*named, "--out", "d.png")
    assert (code, found["sheet"]["source"]) == (0, "demo")
    assert (tmp_path / "d.png").is_file()


def test_a_folder_of_one_video_is_that_video_and_of_several_is_refused(tmp_path: Path) -> None:
    one = clip(tmp_path / "clips" / "a.mp4")
    assert run(str(tmp_path / "clips"))[1]["sheet"]["source"] == one
    clip(tmp_path / "clips" / "b.mp4")
    code, found, _ = run(str(tmp_path / "clips"))
    assert code == 2
    assert f"is 2 videos and a sheet shows one; name one, e.g. {one}" in found["errors"][0]["message"]


def test_a_file_that_is_no_video_is_one_error_of_that_source(tmp_path: Path) -> None:
    (tmp_path / "t.mp4").write_text("not a video")
    code, found, _ = run(str(tmp_path / "t.mp4"))
    assert (code, found["status"]) == (2, "failed")
    (error,) = found["errors"]
    assert (error["source"], error["class"]) == (str(tmp_path / "t.mp4"), "UnreadableVideo")
    assert "sheet" not in found


def test_a_frame_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    code, found, _ = run(clip(tmp_path / "c.mp4"), "--frame", "5")
    assert code == 2
    assert "frame must be 0 to 4" in found["errors"][0]["message"]
    assert "got 5" in found["errors"][0]["message"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    code, found, _ = run(clip(tmp_path / "c.mp4"), "--out", str(tmp_path / "file" / "s.png"))
    assert (code, found["errors"][0]["class"]) == (2, "StoreError")
    assert "cannot write" in found["errors"][0]["message"]


def test_no_server_and_no_flow_engine_is_started(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys\nfrom flows.cli import main\n"
        f"try: main(['styles', {clip(tmp_path / 'c.mp4')!r}, '--preset', 'dry', '--out', 's.png'])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print([m for m in ('prefect', 'ray') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
