"""The Python API: arguments become the jobs that the command line makes of the same words; importing it is light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import flows
from configs.errors import ConfigError
from flows import api
from flows.keywords import as_sets, library_job, restyle_job
from flows.result import JobResult
from tests.flow_stand_in import GOOD, stand_in


def job_of(**settings: Any) -> Any:
    return restyle_job("a.mp4", "oil", None, None, None, None, settings)


def test_importing_it_loads_no_library() -> None:
    code = "import sys, flows; print([m for m in sys.modules if m.split('.')[0] in ('pydantic', 'torch', 'prefect')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_it_returns_what_the_command_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEADYFRAME_STORE", str(tmp_path / "store"))
    (tmp_path / "a.mp4").write_bytes(GOOD)
    runs = stand_in(monkeypatch)
    seen: list[Any] = []
    result = flows.restyle(
        tmp_path / "a.mp4", style="oil", out=tmp_path / "out", workers=0, observe=seen.append, steps=3, seed=2
    )
    assert isinstance(result, JobResult)
    assert list(result.to_dict())[:8] == list(JobResult(status="completed").to_dict())[:8]
    assert (result.status, result.outputs[0].source) == ("completed", str(tmp_path / "a.mp4"))
    (run,) = runs
    assert (run.job.num_inference_steps, run.job.seed, run.job.out) == (3, 2, str(tmp_path / "out"))
    assert run.observe == seen.append


def test_deflicker_takes_a_source_or_keyframes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(api, "deflicker", lambda job, **resources: asked.append(job))
    flows.deflicker("styled.mp4", guide=Path("a.mp4"), window=3)
    (tmp_path / "12.png").write_bytes(b"")
    flows.deflicker(guide="a.mp4", keyframes=[tmp_path / "12.png"], out=tmp_path)
    assert (asked[0].source, asked[0].guide, asked[0].deflicker.window) == ("styled.mp4", "a.mp4", 3)
    assert [(key.frame, key.image) for key in asked[1].keyframes] == [(12, str(tmp_path / "12.png"))]
    assert asked[1].out == str(tmp_path)


def test_groups_merge_lists_replace_and_short_names_work() -> None:
    plain = job_of()
    job = job_of(steps=4, deflicker={"window": 1}, attention=["0"], **{"output.crf": 20})
    assert job.num_inference_steps == 4
    assert job.deflicker == plain.deflicker.model_copy(update={"window": 1})
    assert job.attention.pattern == ("0",)
    assert job.output == plain.output.model_copy(update={"crf": 20})


@pytest.mark.parametrize("value", [1e-7, 0.30000000000000004, "a: b, 'c'\nd", "yes", "007", "[x", "ü" * 300, None])
def test_a_value_arrives_as_it_is(value: Any) -> None:
    key = "deflicker.detail" if isinstance(value, float) else "model.revision"
    job = job_of(**{key: value})
    assert (job.deflicker.detail if isinstance(value, float) else job.model.revision) == value


def test_patterns_with_dots_and_shots_by_number_reach_their_group() -> None:
    shots = {2: {"prompt": "night"}}
    job = library_job(None, "clips", "out", {"style": "oil", "priorities": {"new/*.mp4": 5}, "shots": shots})
    assert (job.priorities, job.sources, job.out) == ({"new/*.mp4": 5}, ("clips",), "out")
    assert job.settings["style"] == "oil"
    assert job_of(shots=shots).shots["2"].prompt == "night"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: flows.restyle("a.mp4", style="oil", stepz=3), "unknown key stepz"),
        (lambda: flows.restyle("a.mp4", style="oil", guidance_scale=0.3), "guidance_scale must be >= 1, got 0.3"),
        (lambda: flows.restyle([], style="oil"), "no source given"),
        (lambda: flows.restyle("a.mp4", style="oil", seed=object()), "seed must be a plain value"),
        (lambda: flows.replay(classes=["poisen"], store="memory://x"), "did you mean poison"),
        (lambda: flows.deflicker("a.mp4", guide=""), "guide"),
    ],
)
def test_arguments_that_cannot_work_are_raised(call: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        call()


def test_settings_read_as_the_command_line_has_them() -> None:
    assert as_sets({"steps": 4, "output": {"crf": 20, "bits": 8}}) == ("steps=4", "output.crf=20", "output.bits=8")
