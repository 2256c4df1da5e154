"""The automation that tells of runs which ended without a last word: crashed, or found dead by the server.

A run that ends, well or badly, sends its own message (`flows.notify`); one whose process was killed cannot, so the
Prefect server does, through the same saved block. Knows the server's automations and no job.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.automations import Automation, EventTrigger, SendNotification
from prefect.blocks.core import Block
from prefect.events.schemas.automations import Posture

from configs.errors import ConfigError

NAME = "steadyframe: a run died"
FLOWS = ("restyle", "library", "deflicker", "restyle-video", "deflicker-video")
STATES = ("Crashed", "Zombie")

_SUBJECT = "Steadyframe run {{ flow_run.name }}: {{ flow_run.state.name }}"
_BODY = (
    "{{ flow_run|ui_url }}\nIts process ended without a last word: {{ flow_run.state.message }}\n"
    "Committed work is kept; Retry in the UI or the same command goes on from there."
)


def crash_automation(block: UUID, flows: tuple[str, ...] = FLOWS) -> Automation:
    """The automation that sends one message by the saved notification block for each run of `flows` that died."""
    return Automation(
        name=NAME,
        description="Made by Steadyframe; a run that ended by itself sends its own message.",
        trigger=EventTrigger(
            expect={f"prefect.flow-run.{state}" for state in STATES},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related={"prefect.resource.role": "flow", "prefect.resource.name": list(flows)},
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[SendNotification(block_document_id=block, subject=_SUBJECT, body=_BODY)],
    )


def ensure_crash_automation(block_name: str, flows: tuple[str, ...] = FLOWS) -> UUID:
    """Create or renew the automation for the saved block `TYPE/NAME`; there is one of it. Errors: ConfigError."""
    import prefect.blocks.notifications  # noqa: F401  (registers the types)

    try:
        block = Block.load(block_name)
    except ValueError:
        raise ConfigError(f"the Prefect server has no block {block_name!r}; save it in the UI under Blocks") from None
    document = getattr(block, "_block_document_id", None)
    assert isinstance(document, UUID)
    wanted = crash_automation(document, flows)
    try:
        there: Any = Automation.read(name=NAME)  # called without an event loop it is no coroutine
        wanted.id = there.id
    except ValueError:
        wanted.create()
    else:
        wanted.update()
    assert wanted.id is not None
    return wanted.id
