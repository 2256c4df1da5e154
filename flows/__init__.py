"""Prefect flows and the command line, thin glue over `tasks`; and the Python API of Steadyframe.

    import flows
    result = flows.restyle("clip.mp4", style="watercolor", out="results")

Each function does what the command of its name does and returns the object that `--json` prints: `result.status`,
`result.outputs`, `result.to_dict()`. Errors of the arguments are raised (`configs.errors.ConfigError`); what happens
to single videos is in the result. Importing this loads no library: that happens in the first call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.commands.outcome import Outcome
    from flows.library.ends import LibraryResult
    from flows.replaying import ReplayResult
    from flows.result import JobResult
    from tasks.run import Progress

__all__ = ["deflicker", "plan", "replay", "restyle", "restyle_library"]

Path = str | PathLike[str]
Observer = Callable[["Progress"], None]


def restyle(
    sources: Path | Sequence[Path],
    *,
    style: str | None = None,
    prompt: str | None = None,
    out: Path | None = None,
    preset: str | None = None,
    config: Path | None = None,
    store: str | None = None,
    workers: int | None = None,
    device: str | None = None,
    observe: Observer | None = None,
    **settings: Any,
) -> JobResult:
    """Restyle videos by text and a named style; `sources` are files, folders, globs, URLs or `demo`.

    `settings` are keys of the job: `steps=4`, `seed=1`, `deflicker={"window": 1}`, `**{"output.crf": 20}`. `store`,
    `workers` (0: in this process) and `device` default to STEADYFRAME_*; `observe` is called with signs of life, from
    any thread. Errors: ConfigError when nothing could start.
    """
    from flows import api
    from flows.keywords import restyle_job

    job = restyle_job(sources, style, prompt, out, preset, config, settings)
    return api.restyle(job, **_resources(store, workers, device, observe))


def deflicker(
    source: Path | None = None,
    *,
    guide: Path,
    keyframes: Sequence[Path] = (),
    out: Path | None = None,
    config: Path | None = None,
    store: str | None = None,
    workers: int | None = None,
    device: str | None = None,
    observe: Observer | None = None,
    **settings: Any,
) -> JobResult:
    """Steady `source`, a video made from `guide` by any tool, or fill in between `keyframes` of the guide.

    Keyframes are pictures (`key_000012.png`, `12=any.png`) or folders of them. The rest as in `restyle`.
    """
    from configs.deflicker_job import build_deflicker_job
    from flows import api
    from flows.keywords import as_sets, as_text, as_texts

    flags = {"source": as_text(source), "guide": as_text(guide), "out": as_text(out)}
    keys = {"keyframes": as_texts(keyframes)} if keyframes else {}
    job = build_deflicker_job(config if config is None else as_text(config), as_sets(settings), {**flags, **keys})
    return api.deflicker(job, **_resources(store, workers, device, observe))


def restyle_library(
    job: Path | None = None,
    *,
    sources: Path | Sequence[Path] = (),
    out: Path | None = None,
    store: str | None = None,
    workers: int | None = None,
    device: str | None = None,
    observe: Observer | None = None,
    **settings: Any,
) -> LibraryResult:
    """Restyle a library incrementally, as `steadyframe library` does: a YAML file of its keys, or `sources` and keys.

    Keys of the library (`max_in_flight`, `include`, `naming` ...) and of the videos' job may both be in `settings`.
    Not named `library`: `flows.library` is the module.
    """
    from flows import api
    from flows.keywords import library_job

    return api.library(library_job(job, sources, out, settings), **_resources(store, workers, device, observe))


def plan(
    sources: Path | Sequence[Path],
    *,
    style: str | None = None,
    prompt: str | None = None,
    preset: str | None = None,
    config: Path | None = None,
    store: str | None = None,
    **settings: Any,
) -> Outcome:
    """Say what `restyle` with the same arguments would do, and about how long it would take; computes nothing.

    `to_dict()` of what it returns has one row per video under `plans`, and their sum under `total`.
    """
    from flows.commands.plan import planned
    from flows.keywords import restyle_job

    return planned(restyle_job(sources, style, prompt, None, preset, config, settings), store)


def replay(
    job: str | None = None,
    *,
    classes: Sequence[str] = (),
    dry_run: bool = False,
    store: str | None = None,
    workers: int | None = None,
    device: str | None = None,
    observe: Observer | None = None,
) -> ReplayResult:
    """Run the dead videos of earlier jobs again, with exactly the inputs they died with; of one `job`, or of all.

    `classes` picks failure classes (transient, lost, oom, config, poison, bug); `dry_run` only lists. The result has
    one row per letter under `letters`.
    """
    from flows import replaying

    return replaying.replay(job, classes, dry_run, **_resources(store, workers, device, observe))


def _resources(store: str | None, workers: int | None, device: str | None, observe: Observer | None) -> dict[str, Any]:
    """The arguments that every function of `flows.api` takes."""
    from tasks.run import silent

    return {"store": store, "workers": workers, "device": device, "observe": observe or silent}
