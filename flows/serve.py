"""`steadyframe serve`: server, UI, run form and a worker in one command on the loopback, until Ctrl-C.

Runs started from the form or by a schedule are child processes, one at a time by default (they share the
machine). A long-lived installation uses `infra/prefect.yaml` and a process work pool instead. Knows no
stage.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

import psutil

from flows.resources import QUIET_ENVIRONMENT, set_environment
from flows.server import local_api
from flows.signals import interrupt_on_sigterm

STOP_SECONDS = 20.0  # a run that is told to stop closes its engines first

if TYPE_CHECKING:
    from prefect.flows import Flow
    from prefect.runner import Runner

log = logging.getLogger("steadyframe")


DEPLOYED = ("flows.deploy.restyle", "flows.deploy_deflicker.deflicker", "flows.deploy_library.library")
"""Entry points of all flows with a run form; `infra/prefect.yaml` names the same."""


def deployed_flows() -> list[Flow[..., Any]]:
    """The flows of `DEPLOYED`, imported."""
    return [getattr(import_module(module), name) for module, _, name in (x.rpartition(".") for x in DEPLOYED)]


def serve(announce: Callable[[str], None], limit: int = 1) -> None:
    """Serve until Ctrl-C or SIGTERM; afterwards no process that was started here is left.

    `announce` is told where the UI and the run form are once runs are picked up; `limit` runs go at the
    same time. Raises `SteadyframeError` when the server does not start.
    """
    set_environment(QUIET_ENVIRONMENT)
    try:
        with interrupt_on_sigterm(), local_api() as url:
            try:
                asyncio.run(_work(url, announce, limit))
            finally:
                _end_children()
    except KeyboardInterrupt:  # before the runner was up
        pass
    announce("stopped; interrupted runs resume when they are run again")


async def _work(url: str, announce: Callable[[str], None], limit: int) -> None:
    """Register the deployments and pick up their runs for ever."""
    from prefect.runner import Runner
    from prefect.types.entrypoint import EntrypointType

    page = url.removesuffix("/api")
    announce(f"UI:       {page}")
    runner = Runner(name="steadyframe", limit=limit, query_seconds=2)
    for flow in deployed_flows():
        # Module path: the runs import the installed package, wherever `serve` was typed.
        deployment = await flow.ato_deployment(
            "default", entrypoint_type=EntrypointType.MODULE_PATH, tags=["steadyframe"]
        )
        deployment_id = await runner.aadd_deployment(deployment)
        announce(f"Run form: {page}/v2/deployments/deployment/{deployment_id}/run ({flow.name})")
    announce("Ctrl-C stops everything")
    await _until_stopped(runner)


async def _until_stopped(runner: Runner) -> None:
    """Run the runner until Ctrl-C or SIGTERM, then end its runs while it and the server still can note that.

    The runner's own way out (`sys.exit` inside a signal handler) leaves runs that are shown as Running for ever.
    """
    stopped = asyncio.Event()
    working = asyncio.create_task(runner.start())
    await asyncio.sleep(0)  # it installs its handler first; ours replaces it
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    waiting = asyncio.create_task(stopped.wait())
    await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if working.done():
        waiting.cancel()
        working.result()
        return
    await asyncio.to_thread(_end_children)
    await asyncio.sleep(1)  # the runner hears of the ends and reports them
    working.cancel()
    with suppress(asyncio.CancelledError):
        await working


def _end_children() -> None:
    """End what the runner left running: it stops looking after its runs when it is cancelled itself."""
    children = [c for c in psutil.Process().children() if "flows.server_process" not in _command(c)]
    for child in children:
        try:
            child.terminate()
        except psutil.NoSuchProcess:
            continue
    for child in psutil.wait_procs(children, STOP_SECONDS)[1]:
        log.warning("run in process %s did not stop in %.0f s and was killed", child.pid, STOP_SECONDS)
        for process in [*child.children(recursive=True), child]:
            process.kill()


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
