"""`--set preview=true`: a sheet of a few frames and nothing else, and the job afterwards finds what it can."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from flows import preview
from flows.cli import main
from tests.unit.tasks.shot_clips import cut_clip

DRY = ("--prompt", "x", "--preset", "dry", "--workers", "0", "--set", "window.size=4")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cut_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", (8, 6, 8))


def shown(clip: Path, folder: Path, *more: str) -> dict[str, Any]:
    places = ("--store", str(folder / "store"), "--out", str(folder / "out"))
    result = CliRunner().invoke(main, ["restyle", str(clip), *DRY, *places, "--set", "preview=true", *more, "--json"])
    value: dict[str, Any] = json.loads(result.stdout)
    return {**value, "exit_code": result.exit_code}


def test_a_preview_leaves_a_sheet_and_no_video(clip: Path, tmp_path: Path) -> None:
    found = shown(clip, tmp_path)
    assert (found["exit_code"], found["status"], found["outputs"]) == (0, "completed", [])
    (sheet,) = found["previews"]
    assert (sheet["frames"], sheet["steps"]) == (preview.SHOTS * preview.FRAMES, preview.STEPS)
    path = Path(sheet["sheet"])
    assert path.parent == tmp_path / "out"
    assert path.name.startswith("clip--preview--")
    assert [p.suffix for p in path.parent.iterdir()] == [".png"]
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.std() > 10, "there is something to see"
    assert shown(clip, tmp_path)["previews"] == found["previews"], "the same question, the same sheet"
    assert shown(clip, tmp_path, "--seed", "5")["previews"] != found["previews"]


def test_people_are_told_where_it_is_and_how_to_go_on(clip: Path, tmp_path: Path) -> None:
    places = ("--store", str(tmp_path / "store"), "--out", str(tmp_path / "out"))
    said = CliRunner().invoke(main, ["restyle", str(clip), *DRY, *places, "--set", "preview=true"]).stdout
    (sheet,) = (tmp_path / "out").glob("*.png")
    assert sheet.name in "".join(said.split())
    assert "without preview" in said


def test_a_bad_video_does_not_hide_the_sheet_of_a_good_one(clip: Path, tmp_path: Path) -> None:
    found = shown(clip, tmp_path, "--set", f"sources=[{tmp_path}/none.mp4]")
    assert found["previews"], "arguments win over the job's own sources"
    bad = CliRunner().invoke(
        main,
        ["restyle", str(tmp_path / "none.mp4"), str(clip), *DRY, "--store", str(tmp_path / "store"), "--json",
         "--out", str(tmp_path / "out"), "--set", "preview=true"],
    )  # fmt: skip
    result = json.loads(bad.stdout)
    assert [error["class"] for error in result["errors"]] == ["UnreadableVideo"]
    assert len(result["previews"]) == 1


def test_shots_hold_in_a_preview(clip: Path, tmp_path: Path) -> None:
    plain = shown(clip, tmp_path)["previews"][0]["key"]
    assert shown(clip, tmp_path, "--set", "shots.2.seed=4")["previews"][0]["key"] != plain
    refused = shown(clip, tmp_path, "--set", "shots.9.seed=4")
    assert refused["exit_code"] == 2
    assert "has 3 shots" in refused["errors"][0]["message"]
