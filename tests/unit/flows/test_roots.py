"""Runs that others start stay below the operator's roots: `..`, links, file URLs, chained and encoded addresses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import ConfigError
from configs.job import ControlConfig, ModelConfig, RestyleJob
from configs.settings import load_settings
from flows import deploy_library
from flows.deployed import check_places
from flows.roots import check_within, expand_within, inside


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    for path in (root / "a.mp4", root / "sub/b.mp4", root / "x[1].mp4", tmp_path / "outside/c.mp4"):
        path.touch()
    (root / "folder-link").symlink_to(tmp_path / "outside")
    (root / "file-link.mp4").symlink_to(tmp_path / "outside/c.mp4")
    (root / "y[1].mp4").symlink_to(tmp_path / "outside/c.mp4")
    (root / "good-link.mp4").symlink_to(root / "sub/b.mp4")
    return root


@pytest.mark.parametrize(
    "text",
    [
        "{root}",
        "{root}/a.mp4",
        "{root}/sub/../a.mp4",
        "{root}/**/*.mp4",
        "{root}/x[1].mp4",
        "{root}/good-link.mp4",
        "file://{root}/a.mp4",
        "s3://bucket/in/clip.mp4",
        "s3://bucket/in/day */clip?.mp4",
        "https://host/in/clip.mp4?versionId=3",
    ],
)
def test_what_lies_below_a_root_is_inside(root: Path, text: str) -> None:
    roots = (str(root), "s3://bucket/in", "https://host/in")
    assert inside(text.format(root=root), roots)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/etc/passwd",
        "~/clip.mp4",
        "{root}/../outside/c.mp4",
        "{root}x/a.mp4",
        "{root}/folder-link/c.mp4",
        "{root}/file-link.mp4",
        "{root}/y[1].mp4",
        "{root}/*/../../outside/*.mp4",
        "file:///etc/passwd",
        "file://{root}/../outside/c.mp4",
        "file://{root}/%2e%2e/outside/c.mp4",
        "file://{root}/%61.mp4",
        "file://elsewhere{root}/a.mp4",
        "local://{root}/a.mp4",
        "C:\\clips\\a.mp4",
        "c:/clips/a.mp4",
        "s3://bucket/inside-out/clip.mp4",
        "s3://bucket/in/../secret/clip.mp4",
        "s3://bucket/in/%2e%2e/secret/clip.mp4",
        "s3://bucket/in/%252e%252e/secret/clip.mp4",
        "s3://bucket/in\\..\\secret",
        "s3://other/in/clip.mp4",
        "http://169.254.169.254/latest/meta-data",
        "https://host/in/../secret",
        "simplecache::s3://bucket/in/clip.mp4",
        "zip://a.mp4::{root}/a.zip",
        "{root}/a.mp4\0.txt",
        "~nosuchuser/a.mp4",
        "{root}/" + "x" * 5000,
        "https://[bad/in/a.mp4",
    ],
)
def test_everything_else_is_outside(root: Path, text: str) -> None:
    assert not inside(text.format(root=root), (str(root), "s3://bucket/in", "https://host/in"))


@given(parts=st.lists(st.sampled_from(["..", ".", "sub", "%2e%2e", "folder-link", "*", "a"]), max_size=8))
def test_no_mixture_of_parts_gets_out(tmp_path_factory: pytest.TempPathFactory, parts: list[str]) -> None:
    base = tmp_path_factory.getbasetemp() / "mixture"
    root = base / "root"
    (root / "sub").mkdir(parents=True, exist_ok=True)
    if not (root / "folder-link").is_symlink():
        (root / "folder-link").symlink_to(base)
    text = "/".join([str(root), *parts])
    if inside(text, (str(root),)) and "*" not in text:
        assert Path(os.path.realpath(text)).is_relative_to(root.resolve())


def test_no_roots_are_no_limit() -> None:
    assert inside("/etc/passwd", ())


def test_a_folder_is_taken_without_what_its_links_lead_to(root: Path) -> None:
    found = {source.uri: source for source in expand_within([str(root), "/etc", "demo"], (str(root),))}
    refused = {uri for uri, source in found.items() if source.error is not None}
    assert refused == {"/etc", str(root / "file-link.mp4"), str(root / "y[1].mp4")}
    assert {str(root / "a.mp4"), str(root / "good-link.mp4"), "demo"} <= set(found) - refused
    assert "STEADYFRAME_ROOTS" in str(found["/etc"].error)
    assert not any(uri.startswith("/etc/") for uri in found), "nothing outside is even listed"


def test_a_folder_for_results_outside_is_one_clear_error(root: Path) -> None:
    with pytest.raises(ConfigError, match="out: /tmp/elsewhere lies outside of"):
        check_within("out", "/tmp/elsewhere", (str(root),))


OUTSIDE = {
    "out": {"out": "/elsewhere"},
    "reference": {"reference": "/etc/picture.png"},
    "depth": {"depth": "/etc/depths"},
    "model.path": {"model": ModelConfig(path="/etc/evil-model")},
    "model.path beside": {"model": ModelConfig(path="x/../../y")},
    "model.path of a LoRA": {"model": ModelConfig(loras=("~/evil.safetensors",))},
    "model.path of a control": {"model": ModelConfig(controls=(ControlConfig(kind="tile", model="../evil"),))},
    "model.controls": {"model": ModelConfig(controls=(ControlConfig(kind="depth", path="/etc/depths"),))},
}


@pytest.mark.parametrize("key", OUTSIDE)
def test_a_job_and_the_jobs_of_a_library_keep_all_they_name_to_the_roots(
    key: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEADYFRAME_ROOTS", str(root))
    good = {"style": "oil", "out": str(root / "out"), "model": ModelConfig(path=str(root / "m"), loras=("org/name",))}
    inside, outside = RestyleJob(**good), RestyleJob(**(good | OUTSIDE[key]))
    check_places(inside, (str(root),))
    deploy_library._inside(inside)
    with pytest.raises(ConfigError, match=f"{key.split()[0]}: .* lies outside of"):
        check_places(outside, (str(root),))
    with pytest.raises(ConfigError, match=f"{key.split()[0]}: .* lies outside of"):
        deploy_library._inside(outside)


def test_roots_come_from_the_environment_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEADYFRAME_ROOTS", "/videos, s3://bucket/in,")
    assert load_settings().roots == ("/videos", "s3://bucket/in")
    monkeypatch.delenv("STEADYFRAME_ROOTS")
    assert load_settings().roots == ()
