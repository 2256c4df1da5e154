"""Two nights of a library with broken videos, their repair and a replay: real commands on S3 and PostgreSQL.

Says what happened and judges nothing: the judging is in `test_library`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from s3fs import S3FileSystem

from tests.real.library_clips import BROKEN, MOST_PIXELS, repair, write_broken, write_good, write_real

CLIPS = Path(__file__).resolve().parents[3] / "shared" / "clips"
SETTLED_SECONDS = 2.1  # a file that changed just now is not noted as done (`flows.library.known`)
WORKERS = 2


@dataclass(frozen=True)
class Told:
    """What one command said: exit code, its JSON object, its log, and how long it took."""

    code: int
    result: dict[str, Any]
    log: str
    seconds: float

    def errors(self) -> dict[str, tuple[str, str]]:
        """File name -> class and message of its error."""
        return {name_of(e["source"]): (e["class"], e["message"]) for e in self.result["errors"]}

    def statuses(self) -> set[str]:
        """`computed`, `reused` or both: what became of the stages it tells of."""
        return {stage["status"] for stage in self.result["stages"]}


def name_of(source: str) -> str:
    """Last part of a path or URL."""
    return source.rsplit("/", 1)[-1]


@dataclass
class Library:
    """A folder and an S3 prefix of videos, half of them in each, and the file of the job."""

    folder: Path
    url: str
    good: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    @property
    def job(self) -> Path:
        """The library's job file."""
        return self.folder / "library.yaml"

    @property
    def broken_on_s3(self) -> list[str]:
        """Which of the broken ones are not in the folder."""
        return self.broken[::2]

    @property
    def store(self) -> str:
        """URL of the store."""
        return f"{self.url}/store"

    def write(self, count: int, real: bool) -> None:
        """`count` generated videos, the real ones when asked for and there, six broken ones."""
        local = self.folder / "library"
        made = write_good(local, count) + (write_real(local, CLIPS) if real and CLIPS.is_dir() else [])
        bad = write_broken(local)
        self.good, self.broken = [p.name for p in made], [p.name for p in bad]
        for path in [*(p for p in made if p.parent.name == "day"), *(p for p in bad if p.name in self.broken_on_s3)]:
            self._move_to_s3(path)
        keys = {
            "sources": [str(local), f"{self.url}/incoming"],
            "out": str(self.folder / "results"),
            "preset": "dry",
            "max_in_flight": 2,
            "settings": {
                "prompt": "x",
                "num_inference_steps": 2,
                "input": {"max_pixels": MOST_PIXELS},
                "deflicker": {"window": 1, "steps": [1.0]},
                "report": {"max_megabytes": 0.2},
            },
        }
        self.job.write_text(yaml.safe_dump(keys))

    def repair(self) -> None:
        """Good videos under the names of the broken ones, wherever they are."""
        for number, name in enumerate(self.broken):
            path = self.folder / "library" / "inbox" / name
            repair(path, number)
            if name in self.broken_on_s3:
                self._move_to_s3(path)

    def _move_to_s3(self, path: Path) -> None:
        below = path.relative_to(self.folder / "library").as_posix()
        S3FileSystem().pipe_file(f"{self.url.removeprefix('s3://')}/incoming/{below}", path.read_bytes())
        path.unlink()


@dataclass
class Nights:
    """First and second night, the replay after the repair, a replay with nothing left, and the third night."""

    library: Library
    first: Told
    second: Told
    replayed: Told
    nothing: Told
    third: Told

    @property
    def all(self) -> Sequence[Told]:
        """In order."""
        return self.first, self.second, self.replayed, self.nothing, self.third


def spend_nights(library: Library, environment: Mapping[str, str]) -> Nights:
    """Run it all."""
    time.sleep(SETTLED_SECONDS)
    night = ["library", str(library.job), "--workers", str(WORKERS)]
    replay = ["replay", "--workers", str(WORKERS)]
    first = steadyframe(library, environment, *night)
    second = steadyframe(library, environment, *night)
    library.repair()
    time.sleep(SETTLED_SECONDS)
    replayed = steadyframe(library, environment, *replay)
    nothing = steadyframe(library, environment, *replay)
    third = steadyframe(library, environment, *night)
    return Nights(library, first, second, replayed, nothing, third)


def steadyframe(library: Library, environment: Mapping[str, str], *arguments: str) -> Told:
    """One command line, as cron would run it."""
    command = [str(Path(sys.executable).parent / "steadyframe"), *arguments, "--store", library.store, "--json"]
    began = time.monotonic()
    done = subprocess.run(
        command, env={**os.environ, **environment}, cwd=library.folder, capture_output=True, text=True, timeout=3600
    )
    lines = done.stdout.strip().splitlines()
    assert len(lines) == 1, f"{arguments} printed {lines[:5]}, and said: {done.stderr[-3000:]}"
    return Told(done.returncode, json.loads(lines[0]), done.stderr, time.monotonic() - began)


def expected_errors() -> dict[str, tuple[str, str]]:
    """File name -> class of its error and what its message must say."""
    return {broken.name: (broken.error, broken.says) for broken in BROKEN}
