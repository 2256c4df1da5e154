"""The one exception tree of Steadyframe: every error a user can meet, with the exit code it means.

A message names the thing, the value and the fix. This file knows no stage and no library.
"""

from __future__ import annotations

from configs.redact import redact


class SteadyframeError(Exception):
    """Base of everything we raise on purpose; `exit_code` is what a command line that dies of it returns.

    Its message never holds a secret: it is printed, logged, stored and shown, by us and by others.
    """

    exit_code = 1

    def __init__(self, *args: object) -> None:
        super().__init__(*(redact(arg) if isinstance(arg, str) else arg for arg in args))


class ConfigError(SteadyframeError):
    """A bad argument, setting, preset or job file: nothing could start."""

    exit_code = 2


class WeightsError(ConfigError):
    """Model files are missing, of the wrong format (a pickle), or do not fit together."""


class DeviceError(ConfigError):
    """The device or the number of workers asked for is not there."""


class StoreError(ConfigError):
    """The store cannot be opened, read or written (permissions, no space, `memory://` shared by processes)."""


class PlanError(ConfigError):
    """The work as planned cannot fit (a whole-shot correction larger than a device, a window of no frames)."""


class VideoError(SteadyframeError):
    """This one video cannot be processed; others go on. Exit code 2 when it was the only one, else 3."""

    exit_code = 2


class UnreadableVideo(VideoError):
    """Missing, not a video, without a video stream, or without one decodable frame."""


class DamagedVideo(VideoError):
    """Truncated or corrupt in the middle."""


class UnsupportedVideo(VideoError):
    """Readable, but of a kind we refuse with a sentence (HDR without a choice, interlaced, size change)."""


class VideoTooLarge(VideoError):
    """Over a limit on pixels, frames, duration or bytes, checked before decoding."""


class VideoConfigError(ConfigError, VideoError):
    """The job asks of this one video what it does not have (a second shot, frames beyond its end); others go on."""


class WorkerLost(SteadyframeError):
    """Workers died more often than the recovery budget allows without progress."""


class OutOfMemory(SteadyframeError):
    """A model call did not fit the device; the shot starts again on a lower memory rung, if there is one."""


class NumericsError(SteadyframeError):
    """A NaN or Inf appeared in latents: the result would be garbage, so it is not written."""


class LeaseLost(SteadyframeError):
    """Another run took over this key; what we computed since is not committed."""


class Interrupted(SteadyframeError):
    """The user or the system asked to stop; committed work stays and the same command resumes."""

    exit_code = 130


class BudgetReached(Interrupted):
    """What comes next would pass the job's budget, so it was not begun; all before it is kept and resumes."""


class Rejected(Interrupted):
    """Somebody looked at the preview and did not want the rest."""
