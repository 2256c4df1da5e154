"""A child process that may hang, crash and eat memory, and a parent that notices; one child serves until it dies."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 120.0


@dataclass(frozen=True)
class Verdict:
    """How one file ended: `clip`, a class of error, `hang`, or `crash` with what is known of it in `said`.

    `ours`: an end that is promised. `peak`: bytes the process held at most, of which `base` before the first file.
    """

    ended: str
    ours: bool
    said: str = ""
    seconds: float = 0.0
    peak: int = 0
    base: int = 0


class Guarded:
    """Asks the child about files; replaces it when it dies or is slower than `seconds` for one file."""

    def __init__(self, seconds: float = 30.0) -> None:
        self.seconds, self.started = seconds, 0
        self._child: subprocess.Popen[bytes] | None = None
        self._base, self._left = 0, b""

    def __enter__(self) -> Guarded:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def ask(self, path: Path, choice: int) -> Verdict:
        """Open the file in the child."""
        child = self._child or self._start()
        assert child.stdin is not None
        try:
            child.stdin.write(json.dumps({"path": str(path), "choice": choice}).encode() + b"\n")
            child.stdin.flush()
            said = self._line(child, self.seconds)
        except BrokenPipeError:
            said = "crash"
        if isinstance(said, dict):
            return Verdict(base=self._base, **said)
        if said == "hang":
            self._end()
            return Verdict("hang", False, f"no answer in {self.seconds:g} s", self.seconds, base=self._base)
        number = child.wait()
        self._end()
        name = signal.Signals(-number).name if number < 0 else f"exit code {number}"
        return Verdict("crash", False, name, base=self._base)

    @property
    def pid(self) -> int | None:
        """The number of the child, None between two."""
        return self._child.pid if self._child is not None else None

    def _start(self) -> subprocess.Popen[bytes]:
        self._child = child = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.child"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.started, self._left = self.started + 1, b""
        hello = self._line(child, START_SECONDS)
        assert isinstance(hello, dict), f"the guarded process did not start: {hello}"
        self._base = hello["base"]
        return child

    def _line(self, child: subprocess.Popen[bytes], seconds: float) -> dict[str, Any] | str:
        """The next answer; `hang` when there is none in time, `crash` when the child is gone."""
        assert child.stdout is not None
        while b"\n" not in self._left:
            ready, _, _ = select.select([child.stdout], [], [], seconds)
            if not ready:
                return "hang"
            more = os.read(child.stdout.fileno(), 1 << 16)
            if not more:
                return "crash"
            self._left += more
        line, _, self._left = self._left.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _end(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            for pipe in (self._child.stdin, self._child.stdout):
                if pipe is not None:
                    with suppress(BrokenPipeError):  # a question that nobody will read
                        pipe.close()
            self._child = None
