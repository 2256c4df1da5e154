"""What benchmarks share: the job (pocket preset, one style, no report arms), and how their command is told."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from typing import Any

from configs.job import RestyleJob
from configs.presets import load_preset


def pocket_job(preset: str = "pocket", style: str = "watercolor", **changes: Any) -> RestyleJob:
    """The preset with `changes` laid over its top-level keys."""
    return RestyleJob.model_validate({**load_preset(preset), "style": style, **changes})


def command_line(module: str, given: Sequence[str]) -> str:
    """The command as a page tells it: `given` without where its own half-done figures lay, which nobody else has."""
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--json")
    own.add_argument("--resume", action="store_true")
    return shlex.join(["python", "-m", module, *own.parse_known_args(list(given))[1]])
