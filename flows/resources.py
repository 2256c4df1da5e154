"""What a run needs besides its job: store, engines, the Prefect server, and an environment that does not talk.

Arguments decide, then settings, then the machine. Knows no job.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from configs.errors import ConfigError
from configs.settings import load_settings
from flows.logs import redact_logs

if TYPE_CHECKING:
    from tasks.engine.pool import EnginePool
    from tasks.store import Store

QUIET_ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
}


@contextmanager
def resources(store: str | None, workers: int | None, device: str | None) -> Iterator[tuple[Store, EnginePool]]:
    """Open the store and the engines that arguments, then settings, then this machine decide; close the
    engines.
    """
    from tasks.engine.pool import EnginePool
    from tasks.store import Store

    settings = load_settings()
    workers = default_workers() if (workers := settings.workers if workers is None else workers) is None else workers
    if workers < 0:
        raise ConfigError(f"workers must be 0 (in this process) or more, got {workers}")
    opened = Store.open(store or settings.store, workers=workers)
    engines = EnginePool(
        opened.url,
        workers,
        device or settings.device,
        settings.ray_address,
        workers_per_gang=settings.workers_per_gang if workers else None,
        actor_ttl=settings.actor_ttl,
    )
    with engines:
        yield opened, engines


def set_environment(variables: Mapping[str, str]) -> None:
    """Set environment variables that the user has not set; our child processes inherit them."""
    for name, value in variables.items():
        os.environ.setdefault(name, value)


def default_workers() -> int:
    """One per GPU, else one per core this process may use."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.device_count()
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def served() -> Iterator[str]:
    """Yield the address of the Prefect server that runs are shown by (`flows.server.local_api`)."""
    from flows.server import local_api

    with local_api() as url:
        yield url


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Prefect off the console (its records go to its server) and telemetry off altogether."""
    set_environment(QUIET_ENVIRONMENT)
    import prefect.main  # noqa: F401  (sets its console handlers up, once)
    from prefect.logging.handlers import PrefectConsoleHandler

    redact_logs()

    loggers = [
        logging.getLogger(),
        *(x for x in logging.root.manager.loggerDict.values() if isinstance(x, logging.Logger)),
    ]
    consoles = {h: h.level for logger in loggers for h in logger.handlers if isinstance(h, PrefectConsoleHandler)}
    for console in consoles:
        console.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for console, level in consoles.items():
            console.setLevel(level)
