"""The failure classes: what kind of fault an exception is, and what is done about it.

`ACTIONS` is the rule and its documentation; `CLASSES` says which exception means what, by name, so that neither Ray
nor a storage back end is imported to be recognised. The classes are about the *next* thing to do, not about blame.
Acts on nothing: retries, recovery and dead letters live with those who own the work. Knows no flow engine.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from configs.errors import ConfigError, DeviceError, StoreError, WeightsError

FailureClass = Literal["transient", "lost", "oom", "config", "poison", "bug"]


@dataclass(frozen=True)
class Action:
    """What is done first about a class of failure, and what when that is used up; `where` is the code that does it."""

    means: str
    first: Literal["retry", "recover", "step down", "fail fast", "dead letter"]
    then: Literal["dead letter", "stop"]
    where: str


ACTIONS: Mapping[FailureClass, Action] = MappingProxyType(
    {
        "transient": Action(
            means="storage or network did not answer, or asked for patience: the same again soon may work",
            first="retry",
            then="dead letter",
            where="flows.video.in_task: the stage again after growing, jittered delays",
        ),
        "lost": Action(
            means="a worker, its machine, a lease or an artifact went away, or somebody stopped the run",
            first="recover",
            then="dead letter",
            where="tasks.engine: every shard restores the newest commit; a budget of deaths without progress",
        ),
        "oom": Action(
            means="a model call did not fit its device, or the host ran out of memory",
            first="step down",
            then="dead letter",
            where="tasks.pipeline.render: the shot again on the next lower memory rung",
        ),
        "config": Action(
            means="a bad argument, missing weights, no such device, a store that is full or forbidden",
            first="fail fast",
            then="stop",
            where="flows.api: before the first frame; in a library: `ends_all`, else dead letter",
        ),
        "poison": Action(
            means="this video cannot be done: undecodable, damaged, refused, too large, without what the job asks "
            "of it, or NaN in its latents",
            first="dead letter",
            then="dead letter",
            where="flows.dead: no retry, other videos go on, `steadyframe replay` after the repair",
        ),
        "bug": Action(
            means="anything else: a fault of ours",
            first="dead letter",
            then="dead letter",
            where="flows.dead: with traceback and inputs, so that a replay shows it again",
        ),
    }
)

# full name of an exception class -> what it means; subclasses follow unless they are named themselves
CLASSES: Mapping[str, FailureClass] = MappingProxyType(
    {
        "configs.errors.ConfigError": "config",
        "configs.errors.VideoError": "poison",
        "configs.errors.VideoConfigError": "poison",
        "configs.errors.NumericsError": "poison",
        "configs.errors.OutOfMemory": "oom",
        "configs.errors.WorkerLost": "lost",
        "configs.errors.LeaseLost": "lost",
        "configs.errors.Interrupted": "lost",
        "tasks.store.blobs.TornArtifact": "lost",
        "tasks.store.lease.LeaseHeld": "transient",
        "builtins.KeyboardInterrupt": "lost",
        "builtins.MemoryError": "oom",
        "builtins.TimeoutError": "transient",
        "builtins.ConnectionError": "transient",
        "torch.OutOfMemoryError": "oom",
        "ray.exceptions.OutOfMemoryError": "oom",
        "ray.exceptions.RayActorError": "lost",
        "ray.exceptions.WorkerCrashedError": "lost",
        "ray.exceptions.NodeDiedError": "lost",
        "ray.exceptions.LocalRayletDiedError": "lost",
        "ray.exceptions.ObjectLostError": "lost",
        "ray.exceptions.GetTimeoutError": "lost",
        "ray.exceptions.TaskPlacementGroupRemoved": "lost",
        "ray.exceptions.ActorPlacementGroupRemoved": "lost",
        "botocore.exceptions.ConnectionError": "transient",
        "botocore.exceptions.HTTPClientError": "transient",
        "aiohttp.client_exceptions.ClientConnectionError": "transient",
        "aiohttp.client_exceptions.ClientPayloadError": "transient",
        "aiohttp.client_exceptions.ClientResponseError": "poison",
        "httpx.TransportError": "transient",
    }
)
_PASSING = {
    *(errno.EIO, errno.EAGAIN, errno.EBUSY, errno.ESTALE, errno.ETIMEDOUT, errno.EINTR),
    getattr(errno, "EREMOTEIO", errno.EIO),  # what s3fs makes of InternalError and 500
}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
_NO_PLACE = {*_FULL, errno.EACCES, errno.EPERM}
_FOR_ALL = (ConfigError, DeviceError, WeightsError)  # these themselves: a VideoConfigError concerns one video
_REFUSALS = ("config", "poison")
_BUSY_STATUS = {408, 425, 429}
_MEDIA = "av.error.FFmpegError"  # an OSError too, but its numbers speak of the file's bytes, not of a disk


def classify(error: BaseException) -> FailureClass:
    """Say which class of failure an exception is, by what caused it (`raise ... from`, and Ray's `cause`).

    The outermost exception that is known decides; only a refusal (`config`, `poison`) that a passing fault of
    storage or network caused is `transient`. What nothing in the chain explains is a `bug`.
    """
    found = [known for link in causes(error) if (known := _of_one(link)) is not None]
    if not found:
        return "bug"
    below = next((known for known in found if known not in _REFUSALS), None)
    return "transient" if found[0] in _REFUSALS and below == "transient" else found[0]


def ends_all(error: BaseException) -> bool:
    """Whether what ended one video would end every other of its library: no weights, no device, bad settings, no place.

    A disk that is full is full for all, whoever met it; what may not be written only where the store says it.
    """
    if type(error) in _FOR_ALL:
        return True
    forbidden = isinstance(error, StoreError)
    numbers = [(link.errno, isinstance(link, PermissionError)) for link in causes(error) if isinstance(link, OSError)]
    return any(number in _FULL or (forbidden and denied) for number, denied in numbers)


def lasts(error: BaseException) -> bool:
    """Whether the same file and job would end so again: nothing but the file's own bytes had a part in it.

    A disk, a network or a permission behind a refusal may be mended without the file being touched.
    """
    return classify(error) == "poison" and all(
        _of_one(link) == "poison" or isinstance(link, ValueError) or (_of_one(link) is None and _is_media(link))
        for link in causes(error)
    )


def causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and what it was raised from, outermost first; each once."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        inner = getattr(link, "cause", None)  # a RayTaskError carries what its task raised there
        link = link.__cause__ or (inner if isinstance(inner, BaseException) else None)


def _of_one(error: BaseException) -> FailureClass | None:
    """What one exception says by itself: HTTP status, then its class, then the number of the system's error."""
    names = _names(error)
    status = _http_status(error)
    if status is not None and (status in _BUSY_STATUS or status >= 500):
        return "transient"
    for name in names:
        if name in CLASSES:
            return CLASSES[name]
    if isinstance(error, OSError) and not _is_media(error):
        return "transient" if error.errno in _PASSING else "config" if error.errno in _NO_PLACE else None
    return None


def _names(error: BaseException) -> list[str]:
    return [f"{cls.__module__}.{cls.__qualname__}" for cls in type(error).__mro__]


def _is_media(error: BaseException) -> bool:
    return _MEDIA in _names(error)


def _http_status(error: BaseException) -> int | None:
    """The HTTP status that httpx, aiohttp and botocore errors carry, each in its own place."""
    answer: Any = getattr(error, "response", None)
    meta = answer.get("ResponseMetadata", {}) if isinstance(answer, dict) else {}
    places = (getattr(error, "status", None), getattr(answer, "status_code", None), meta.get("HTTPStatusCode"))
    return next((place for place in places if isinstance(place, int)), None)
