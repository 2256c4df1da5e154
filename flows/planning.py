"""Planning a job: what each of its videos takes, and all of them together; decodes nothing, computes nothing.

The forecast of one video is `tasks.forecast`'s; what is shown of it, and where, is a command's.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from configs.job import ModelConfig, RestyleJob
    from tasks.correspond_forecast import PairForecast
    from tasks.engine.pool import EnginePool, ModelFacts
    from tasks.foreseen import Forecast
    from tasks.history import History
    from tasks.store import Store
    from tasks.video.facts import ClipFacts, ClipIndex


@dataclass(frozen=True)
class VideoPlan:
    """What one video takes; `shots` and `windows` are lower bounds until `shots_known` (found while decoding).

    `bytes` are latents committed per step, `seconds` the time to denoise, `basis` where that figure comes from;
    `correspondence` is what matching the frames takes; `forecast` is all of it, stage by stage.
    """

    source: str
    frames: int
    width: int
    height: int
    working_width: int
    working_height: int
    shots: int
    shots_known: bool
    windows: int
    steps: int
    window_steps: int
    deflicker_steps: tuple[int, ...]
    bytes: int
    seconds: float
    basis: str
    correspondence: PairForecast
    forecast: Forecast

    def as_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        from tasks.foreseen import rows

        low, high = self.forecast.range
        foreseen = {
            "seconds": self.forecast.seconds,
            "low": low,
            "high": high,
            "bytes": self.forecast.bytes,
            "gpu_seconds": self.forecast.gpu_seconds,
            "opening": self.forecast.opening,
            "basis": self.forecast.basis,
            "stages": rows(self.forecast)[:-1],
        }
        return {**asdict(self), "forecast": foreseen}


def plan_video(job: RestyleJob, uri: str, store: Store, engines: EnginePool, history: History) -> VideoPlan:
    """Plan one video from its header, and from its decode pass where the store has that. Errors: VideoError."""
    from models.methods.restyle import deflicker_steps, run_length
    from tasks.correspond_forecast import forecast as forecast_pairs
    from tasks.forecast import forecast_video
    from tasks.matcher import device_of
    from tasks.video.frames import working_size
    from tasks.video.source import probe

    facts = probe(_located(uri), job.input)
    index = decoded_index(store, facts, job)
    first, last = job.input.frames or (0, facts.frames)
    frames = index.frames if index else max(0, min(last, facts.frames) - first)
    shots = index.shots if index else ((0, frames),)
    model = engines.facts(job.model)
    height, width = working_size(facts, job.working_size, model.size_multiple)
    windows = sum(math.ceil((stop - start) / job.window.size) for start, stop in shots)
    steps = run_length(job)
    matched = shots if deflicker_steps(job) or job.deflicker.filters_after else ()
    digests = index.digests if index else None
    foreseen = forecast_video(job, facts, index, store, engines=engines, history=history)
    denoising = [stage for stage in foreseen.stages if stage.stage == "denoise"]
    return VideoPlan(
        source=uri,
        frames=frames,
        width=facts.width,
        height=facts.height,
        working_width=width,
        working_height=height,
        shots=len(shots),
        shots_known=index is not None,
        windows=windows,
        steps=steps,
        window_steps=windows * steps,
        deflicker_steps=deflicker_steps(job),
        bytes=_latent_bytes(job, model, frames, height, width),
        seconds=sum(stage.seconds for stage in denoising),
        basis=denoising[0].basis,
        correspondence=forecast_pairs(
            store,
            job.deflicker,
            matched,
            (height, width),
            job.window.size,
            digests,
            history.matched(store),
            device_of(engines),
        ),
        forecast=foreseen,
    )


def totals(plans: Sequence[VideoPlan], history: History, now: dt.datetime) -> dict[str, Any]:
    """What all videos take one after the other; `beside` are the seconds of a job that no stage accounts for."""
    if not plans:
        return {}
    fresh = any(stage.status == "computed" for video in plans for stage in video.forecast.stages)
    opening = max(video.forecast.opening for video in plans)  # workers are opened once and stay warm
    spared = sum(video.forecast.opening for video in plans) - opening
    beside = history.beside(len(plans))
    ranges = [video.forecast.range for video in plans]
    seconds = sum(video.forecast.seconds for video in plans) - spared + beside
    return {
        "seconds": seconds,
        "low": sum(low for low, _ in ranges) - spared + beside,
        "high": sum(high for _, high in ranges) - spared + beside,
        "beside": beside,
        "bytes": sum(video.forecast.bytes for video in plans),
        "gpu_seconds": sum(video.forecast.gpu_seconds for video in plans),
        "finish": (now + dt.timedelta(seconds=seconds)).isoformat(timespec="seconds"),
        "reused": not fresh,
    }


def planned_pool(store_url: str, workers: int | None, device: str) -> EnginePool:
    """The engines the job would get, never opened; a model that is not on this machine stays unknown."""
    from configs.pins import BUILT_IN
    from flows.resources import default_workers
    from tasks.engine.pool import EnginePool, ModelFacts
    from tasks.numerics import numerics_class

    class Planned(EnginePool):
        """Describes models from their files where those are here."""

        def facts(self, model: ModelConfig) -> ModelFacts:
            if model.path in BUILT_IN or Path(model.path).is_dir():
                return super().facts(model)
            # it may be gigabytes elsewhere: taken for a Stable Diffusion 1, and nothing of it is found in the store
            return ModelFacts(f"not here: {model.path}", 64, numerics_class(model, "cpu"))

    return Planned(store_url, default_workers() if workers is None else workers, device)


def _located(uri: str) -> str:
    from flows.sources import DEMO

    if uri != DEMO:
        return uri
    from flows.demo import demo_clip

    return str(demo_clip())


def decoded_index(store: Store, facts: ClipFacts, job: RestyleJob) -> ClipIndex | None:
    """The decode pass of these bytes, if the store has one made with the same choices."""
    from tasks.decode import decode_key
    from tasks.probe import probe_key
    from tasks.video.facts import ClipIndex

    probed = {"stage": "probe", "key": probe_key(job.input, facts.digest).key}
    manifest = store.lookup(decode_key(job.input, probed))
    return ClipIndex.model_validate_json(store.read_part(manifest, "index.json")) if manifest else None


def _latent_bytes(job: RestyleJob, model: ModelFacts, frames: int, height: int, width: int) -> int:
    """Bytes of latents committed per step."""
    values = frames * model.latent_channels * (height // model.factor) * (width // model.factor)
    return values * (4 if job.model.dtype == "float32" else 2)
