"""`classify`: which class of failure an exception is, through the chain of what caused it."""

from __future__ import annotations

import errno
import importlib
from typing import get_args

import av.error
import pytest

from configs import errors
from tasks.failure import ACTIONS, CLASSES, FailureClass, causes, classify, ends_all, lasts
from tasks.store import TornArtifact


def caused(error: BaseException, *inner: BaseException) -> BaseException:
    """`error` raised from the first of `inner`, which was raised from the next."""
    for outer, cause in zip((error, *inner), inner, strict=False):
        outer.__cause__ = cause
    return error


class Busy(Exception):
    """An error of a storage client with its HTTP status where botocore puts it."""

    def __init__(self, status: int) -> None:
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}}


def ray_task_error(cause: Exception) -> Exception:
    from ray.exceptions import RayTaskError

    return RayTaskError("step", "traceback", cause)


CASES: list[tuple[str, BaseException, FailureClass]] = [
    ("a connection that broke", ConnectionResetError("gone"), "transient"),
    ("a time-out", TimeoutError(), "transient"),
    ("an I/O error of a disk", OSError(errno.EIO, "eio"), "transient"),
    ("S3 asks to slow down, as s3fs says it", OSError(errno.EBUSY, "SlowDown"), "transient"),
    ("S3's internal error, as s3fs says it", OSError(errno.EREMOTEIO, "InternalError"), "transient"),
    ("HTTP 503", Busy(503), "transient"),
    ("HTTP 429", Busy(429), "transient"),
    ("a store behind a broken network", caused(errors.StoreError("s3"), ConnectionRefusedError()), "transient"),
    (
        "two refusals around a passing fault",
        caused(errors.UnreadableVideo("u"), errors.StoreError("s"), OSError(errno.ETIMEDOUT, "t")),
        "transient",
    ),
    ("a fault of ours because of a broken network", caused(RuntimeError("x"), ConnectionError()), "transient"),
    ("a full disk", caused(errors.StoreError("no space"), OSError(errno.ENOSPC, "full")), "config"),
    ("a full disk nobody wrapped", OSError(errno.ENOSPC, "full"), "config"),
    ("a forbidden folder", PermissionError(errno.EACCES, "no"), "config"),
    ("HTTP 403 behind the store", caused(errors.StoreError("s3"), Busy(403)), "config"),
    ("missing weights", errors.WeightsError("none"), "config"),
    ("no such device", errors.DeviceError("cuda"), "config"),
    ("a worker lost", errors.WorkerLost("5 times"), "lost"),
    ("a lease taken over", errors.LeaseLost("newer"), "lost"),
    ("an artifact gone", TornArtifact("gone"), "lost"),
    ("stopped by the user", errors.Interrupted("stop"), "lost"),
    ("no room on the device", errors.OutOfMemory("full"), "oom"),
    ("no room on the host", MemoryError(), "oom"),
    ("not a video", errors.UnreadableVideo("text"), "poison"),
    ("damaged", errors.DamagedVideo("torn"), "poison"),
    ("too large", errors.VideoTooLarge("8k"), "poison"),
    ("asked for what it does not have", errors.VideoConfigError("shots.2"), "poison"),
    ("NaN in latents", errors.NumericsError("nan"), "poison"),
    ("anything else", KeyError("x"), "bug"),
    ("an unknown number of the system", OSError(errno.EINVAL, "?"), "bug"),
    ("HTTP 400", Busy(400), "bug"),
]


@pytest.mark.parametrize(("error", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_class(error: BaseException, expected: FailureClass) -> None:
    assert classify(error) == expected


def test_every_class_has_an_action_and_a_case() -> None:
    assert set(ACTIONS) == set(get_args(FailureClass)) == {case[2] for case in CASES}


def test_every_name_of_the_table_is_an_exception_of_that_library() -> None:
    for name in CLASSES:
        module, _, cls = name.rpartition(".")
        if module in ("botocore.exceptions", "aiohttp.client_exceptions"):
            pytest.importorskip(module)
        found = getattr(importlib.import_module(module), cls)
        assert issubclass(found, BaseException), name
        assert f"{found.__module__}.{found.__qualname__}" in (name, name.replace("httpx.", "httpx._exceptions.")), name


def test_what_ffmpeg_says_of_bytes_is_no_fault_of_a_disk() -> None:
    import av.error

    inside = av.error.OSError(errno.EIO, "Input/output error", "x.mp4")
    assert classify(caused(errors.UnreadableVideo("x.mp4"), inside)) == "poison"


def test_ray_and_torch_are_recognised_through_what_they_wrap() -> None:
    import torch
    from ray import exceptions as ray

    assert classify(ray.ActorDiedError()) == "lost"
    assert classify(ray_task_error(ray.ActorDiedError())) == "lost"
    assert classify(ray_task_error(errors.NumericsError("nan"))) == "poison"
    assert classify(ray.GetTimeoutError("late")) == "lost"
    assert classify(ray.OutOfMemoryError("node")) == "oom"
    assert classify(torch.OutOfMemoryError("cuda")) == "oom"
    assert classify(caused(errors.DeviceError("a worker could not start"), ray.ActorDiedError())) == "config"


def test_a_chain_that_bites_its_tail_ends() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert list(causes(first)) == [first, second]
    assert classify(first) == "bug"


@pytest.mark.parametrize(
    ("error", "all_of_them"),
    [
        (errors.ConfigError("tau"), True),
        (errors.DeviceError("cuda"), True),
        (errors.WeightsError("none"), True),
        (caused(errors.StoreError("no space"), OSError(errno.ENOSPC, "full")), True),
        (caused(errors.StoreError("over quota"), OSError(errno.EDQUOT, "quota")), True),
        (caused(errors.StoreError("read only"), OSError(errno.EROFS, "ro")), True),
        (caused(errors.StoreError("s3 says no"), PermissionError("denied")), True),  # s3fs gives no number
        (caused(errors.UnreadableVideo("no room to fetch it"), OSError(errno.ENOSPC, "full")), True),
        (caused(errors.StoreError("s3"), ConnectionRefusedError()), False),
        (errors.StoreError("a name of its own"), False),
        (caused(errors.UnreadableVideo("may not be read"), PermissionError(errno.EACCES, "no")), False),
        (errors.VideoConfigError("shots.2"), False),
        (errors.PlanError("this shot is too long"), False),
        (KeyError("x"), False),
    ],
)
def test_what_ends_one_video_ends_the_library_only_where_it_would_end_all(
    error: BaseException, all_of_them: bool
) -> None:
    assert ends_all(error) == all_of_them


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (errors.UnreadableVideo("empty"), True),
        (errors.VideoConfigError("shots.2"), True),
        (errors.NumericsError("nan"), True),
        (caused(errors.UnreadableVideo("no video"), av.error.InvalidDataError(1094995529, "Invalid data")), True),
        (caused(errors.UnreadableVideo("too short to map"), ValueError("mmap")), True),
        (caused(errors.UnreadableVideo("may not be read"), PermissionError(errno.EACCES, "no")), False),
        (caused(errors.UnreadableVideo("no room to fetch it"), OSError(errno.ENOSPC, "full")), False),
        (caused(errors.UnreadableVideo("no credentials"), Busy(403)), False),
        (caused(errors.UnreadableVideo("away"), ConnectionRefusedError()), False),
        (errors.StoreError("full"), False),
        (KeyError("x"), False),
    ],
)
def test_only_what_the_file_itself_ended_would_end_so_again(error: BaseException, again: bool) -> None:
    assert lasts(error) == again
