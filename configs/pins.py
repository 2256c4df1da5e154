"""Checks of a whole job that need more than one field: styles exist, hub models are pinned to a commit, and files
are given exactly where a control takes them.

The only thing it looks at on disk is whether a model path is a folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from configs.errors import ConfigError
from configs.job import RestyleJob
from configs.job_errors import origin_of
from configs.keys import Loc
from configs.presets import check_style

BUILT_IN = ("pocket", "dry")
_FILES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "depth": ("depth", "a folder of PNG files, one per frame"),
        "depth-blocks": ("depth", "a folder of PNG files, one per frame"),
        "reference-latents": ("reference", "a picture whose look is wanted"),
    }
)
_PRESETS: Mapping[str, str] = MappingProxyType({"reference": "reference", "depth": "render3d"})
_HUB_ID = re.compile(r"^[\w][\w.-]*/[\w.-]+$")
_COMMIT = re.compile(r"^[0-9a-f]{40}$")


def is_hub_id(path: str) -> bool:
    """Whether a model path names a hub repository: `owner/name`, and no such folder here."""
    return path not in BUILT_IN and bool(_HUB_ID.match(path)) and not Path(path).is_dir()


def check_job(job: RestyleJob, origins: Mapping[Loc, str] = MappingProxyType({})) -> None:
    """Refuse an unknown style, of the job or of a shot, every hub model without a commit, and files that are missing
    or that nothing reads. Errors: ConfigError.
    """
    named: dict[Loc, str | None] = {("style",): job.style}
    named |= {("shots", number, "style"): shot.style for number, shot in job.shots.items()}
    for at, style in named.items():
        try:
            if style is not None:
                check_style(style)
        except ConfigError as error:
            raise ConfigError(f"{error}{origin_of(at, origins)}") from None
    problems = list(_unpinned("model", "path", job.model.path, job.model.revision, origins))
    for index, control in enumerate(job.model.controls):
        place = f"model.controls.{index}"
        problems += _unpinned(place, "model", control.model, control.revision, origins)
        if control.kind in _FILES and not job.controls[index].path:
            flag, what = _FILES[control.kind]
            problems.append(
                f"{flag} is missing: {place} of kind {control.kind} needs {what}; "
                f"give --set {flag}=PATH{origin_of(('model', 'controls', index), origins)}"
            )
    problems += _unread(job, origins)
    if problems:
        raise ConfigError("\n".join(problems))


def _unread(job: RestyleJob, origins: Mapping[Loc, str]) -> Iterator[str]:
    """What is wrong with files that no control looks at: they would change nothing, without a word."""
    taken = {_FILES[control.kind][0] for control in job.model.controls if control.kind in _FILES and not control.path}
    for flag, preset in _PRESETS.items():
        if getattr(job, flag) and flag not in taken:
            yield (
                f"{flag} is given and no control of this job takes one; add --preset {preset}, "
                f"or leave it out{origin_of((flag,), origins)}"
            )


def _unpinned(place: str, key: str, path: str, revision: str | None, origins: Mapping[Loc, str]) -> list[str]:
    if not is_hub_id(path):
        return []
    where = origin_of((*(int(p) if p.isdigit() else p for p in place.split(".")), key), origins)
    if revision is None:
        return [
            f"{place}.{key} {path!r} is a hub model without a pinned commit: give "
            f"--set {place}.revision=<40-digit commit>, or --set {place}.{key}=<local folder>{where}"
        ]
    if not _COMMIT.match(revision):
        return [
            f"{place}.revision must be a full commit of 40 hex digits (a branch or tag can move), "
            f"got {revision!r}{origin_of((*place.split('.'), 'revision'), origins)}"
        ]
    return []
