"""Exit codes, and exactly one JSON object on stdout on every exit (architecture.md section 6)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from configs.errors import DamagedVideo, Interrupted, StoreError, UnreadableVideo, WorkerLost
from configs.job import RestyleJob
from flows import api
from flows.cli import COMMANDS, main
from flows.result import ErrorEntry, JobResult
from tasks.run import Progress, StageRecord, VideoOutput

KEYS = ["job", "method", "status", "outputs", "stages", "window_steps", "deflicker_steps", "errors"]
OUTPUT_KEYS = {"source", "uri", "key", "frames", "width", "height", "shots", "audio", "latents_digest", "rgb_digest"}
OUTPUT_KEYS |= {"metrics", "review"}
OUTPUT = VideoOutput(
    source="a.mp4",
    uri="/out/a--oil--12345678.mp4",
    key="12345678" * 4,
    frames=9,
    width=64,
    height=36,
    shots=1,
    audio=1,
    latents_digest="aa",
    rgb_digest="bb",
    metrics={"seam_ratio": 1.05, "excess_flicker": None, "arms": {"control": {"seam_ratio": float("nan")}}},
)
STAGE = StageRecord(source="a.mp4", stage="probe", key="ab" * 16, status="computed", seconds=1.0, bytes=3)


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEADYFRAME_STORE", str(tmp_path / "store"))


def run(*args: str) -> Result:
    return CliRunner().invoke(main, list(args))


def only_object(result: Result) -> dict[str, Any]:
    assert result.stdout.count("\n") == 1
    found: dict[str, Any] = json.loads(result.stdout)
    assert list(found)[: len(KEYS)] == KEYS
    return found


def pretend(monkeypatch: pytest.MonkeyPatch, act: Callable[[RestyleJob], JobResult]) -> dict[str, Any]:
    """Put `act` in the place of the flow and record what it is called with."""
    seen: dict[str, Any] = {}

    def restyle(job: RestyleJob, **resources: Any) -> JobResult:
        seen.update(resources, job=job)
        print("a library prints to stdout")
        resources["observe"](Progress("a.mp4", "denoise", 1, 4, message="half way", level="warning"))
        return act(job)

    monkeypatch.setattr(api, "restyle", restyle)
    return seen


def raising(error: BaseException) -> Callable[[RestyleJob], JobResult]:
    def act(job: RestyleJob) -> JobResult:
        raise error

    return act


def ended(status: str, *errors: BaseException, outputs: tuple[VideoOutput, ...] = ()) -> Callable[..., JobResult]:
    entries = [ErrorEntry.of(error, f"{n}.mp4") for n, error in enumerate(errors)]
    result = JobResult.model_validate(
        {"job": "j1", "method": "restyle", "status": status, "outputs": outputs, "stages": [STAGE], "errors": entries}
    )
    return lambda job: result


BAD = UnreadableVideo("0.mp4: not a video")
EXITS = [
    ("completed", ended("completed", outputs=(OUTPUT,)), 0),
    ("reused", ended("reused", outputs=(OUTPUT,)), 0),
    ("some failed", ended("partial", BAD, outputs=(OUTPUT,)), 3),
    ("the only source is bad", ended("failed", BAD), 2),
    ("all of several are bad", ended("failed", BAD, DamagedVideo("1.mp4: torn")), 3),
    ("a bug in the only one", ended("failed", KeyError("x")), 1),
    ("a bug beside outputs", ended("partial", KeyError("x"), outputs=(OUTPUT,)), 3),
    ("workers died too often", ended("failed", WorkerLost("5 times")), 1),
    ("store broken", raising(StoreError("no space in /store; free some")), 2),
    ("stopped by the flow", ended("interrupted", Interrupted("stopped")), 130),
    ("stopped anywhere", raising(Interrupted("stopped")), 130),
    ("ctrl-c", raising(KeyboardInterrupt()), 130),
    ("our fault", raising(ZeroDivisionError("division by zero")), 1),
    ("a library calls exit", raising(SystemExit(7)), 1),
]


@pytest.mark.parametrize(("act", "code"), [row[1:] for row in EXITS], ids=[row[0] for row in EXITS])
def test_exit_code_and_one_object(monkeypatch: pytest.MonkeyPatch, act: Any, code: int) -> None:
    pretend(monkeypatch, act)
    result = run("restyle", "a.mp4", "--style", "oil", "--json")
    found = only_object(result)
    assert result.exit_code == code
    assert found["method"] == "restyle"
    assert (code == 0) == (found["status"] in ("completed", "reused"))
    assert (code == 0) == (not found["errors"])
    assert "a library prints to stdout" in result.stderr


@pytest.mark.parametrize(("act", "code"), [row[1:] for row in EXITS], ids=[row[0] for row in EXITS])
def test_exit_code_for_people(monkeypatch: pytest.MonkeyPatch, act: Any, code: int) -> None:
    pretend(monkeypatch, act)
    result = run("restyle", "a.mp4", "--style", "oil")
    assert result.exit_code == code
    if code == 0:
        assert "/out/a--oil--12345678.mp4" in result.stdout.replace("\n", "")
        assert "seam ratio 1.05" in result.stdout
    else:
        assert result.stderr.strip()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["restyle", "a.mp4"], "give at least one of `prompt` and `style`"),
        (["restyle", "--style", "oil"], "no source given"),
        (["restyle", "a.mp4", "--style", "oill"], "style 'oill' does not exist; did you mean oil?"),
        (["restyle", "a.mp4", "--style", "oil", "--preset", "pockt"], "did you mean pocket?"),
        (["restyle", "a.mp4", "--style", "oil", "--set", "sead=1"], "did you mean seed?"),
        (["restyle", "a.mp4", "--style", "oil", "--config", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (["restyle", "a.mp4", "--style", "oil", "--device", "tpu"], "--device must be auto, cpu, cuda or cuda:N"),
        (["restyle", "a.mp4", "--style", "oil", "--workers", "-1"], "--workers must be >= 0"),
        (["restyle", "a.mp4", "--workers", "many"], "'many' is not a valid integer"),
        (["restyle", "--nonsense"], "No such option '--nonsense'"),
        (["plan", "restyle", "/nowhere.mp4", "--style", "oil"], "/nowhere.mp4: there is no such file or folder"),
        (["evaluate", "/nowhere.mp4"], "nowhere.mp4"),
        (["explain", "/nowhere.mp4"], "no such file"),
        (["styles", "/nowhere.mp4"], "/nowhere.mp4: there is no such file or folder"),
        (["styles", "--out", "x.png"], "--out is for a preview, and no clip is named; name one, or give --demo"),
        (["styles", "--frame", "3"], "--frame is for a preview"),
        (["styles", "a.mp4", "--demo"], "got the clip a.mp4 and --demo; give one of them"),
        (["styles", "--demo", "--frame", "-1"], "-1 is not in the range x>=0"),
        (["styles", "--demo", "--preset", "pockt"], "did you mean pocket?"),
        (["styles", "--demo", "--set", "sead=1"], "did you mean seed?"),
        (["styles", "--demo", "--out", "x.jpg"], "--out x.jpg: the sheet is a PNG; name it x.png, or a folder"),
        (["styles", "--demo", "--device", "tpu"], "--device must be auto, cpu, cuda or cuda:N"),
        (["restyel"], "no such command 'restyel'; did you mean restyle?"),
        ([], "no such option"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_start_exits_2_with_one_object(args: list[str], said: str) -> None:
    result = run(*args, "--json")
    found = only_object(result)
    assert (result.exit_code, found["status"]) == (2, "failed")
    assert said.lower() in found["errors"][0]["message"].lower()
    plain = run(*args)
    assert plain.exit_code == 2
    assert plain.stdout == ""


def test_an_option_without_its_value_is_one_object_too() -> None:
    result = run("restyle", "a.mp4", "--json", "--style")
    assert result.exit_code == 2
    assert "'--style' requires an argument" in only_object(result)["errors"][0]["message"]


def test_the_object_has_the_contract_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, ended("partial", BAD, outputs=(OUTPUT,)))
    found = only_object(run("restyle", "a.mp4", "--style", "oil", "--json"))
    assert set(found["outputs"][0]) >= OUTPUT_KEYS
    assert set(found["stages"][0]) == {"source", "stage", "key", "status", "seconds", "bytes"}
    assert set(found["window_steps"]) == {"total", "computed", "reused"}
    assert found["errors"] == [{"source": "0.mp4", "class": "UnreadableVideo", "message": "0.mp4: not a video"}]
    assert found["outputs"][0]["metrics"]["arms"]["control"]["seam_ratio"] is None, "JSON has no NaN"


def test_an_internal_fault_names_its_class_and_leaves_a_trace_on_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, raising(ZeroDivisionError("division by zero")))
    result = run("restyle", "a.mp4", "--style", "oil", "--json")
    assert only_object(result)["errors"] == [
        {"source": "", "class": "ZeroDivisionError", "message": "division by zero"}
    ]
    assert "Traceback" in result.stderr


def test_help_is_not_an_error_and_still_one_object() -> None:
    result = run("restyle", "--help", "--json")
    assert only_object(result)["status"] == "completed"
    assert "--style" in result.stderr
    assert run("restyle", "--help").exit_code == 0


def test_arguments_reach_the_flow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen = pretend(monkeypatch, ended("completed", outputs=(OUTPUT,)))
    config = tmp_path / "job.yaml"
    config.write_text("guidance_scale: 3\nseed: 1\n")
    args = ["a.mp4", "b", "--out", "o", "--prompt", "x", "--seed", "4", "--config", str(config)]
    args += ["--set", "output.crf=20", "--store", "memory://", "--workers", "0", "--device", "cpu"]
    assert run("restyle", *args).exit_code == 0
    job = seen["job"]
    assert (job.sources, job.out, job.prompt, job.seed) == (("a.mp4", "b"), "o", "x", 4)
    assert (job.guidance_scale, job.output.crf) == (3.0, 20)
    assert (seen["store"], seen["workers"], seen["device"]) == ("memory://", 0, "cpu")


def test_environment_fills_in_and_flags_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEADYFRAME_WORKERS", "3")
    seen = pretend(monkeypatch, ended("completed", outputs=(OUTPUT,)))
    run("restyle", "a.mp4", "--style", "oil")
    assert seen["workers"] == 3
    run("restyle", "a.mp4", "--style", "oil", "--workers", "0")
    assert seen["workers"] == 0


def test_demo_needs_no_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = pretend(monkeypatch, ended("completed", outputs=(OUTPUT,)))
    assert run("demo").exit_code == 0
    assert (seen["job"].sources, seen["job"].style) == (("demo",), "watercolor")
    run("demo", "--prompt", "a car")
    assert (seen["job"].prompt, seen["job"].style) == ("a car", None)
    run("demo", "--preset", "sketch")
    assert seen["job"].style == "sketch"
    run("demo", "--set", "style=oil")
    assert seen["job"].style == "oil"


def test_warnings_reach_stderr_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, ended("completed", outputs=(OUTPUT,)))
    result = run("restyle", "a.mp4", "--style", "oil", "--json")
    assert "warning: half way" in result.stderr
    assert "a.mp4: denoise 1/4" in result.stderr


@pytest.mark.parametrize("command", ["styles", "presets", "runs", "verify", "doctor"])
def test_looking_commands_print_one_object(command: str) -> None:
    result = run(command, "--json")
    found = only_object(result)
    assert (result.exit_code, found["method"], found["status"]) == (0, command, "completed")
    assert len(found) > len(KEYS), "each adds what it found"
    assert run(command).stdout.strip()


def test_every_listed_command_loads_and_has_help() -> None:
    for name in COMMANDS:
        assert run(name, "--help").exit_code == 0, name


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom flows.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('torch', 'ray', 'prefect', 'av', 'cv2', 'pyarrow', 'diffusers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


SLEEPER = """
import os, sys, time
from flows import api
from flows.cli import main
def restyle(job, **resources):
    os.write(1, b"straight to descriptor 1\\n")
    os.system("echo a child process prints")
    print("ready", file=sys.stderr, flush=True)
    time.sleep(60)
api.restyle = restyle
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_real_process_stopped_by_a_signal_prints_one_object(number: signal.Signals) -> None:
    command = [sys.executable, "-c", SLEEPER, "restyle", "a.mp4", "--style", "oil", "--json"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite in the background ignores it
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.strip() == "ready":
            break
    time.sleep(0.2)
    process.send_signal(number)
    stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(stdout)["status"] == "interrupted"
    assert json.loads(stdout)["errors"][0]["class"] == "Interrupted"
