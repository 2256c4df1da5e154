"""How a finished file gets to its place: whole or not at all, with errors that name the place.

Knows folders and error numbers; knows nothing of video but whose errors are FFmpeg's.
"""

from __future__ import annotations

import errno
import glob
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av.error
import psutil

from configs.errors import StoreError, UnsupportedVideo
from tasks.video.container import reason

_STORAGE = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.EIO,
        errno.ENOENT,
        errno.ENOTDIR,
    }
)


def settle(path: Path) -> None:
    """Make the bytes of a file, or the names in a folder, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def temporary_for(dst: Path) -> Path:
    """A name beside `dst` of this process; what killed processes of this machine left there is removed."""
    mine = f".{dst.name}.{platform.node()}."
    for old in dst.parent.glob(f"{glob.escape(mine)}*.part"):
        pid = old.name.removeprefix(mine).removesuffix(".part")
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            old.unlink(missing_ok=True)
    return dst.parent / f"{mine}{os.getpid()}.part"


class FramesFailed(Exception):
    """An error of whoever makes the frames, carried past the handlers for errors of the place."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


@contextmanager
def landing(dst: Path, temporary: Path) -> Iterator[None]:
    """Errors of the place become StoreError, those of the encoder UnsupportedVideo; no half file stays."""
    try:
        yield
    except FramesFailed as error:
        raise error.cause from None
    except (OSError, av.error.FFmpegError) as error:
        if error.errno in _STORAGE:
            raise StoreError(
                f"{dst}: cannot be written ({reason(error)}); check space and permissions of {dst.parent}"
            ) from error
        if isinstance(error, av.error.FFmpegError):
            raise UnsupportedVideo(
                f"{dst}: the encoder, or a track of the source to be copied, was refused ({reason(error)}); "
                "choose another output.codec or output.container"
            ) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)
