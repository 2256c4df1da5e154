"""Every kind of bad input through the real command line: one clear error, the right code, nothing half written."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def media() -> ModuleType:
    path = HERE.parent / "unit" / "tasks" / "video" / "media.py"
    spec = importlib.util.spec_from_file_location("media_for_bad_input", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def refused(result: dict[str, Any], kind: str, *words: str) -> None:
    """The one error is of this class, and its message names these things."""
    assert result["status"] == "failed"
    assert [error["class"] for error in result["errors"]] == [kind]
    message = result["errors"][0]["message"]
    for word in words:
        assert word in message, message
    assert result["outputs"] == []


VIDEOS: dict[str, tuple[Callable[[ModuleType, Path], Path], list[str], str, list[str]]] = {
    "missing": (lambda media, p: p / "nothing.mp4", [], "UnreadableVideo", ["nothing.mp4"]),
    "not a video": (lambda media, p: _text(p / "notes.mp4"), [], "UnreadableVideo", ["notes.mp4"]),
    "no video stream": (lambda media, p: media.sound_only(p / "song.mp4"), [], "UnreadableVideo", ["song.mp4"]),
    "zero frames": (lambda media, p: media.no_frames(p / "none.mp4"), [], "UnreadableVideo", ["none.mp4"]),
    "truncated": (lambda media, p: media.truncated(p / "cut.mp4"), [], "DamagedVideo", ["cut.mp4", "damaged=keep"]),
    "corrupt": (lambda media, p: _corrupt(media, p), [], "DamagedVideo", ["hurt.mp4", "damaged=keep"]),
    "huge frame": (
        lambda media, p: media.write(p / "big.mp4"),
        ["--set", "input.max_pixels=1000"],
        "VideoTooLarge",
        ["big.mp4", "64x48", "1000"],
    ),
    "huge duration": (
        lambda media, p: media.write(p / "long.mp4", frames=50),
        ["--set", "input.max_seconds=0.5"],
        "VideoTooLarge",
        ["long.mp4", "0.5"],
    ),
    "too many frames": (
        lambda media, p: media.write(p / "many.mp4", frames=30),
        ["--set", "input.max_frames=20"],
        "VideoTooLarge",
        ["many.mp4", "20"],
    ),
    "HDR": (
        lambda media, p: media.write(p / "hdr.mp4", tags={"color_trc": 16, "color_primaries": 9, "colorspace": 9}),
        [],
        "UnsupportedVideo",
        ["hdr.mp4", "tonemap"],
    ),
    "size change": (lambda media, p: media.changing_size(p / "sizes.ts"), [], "UnsupportedVideo", ["sizes.ts"]),
}


def _text(path: Path) -> Path:
    path.write_text("these are not the frames you are looking for")
    return path


def _corrupt(media: ModuleType, folder: Path) -> Path:
    """A clip of which some bytes in the middle are zero."""
    path = media.write(folder / "hurt.mp4", frames=60, gop=60, images=[media.picture(n) for n in range(60)])
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    path.write_bytes(bytes(data))
    return path


@pytest.mark.parametrize("kind", VIDEOS)
def test_a_bad_video_is_one_clear_error_and_code_2(
    kind: str, run: Callable[..., tuple[int, dict[str, Any]]], media: ModuleType, tmp_path: Path
) -> None:
    make, options, error, words = VIDEOS[kind]
    code, result = run(str(make(media, tmp_path)), *options)
    assert code == 2
    refused(result, error, *words)
    assert not list((tmp_path / "out").rglob("*")), "something was written"


def test_a_bad_video_does_not_stop_the_good_one(
    run: Callable[..., tuple[int, dict[str, Any]]], media: ModuleType, tmp_path: Path
) -> None:
    good = media.write(tmp_path / "good.mp4", frames=4)
    code, result = run(str(_text(tmp_path / "bad.mp4")), str(good))
    assert (code, result["status"]) == (3, "partial")
    assert [Path(o["source"]).name for o in result["outputs"]] == ["good.mp4"]
    assert Path(result["outputs"][0]["uri"]).is_file()


@pytest.mark.parametrize(
    ("options", "preset", "error", "words"),
    [
        (["--style", "watercolour"], "dry", "ConfigError", ["watercolour", "did you mean watercolor"]),
        ([], "pokcet", "ConfigError", ["pokcet", "did you mean pocket"]),
        (["--set", "guidance_scal=2"], "dry", "ConfigError", ["guidance_scal", "guidance_scale"]),
        (["--set", "guidance_scale=0.3"], "dry", "ConfigError", ["guidance_scale must be >= 1", "0.3"]),
        (["--device", "cuda"], "dry", "DeviceError", ["cuda", "--device cpu"]),
        (["--set", "model.path=/nowhere/model"], "pocket", "WeightsError", ["/nowhere/model"]),
    ],
)
def test_a_bad_configuration_starts_nothing(
    options: list[str],
    preset: str,
    error: str,
    words: list[str],
    run: Callable[..., tuple[int, dict[str, Any]]],
    media: ModuleType,
    tmp_path: Path,
) -> None:
    import torch

    if error == "DeviceError" and torch.cuda.is_available():
        pytest.skip("this machine has the GPU that must be missing")
    code, result = run(str(media.write(tmp_path / "clip.mp4", frames=3)), *options, preset=preset)
    assert code == 2
    refused(result, error, *words)
    assert not list((tmp_path / "out").rglob("*"))


def test_a_memory_store_with_workers_is_refused(
    run: Callable[..., tuple[int, dict[str, Any]]], media: ModuleType, tmp_path: Path
) -> None:
    clip = str(media.write(tmp_path / "clip.mp4", frames=3))
    code, result = run(clip, "--workers", "2", store="memory://here")
    assert code == 2
    refused(result, "StoreError", "memory://", "--workers 0")


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_store_without_permission_is_refused(
    run: Callable[..., tuple[int, dict[str, Any]]], media: ModuleType, tmp_path: Path
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(stat.S_IREAD | stat.S_IEXEC)
    code, result = run(str(media.write(tmp_path / "clip.mp4", frames=3)), store=str(locked / "store"))
    assert code == 2
    refused(result, "StoreError", "locked")


def test_a_store_that_is_a_file_is_refused(
    run: Callable[..., tuple[int, dict[str, Any]]], media: ModuleType, tmp_path: Path
) -> None:
    code, result = run(str(media.write(tmp_path / "clip.mp4", frames=3)), store=str(_text(tmp_path / "file") / "store"))
    assert code == 2
    refused(result, "StoreError", "file")


def test_a_full_disk_is_one_clear_error_and_leaves_no_torn_artifact(
    run: Callable[..., tuple[int, dict[str, Any]]],
    media: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The disk fills up during denoising: nothing of that stage is visible, and with space again the rest is reused."""
    import errno

    from tasks.store.localfiles import LocalFiles
    from tasks.store.store import Store

    clip = str(media.write(tmp_path / "clip.mp4", frames=6))
    write = LocalFiles.put
    full = {"now": True}

    def no_space(self: LocalFiles, path: str, data: bytes) -> Any:
        if full["now"] and path.startswith("steps/"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        return write(self, path, data)

    monkeypatch.setattr(LocalFiles, "put", no_space)
    code, result = run(clip)
    assert code == 2
    refused(result, "StoreError", "space")
    store = Store.attach(str(tmp_path / "store"))
    assert not list(store.manifests("denoise"))
    full["now"] = False
    code, result = run(clip)
    assert code == 0
    reused = {stage["stage"] for stage in result["stages"] if stage["status"] == "reused"}
    assert {"probe", "decode", "condition", "correspond"} <= reused


@pytest.mark.parametrize("damage", ["missing file", "pickle"])
def test_bad_weights_name_the_file_and_the_fix(
    damage: str, run: Callable[..., tuple[int, dict[str, Any]]], media: ModuleType, tmp_path: Path
) -> None:
    weights = Path(__file__).parents[2] / "models" / "pocket" / "weights"
    folder = tmp_path / "model"
    shutil.copytree(weights, folder)
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    if damage == "pickle":
        file.rename(file.with_suffix(".bin"))
    else:
        file.unlink()
    code, result = run(
        str(media.write(tmp_path / "clip.mp4", frames=3)), "--set", f"model.path={folder}", preset="pocket"
    )
    assert code == 2
    refused(result, "WeightsError", "unet", "safetensors")
