"""Whole command lines to be killed, each with a Prefect server of its own: `restyle`, `library`, `serve`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from flows.server import ServerRecord
from tests.chaos.drive import chaos_job

PATIENCE = 240.0


def environment(folder: Path, **more: str) -> dict[str, str]:
    """A home of its own: server, store and temporary files below `folder`."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
        "STEADYFRAME_SERVER_DIR": str(folder / "server"),
        "STEADYFRAME_STORE": str(folder / "store"),
        "STEADYFRAME_WORKERS": "0",
        "OMP_NUM_THREADS": "1",
        "DO_NOT_TRACK": "1",
        "PREFECT_CLIENT_MAX_RETRIES": "2",
        **more,
    }


def steadyframe(folder: Path, *arguments: str, **more: str) -> subprocess.Popen[str]:
    """Start the command line in a session of its own; what it says goes to `folder`/out and err."""
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        return subprocess.Popen(
            [str(Path(sys.executable).with_name("steadyframe")), *arguments],
            env=environment(folder, **more),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            text=True,
            start_new_session=True,
        )


def told(command: subprocess.Popen[str], folder: Path) -> tuple[int, dict[str, Any]]:
    """Wait for the end; exit code and the one JSON object."""
    code = command.wait(PATIENCE)
    text = (folder / "out").read_text()
    assert text.strip(), (folder / "err").read_text()[-3000:]
    return code, json.loads(text)


def job_file(folder: Path, **changes: Any) -> Path:
    """The chaos job as a file that `--config` takes."""
    job = chaos_job("x", **changes).model_dump(mode="json", exclude={"out", "method", "sources"})
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(job))
    return path


def digests(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Of every output of the JSON contract, as `tests.chaos.drive` tells them."""
    return [{"latents": o["latents_digest"], "rgb": o["rgb_digest"]} for o in result["outputs"]]


def server(folder: Path) -> ServerRecord:
    """The server that a command of `folder` uses."""
    record = ServerRecord.read(folder / "server")
    assert record is not None, "no server was started"
    return record


def until(ask: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """The first true answer."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.02)
    return answer
