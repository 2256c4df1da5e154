"""A pipeline of the real shape that computes nothing: the stages of the product, in order, through the same `do`.

What a source does is in its name: `bad` cannot be read, `bug` is a fault of ours, `flaky` loses its connection once,
`reused` was all there before, `slow` takes a few seconds, `stopped` asks to stop, `endless` runs until stopped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

from configs.errors import Interrupted, UnreadableVideo
from tasks.ref import Ref
from tasks.run import Progress, Run, StageRecord, VideoOutput, VideoResult, WindowSteps

STAGES = [
    ("probe", ""),
    ("decode", ""),
    ("correspond", "shot 1"),
    ("condition", "shot 1"),
    ("denoise", "shot 1"),
    ("denoise", "shot 2"),
    ("encode", ""),
    ("evaluate", ""),
    ("report", ""),
]
METRICS = {
    "pixel_mse": 2.5,
    "seam_ratio": 1.04,
    "sharpness_ratio": 0.97,
    "fidelity_psnr": 27.4,
    "excess_flicker": 0.31,
    "arms": {"source": {"pixel_mse": 1.5, "pixel_mse_ci": [1.4, 1.6], "seam_ratio": 1.0}},
}


def restyle_video(run: Run, do: Callable[[str, str, Callable[[], Ref]], Ref]) -> VideoResult:
    name = Path(run.source).name
    calls: dict[tuple[str, str], int] = {}
    records = []
    for stage, part in STAGES:

        def work(stage: str = stage, part: str = part) -> Ref:
            calls[stage, part] = calls.get((stage, part), 0) + 1
            if stage == "probe" and "bad" in name:
                raise UnreadableVideo(f"{run.source}: not a video; check the file")
            if stage == "decode" and "bug" in name:
                raise ZeroDivisionError("a fault of ours")
            if stage == "condition" and "flaky" in name and calls[stage, part] == 1:
                raise ConnectionResetError("the store went away for a moment")
            if stage == "denoise":
                _denoise(run, name)
            status = "reused" if "reused" in name or stage in ("probe", "decode") else "computed"
            return Ref(stage=stage, key="ab" * 16, uri="x", digest="d", bytes=1234, status=status, seconds=0.5)

        ref = do(stage, part, work)
        records.append(
            StageRecord(source=run.source, stage=stage, key=ref.key, status=ref.status, seconds=0.5, bytes=1234)
        )
    out = Path(run.job.out)
    out.mkdir(parents=True, exist_ok=True)
    uri = out / f"{Path(name).stem}--watercolor.mp4"
    write_clip(uri, 160)
    output = VideoOutput(
        source=run.source, uri=str(uri), key="ab" * 16, frames=8, width=128, height=72, shots=2, audio=0,
        latents_digest="l", rgb_digest="r", metrics=METRICS, report=str(out / "report.html"),
    )  # fmt: skip
    steps = WindowSteps(total=20, computed=20)
    return VideoResult(output=output, stages=records, window_steps=steps, deflicker_steps=[5])


def _denoise(run: Run, name: str) -> None:
    if "stopped" in name:
        raise Interrupted("stopped at a commit")
    total = 20
    seconds = 5.0 if "slow" in name or "demo" in name else 600.0 if "endless" in name else 0.2

    def actor() -> None:  # engines report from threads of their own
        for done in range(total + 1):
            message = f"window-step {done} done" if done % 10 == 0 else ""
            run.observe(Progress(run.source, "denoise", done, total, message))
            deadline = time.monotonic() + seconds / total
            while time.monotonic() < deadline:
                time.sleep(0.02)
                if stop.is_set():
                    return

    stop = threading.Event()
    thread = threading.Thread(target=actor, daemon=True)
    try:
        thread.start()  # a signal may come before this returns
        while thread.is_alive():
            thread.join(0.05)
            if run.should_stop():
                raise Interrupted(f"{run.source}: stopped at a commit")
    finally:
        stop.set()
        if thread.ident is not None:
            thread.join()


def write_clip(path: Path, level: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width, stream.height, stream.pix_fmt = 128, 72, "yuv420p"
        for i in range(8):
            picture = np.full((72, 128, 3), level, np.uint8)
            picture[:, i * 8 : i * 8 + 40, 0] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
