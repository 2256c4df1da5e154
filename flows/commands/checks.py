"""The checks of `steadyframe doctor`: each looks at one thing and says what it found and what to do."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from configs.errors import SteadyframeError

_PACKAGES = ("steadyframe", "torch", "diffusers", "transformers", "prefect", "ray", "av", "pyarrow", "numba")
_CODECS = ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1")
_LITTLE_SPACE = 2 * 10**9


@dataclass(frozen=True)
class Check:
    """`ok`; `note`: works, worth knowing; `bad`: a job could not run."""

    name: str
    state: Literal["ok", "note", "bad"]
    found: str


def run_checks(store: str) -> list[Check]:
    """Run all checks; one that breaks is itself a finding."""
    groups: tuple[Callable[[], Iterator[Check]], ...] = (
        _versions,
        _devices,
        _codecs,
        _ports,
        _server,
        lambda: _store(store),
    )
    found: list[Check] = []
    for group in groups:
        try:
            found.extend(group())
        except Exception as error:  # a doctor who faints has still found something
            name = getattr(group, "__name__", "store").strip("_<>")
            found.append(Check(name, "bad", f"{type(error).__name__}: {error}"))
    return found


def _versions() -> Iterator[Check]:
    yield Check("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    for package in _PACKAGES:
        try:
            yield Check(package, "ok", metadata.version(package))
        except metadata.PackageNotFoundError:
            yield Check(package, "bad", "is not installed; pip install -c constraints.txt steadyframe")


def _devices() -> Iterator[Check]:
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Check("cpu", "ok", f"{cores} cores, torch uses {torch.get_num_threads()} threads outside jobs")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            device = torch.cuda.get_device_properties(index)
            yield Check(f"cuda:{index}", "ok", f"{device.name}, {device.total_memory / 2**30:.0f} GiB")
    else:
        built = f"torch is built for CUDA {torch.version.cuda}, no GPU seen" if torch.version.cuda else "a CPU build"
        yield Check("cuda", "note", f"not available ({built}); pocket runs on the CPU")


def _codecs() -> Iterator[Check]:
    import av

    missing = []
    for name in _CODECS:
        try:
            av.codec.Codec(name, "w")
        except (av.error.FFmpegError, ValueError):
            missing.append(name)
    library = ".".join(str(part) for part in av.library_versions["libavcodec"])
    state: Literal["bad", "note", "ok"] = "bad" if "libx264" in missing else "note" if missing else "ok"
    lacks = f", without {', '.join(missing)}" if missing else f", {', '.join(_CODECS)}"
    yield Check("ffmpeg in av", state, f"libavcodec {library}{lacks}")


def _ports() -> Iterator[Check]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        yield Check("loopback port", "ok", f"a free one can be had (tried {free.getsockname()[1]})")


def _server() -> Iterator[Check]:
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        if importlib.util.find_spec("prefect") is not None:
            yield Check("prefect server", "ok", "PREFECT_API_URL is not set; a local one is started when needed")
        return
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=5) as answer:
            healthy = answer.status == 200
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        yield Check("prefect server", "bad", f"PREFECT_API_URL={url} does not answer ({reason}); start or unset it")
        return
    yield Check("prefect server", "ok" if healthy else "bad", f"{url} answers")


def _store(url: str) -> Iterator[Check]:
    from tasks.store import Store

    try:
        opened = Store.open(url, workers=0)  # writes, reads back and deletes a probe
    except SteadyframeError as error:
        yield Check("store", "bad", str(error))
        return
    yield Check("store", "ok", f"{opened.url} can be written")
    if opened.url.startswith("file:"):
        free = shutil.disk_usage(Path(opened.url.removeprefix("file://"))).free
        state: Literal["note", "ok"] = "note" if free < _LITTLE_SPACE else "ok"
        yield Check("disk", state, f"{free / 1e9:.1f} GB free beside the store")
    temp = os.environ.get("TMPDIR", "/tmp" if sys.platform != "win32" else "")
    if temp and not os.access(temp, os.W_OK):
        yield Check("temporary folder", "bad", f"{temp} cannot be written; set TMPDIR")
