"""What the Prefect server does by itself: mark runs that died without a word, and tell people how runs ended.

    python -m infra.automations [--failures webhook/ops] [--successes slack-webhook/ops] [--crashes slack-webhook/ops]

`--failures` names a saved Webhook block, the others saved notification blocks: their addresses are secrets, kept by the
server. Jobs that send their own messages (STEADYFRAME_NOTIFY) need only `--crashes`, for runs that ended without one.
What Prefect fails before the job begins (parameters that today's form refuses) only `--failures` tells of. Run it as
often as you like: automations are told apart by name and replaced.
"""

from __future__ import annotations

import argparse
from datetime import timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import CallWebhook, ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from configs.errors import ConfigError
from flows.crash_notice import NAME as CRASHES
from flows.crash_notice import ensure_crash_automation

HEARTBEAT = "prefect.flow-run.heartbeat"
ANYTHING = "prefect.flow-run.*"
"""Any change of state ends the watch over a run, until it beats again. No list of endings would do: an event carries
the state's name (`Reused`, `Over budget`, `Completed, 3 failed`), and `Completed*` does not take `Completed` itself."""
FEWEST_HEARTBEATS = 3
FLOWS = ["restyle", "library", "deflicker"]
"""The flows people start; the sub-run of each video is told of by them."""

FAILURE = """{
  "text": {{ ("Steadyframe: " ~ flow_run.name ~ " is " ~ flow_run.state.name) | tojson }},
  "flow": {{ flow.name | tojson }},
  "run": {{ flow_run.name | tojson }},
  "id": {{ flow_run.id | string | tojson }},
  "state": {{ flow_run.state.name | tojson }},
  "message": {{ (flow_run.state.message or "") | tojson }},
  "url": {{ (flow_run | ui_url) | tojson }}
}"""
SUCCESS = """{{ flow.name }} {{ flow_run.name }}: {{ flow_run.state.name }}
{{ flow_run.state.message or "" }}
{{ flow_run | ui_url }}"""


def zombies(heartbeat: float = 30, heartbeats: float = 4) -> AutomationCore:
    """Crash runs whose process went away together with its worker: no heartbeat for `heartbeats` x `heartbeat` s.

    It changes the run's state, not its process: one that wakes up again is kept out by the store's leases. Errors:
    ConfigError under 3 heartbeats, which would mark healthy runs on a busy machine.
    """
    if heartbeats < FEWEST_HEARTBEATS:
        raise ConfigError(
            f"heartbeats must be {FEWEST_HEARTBEATS} or more, got {heartbeats}: healthy runs miss one or two"
        )
    return AutomationCore(
        name="steadyframe: zombies",
        description="Runs without a sign of life are shown as crashed; a retry of the run resumes.",
        trigger=EventTrigger(
            posture=Posture.Proactive,
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            after={HEARTBEAT},
            expect={ANYTHING},
            threshold=1,
            within=timedelta(seconds=heartbeat * heartbeats),
        ),
        actions=[
            ChangeFlowRunState(
                name="Zombie",
                state=StateType.CRASHED,
                message=f"no sign of life for {heartbeat * heartbeats:.0f} s; retry the run to resume",
            )
        ],
    )


def failures(webhook: UUID) -> AutomationCore:
    """Call the saved webhook when a job failed or crashed."""
    return AutomationCore(
        name="steadyframe: failures",
        description="A job that failed or crashed is told to a webhook.",
        trigger=_ended("FAILED", "CRASHED"),
        actions=[CallWebhook(block_document_id=webhook, payload=FAILURE)],
    )


def successes(notification: UUID) -> AutomationCore:
    """Send a summary by the saved notification block when a job completed, also with some dead videos."""
    return AutomationCore(
        name="steadyframe: successes",
        description="A finished job is told with its figures.",
        trigger=_ended("COMPLETED"),
        actions=[
            SendNotification(
                block_document_id=notification,
                subject="Steadyframe: {{ flow_run.name }}: {{ flow_run.state.name }}",
                body=SUCCESS,
            )
        ],
    )


def put(client: SyncPrefectClient, automation: AutomationCore) -> UUID:
    """Create the automation in place of all of the same name."""
    for old in client.read_automations_by_name(automation.name):
        client.delete_automation(old.id)
    return client.create_automation(automation)


def block_id(client: SyncPrefectClient, named: str) -> UUID:
    """Id of the saved block `TYPE/NAME`. Errors: ConfigError."""
    kind, slash, name = named.partition("/")
    if not slash or not kind or not name:
        raise ConfigError(f"a block is named TYPE/NAME, such as webhook/ops, got {named!r}")
    found = [block for block in client.read_block_documents_by_type(kind) if block.name == name]
    if not found:
        raise ConfigError(f"the Prefect server has no block {named}; save it in the UI under Blocks")
    return found[0].id


def _ended(*types: str) -> EventTrigger:
    """A job (not the sub-run of a video) came into a state of one of these types, whatever its name."""
    return EventTrigger(
        posture=Posture.Reactive,
        match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"], "prefect.state-type": list(types)}),
        match_related=ResourceSpecification({"prefect.resource.role": "flow", "prefect.resource.name": FLOWS}),
        expect={ANYTHING},
        threshold=1,
        within=timedelta(0),
    )


def main() -> None:
    """Create the automations on the server that the environment names."""
    parser = argparse.ArgumentParser(description="Create the automations of Steadyframe on the Prefect server.")
    parser.add_argument(
        "--heartbeat", type=float, default=30, help="PREFECT_FLOWS_HEARTBEAT_FREQUENCY of the runs [30]"
    )
    parser.add_argument("--failures", metavar="webhook/NAME", help="saved Webhook block that is called about failures")
    parser.add_argument(
        "--successes", metavar="TYPE/NAME", help="saved notification block for summaries of finished jobs"
    )
    parser.add_argument("--crashes", metavar="TYPE/NAME", help="saved notification block for runs that died")
    arguments = parser.parse_args()
    with get_client(sync_client=True) as client:
        made = [zombies(arguments.heartbeat)]
        if arguments.failures:
            made.append(failures(block_id(client, arguments.failures)))
        if arguments.successes:
            made.append(successes(block_id(client, arguments.successes)))
        if arguments.crashes:
            ensure_crash_automation(arguments.crashes)
            print(CRASHES)
        for automation in made:
            put(client, automation)
            print(automation.name)


if __name__ == "__main__":
    main()
