"""docs/scale.md from what was measured and simulated; every figure comes from the run that writes it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tests.benchmarks.scale_model.plants import GPUS, VIDEOS, WANTED, Scenario, enough
from tests.benchmarks.scale_model.services import Services
from tests.benchmarks.scale_model.simulate import Simulated

if TYPE_CHECKING:
    from tests.benchmarks.scale_model.measure import Measured

HEAD = """\
# Scale: what 64 GPUs would do with 1000 videos

Written by `python -m tests.benchmarks.scale_model`; nothing below was typed in. Real libraries ran with the `dry` model
(a model call is a sleep) on {gpus} logical GPUs of a local Ray, behind a real Prefect server, through the library flow.
Service times are least-squares fits of what their manifests say; the discrete-event model (simpy) follows the flow:
videos in flight, gangs lent first come first served, one driver process whose cores everything else shares.
"""

LIMITS = """\
## What this does not say

- The clips are {width}x{height}. Decoding, correspondence and encoding of larger pictures take longer, so the driver's
  share is a floor; learn your own from `steadyframe plan` on a store with history, which reads the same manifests.
- Calls of a real model vary, the sleep does not. Loading of models, network and object stores are not in it.
- A driver of the large library has cores like this machine's: {cores:g} of them by the fit.
"""


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def fitted(services: Services) -> str:
    """The fitted service times."""
    rows = [
        [name, f"{line.base:.3f}", f"{line.slope:.4f}", unit]
        for name, line, unit in (
            ("probe + decode", services.before, "frame"),
            ("condition", services.condition, "window"),
            ("correspond", services.correspond, "frame"),
            ("denoise, beside its model calls", services.denoise, "window"),
            ("encode + evaluate + report", services.after, "frame"),
        )
    ]
    rows.append(["flow (no stage accounts for it)", f"{services.flow:.3f}", "-", "video"])
    rows.append(["flow, waiting off the cores", f"{services.idle:.3f}", "-", "video"])
    return (
        "## Fitted service times\n\n"
        + table(["work on cores", "seconds per video", "seconds more per unit", "unit"], rows)
        + f"\nModel calls: {services.delay:g} s each, {services.steps} steps. Workers do "
        f"{100 * services.on_workers:.0f} % of what conditions and denoising take beside the calls, the driver the "
        "rest. Work of "
        f"{services.cores:.2f} videos fits on the cores at once (fitted on the run with many in flight).\n"
    )


def compared(rows: Sequence[tuple[str, Measured, Simulated]]) -> str:
    """Prediction against reality."""
    lines = []
    for name, real, model in rows:
        s, frames = real.setting, [v.frames for v in real.videos]
        error = model.makespan / real.makespan - 1
        lines.append(
            [
                name,
                f"{len(frames)} of {min(frames)}-{max(frames)}",
                f"{s.gpus // s.gang} x {s.gang}",
                s.in_flight,
                f"{real.makespan:.1f}",
                f"{model.makespan:.1f}",
                f"{100 * error:+.1f} %",
                f"{100 * real.busy:.1f} %",
                f"{100 * model.busy:.1f} %",
            ]
        )
    head = ["run", "videos, frames", "gangs", "in flight", "real, s", "model, s", "error", "real busy", "model busy"]
    return "## The model against real runs\n\n" + table(head, lines)


def at_scale(found: Scenario, rows: Sequence[Simulated]) -> str:
    """One scenario of the large library."""
    lines = []
    for run in rows:
        plant, t = run.plant, run.tally
        waits = {"a gang": t.for_gang, "the driver's cores": t.for_cores}
        lines.append(
            [
                plant.drivers,
                plant.gang,
                plant.in_flight,
                f"**{100 * run.busy:.1f} %**" if run.busy >= WANTED else f"{100 * run.busy:.1f} %",
                f"{run.makespan / 3600:.2f}",
                f"{run.makespan / run.bound:.3f}",
                f"{100 * run.cores_busy:.0f} %",
                f"{t.for_gang / VIDEOS:.1f}",
                f"{t.for_cores / VIDEOS:.1f}",
                max(waits, key=lambda name: waits[name]),
            ]
        )
    head = [
        "drivers", "gang", "in flight each", "GPUs busy", "hours", "makespan / bound", "driver cores busy",
        "wait for gang, s a video", "wait for cores, s a video", "queue forms at",
    ]  # fmt: skip
    best = enough(rows)
    told = (
        f"At least {100 * WANTED:.0f} % busy: {best.plant.drivers} driver(s), gangs of {best.plant.gang}, "
        f"{best.plant.in_flight} videos in flight each."
        if best
        else f"No layout tried reaches {100 * WANTED:.0f} %."
    )
    return (
        f"### Model calls of {found.services.delay:g} s\n\n"
        f"A GPU second costs a driver {found.driver_per_gpu:.3f} s on its cores: {found.least_drivers:.1f} drivers are "
        f"the least that could keep {GPUS} GPUs {100 * WANTED:.0f} % busy. {told}\n\n" + table(head, lines)
    )
