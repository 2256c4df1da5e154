"""Which code this is: one digest over all files that decide results, for notes and actors that must not outlive it.

No key holds it: a key changes by a stage's version, which people raise when results change. This changes with any edit.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path


@cache
def code_digest() -> str:
    """Hex sha256 over the sources, presets and templates of `configs`, `models` and `tasks`; read once a process."""
    import configs
    import models
    import tasks

    whole = hashlib.sha256()
    for package in (configs, models, tasks):
        root = Path(str(package.__file__)).parent
        for file in sorted(root.rglob("*")):
            if file.suffix in (".py", ".yaml", ".j2"):
                whole.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return whole.hexdigest()
