"""Records of jobs in the store: what was asked (`job.json`) and what came of it (`result.json`).

They only tell; nothing is decided by them, and deleting them is safe. Knows no flow engine.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from flows.result import JobResult
from tasks.store import Store


def new_job_id() -> str:
    """A name that sorts by time, also within a second, and does not repeat: `20261121-110816-3fa9c2d1`."""
    now = datetime.now(UTC)
    return f"{now:%Y%m%d-%H%M%S}-{now.microsecond:05x}{secrets.token_hex(2)[:3]}"


def write_job(store: Store, job_id: str, job: BaseModel) -> None:
    """Keep what was asked."""
    store.write_record(f"jobs/{job_id}/job.json", job.model_dump(mode="json"))


def write_result(store: Store, result: JobResult) -> None:
    """Keep what came of it, exactly as `--json` prints it."""
    store.write_record(f"jobs/{result.job}/result.json", result.to_dict())


def write_took(store: Store, job_id: str, seconds: float) -> None:
    """Keep how long the whole of it took, start-up and hand-over included: what forecasts learn from."""
    store.write_record(f"jobs/{job_id}/took.json", {"seconds": seconds})


def jobs(store: Store) -> Iterator[tuple[str, dict[str, Any] | None, dict[str, Any] | None]]:
    """Job id, what was asked, what came of it (None while it runs or when it was killed); newest first."""
    _, folders = store.blobs.children("jobs")
    for job_id in sorted((folder.rstrip("/").rsplit("/", 1)[-1] for folder in folders), reverse=True):
        asked = store.read_record(f"jobs/{job_id}/job.json")
        yield job_id, asked, store.read_record(f"jobs/{job_id}/result.json")
