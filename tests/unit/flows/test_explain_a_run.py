"""`explain` finds what entered where: names, values before and after, and which inputs only followed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from configs.errors import ConfigError
from flows.cli import main
from flows.explain import explain
from flows.records import write_result
from flows.result import JobResult
from tasks.run import StageRecord, VideoOutput
from tasks.store import Store, stage_key


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"), workers=0)


def ran(store: Store, job: str, guidance: float, source: str = "a.mp4", file: str = "f0") -> str:
    """Write a run of three stages and its job record; returns the output's key."""
    inputs: list[dict[str, Any]] = [{"file": file}]
    stages = []
    for stage, params in (("probe", {}), ("denoise", {"guidance_scale": guidance}), ("encode", {"crf": 18})):
        key = stage_key(stage, 1, params, {"model": "m1"}, inputs, None)
        known = store.lookup(key) is not None
        store.publish(key, [store.write_part(key, "x", b"x")])
        status = "reused" if known else "computed"
        stages.append(
            StageRecord.model_validate(
                {"source": source, "stage": stage, "key": key.key, "status": status, "seconds": 1.0, "bytes": 1}
            )
        )
        inputs = [{"stage": stage, "key": key.key}]
    output = VideoOutput(
        source=source,
        uri="o.mp4",
        key=stages[-1].key,
        frames=1,
        width=8,
        height=8,
        shots=1,
        audio=0,
        latents_digest="",
        rgb_digest="",
    )
    write_result(store, JobResult(job=job, method="restyle", status="completed", outputs=[output], stages=stages))
    return output.key


def test_a_changed_parameter_is_named_where_it_entered(store: Store) -> None:
    ran(store, "1", 2.0)
    key = ran(store, "2", 3.0)
    found = explain(store, key[:12])
    assert (found.job, found.against_job) == ("2", "1")
    assert {s.stage: (s.status, s.sentence) for s in found.stages} == {
        "probe": ("reused", "the same question as before: reused"),
        "denoise": ("computed", "guidance_scale 2.0 -> 3.0"),
        "encode": ("computed", "its input denoise changed"),
    }


def test_an_identical_run_was_reused_because_nothing_differs(store: Store) -> None:
    ran(store, "1", 2.0)
    found = explain(store, ran(store, "2", 2.0))
    assert found.job == "2"
    assert {s.sentence for s in found.stages} == {"the same question as before: reused"}


def test_another_file_under_the_same_name_is_said_to_be_one(store: Store) -> None:
    ran(store, "1", 2.0)
    found = explain(store, ran(store, "2", 2.0, file="f1"))
    assert found.stages[0].sentence == "its input the file itself changed"


def test_against_a_named_run_of_another_source(store: Store) -> None:
    other = ran(store, "1", 2.0, source="b.mp4")
    ran(store, "2", 4.0)
    found = explain(store, ran(store, "3", 3.0), against=other)
    assert (found.against_job, found.stages[1].changes) == ("1", (("guidance_scale", 2.0, 3.0),))


def test_a_first_run_has_nothing_to_compare_with(store: Store) -> None:
    found = explain(store, ran(store, "1", 2.0))
    assert (found.against_key, len(found.stages)) == ("", 3)


def test_manifests_alone_are_enough_when_the_record_is_gone(store: Store) -> None:
    old, key = ran(store, "1", 2.0), ran(store, "2", 3.0)
    store.blobs.delete_tree("jobs")
    found = explain(store, key, against=old)
    assert {s.stage for s in found.stages} == {"probe", "denoise", "encode"}
    assert next(s for s in found.stages if s.stage == "denoise").changes == (("guidance_scale", 2.0, 3.0),)


def test_a_pre_image_that_is_gone_is_said(store: Store) -> None:
    ran(store, "1", 2.0)
    key = ran(store, "2", 3.0)
    for manifest in list(store.manifests("denoise")):
        store.forget(manifest)
    denoise = next(s for s in explain(store, key).stages if s.stage == "denoise")
    assert denoise.sentence == "its key differs (a pre-image is gone from the store)"


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("zz", "no such file, and not the beginning of a key"),
        ("ab", "no such file, and not the beginning of a key"),
        ("abcdef", "nothing in .* begins so"),
    ],
)
def test_what_is_unknown_is_refused(store: Store, output: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        explain(store, output)


def test_a_video_that_is_not_ours_is_refused(store: Store) -> None:
    clip = Path(__file__).parents[4] / "shared" / "clips" / "cars_500x282.mp4"
    if not clip.exists():
        pytest.skip("no clips here")
    with pytest.raises(ConfigError, match="carries no steadyframe_key"):
        explain(store, str(clip))


def test_the_command_prints_names_and_values(store: Store) -> None:
    ran(store, "1", 2.0)
    key = ran(store, "2", 3.0)
    url = store.url
    assert "guidance_scale 2.0 -> 3.0" in CliRunner().invoke(main, ["explain", key, "--store", url]).stdout
    found = json.loads(CliRunner().invoke(main, ["explain", key, "--store", url, "--json"]).stdout)
    assert found["explained"][1]["changes"] == [{"name": "guidance_scale", "before": 2.0, "after": 3.0}]
    assert found["against"]["job"] == "1"


def test_verify_finds_a_changed_byte_and_runs_lists_jobs(store: Store, tmp_path: Path) -> None:
    ran(store, "1", 2.0)
    clean = CliRunner().invoke(main, ["verify", "--store", store.url, "--json"])
    assert (clean.exit_code, json.loads(clean.stdout)["artifacts"]) == (0, 3)
    part = next((tmp_path / "store" / "stages" / "denoise").rglob("part-*"))
    part.write_bytes(b"y")
    torn = CliRunner().invoke(main, ["verify", "--store", store.url, "--json"])
    found = json.loads(torn.stdout)
    assert (torn.exit_code, found["status"], len(found["damaged"])) == (3, "partial", 1)
    assert found["damaged"][0].startswith("denoise ")
    listed = json.loads(CliRunner().invoke(main, ["runs", "--store", store.url, "--json"]).stdout)
    assert [row["job"] for row in listed["runs"]] == ["1"]
