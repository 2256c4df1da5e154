"""A hub model runs only from a full commit; local folders and built-in models need none."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.errors import ConfigError
from configs.overrides import build_job

PROMPT = {"prompt": "a car"}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_sd15_without_commits_is_refused_with_both_ways_out() -> None:
    with pytest.raises(ConfigError) as caught:
        build_job("sd15", None, (), PROMPT)
    first, second = str(caught.value).splitlines()
    assert "--set model.revision=<40-digit commit>, or --set model.path=<local folder> (preset sd15)" in first
    assert "--set model.controls.0.revision=<40-digit commit>" in second


def test_sd15_with_commits_or_folders_is_a_job(tmp_path: Path) -> None:
    pinned = build_job("sd15", None, [f"model.revision={COMMIT}", f"model.controls.0.revision={COMMIT}"], PROMPT)
    assert (pinned.model.revision, pinned.working_size) == (COMMIT, 512)
    local = build_job("sd15", None, [f"model.path={tmp_path}", "model.controls.0.model=controlnet"], PROMPT)
    assert local.model.path == str(tmp_path)


def test_an_existing_relative_folder_is_no_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert build_job("pocket", None, ["model.path=models/mine"], PROMPT).model.path == "models/mine"


@pytest.mark.parametrize("revision", ["main", "v1.0", COMMIT[:12]])
def test_a_name_that_can_move_is_no_commit(revision: str) -> None:
    with pytest.raises(ConfigError, match=r"model\.revision must be a full commit of 40 hex digits"):
        build_job("pocket", None, ["model.path=owner/name", f"model.revision={revision}"], PROMPT)


@pytest.mark.parametrize(
    ("kind", "said"), [("depth", "depth is missing: .* a folder"), ("reference-latents", "reference is missing")]
)
def test_a_control_without_its_pictures_is_refused(kind: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build_job("pocket", None, [f"model.controls.0.kind={kind}"], PROMPT)
    build_job("pocket", None, [f"model.controls.0.kind={kind}", "model.controls.0.path=here"], PROMPT)
