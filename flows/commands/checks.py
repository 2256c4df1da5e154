"""The checks of `steadyframe doctor`: each looks at one thing and says what it found and what to do.

This file looks at the machine: versions, devices, codecs, ports, disk. Store, server and cluster are
`flows.commands.checks_services`.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from configs.settings import Settings

State = Literal["ok", "note", "bad"]

_PACKAGES = ("steadyframe", "torch", "diffusers", "transformers", "prefect", "ray", "av", "pyarrow", "numba")
_ENCODERS = ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1")
_DECODERS = ("h264", "hevc", "av1", "vp9", "prores", "mpeg4")
LITTLE_SPACE, NO_SPACE = 2 * 10**9, 2 * 10**8
_LITTLE_SHARED = 2**30
# what is known to break, beside the plain bounds of pyproject (docs/adr/0002)
_WHY: Mapping[str, str] = MappingProxyType(
    {
        "fastapi": "Prefect 3.8 dies at import with FastAPI 0.155",
        "sqlalchemy": "with SQLAlchemy 2.1 the scheduler of Prefect 3.8 never creates a cron run",
        "torch": "results are reproducible within one version only",
    }
)


@dataclass(frozen=True)
class Check:
    """`ok`; `note`: works, worth knowing; `bad`: a job could not run. `fix` says what to do unless it is ok."""

    name: str
    state: State
    found: str
    fix: str = ""


def run_checks(store: str) -> list[Check]:
    """Run all checks; one that breaks is itself a finding. Errors: ConfigError for a bad STEADYFRAME_* variable."""
    from configs.settings import load_settings
    from flows.commands.checks_services import check_ray, check_server, check_store

    settings = load_settings()
    groups: tuple[tuple[str, Callable[[], Iterator[Check]]], ...] = (
        ("versions", versions),
        ("devices", devices),
        ("ffmpeg in av", codecs),
        ("ports", lambda: ports(settings)),
        ("disk", lambda: disk(store, settings)),
        ("store", lambda: check_store(store)),
        ("prefect server", lambda: check_server(settings)),
        ("ray", lambda: check_ray(settings)),
    )
    found: list[Check] = []
    for name, group in groups:
        try:
            found.extend(group())
        except Exception as error:  # a doctor who faints has still found something
            found.append(Check(name, "bad", f"{type(error).__name__}: {error}", "this check itself failed: report it"))
    return found


def versions() -> Iterator[Check]:
    """Packages that are there, and those outside the bounds that steadyframe was tested with."""
    from packaging.requirements import Requirement

    yield Check("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    for package in _PACKAGES:
        try:
            yield Check(package, "ok", metadata.version(package))
        except metadata.PackageNotFoundError:
            yield Check(package, "bad", "is not installed", "pip install -c constraints.txt steadyframe")
    for text in metadata.requires("steadyframe") or ():
        needed = Requirement(text)
        if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
            continue
        try:
            there = metadata.version(needed.name)
        except metadata.PackageNotFoundError:
            there = ""
        if there and needed.specifier.contains(there, prereleases=True):
            continue
        why = f": {_WHY[needed.name]}" if needed.name in _WHY else ""
        found = f"{there or 'missing'}, {needed.specifier or 'any'} is needed{why}"
        yield Check(needed.name, "bad", found, f"pip install -c constraints.txt '{needed.name}{needed.specifier}'")


def devices() -> Iterator[Check]:
    """Cores, GPUs, and the shared memory that Ray passes tensors through."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Check("cpu", "ok", f"{cores} cores, torch uses {torch.get_num_threads()} threads outside jobs")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            device = torch.cuda.get_device_properties(index)
            yield Check(f"cuda:{index}", "ok", f"{device.name}, {device.total_memory / 2**30:.0f} GiB")
    else:
        built = f"torch is built for CUDA {torch.version.cuda}, no GPU seen" if torch.version.cuda else "a CPU build"
        fix = "nothing to do for pocket, which runs on the CPU; for a GPU see README, CPU or CUDA"
        yield Check("cuda", "note", f"not available ({built})", fix)
    shared = Path("/dev/shm")
    if shared.is_dir():
        size = shutil.disk_usage(shared).total
        small = size < _LITTLE_SHARED
        fix = "start the container with --shm-size=2g, else Ray passes tensors through files" if small else ""
        yield Check("shared memory", "note" if small else "ok", f"{size / 2**30:.1f} GiB in /dev/shm", fix)


def codecs() -> Iterator[Check]:
    """What the FFmpeg inside PyAV can write and read."""
    import av

    library = ".".join(str(part) for part in av.library_versions["libavcodec"])
    kinds: tuple[tuple[str, tuple[str, ...], Literal["r", "w"]], ...] = (
        ("ffmpeg in av", _ENCODERS, "w"),
        ("decoders", _DECODERS, "r"),
    )
    for name, wanted, mode in kinds:
        missing = [codec for codec in wanted if not _has_codec(codec, mode)]
        state: State = "bad" if {"libx264", "h264"} & set(missing) else "note" if missing else "ok"
        lacks = f"without {', '.join(missing)}" if missing else ", ".join(wanted)
        fix = f"videos of that kind are refused; install PyAV from its own wheel: pip install av=={av.__version__}"
        yield Check(name, state, f"libavcodec {library}, {lacks}", fix if missing else "")


def _has_codec(name: str, mode: Literal["r", "w"]) -> bool:
    import av

    try:
        av.codec.Codec(name, mode)
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def ports(settings: Settings) -> Iterator[Check]:
    """Whether a loopback port can be had, and the metrics port if one is asked for."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        yield Check("loopback port", "ok", f"a free one can be had (tried {free.getsockname()[1]})")
    if not settings.metrics_port:
        return
    where = f"{settings.metrics_host}:{settings.metrics_port}"
    with socket.socket() as asked:
        asked.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            asked.bind((settings.metrics_host, settings.metrics_port))
        except OSError as error:
            fix = "a running job serves it, or another program: then set STEADYFRAME_METRICS_PORT to a free one"
            yield Check("metrics port", "note", f"{where}: {error.strerror}", fix)
            return
    yield Check("metrics port", "ok", f"{where} is free")


def disk(store: str, settings: Settings) -> Iterator[Check]:
    """Room where things are kept: the store if it is here, half-written files, the server's database."""
    from tasks.store.backends import local_folder

    places = {"temporary folder": Path(tempfile.gettempdir()), "server folder": settings.server_dir.expanduser()}
    if (folder := local_folder(store)) is not None:
        places = {"disk": folder, **places}
    if settings.metrics_file is not None:
        places["metrics folder"] = settings.metrics_file.expanduser().absolute().parent
    for name, place in places.items():
        there = next(above for above in (place.absolute(), *place.absolute().parents) if above.exists())
        if not os.access(there, os.W_OK):
            yield Check(name, "bad", f"{there} cannot be written", "give this user write permission, or another folder")
            continue
        free = shutil.disk_usage(there).free
        state: State = "bad" if free < NO_SPACE else "note" if free < LITTLE_SPACE else "ok"
        fix = "free some space: steadyframe clean shows what of the store could go" if state != "ok" else ""
        yield Check(name, state, f"{free / 1e9:.1f} GB free in {place}", fix)
