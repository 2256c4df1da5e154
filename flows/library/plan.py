"""Which videos a library run is about, in which order, and the job of each; before anything is opened or computed.

A video that cannot be planned (not there, a bad sidecar) carries its error and the others go on. Reads names and
sidecars only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import ConfigError, SteadyframeError
from configs.job import RestyleJob
from configs.library import LibraryJob
from configs.library_layers import Sidecar, read_sidecar, video_job
from configs.naming import refuse_same_names, result_name
from flows.sources import DEMO, Source, expand, is_url

SIDECAR = ".yaml"
MOST_SIDECAR_BYTES = 256_000


@dataclass(frozen=True)
class Video:
    """One video of the library: its place in the listing, its own job, or why it has none."""

    number: int
    source: Source
    job: RestyleJob
    sidecar: Sidecar | None = None
    error: SteadyframeError | None = None
    priority: int = 0

    @property
    def uri(self) -> str:
        """Where it is."""
        return self.source.uri


def plan_videos(
    job: LibraryJob,
    expanded: Callable[[Sequence[str]], list[Source]] = expand,
    check: Callable[[RestyleJob], None] = lambda job: None,
) -> list[Video]:
    """Find the videos of a library: highest priority first, those of one model together, else as they are listed.

    `expanded` lists sources and `check` refuses jobs (deployments bring those that keep to their roots; a sidecar is
    checked as well). Errors: ConfigError for settings that make no job, for patterns that leave no video, and for two
    results of one name.
    """
    base = video_job(job)
    check(base)
    found = _outside_of(job.out, expanded(job.sources), set(job.sources))
    taken = [source for source in found if source.error is not None or job.wants(source.below)]
    if not taken:
        raise ConfigError(
            f"include and exclude leave none of the {len(found)} videos of {', '.join(job.sources)}; mend the patterns"
        )
    beside = _Sidecars()
    videos = [_planned(number, source, job, base, beside, check) for number, source in enumerate(taken)]
    named = [(v.uri, _name(v)) for v in videos if v.error is None]
    refuse_same_names(job.naming, named)
    models: dict[Any, int] = {}
    for video in videos:
        models.setdefault(video.job.model, len(models))  # a change of model costs its loading
    return sorted(videos, key=lambda video: (-video.priority, models[video.job.model], video.number))


def _planned(
    number: int,
    source: Source,
    job: LibraryJob,
    base: RestyleJob,
    beside: _Sidecars,
    check: Callable[[RestyleJob], None],
) -> Video:
    own = base.model_copy(update={"sources": (source.uri,)})
    priority = job.priority(source.below)
    if source.error is not None:
        return Video(number, source, own, error=source.error, priority=priority)
    try:
        sidecar = beside.of(source)
        if sidecar is not None:
            check(said := video_job(job, sidecar))
            own = said.model_copy(update={"sources": (source.uri,)})
    except SteadyframeError as error:
        return Video(number, source, own, error=error, priority=priority)
    return Video(number, source, own, sidecar, priority=priority)


def _name(video: Video) -> str:
    job = video.job
    named = {"style": job.style, "prompt": job.prompt}
    return result_name(job.naming, video.uri, video.source.relative, **named, key="", ext="", date="")


def _outside_of(out: str, sources: Sequence[Source], asked: set[str]) -> list[Source]:
    """Without results of ours: a library whose output folder lies inside its source would grow every night."""
    remote = out.rstrip("/") + "/" if is_url(out) else None
    folder = Path(out).expanduser().absolute().resolve()

    def ours(source: Source) -> bool:
        if source.uri in asked or source.error is not None or source.uri == DEMO:
            return False
        if remote is not None or is_url(source.uri):
            return remote is not None and source.uri.startswith(remote)
        return Path(source.uri).absolute().resolve().is_relative_to(folder)

    return [source for source in sources if not ours(source)]


class _Sidecars:
    """The files beside videos; an object store's folder is listed once, not asked about every name in it."""

    def __init__(self) -> None:
        self._listed: dict[str, set[str]] = {}

    def of(self, source: Source) -> Sidecar | None:
        """What the sidecar of a video says; None when there is none. Errors: ConfigError that names it."""
        if source.uri == DEMO:
            return None
        where = source.uri.removeprefix("file://") + SIDECAR
        text = self._remote(where) if is_url(where) else self._local(Path(where))
        return None if text is None else read_sidecar(text, where)

    def _local(self, path: Path) -> str | None:
        try:
            if not path.is_file():
                return None
            return self._text(path.read_bytes() if path.stat().st_size <= MOST_SIDECAR_BYTES else None, str(path))
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror or error}); mend or remove it") from error

    def _remote(self, uri: str) -> str | None:
        import fsspec

        try:
            fs, path = fsspec.core.url_to_fs(uri, use_listings_cache=False)
            folder = path.rsplit("/", 1)[0]
            if folder not in self._listed:
                self._listed[folder] = {name.rstrip("/").rsplit("/", 1)[-1] for name in fs.ls(folder, detail=False)}
            if path.rsplit("/", 1)[-1] not in self._listed[folder]:
                return None
            return self._text(fs.cat_file(path, start=0, end=MOST_SIDECAR_BYTES + 1), uri)
        except (NotImplementedError, FileNotFoundError):
            return None  # plain web servers list nothing: their videos have no sidecars
        except SteadyframeError:
            raise
        except Exception as error:  # storage back ends have errors of their own
            if uri.startswith(("http://", "https://")):
                return None
            raise ConfigError(f"{uri}: cannot be read ({error}); mend or remove it") from error

    @staticmethod
    def _text(data: bytes | None, named: str) -> str:
        if data is None or len(data) > MOST_SIDECAR_BYTES:
            raise ConfigError(f"{named}: is larger than {MOST_SIDECAR_BYTES} bytes, which no sidecar needs; mend it")
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            raise ConfigError(f"{named}: is not UTF-8 text; give a YAML file of job keys, or remove it") from None
