"""The guarded process: takes paths on stdin, opens each as the product does, and answers what came of it.

`python -m tests.fuzz.child` under the limits of `tests.fuzz.guard`. One line of JSON in, one line out.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import traceback
from pathlib import Path

from configs.errors import VideoError
from configs.job import InputConfig
from flows.library.room import working_bytes
from tasks.video.frames import FrameReader
from tasks.video.index import build_index
from tasks.video.source import probe

# as a user runs it, and as one does who wants whatever can be had
CHOICES = (InputConfig(), InputConfig(damaged="keep", interlaced="deinterlace", hdr="tonemap"))
ADDRESS_SPACE = 6 << 30


def attempt(path: Path, choice: int) -> str:
    """Estimate as a library does, probe, index, read the first and last frames back; `clip`, or raises."""
    limits = CHOICES[choice]
    assert working_bytes(str(path)) >= 0
    facts = probe(str(path), limits)
    index = build_index(path, facts, limits)
    with FrameReader(path, facts, index) as reader:
        reader.read(0, min(2, index.frames))
        reader.read(index.frames - 1, index.frames)
    return "clip"


def answer(path: Path, choice: int) -> dict[str, object]:
    """What `attempt` came to: `ended`, the class or `clip`; `ours`, whether that is an end we promise."""
    forget_peak()
    began = time.perf_counter()
    ended, ours, said = "clip", True, ""
    try:
        attempt(path, choice)
    except VideoError as error:
        ended, said = type(error).__name__, str(error)
        ours = "\n" not in said and path.name in said
    except BaseException as error:
        ended, ours, said = type(error).__name__, False, traceback.format_exc()[-1500:]
    return {"ended": ended, "ours": ours, "said": said, "seconds": time.perf_counter() - began, "peak": peak()}


def peak() -> int:
    """The most memory held since `forget_peak`, bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def forget_peak() -> None:
    """Begin a new peak, where the kernel lets us; otherwise it is the peak since the start."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def main() -> None:
    """Answer until stdin ends; stdout is for answers only, whatever a library prints."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers.write(json.dumps({"base": peak()}) + "\n")
    for line in sys.stdin:
        asked = json.loads(line)
        answers.write(json.dumps(answer(Path(asked["path"]), asked["choice"])) + "\n")


if __name__ == "__main__":
    main()
